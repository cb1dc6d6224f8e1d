"""How a clip is painted by machines that boot, take chunk after chunk, are taken away and come back: by events, seeded.

The look is fitted first. Then machines are asked for; each is allocated, boots, and paints one chunk after the other from a
queue that all of its part share. One that is taken away gives its chunks back to the queue, from their beginning, and
another one boots in its place. A machine that finds no work is kept for a while. When all is painted, it is joined.

What machines are like is not known here: that is the word of measurements and of who rents them out.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MOST_SECONDS = 90 * 86400.0
"""What takes longer never ends: chunks that are so long that a machine is always taken away before they are done."""
NINE_TENTHS = 1.645
"""Standard deviations within which nine of ten lie."""


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines of one kind. Times are seconds; those that stand here have no boots and cost nothing."""

    name: str
    count: int
    seconds_a_frame: float
    slots: int = 1
    """Chunks that one paints at once, each at that pace."""
    within: float = 1.0
    """The pace is right within this factor, nine times of ten; all of a kind are as far off."""
    start_seconds: float = 0.0
    """Of each chunk, before its first frame."""
    asked_seconds: float = 0.0
    """From the asking until one is allocated; it costs nothing meanwhile."""
    boots: tuple[float, ...] = (0.0,)
    """From its allocation until one takes work: each time one of these."""
    taken_per_hour: float = 0.0
    """How often one is taken away in an hour."""
    away_seconds: float = 0.0
    """From then until another is allocated in its place."""
    kept_seconds: float = math.inf
    """That one without work is kept."""
    leave_seconds: float = 0.0
    """From the end of its work until one no longer costs anything."""
    per_hour: float = 0.0
    """What one costs, from its allocation on."""


@dataclass(frozen=True, slots=True)
class Part:
    """Chunks, by their frames, and the machines that take them from one queue."""

    chunks: tuple[int, ...]
    machines: tuple[Machines, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """A clip in one look. Its parts are painted at the same time, each by its own machines."""

    parts: tuple[Part, ...]
    fit_seconds: float = 0.0
    fits_there: bool = False
    """The look is fitted by the first machine of the first part, and the others are asked for after that; else it is fitted
    before any is asked for, and costs nothing.
    """
    join_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """How it went, once. Times are seconds from the beginning."""

    seconds: float
    """Until all is joined; infinite if it never ends."""
    fitted: float
    painted: float
    cost: float
    taken: int
    """Machines that were taken away."""
    again: int
    """Chunks that were begun anew."""
    changes: tuple[tuple[float, int, int], ...]
    """When how many machines more (or fewer) began to boot, and how many chunks to be painted; in no order."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected, from many courses."""

    seconds: float
    """The median."""
    seconds_most: float
    """Nine of ten courses take no longer."""
    cost: float
    cost_most: float
    taken: float
    """Machines, on the average."""
    course: Course
    """The one that takes the median of the time."""


def simulate(work: Work, dice: random.Random) -> Course:
    """One course of the work."""
    off = [[_off(kind.within, dice) for kind in part.machines] for part in work.parts]
    fitted = 0.0 if work.fits_there else work.fit_seconds
    ends = [
        _Queue(part, factors, dice).run(fitted, work.fit_seconds if work.fits_there and not n else 0.0)
        for n, (part, factors) in enumerate(zip(work.parts, off, strict=True))
    ]
    painted = max((end.seconds for end in ends), default=fitted)
    return Course(
        painted + work.join_seconds,
        max((end.fitted for end in ends), default=fitted),
        painted,
        sum(end.cost for end in ends),
        sum(end.taken for end in ends),
        sum(end.again for end in ends),
        tuple(itertools.chain.from_iterable(end.changes for end in ends)),
    )


def forecast(work: Work, *, trials: int = 60, seed: int = 1) -> Forecast:
    """The median and what nine of ten courses keep to; the same seed gives the same numbers."""
    # Each course has dice of its own, so that two works that are compared meet the same luck.
    dice = (random.Random(seed * 1_000_003 + trial) for trial in range(trials))  # noqa: S311 - nothing is secret here
    courses = sorted((simulate(work, one) for one in dice), key=lambda one: one.seconds)
    costs = sorted(one.cost for one in courses)
    middle, most = (trials - 1) // 2, math.ceil(0.9 * trials) - 1
    return Forecast(
        courses[middle].seconds,
        courses[most].seconds,
        costs[middle],
        costs[most],
        sum(one.taken for one in courses) / trials,
        courses[middle],
    )


def _off(within: float, dice: random.Random) -> float:
    """A factor that is the truth over the guess: 1 in the middle, nine of ten times within 1/within..within."""
    return math.exp(dice.gauss(0.0, math.log(within) / NINE_TENTHS)) if within > 1 else 1.0


@dataclass(slots=True)
class _Machine:
    kind: Machines
    pace: float
    """Seconds a frame."""
    place: int
    life: int = 0
    """What was to happen to an earlier life of it no longer does."""
    ready: bool = False
    given: int = 0
    """Chunks that it was ever given."""
    since: float | None = None
    """When it began to cost; None while it costs nothing."""
    at_work: set[int] = field(default_factory=set)
    """Chunks."""


_FIT = -1
"""The chunk that is no chunk: the fit."""
_Event = tuple[float, int, Callable[[_Machine, int], None], _Machine, int, int]
"""When, a number that keeps the order, what, to which machine in which life, with which chunk."""


class _Queue:
    """One part at work."""

    def __init__(self, part: Part, factors: Sequence[float], dice: random.Random) -> None:
        self.part = part
        self.dice = dice
        self.now = self.cost = self.fitted = 0.0
        self.taken = self.again = 0
        self.left = len(part.chunks)
        self.changes: list[tuple[float, int, int]] = []
        self._fit_seconds = 0.0
        self._waiting: deque[int] = deque()
        self._events: list[_Event] = []
        self._order = itertools.count()
        self._machines = [
            _Machine(kind, kind.seconds_a_frame * factor, 0)
            for kind, factor in zip(part.machines, factors, strict=True)
            for _ in range(kind.count)
        ]
        self._machines.sort(key=lambda one: one.pace)
        for place, machine in enumerate(self._machines):
            machine.place = place
        self._free: list[int] = []
        """Places of machines that may have a free slot, the quickest first."""

    @property
    def seconds(self) -> float:
        """When the last chunk was done."""
        return self.now if not self.left else math.inf

    def run(self, begin: float, fit_seconds: float) -> _Queue:
        """Go through it; with a fit it is the first thing to do, and the first machine is asked for alone."""
        self.now, self._fit_seconds = begin, fit_seconds
        if fit_seconds:
            self._waiting.append(_FIT)
            self._ask(self._machines[:1])
        else:
            self.fitted = begin
            self._waiting.extend(range(len(self.part.chunks)))
            self._ask(self._machines)
        while self.left and self._events:
            at, _, action, machine, life, chunk = heapq.heappop(self._events)
            if at > MOST_SECONDS:
                break
            if life == machine.life:
                self.now = at
                action(machine, chunk)
        for machine in self._machines:
            self._stop_cost(machine, self.now + machine.kind.leave_seconds)
        return self

    def _after(self, seconds: float, action: Callable[[_Machine, int], None], machine: _Machine, chunk: int = 0) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action, machine, machine.life, chunk))

    def _ask(self, machines: Sequence[_Machine]) -> None:
        for machine in machines:
            self._after(machine.kind.asked_seconds, self._allocated, machine)

    # ---- what happens to a machine ----

    def _allocated(self, machine: _Machine, _: int) -> None:
        kind = machine.kind
        machine.since = self.now
        self.changes.append((self.now, 1, 0))
        self._after(self.dice.choice(kind.boots), self._booted, machine)
        if taken := kind.taken_per_hour / 3600:
            self._after(self.dice.expovariate(taken), self._lost, machine)

    def _booted(self, machine: _Machine, _: int) -> None:
        machine.ready = True
        self.changes.append((self.now, -1, 0))
        self._is_free(machine)

    def _lost(self, machine: _Machine, _: int) -> None:
        self.taken += 1
        self.changes.append((self.now, 0 if machine.ready else -1, -len(machine.at_work)))
        self.again += len(machine.at_work)
        chunks = sorted(machine.at_work)
        self._end_life(machine, self.now)
        self._after(machine.kind.away_seconds, self._back, machine)
        self._waiting.extend(chunks)
        self._give()

    def _back(self, machine: _Machine, chunk: int) -> None:
        """Another one in its place, if there is still something for it to do."""
        if self._waiting:
            self._allocated(machine, chunk)

    def _idle(self, machine: _Machine, given: int) -> None:
        """It has found no work for as long as one is kept, if it was given none since."""
        if not machine.at_work and machine.given == given:
            self._end_life(machine, self.now + machine.kind.leave_seconds)

    def _end_life(self, machine: _Machine, until: float) -> None:
        self._stop_cost(machine, until)
        machine.life += 1
        machine.ready = False
        machine.at_work.clear()

    def _stop_cost(self, machine: _Machine, until: float) -> None:
        if machine.since is not None:
            self.cost += machine.kind.per_hour * (until - machine.since) / 3600
            machine.since = None

    # ---- what happens to a chunk ----

    def _is_free(self, machine: _Machine) -> None:
        heapq.heappush(self._free, machine.place)
        self._give()
        if not machine.at_work and machine.kind.kept_seconds < math.inf:
            self._after(machine.kind.kept_seconds, self._idle, machine, machine.given)

    def _give(self) -> None:
        """Let free machines take what waits."""
        while self._waiting and self._free:
            machine = self._machines[self._free[0]]
            if not machine.ready or len(machine.at_work) >= machine.kind.slots:
                heapq.heappop(self._free)
                continue
            chunk = self._waiting.popleft()
            machine.at_work.add(chunk)
            machine.given += 1
            self.changes.append((self.now, 0, 1))
            self._after(self._seconds(machine, chunk), self._done, machine, chunk)

    def _seconds(self, machine: _Machine, chunk: int) -> float:
        painting = self._fit_seconds if chunk == _FIT else self.part.chunks[chunk] * machine.pace
        return machine.kind.start_seconds + painting

    def _done(self, machine: _Machine, chunk: int) -> None:
        machine.at_work.discard(chunk)
        self.changes.append((self.now, 0, -1))
        if chunk == _FIT:
            self.fitted = self.now
            self._waiting.extend(range(len(self.part.chunks)))
            self._ask([one for one in self._machines if one is not machine])
        else:
            self.left -= 1
        self._is_free(machine)
