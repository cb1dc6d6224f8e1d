"""Paint on rented GPUs: Azure Batch carries out the specs, Azure Blob carries the files.

The verbs answer from memory. A thread of our own talks with Azure at its pace (driver.py); the SDKs are imported there, when
there is something to do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from backends.azure.meter import lived
from backends.azure.planner import BOOT_SECONDS, plan, wait_of
from backends.azure.prices import price_of, size_of
from stylizer.backend import Capacity, Meter, Phase, Report
from stylizer.config import Config, places
from stylizer.errors import BackendError, BackendRejected, ConfigError, OutputError, StylizerError
from stylizer.estimate import Estimate, Measurement
from stylizer.jobs import Clip, Look
from stylizer.wire import Spec

if TYPE_CHECKING:
    from backends.azure.account import Account
    from backends.azure.driver import Driver
    from backends.azure.runs import Entry, Run

PACE_SECONDS = 5.0
"""Between two looks at what became of a run."""
TURN_SECONDS = 0.5
MOST_OPEN = 1000
"""Specs that are taken at once: a run goes on while the one who started it is asleep."""
FIRST_LOOK_SECONDS = 10.0
"""That a poll waits, once, for what an earlier process left in Azure."""
PRICE_SECONDS = 60.0
"""Between two looks at what machines cost."""
CLOSING_SECONDS = 20.0
"""That closing waits for Azure to hear of it; should it not, the wall clock ends what is left."""


class AzureBackend:
    """One Batch account with its storage. `account` opens it, at the first verb that needs it; `home` is where the
    installation's name and the meters are kept.
    """

    name = "azure"

    def __init__(
        self,
        config: Config,
        *,
        account: Callable[[], Account] | None = None,
        check: Callable[[Clip], None] | None = None,
        pace: float = PACE_SECONDS,
        home: Path | None = None,
    ) -> None:
        self._config = config
        self._settings = config.azure
        self._home = home or places().store.parent / "azure"
        self._account = account or (lambda: _account(config, self._home))
        self._check = check or _check
        self._pace = pace
        self._lock = threading.RLock()
        """Never held while Azure is asked."""
        self._wake = threading.Event()
        self._looked = threading.Condition(self._lock)
        self._driver: Driver | None = None
        self._thread: threading.Thread | None = None
        self._submitted: dict[str, Spec] = {}
        """What the thread has not taken up yet."""
        self._wanted: set[int] = set()
        """Jobs to find again."""
        self._found: set[int] = set()
        self._stand_by: bool | None = None
        """Whether nodes of the named pool were ready when we began; None: not looked yet."""
        self._trouble: StylizerError | None = None
        """What the last turn came to."""
        self._closed = False
        self._priced, self._priced_at = (1, 0.0, BOOT_SECONDS), -PRICE_SECONDS

    # ---- the verbs ----

    def capacity(self) -> Capacity:
        """Nodes times their GPUs, and whether some stand by; BackendRejected if Azure is not set up."""
        settings = self._settings
        if not settings.batch:
            raise BackendRejected("Azure is not set up.", hint="Run stylizer azure init; it asks for what it needs.")
        slots, price, boot = self._machine()
        label = f"{settings.nodes} x {settings.vm_size}{' Spot' if settings.spot else ''}"
        with self._lock:
            if settings.pool and self._stand_by is None:
                self._start()
                self._looked.wait_for(lambda: self._stand_by is not None or self._trouble, FIRST_LOOK_SECONDS)
            taken = len(self._submitted) + sum(len(run.open()) for run in self._runs())
            trouble = next((run.trouble for run in self._runs() if run.trouble), "")
        if settings.region:
            label += f" in {settings.region}"
        if trouble:
            label += f"; no machine yet: {trouble}"
        total = settings.nodes * slots
        free = max(0, max(MOST_OPEN, 4 * total) - taken)
        delay = 0.0 if self._stand_by else boot
        return Capacity(total, free, label, price / slots, kind="cloud", delay=delay)

    def estimate(self, clip: Clip, look: Look, known: Sequence[Measurement] = ()) -> Estimate:
        chosen = plan(clip, look, self._config, known, lived(self._home))
        upload = clip.path.stat().st_size if clip.path.is_file() else 0
        frames = chosen.chunk_frames
        return Estimate(clip.frames, chosen.seconds, chosen.cost, upload, chosen.basis, frames, chosen.currency)

    def submit(self, specs: Sequence[Spec]) -> None:
        with self._lock:
            self._submitted.update({spec.id: spec for spec in specs if self._report(spec.id) is None})
            self._start()

    def poll(self, ids: Collection[str]) -> Sequence[Report]:
        with self._lock:
            if self._closed:
                return [Report(name, Phase.LOST) for name in ids]
            self._start()
            self._find({name for name in ids if self._report(name) is None})
            if self._trouble:
                raise self._trouble
            return [self._report(name) or self._unknown(name) for name in ids]

    def fetch(self, spec: Spec) -> Path:
        """BackendRejected if its result is not what the node wrote; OutputError if it is gone."""
        with self._lock:
            entry, run = self._entry(spec.id), self._run_of(spec.id)
        if entry is None or run is None or entry.report.phase is not Phase.DONE:
            raise OutputError(f"Azure has no result of {spec.id}.", hint="It is painted anew with stylizer retry.")
        if not spec.output.exists():
            from backends.azure.landing import land  # noqa: PLC0415

            assert self._driver
            land(self._driver.account.media, run.key, spec, entry.size)
        return spec.output

    def cancel(self, ids: Collection[str]) -> None:
        with self._lock:
            self._submitted = {name: spec for name, spec in self._submitted.items() if name not in ids}
            for run in self._runs():
                for name in ids:
                    entry = run.entries.pop(name, None)
                    if entry is not None and entry.given and entry.is_open:
                        run.cancelled.add(name)
            self._wake.set()

    def meters(self) -> Sequence[Meter]:
        with self._lock:
            self._start()
            ledgers = [*self._driver.meters.ledgers.values()] if self._driver else []
            now = self._driver.account.batch.now if self._driver else 0.0
            found = [ledger.meter(now) for ledger in ledgers]
            told = {job: tuple(text for run in self._runs() if run.job == job for text in run.said) for job in self._jobs()}
        return [
            replace(_together([one for one in found if one.job == job]), said=told.get(job, ()))
            for job in sorted({one.job for one in found})
        ]

    def stop_spending(self, job: int) -> None:
        with self._lock:
            self._submitted = {n: spec for n, spec in self._submitted.items() if not n.startswith(f"{job}-")}
            for run in self._runs():
                if run.job == job:
                    run.lose(run.open(), "The machines of this job were ended.")
                    run.stopping = True
            self._wake.set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._wake.set()
        if self._thread:
            self._thread.join(CLOSING_SECONDS)

    # ---- what is known ----

    def _machine(self) -> tuple[int, float, float]:
        """Specs that one node carries out at once, what it costs an hour, and seconds until it takes some. BackendRejected
        for one that is not known.
        """
        if time.monotonic() - self._priced_at > PRICE_SECONDS:
            settings = self._settings
            try:
                price = price_of(settings.vm_size, settings.region, spot=settings.spot, cache=places().cache)
                size = size_of(settings.vm_size)
                boot = wait_of(lived(self._home).get(size.name.lower())).boot_seconds
                self._priced = max(1, size.gpus), float(price.per_hour), boot
            except ConfigError as error:
                raise BackendRejected(error.message, hint=error.hint) from None
            self._priced_at = time.monotonic()
        return self._priced

    def _runs(self) -> list[Run]:
        return list(self._driver.runs.values()) if self._driver else []

    def _jobs(self) -> set[int]:
        return {run.job for run in self._runs()}

    def _run_of(self, name: str) -> Run | None:
        return next((run for run in self._runs() if name in run.entries), None)

    def _entry(self, name: str) -> Entry | None:
        run = self._run_of(name)
        return run.entries[name] if run else None

    def _report(self, name: str) -> Report | None:
        if name in self._submitted:
            return Report(name, Phase.WAITING)
        entry = self._entry(name)
        return entry.report if entry else None

    def _unknown(self, name: str) -> Report:
        """LOST, unless Azure has not told yet what it has of that job."""
        from backends.azure.runs import job_of  # noqa: PLC0415

        return Report(name, Phase.LOST if job_of(name) in self._found else Phase.WAITING)

    def _find(self, names: set[str]) -> None:
        """Have the jobs of these looked for in Azure, once, and wait a moment for it."""
        if not names:
            return
        from backends.azure.runs import job_of  # noqa: PLC0415

        jobs = {job_of(name) for name in names} - self._found
        if jobs and not jobs <= self._wanted:
            self._wanted |= jobs
            self._wake.set()
            self._looked.wait_for(lambda: jobs <= self._found or self._trouble or self._closed, FIRST_LOOK_SECONDS)

    # ---- the thread ----

    def _start(self) -> None:
        if self._thread is None and not self._closed and self._settings.batch:
            self._thread = threading.Thread(target=self._talk, name="azure", daemon=True)
            self._thread.start()
        self._wake.set()

    def _talk(self) -> None:
        while not self._closed:
            trouble: StylizerError | None = None
            try:
                self._turn()
            except BackendError as error:
                trouble = error
            except StylizerError as error:
                # What is wrong with the settings needs a person, and no other exception may cross.
                trouble = BackendRejected(error.message, hint=error.hint)
            except Exception as error:  # a bug or a library's: it must be heard of, and the thread must not be lost
                from backends.azure.faults import clean  # noqa: PLC0415

                trouble = BackendRejected(
                    f"Talking with Azure met an error of its own: {type(error).__name__}: {clean(str(error))}",
                    hint="Please report it.",
                )
            with self._lock:
                self._trouble = trouble
                self._looked.notify_all()
            self._wake.wait(min(TURN_SECONDS, self._pace))
            self._wake.clear()
        if self._driver:
            with suppress(BackendError):
                self._driver.close()

    def _turn(self) -> None:
        from backends.azure.driver import Driver  # noqa: PLC0415
        from backends.azure.faults import said  # noqa: PLC0415
        from backends.azure.pool import READY  # noqa: PLC0415
        from backends.azure.runs import Entry, Run, job_of, key_of  # noqa: PLC0415

        if self._driver is None:
            driver = Driver(self._account(), self._config, self._check, self._pace, self._lock)
            with self._lock:
                self._driver = driver
                # What still costs something is counted on.
                self._wanted |= {one.job for one in driver.meters.ledgers.values() if not one.final}
        driver = self._driver
        if self._settings.pool and self._stand_by is None:
            states = {said(node.state) for node in driver.account.batch.nodes(self._settings.pool)}
            with self._lock:
                self._stand_by = not states.isdisjoint(READY)
                self._looked.notify_all()
        with self._lock:
            wanted = sorted(self._wanted - self._found)
            jobs = {job_of(name) for name in self._submitted} - self._found
        for job in sorted({*wanted, *jobs}):
            driver.find(job)
            with self._lock:
                self._found.add(job)
                self._looked.notify_all()
        with self._lock:
            for spec in self._submitted.values():
                key = key_of(driver.account.installation, spec)
                run = driver.runs.setdefault(key, Run(key, job_of(spec.id), idle_since=time.monotonic()))
                for other in driver.runs.values():
                    if other is not run:
                        # What a job store that is no more has left: it had a job and a chunk of that number too.
                        other.entries.pop(spec.id, None)
                known = run.entries.setdefault(spec.id, Entry(Report(spec.id, Phase.WAITING)))
                known.spec = spec
            self._submitted = {}
        driver.turn()


def _together(meters: Sequence[Meter]) -> Meter:
    """One meter of all that one job has had in Azure."""
    last = max(meters, key=lambda one: one.at)
    return replace(
        last,
        spent=sum((one.spent for one in meters), Decimal(0)),
        per_hour=sum((one.per_hour for one in meters), Decimal(0)),
        nodes=tuple(node for one in meters for node in one.nodes),
        final=all(one.final for one in meters),
    )


def _account(config: Config, home: Path) -> Account:
    from backends.azure.account import open_account  # noqa: PLC0415

    return open_account(config, home)


def _check(clip: Clip) -> None:
    from stylizer.source import check_unchanged  # noqa: PLC0415

    check_unchanged(clip)
