"""A backend without a machine: follows a script, by a clock that may be virtual, and writes tiny files. For demos and tests.

What a spec's output holds depends on the spec alone and not on its id, as with real backends.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from stylizer.backend import Capacity, Meter, Node, Phase, Report
from stylizer.config import Config
from stylizer.errors import BackendError, OutputError
from stylizer.estimate import Estimate
from stylizer.files import digest_of, settle
from stylizer.jobs import Clip, Look
from stylizer.wire import FitSpec, Spec, pack

FIT_STEPS = 100


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one spec: it ends so, after that share of its work."""

    phase: Phase = Phase.DONE
    share: float = 1.0
    error: str = "The fake worker was told to fail."
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class _Given:
    spec: Spec
    fate: Fate
    start: float


class FakeBackend:
    """`slots` specs at once, `speed` frames (or steps of a fit) a second each, on `clock`.

    A share `failures` of the specs fails and a share `losses` is lost, by `seed` and the spec's id; `script` decides all
    of it where it is given. `trouble`, while set, is raised by every verb: a backend that is unwell.

    With `kind` cloud its slots are rented machines: each costs `price` an hour from when it is given work until it has done
    all of it.
    """

    def __init__(
        self,
        config: Config | None = None,  # noqa: ARG002  # all backends are made alike
        *,
        slots: int = 2,
        speed: float = 200.0,
        failures: float = 0.0,
        losses: float = 0.0,
        seed: int = 0,
        script: Callable[[Spec], Fate] | None = None,
        clock: Callable[[], float] = time.monotonic,
        name: str = "fake",
        kind: str = "cpu",
        price: Decimal = Decimal(0),
    ) -> None:
        self.name, self._kind, self._price = name, kind, price
        self._spent: dict[int, Decimal] = {}
        self._metered_at = clock()
        self.trouble: BackendError | None = None
        self._slots, self._speed, self._clock = slots, speed, clock
        self._failures, self._losses, self._seed = failures, losses, seed
        self._script = script or self._by_chance
        self._given: dict[str, _Given] = {}
        self._ended: dict[str, Report] = {}
        self._free_at = [0.0] * slots

    def capacity(self) -> Capacity:
        self._check()
        self._settle()
        free = max(0, self._slots - len(self._given))
        return Capacity(self._slots, free, f"{self._slots} imagined devices", float(self._price), self._kind)

    def estimate(self, clip: Clip, look: Look) -> Estimate:  # noqa: ARG002  # a fake is as fast in any look
        return Estimate(clip.frames, clip.frames / (self._speed * self._slots), None, 0, "the script")

    def submit(self, specs: Sequence[Spec]) -> None:
        self._check()
        self._meter()
        for spec in specs:
            if spec.id in self._given or spec.id in self._ended:
                continue
            slot = self._free_at.index(min(self._free_at))
            start = max(self._clock(), self._free_at[slot])
            given = _Given(spec, self._script(spec), start)
            self._free_at[slot] = start + _work(spec) * given.fate.share / self._speed
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
        if not self._given:
            self._free_at = [0.0] * self._slots

    def meters(self) -> Sequence[Meter]:
        self._check()
        self._settle()
        return [self._metered(job) for job in sorted(self._spent)]

    def stop_spending(self, job: int) -> None:
        self._check()
        self.cancel([name for name in self._given if _job(name) == job])

    def close(self) -> None:
        self._given.clear()
        self._ended.clear()
        self._free_at = [0.0] * self._slots

    def _check(self) -> None:
        if self.trouble:
            raise self.trouble

    def _by_chance(self, spec: Spec) -> Fate:
        chance = random.Random(f"{self._seed} {spec.id}")  # noqa: S311  # a script, not a secret
        drawn, share = chance.random(), chance.random()
        if drawn < self._failures:
            return Fate(Phase.FAILED, share)
        if drawn < self._failures + self._losses:
            return Fate(Phase.LOST, share)
        return Fate()

    def _done(self, given: _Given) -> int:
        return max(0, int((self._clock() - given.start) * self._speed + 1e-9))

    def _meter(self) -> None:
        """Count what the slots that are at work have cost since the last time."""
        now = self._clock()
        hours, self._metered_at = Decimal(now - self._metered_at) / 3600, now
        if self._price:
            for name, given in self._given.items():
                if given.start <= now:
                    self._spent[_job(name)] = self._spent.get(_job(name), Decimal(0)) + hours * self._price

    def _metered(self, job: int) -> Meter:
        given = {name: one for name, one in self._given.items() if _job(name) == job and one.start <= self._clock()}
        nodes = tuple(
            Node(f"{self.name}-{n}", "running", "an imagined GPU", True, one.start, self._price)
            for n, one in enumerate(given.values())
        )
        spent = round(self._spent[job], 6)
        return Meter(job, spent, self._price * len(nodes), "USD", "the script", self._clock(), nodes, not nodes)

    def _settle(self) -> None:
        """Write the outputs of what has ended by now."""
        self._meter()
        for name, given in list(self._given.items()):
            work, fate = _work(given.spec), given.fate
            if self._done(given) < work * fate.share:
                continue
            del self._given[name]
            if fate.phase is Phase.DONE:
                _write(given.spec)
                digest, seconds = digest_of(given.spec.output), work / self._speed
                self._ended[name] = Report(
                    name, Phase.DONE, work, work, self._speed, self.name, digest=digest, seconds=seconds
                )
            elif fate.phase is Phase.FAILED:
                self._ended[name] = Report(
                    name, Phase.FAILED, worker=self.name, error=fate.error, retryable=fate.retryable, log=fate.error
                )

    def _report(self, name: str) -> Report:
        if name in self._ended:
            return self._ended[name]
        given = self._given.get(name)
        if given is None:
            return Report(name, Phase.LOST)
        if given.start > self._clock():
            return Report(name, Phase.WAITING)
        work = _work(given.spec)
        return Report(name, Phase.RUNNING, min(work, self._done(given)), work, self._speed, self.name)


def _job(name: str) -> int:
    return int(name.partition("-")[0])


def _work(spec: Spec) -> int:
    return FIT_STEPS if isinstance(spec, FitSpec) else len(spec.frames)


def _write(spec: Spec) -> None:
    spec.output.parent.mkdir(parents=True, exist_ok=True)
    part = spec.output.with_name(spec.output.name + ".part")
    if isinstance(spec, FitSpec):
        # The smallest file that passes for a checkpoint: one byte of weights.
        header = json.dumps({"fake": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
        part.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    else:
        part.write_text(json.dumps({"frames": pack(spec.frames), "look": pack(spec.look)}), encoding="utf-8")
    settle(part, spec.output)
