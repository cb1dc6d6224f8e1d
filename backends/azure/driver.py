"""Drives the runs of one account, turn by turn: gives, looks, fetches, ends. A few calls a turn, however many chunks.

hold → give → end what was cancelled → look → fetch → end what is idle
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from azure.batch import models as m

from backends.azure import pool as pools
from backends.azure.account import Account
from backends.azure.errands import log_name
from backends.azure.faults import Missing, clean, said
from backends.azure.giving import Giver
from backends.azure.landing import land
from backends.azure.metering import Meters
from backends.azure.mounts import mounted
from backends.azure.nodes import Nodes
from backends.azure.prices import prices
from backends.azure.runs import Entry, Run, failure, notes_in, prefix_of
from backends.azure.staging import Staging
from backends.azure.storage import LEASE_SECONDS
from backends.azure.telemetry import Telemetry, telemetry
from stylizer.backend import Phase, Report
from stylizer.config import Config
from stylizer.errors import BackendError, BackendRejected, BackendUnavailable, StylizerError
from stylizer.jobs import Clip
from stylizer.wire import Spec

LANES = 4
"""Uploads and downloads at once."""
IDLE_SECONDS = 120.0
"""A Batch job without open work is ended after so long."""
TASKS_EVERY = 3
"""Looks after which tasks are listed too: only those that ended without a word need it."""
CLOSING_SECONDS = 1.0
"""Between two looks at machines that are leaving: when they are gone is what they cost."""
MOST_LOG = 4000
"""Characters of a failed task's log that are told."""


@dataclass(slots=True)
class Driver:
    """`pace`: seconds between two looks at a run."""

    account: Account
    config: Config
    check: Callable[[Clip], None]
    pace: float
    lock: threading.RLock
    """Held by whoever reads or changes runs; never while Azure is asked."""
    runs: dict[str, Run] = field(default_factory=dict)
    aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(LANES, thread_name_prefix="azure"))
    giver: Giver = field(init=False)
    meters: Meters = field(init=False)
    telemetry: Telemetry | None = field(init=False)
    nodes: Nodes = field(init=False)

    def __post_init__(self) -> None:
        self.giver = Giver(
            self.account, self.config, Staging(self.account.media, self.check, partial(mounted, self.config.azure))
        )
        self.meters = Meters(self.account, self.config.azure, self.lock)
        self.telemetry = telemetry() if self.config.azure.telemetry else None
        self.nodes = Nodes(self.account, self.config.azure, self.lock, self.meters, self.telemetry)
        # Asked once a day; what it cannot find out stands in a dated table.
        self.aside.submit(prices, self.config.azure.region, [self.config.azure.vm_size], self.account.cache)

    @property
    def holder(self) -> str:
        # A home that was copied to another computer is another one's.
        return f"{self.account.installation} {platform.node()}"

    def turn(self) -> None:
        """Do what is due for each run. One that fails does not keep the others from theirs; the first error is raised."""
        errors: list[BackendError] = []
        for run in list(self.runs.values()):
            try:
                self._drive(run)
            except BackendError as error:
                errors.append(error)
                run.rejected = error if isinstance(error, BackendRejected) else None
        # What a person must do comes before what passes.
        if errors:
            raise min(errors, key=lambda one: isinstance(one, BackendUnavailable))

    def _drive(self, run: Run) -> None:
        with self.lock:
            if run.rejected and run.open():
                # It has been told; until all of it is taken back, nothing changes.
                raise run.rejected
            run.rejected = None
            pending = [e.spec for e in run.entries.values() if e.spec and not e.given and e.is_open]
            is_live = bool(pending or run.giving) or not run.ended or not self.meters.is_final(run)
        if not is_live:
            self._fetch(run)
            return
        self._hold(run)
        self._give(run, pending)
        self._end_cancelled(run)
        if time.monotonic() - run.looked_at >= (self.pace if run.open() else min(self.pace, CLOSING_SECONDS)):
            run.looked_at = time.monotonic()
            self._look(run)
        self._fetch(run)
        self._end_idle(run)

    def _hold(self, run: Run) -> None:
        """One client drives a run."""
        if time.monotonic() - run.held_at < LEASE_SECONDS / 3 and run.held_at:
            return
        self.giver.make_containers()
        self.account.logs.lease(f"{run.key}/lock", self.holder)
        run.held_at = time.monotonic()

    # ---- give ----

    def _give(self, run: Run, pending: list[Spec]) -> None:
        if run.giving is None and pending:
            run.given_now = tuple(spec.id for spec in pending)
            spot = self.config.azure.spot and not run.dedicated
            run.giving = self.aside.submit(self.giver.give, run, pending, spot=spot)
        if run.giving is None or not run.giving.done():
            return
        giving, names = run.giving, run.given_now
        run.giving, run.given_now = None, ()
        try:
            refused = giving.result()
        except StylizerError as error:
            if isinstance(error, BackendError):
                raise
            refused = dict.fromkeys(names, str(error))
        with self.lock:
            run.idle_since = time.monotonic()
            for name in names:
                if not run.wants(name):
                    run.cancelled.add(name)
                elif name in refused:
                    run.fail(name, Report(name, Phase.FAILED, error=refused[name], code="input", retryable=False))
                else:
                    run.entries[name].given = True

    # ---- end ----

    def _end_cancelled(self, run: Run) -> None:
        with self.lock:
            names, nothing_left = sorted(run.cancelled), not run.open()
        if run.stopping or (names and nothing_left and not run.giving):
            self._end(run, "cancelled")
        elif names:
            for _ in self.aside.map(partial(self.account.batch.end_task, run.batch_job), names):
                pass
        with self.lock:
            run.cancelled -= set(names)

    def _end_idle(self, run: Run) -> None:
        with self.lock:
            is_busy = bool(run.open()) or run.giving is not None
        if is_busy:
            run.idle_since = time.monotonic()
        elif not run.ended and time.monotonic() - run.idle_since > IDLE_SECONDS:
            self._end(run, "nothing more to do")

    def _end(self, run: Run, reason: str) -> None:
        if run.generation and not run.ended:
            self.account.batch.end_job(run.batch_job, f"stylizer: {reason}")
        run.stopping = False

    def close(self) -> None:
        """Take back what is being given, end every Batch job and let go of every run."""
        self.account.media.stop()
        self.giver.stopped.set()
        self.aside.shutdown(wait=True, cancel_futures=True)
        if self.telemetry:
            self.telemetry.close()
        for run in list(self.runs.values()):
            self._end(run, "stylizer was closed")
            if run.held_at:
                self.account.logs.release(f"{run.key}/lock", self.holder)

    # ---- look ----

    def _look(self, run: Run) -> None:
        if not run.generation:
            return
        run.looks += 1
        generation = run.generation
        try:
            job = self.account.batch.job(run.batch_job)
        except Missing:
            job = None
        over = job is None or said(job.state) in ("completed", "deleting", "terminating")
        ended = over and (job is None or said(job.state) != "terminating")
        tasks: list[m.BatchTask] = []
        if job is not None and (ended or run.looks % TASKS_EVERY == 0) and run.open():
            with suppress(Missing):
                tasks = list(self.account.batch.tasks(run.batch_job, only="completed"))
        self._hear(run)
        info = job.execution_info if job else None
        if job is not None and run.open():
            pools.check_started(job)
        for task in tasks:
            self._judge(run, task, over=over)
        run.pool = (info.pool_id if info else "") or run.pool
        hopeless = self.nodes.watch(run, job, ended=ended)
        if hopeless:
            self._end(run, "no node came")
            raise hopeless
        with self.lock:
            if generation != run.generation:
                # Another Batch job was made while this one was looked at.
                return
            run.ended = ended
            if ended and run.giving is None:
                reason = info.termination_reason if info else ""
                why = {
                    "MaxWallClockTimeExpiry": f"its {self.config.azure.wall_clock_hours:g} hours are over",
                    "": "it is gone from Azure",
                }.get(reason or "", "it was ended in Azure")
                left = [name for name in run.open() if run.entries[name].given and not run.entries[name].size]
                run.lose(left, f"The Batch job does not go on: {why}. What it had starts anew.")

    def _hear(self, run: Run) -> None:
        """What nodes wrote: one listing for all specs."""
        sizes = self.meters.sizes(run)
        usual = self.config.azure.vm_size
        for blob in self.account.logs.list(f"{run.key}/state/", metadata=True):
            with self.lock:
                size = sizes.get(blob.metadata.get("node", ""), usual).removeprefix("Standard_")
                wanted = run.hear(blob, f"azure ({size})")
            if wanted:
                name = blob.name.rpartition("/")[2].removesuffix(".failed")
                report = failure(name, self.account.logs.get_text(blob.name), self._log(run, name))
                with self.lock:
                    run.fail(name, report)
                self._ended(run, report)

    def _ended(self, run: Run, report: Report) -> None:
        if self.telemetry:
            self.telemetry.spec(run.job, report)

    def _judge(self, run: Run, task: m.BatchTask, *, over: bool) -> None:
        """A task that is complete: had its node nothing to say, Batch has. `over`: so is its job, or soon."""
        name, info = task.id, task.execution_info
        with self.lock:
            entry = run.entries.get(name)
            if entry is None or not entry.is_open or entry.size:
                return
        code = info.exit_code if info else None
        failed = info.failure_info if info else None
        if failed and failed.code == "TaskEnded":
            # With its job, which says why; or alone, in the portal.
            if not over:
                with self.lock:
                    run.lose([name], "The task was ended in Azure; it starts anew.")
            return
        log = self._log(run, name) or self.account.batch.task_text(run.batch_job, name, "stderr.txt")[-MOST_LOG:]
        if code == 2:
            error = clean(log.strip().splitlines()[-1]) if log.strip() else "The node does not understand its spec"
            report = Report(name, Phase.FAILED, error=f"{error}.", code="worker", retryable=False, log=log)
        elif failed and failed.code != "FailureExitCode":
            error = f"Azure could not carry out the task ({failed.code}: {clean(failed.message or '')})."
            report = Report(name, Phase.FAILED, error=error, code="task", log=log)
        else:
            error = f"The task ended without a word (exit code {code})."
            report = Report(name, Phase.FAILED, error=error, hint="See its log.", code="worker", log=log)
        with self.lock:
            if name in run.entries and run.entries[name].is_open:
                run.fail(name, report)
        self._ended(run, report)

    def _log(self, run: Run, name: str) -> str:
        try:
            return self.account.logs.get_text(log_name(run.key, name))[-MOST_LOG:]
        except Missing:
            return ""

    # ---- fetch ----

    def _fetch(self, run: Run) -> None:
        """Bring results home as they come."""
        with self.lock:
            painted = [entry for entry in run.entries.values() if entry.is_open and entry.size]
        for entry in painted:
            if entry.landing is None:
                entry.landing = self.aside.submit(self._land, run, entry)
            if not entry.landing.done():
                continue
            landing: Future[Report] = entry.landing
            entry.landing = None
            report = landing.result()
            with self.lock:
                entry.report = report
            self._ended(run, report)

    def _land(self, run: Run, entry: Entry) -> Report:
        name = entry.report.id
        notes: tuple[str, ...] = ()
        if entry.notes:
            notes = notes_in(self.account.logs.get_text(f"{run.key}/state/{name}.done"))
        try:
            if entry.spec is not None:
                land(self.account.media, run.key, entry.spec, entry.size)
        except (BackendRejected, OSError) as error:
            return replace(entry.report, phase=Phase.FAILED, error=str(error), code="output", retryable=True)
        return replace(entry.report, phase=Phase.DONE, notes=notes)

    # ---- find again ----

    def find(self, job: int) -> None:
        """The runs of a job that an earlier process submitted, as Batch and Blob have them."""
        found: dict[str, Run] = {}
        for one in self.account.batch.jobs(prefix_of(self.account.installation, job)):
            key, _, generation = (one.id or "").rpartition("-")
            run = found.setdefault(key, Run(key, job))
            if generation.isdecimal() and int(generation) > run.generation:
                run.generation = int(generation)
                run.ended = said(one.state) in ("completed", "deleting")
                run.pool = one.execution_info.pool_id or "" if one.execution_info else ""
        for run in found.values():
            for task in self.account.batch.tasks(run.batch_job):
                run.entries[task.id or ""] = Entry(Report(task.id or "", Phase.WAITING), given=True)
            run.idle_since = time.monotonic()
            with self.lock:
                known = self.runs.setdefault(run.key, run)
                if known is not run:
                    known.entries = {**run.entries, **known.entries}
            try:
                self._hold(known)
            except BackendRejected:
                # Driving it will say so. Until then its log and its meter are somebody else's.
                continue
            self._look(known)
