"""A backend without a machine: follows a script, by a clock that may be virtual, and writes tiny files. For demos and tests.

What a spec's output holds depends on the spec alone and not on its id, as with real backends.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from stylizer.backend import Capacity, Meter, Node, Phase, Report
from stylizer.config import Config
from stylizer.errors import BackendError, OutputError
from stylizer.estimate import Estimate, Measurement
from stylizer.files import digest_of
from stylizer.jobs import Clip, Look
from stylizer.wire import FitSpec, Spec, pack

FIT_STEPS = 100
GONE_SECONDS = 30.0
"""A machine that was taken from us is still told of for so long."""
SWAY = 0.06
"""Share by which the speed that is reported goes up and down."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one spec: it ends so, after that share of its work."""

    phase: Phase = Phase.DONE
    share: float = 1.0
    error: str = ""
    retryable: bool = True


@dataclass(slots=True)
class _Slot:
    """Where one spec is carried out at a time; with kind cloud a machine that is rented while it is needed."""

    worker: str
    """What reports call it."""
    node: str
    speed: float
    free_at: float = 0.0
    job: int = 0
    """Who pays for it."""
    state: str = ""
    """Of the machine; empty while none is rented."""
    since: float = 0.0

    def become(self, state: str, now: float) -> None:
        if state != self.state:
            self.state, self.since = state, now


@dataclass(frozen=True, slots=True)
class _Given:
    spec: Spec
    fate: Fate
    slot: _Slot
    start: float


class FakeBackend:
    """`slots` specs at once, `speed` frames (or steps of a fit) a second each, on `clock`; or with `workers` one slot for
    each name, at its own speed.

    A share `failures` of the specs fails and a share `losses` is lost, by `seed` and the spec's id; `script` decides all
    of it where it is given. `trouble`, while set, is raised by every verb: a backend that is unwell. `write` makes the
    output of a spec.

    With `kind` cloud its slots are rented machines of that `size`: each starts for `boot` seconds, is kept for `linger`
    seconds without work, and costs `price` an hour all the while.
    """

    def __init__(
        self,
        config: Config | None = None,  # noqa: ARG002  # all backends are made alike
        *,
        slots: int = 2,
        speed: float = 200.0,
        workers: Mapping[str, float] | None = None,
        failures: float = 0.0,
        losses: float = 0.0,
        seed: int = 0,
        script: Callable[[Spec], Fate] | None = None,
        write: Callable[[Spec, Path], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        name: str = "fake",
        kind: str = "cpu",
        price: Decimal = Decimal(0),
        boot: float = 0.0,
        linger: float = 0.0,
        fit_steps: int = FIT_STEPS,
        size: str = "an imagined GPU",
    ) -> None:
        self.name, self._kind, self._price, self._size = name, kind, price, size
        self._boot, self._linger, self._fit_steps = boot, linger, fit_steps
        self._spent: dict[int, Decimal] = {}
        self._metered_at = clock()
        self.trouble: BackendError | None = None
        self._clock = clock
        self._failures, self._losses, self._seed = failures, losses, seed
        self._script = script or self._by_chance
        self._write = write or write_tiny
        self._given: dict[str, _Given] = {}
        self._ended: dict[str, Report] = {}
        before = f"{name} " if kind == "cloud" else ""
        self._slots = [_Slot(before + worker, worker, pace) for worker, pace in (workers or {}).items()]
        self._slots = self._slots or [_Slot(name, f"{name}-{n}", speed) for n in range(slots)]

    def capacity(self) -> Capacity:
        self._check()
        self._settle()
        count = len(self._slots)
        free = max(0, count - len(self._given))
        delay = self._boot if self._kind == "cloud" else None
        return Capacity(count, free, f"{count} imagined devices", float(self._price), self._kind, delay=delay)

    # A fake is as fast in any look.
    def estimate(self, clip: Clip, look: Look, known: Sequence[Measurement] = ()) -> Estimate:  # noqa: ARG002
        seconds = clip.frames / sum(slot.speed for slot in self._slots)
        hours = Decimal((seconds + self._boot) / 3600)
        cost = round(hours * self._price * len(self._slots), 4) if self._price else None
        return Estimate(clip.frames, seconds + self._boot, cost, 0, "the script")

    def submit(self, specs: Sequence[Spec]) -> None:
        self._check()
        self._meter()
        now = self._clock()
        for spec in specs:
            if spec.id in self._given or spec.id in self._ended:
                continue
            slot = min(self._slots, key=lambda one: one.free_at)
            start = max(now, slot.free_at)
            if self._kind == "cloud" and slot.state not in ("running", "idle", "starting"):
                slot.become("starting" if self._boot else "running", now)
                start += self._boot
            given = _Given(spec, self._script(spec), slot, start)
            slot.free_at = start + self._work(spec) * given.fate.share / slot.speed
            slot.job = _job(spec.id)
            self._given[spec.id] = given

    def poll(self, ids: Collection[str]) -> Sequence[Report]:
        self._check()
        self._settle()
        return [self._report(name) for name in ids]

    def fetch(self, spec: Spec) -> Path:
        self._check()
        if not spec.output.exists():
            raise OutputError(f"The painted file {spec.output} is gone.")
        return spec.output

    def cancel(self, ids: Collection[str]) -> None:
        self._check()
        self._meter()
        for name in ids:
            self._given.pop(name, None)
            self._ended.pop(name, None)
        self._free()

    def meters(self) -> Sequence[Meter]:
        self._check()
        self._settle()
        return [self._metered(job) for job in sorted(self._spent)]

    def stop_spending(self, job: int) -> None:
        self._check()
        self.cancel([name for name in self._given if _job(name) == job])
        for slot in self._slots:
            if slot.job == job:
                slot.become("", self._clock())

    def close(self) -> None:
        self._given.clear()
        self._ended.clear()
        self._free()
        for slot in self._slots:
            slot.become("", self._clock())

    def _work(self, spec: Spec) -> int:
        return self._fit_steps if isinstance(spec, FitSpec) else len(spec.frames)

    def _check(self) -> None:
        if self.trouble:
            raise self.trouble

    def _free(self) -> None:
        """What is left on each slot decides when it is free."""
        for slot in self._slots:
            ends = [
                given.start + self._work(given.spec) * given.fate.share / slot.speed
                for given in self._given.values()
                if given.slot is slot
            ]
            slot.free_at = max(ends, default=0.0)

    def _by_chance(self, spec: Spec) -> Fate:
        chance = random.Random(f"{self._seed} {spec.id}")  # noqa: S311  # a script, not a secret
        drawn, share = chance.random(), chance.random()
        if drawn < self._failures:
            return Fate(Phase.FAILED, share)
        if drawn < self._failures + self._losses:
            return Fate(Phase.LOST, share)
        return Fate()

    def _done(self, given: _Given) -> int:
        return max(0, int((self._clock() - given.start) * given.slot.speed + 1e-9))

    def _meter(self) -> None:
        """Bring the rented machines up to now, and count what they have cost since the last time."""
        now = self._clock()
        hours, self._metered_at = Decimal(now - self._metered_at) / 3600, now
        if self._kind != "cloud":
            return
        at_work = {id(given.slot): given for given in self._given.values() if given.start <= now}
        needed = {id(given.slot) for given in self._given.values()}
        for slot in self._slots:
            given = at_work.get(id(slot))
            if given:
                slot.job = _job(given.spec.id)
                slot.become("running", given.start if slot.state == "starting" else now)
            elif slot.state == "running" or (slot.state == "starting" and id(slot) not in needed):
                slot.become("idle", now)
            if slot.state in ("starting", "running", "idle"):
                self._spent[slot.job] = self._spent.get(slot.job, Decimal(0)) + hours * self._price
            if slot.state in ("idle", "preempted"):
                kept = self._linger if slot.state == "idle" else GONE_SECONDS
                slot.become(slot.state if now - slot.since < kept else "", now)

    def _metered(self, job: int) -> Meter:
        rented = [slot for slot in self._slots if slot.job == job and slot.state]
        prices = [Decimal(0) if slot.state == "preempted" else self._price for slot in rented]
        nodes = tuple(
            Node(slot.node, slot.state, self._size, True, slot.since, price)
            for slot, price in zip(rented, prices, strict=True)
        )
        per_hour, spent = sum(prices, Decimal(0)), round(self._spent[job], 6)
        return Meter(job, spent, per_hour, "USD", "imagined prices", self._clock(), nodes, not per_hour)

    def _settle(self) -> None:
        """Write the outputs of what has ended by now."""
        self._meter()
        for name, given in list(self._given.items()):
            work, fate, slot = self._work(given.spec), given.fate, given.slot
            if self._done(given) < work * fate.share:
                continue
            del self._given[name]
            if fate.phase is Phase.DONE:
                _publish(given.spec, self._write)
                digest, seconds = digest_of(given.spec.output), work / slot.speed
                self._ended[name] = Report(
                    name, Phase.DONE, work, work, slot.speed, slot.worker, digest=digest, seconds=seconds
                )
            elif fate.phase is Phase.FAILED:
                error = fate.error or "The fake worker was told to fail."
                self._ended[name] = Report(
                    name, Phase.FAILED, worker=slot.worker, error=error, retryable=fate.retryable, log=error
                )
            else:
                self._ended[name] = Report(name, Phase.LOST, error=fate.error)
                if self._kind == "cloud":
                    slot.become("preempted", self._clock())

    def _report(self, name: str) -> Report:
        if name in self._ended:
            return self._ended[name]
        given = self._given.get(name)
        if given is None:
            return Report(name, Phase.LOST)
        since = self._clock() - given.start
        if since < 0:
            return Report(name, Phase.WAITING)
        work, slot = self._work(given.spec), given.slot
        fps = slot.speed * (1 + SWAY * math.sin(since))
        return Report(name, Phase.RUNNING, min(work, self._done(given)), work, fps, slot.worker)


def _job(name: str) -> int:
    return int(name.partition("-")[0])


def _publish(spec: Spec, write: Callable[[Spec, Path], None]) -> None:
    spec.output.parent.mkdir(parents=True, exist_ok=True)
    part = spec.output.with_name(spec.output.name + ".part")
    write(spec, part)
    # Not settled on the disk: what is imagined need not survive a power cut.
    part.replace(spec.output)


def write_tiny(spec: Spec, part: Path) -> None:
    """The least that passes for the output of a spec."""
    if isinstance(spec, FitSpec):
        # One byte of weights.
        header = json.dumps({"fake": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
        part.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    else:
        part.write_text(json.dumps({"frames": pack(spec.frames), "look": pack(spec.look)}), encoding="utf-8")
