"""The store as it stands now, kept up to date by what has changed. No Textual, no I/O."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from stylizer import views
from stylizer.backend import Node
from stylizer.estimate import Measurement
from stylizer.gauges import Gauge
from stylizer.jobs import FINISHED, Chunk, ChunkState, Event, Job, JobState, RunnerDesired
from stylizer.ledger import Money, RunnerRow
from stylizer.rows import Tally
from stylizer.views import WARM_FRAMES, JobView

UNDER_WAY = (ChunkState.SUBMITTED, ChunkState.RUNNING)
MOST_RATES = 9
"""Finished chunks that say how fast a job is painted."""
MOST_EVENTS = 1000
NO_RUNNER = RunnerRow(0, 0.0, RunnerDesired.RUN, held=False, inbox="")


@dataclass(slots=True)
class News:
    """What has changed in the store since the last time. None: not looked at, or as before."""

    jobs: Sequence[Job] = ()
    chunks: Sequence[Chunk] = ()
    """In the order in which they changed."""
    events: Sequence[Event] = ()
    kept: frozenset[int] | None = None
    """The jobs that there still are, where some were removed."""
    money: Sequence[Money] | None = None
    forgotten: Decimal | None = None
    """What jobs have cost today that were removed since."""
    runner: RunnerRow | None = None
    alive: bool | None = None
    """Whether a runner is at work."""
    known: Sequence[Measurement] | None = None
    arrivals: Counter[str] | None = None
    """Files of all inboxes by state."""
    gauges: Sequence[Gauge] | None = None
    trouble: str | None = None
    """Why the store cannot be read just now; empty once it can."""

    def __bool__(self) -> bool:
        return bool(self.jobs or self.chunks or self.events) or any(
            one is not None
            for one in (
                self.kept,
                self.money,
                self.runner,
                self.alive,
                self.known,
                self.arrivals,
                self.gauges,
                self.trouble,
            )
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What a screen has to show anew."""

    jobs: frozenset[int] = frozenset()
    """Of which something changed, down to their chunks."""
    order: bool = False
    """Jobs came, went, or changed their place or state."""
    events: tuple[Event, ...] = ()
    first: bool = False
    """All of it: the store was just opened."""


@dataclass(slots=True)
class Now:
    """Jobs, chunks and all around them."""

    jobs: dict[int, Job] = field(default_factory=dict)
    chunks: dict[int, dict[int, Chunk]] = field(default_factory=dict)
    """By job and index."""
    tallies: dict[int, Tally] = field(default_factory=dict)
    under_way: dict[int, dict[int, Chunk]] = field(default_factory=dict)
    """Those of the chunks that some backend has; no entry for a job without any."""
    rates: dict[int, deque[float]] = field(default_factory=dict)
    """Frames a second of the newest finished chunks of each job."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    money: dict[int, tuple[Money, ...]] = field(default_factory=dict)
    forgotten: Decimal = Decimal(0)
    runner: RunnerRow = NO_RUNNER
    alive: bool = False
    known: Sequence[Measurement] = ()
    arrivals: Counter[str] = field(default_factory=Counter)
    gauges: Sequence[Gauge] = ()
    trouble: str = ""
    is_open: bool = False
    """Whether the store was read at least once."""
    _queue: list[int] | None = None

    def apply(self, news: News) -> Changes:
        """Take in what is new."""
        touched = {job.id for job in news.jobs} | {chunk.job for chunk in news.chunks}
        order = news.kept is not None or not self.is_open
        for job in news.jobs:
            order = order or _moves(self.jobs.get(job.id), job)
            self.jobs[job.id] = job
        for chunk in news.chunks:
            self._take(chunk)
        if news.kept is not None:
            self._keep(news.kept)
        if order:
            self._queue = None
        self.events.extend(news.events)
        touched |= self._take_money(news.money)
        self.forgotten = self.forgotten if news.forgotten is None else news.forgotten
        self.runner = self.runner if news.runner is None else news.runner
        self.alive = self.alive if news.alive is None else news.alive
        self.known = self.known if news.known is None else news.known
        self.arrivals = self.arrivals if news.arrivals is None else news.arrivals
        self.gauges = self.gauges if news.gauges is None else news.gauges
        self.trouble = self.trouble if news.trouble is None else news.trouble
        first, self.is_open = not self.is_open and not self.trouble, self.is_open or not self.trouble
        return Changes(frozenset(touched & self.jobs.keys()), order, tuple(news.events), first)

    # ---- what is asked of it ----

    @property
    def queue(self) -> list[int]:
        """All jobs: first in the queue first, as the store sorts them."""
        if self._queue is None:
            jobs = sorted(self.jobs.values(), key=lambda job: (-job.priority, job.position, job.id))
            self._queue = [job.id for job in jobs]
        return self._queue

    def place(self, job: int) -> int | None:
        """Place among the unfinished, 1 is first; None for a finished one."""
        if self.jobs[job].state in FINISHED:
            return None
        ahead = self.queue[: self.queue.index(job)]
        return 1 + sum(self.jobs[other].state not in FINISHED for other in ahead)

    def view(self, job: int, now: float) -> JobView:
        """One job as a person looks at it at that time."""
        found = self.jobs[job]
        tally = self.tallies.get(job) or Tally(frames_total=found.clip.frames)
        rates = self.rates.get(job, ())
        eta, basis = None, ""
        if found.state not in FINISHED:
            running = self.under_way.get(job, {}).values() if tally.running else ()
            warm = [chunk.fps for chunk in running if chunk.fps > 0 and chunk.frames_done >= WARM_FRAMES]
            eta, basis = views.time_left(found, tally, [*rates, *warm], self.known, now=now)
        elapsed = max(0.0, (found.finished_at or now) - found.started_at) if found.started_at else 0.0
        fps = tally.fps or (rates[-1] * tally.running if rates and tally.running else 0.0)
        return JobView(found, tally, fps, eta, basis, elapsed, None, self.money.get(job, ()))

    def workers(self) -> dict[str, tuple[str, float]]:
        """Who paints now: backend and frames a second of each worker. Nobody does where the runner is gone."""
        found: dict[str, tuple[str, float]] = {}
        for chunks in self.under_way.values() if self.alive else ():
            for chunk in chunks.values():
                if chunk.state is ChunkState.RUNNING and chunk.worker:
                    found[chunk.worker] = chunk.backend, found.get(chunk.worker, ("", 0.0))[1] + chunk.fps
        return found

    @property
    def is_painting_here(self) -> bool:
        """Whether this machine has something to fit or to paint."""
        fitting = any(job.state is JobState.FITTING for job in self.jobs.values())
        chunks = (chunk for of_job in self.under_way.values() for chunk in of_job.values())
        return self.alive and (fitting or any(chunk.backend == "local" for chunk in chunks))

    def nodes(self) -> list[Node]:
        """All machines that are rented now."""
        meters = (one.meter for of_job in self.money.values() for one in of_job)
        return [node for meter in meters if not meter.final for node in meter.nodes]

    def spent(self, now: float) -> Decimal:
        """Money of the local day of that time."""
        midnight = time.mktime((*time.localtime(now)[:3], 0, 0, 0, 0, 0, -1))
        days = (one.today for of_job in self.money.values() for one in of_job if one.meter.at >= midnight)
        return sum(days, self.forgotten)

    @property
    def currency(self) -> str:
        return next((one.meter.currency for of_job in self.money.values() for one in of_job), "")

    # ---- how it is kept ----

    def _take(self, chunk: Chunk) -> None:
        of_job = self.chunks.setdefault(chunk.job, {})
        tally = self.tallies.get(chunk.job, Tally())
        before = of_job.get(chunk.index)
        if before:
            tally = _counted(tally, before, -1)
        of_job[chunk.index] = chunk
        self.tallies[chunk.job] = _counted(tally, chunk, 1)
        if chunk.state in UNDER_WAY:
            self.under_way.setdefault(chunk.job, {})[chunk.index] = chunk
        elif chunk.job in self.under_way:
            self.under_way[chunk.job].pop(chunk.index, None)
            if not self.under_way[chunk.job]:
                del self.under_way[chunk.job]
        if chunk.state is ChunkState.DONE and chunk.fps > 0 and (not before or before.state is not ChunkState.DONE):
            self.rates.setdefault(chunk.job, deque(maxlen=MOST_RATES)).append(chunk.fps)

    def _keep(self, kept: frozenset[int]) -> None:
        for gone in self.jobs.keys() - kept:
            for table in (self.jobs, self.chunks, self.tallies, self.under_way, self.rates, self.money):
                table.pop(gone, None)

    def _take_money(self, money: Sequence[Money] | None) -> set[int]:
        if money is None:
            return set()
        found: dict[int, tuple[Money, ...]] = {}
        for one in money:
            found[one.meter.job] = (*found.get(one.meter.job, ()), one)
        before, self.money = self.money, found
        return {job for job in found.keys() | before.keys() if found.get(job) != before.get(job)}


def _moves(before: Job | None, job: Job) -> bool:
    if before is None:
        return True
    keys = ((one.priority, one.position, one.state, one.desired) for one in (before, job))
    return next(keys) != next(keys)


def _counted(tally: Tally, chunk: Chunk, sign: int) -> Tally:
    """The tally with one chunk more, or one less."""
    length, name = len(chunk.frames), chunk.state.value
    done = {ChunkState.DONE: length, ChunkState.RUNNING: min(chunk.frames_done, length)}.get(chunk.state, 0)
    fps = tally.fps + sign * chunk.fps if chunk.state is ChunkState.RUNNING else tally.fps
    counts = {name: getattr(tally, name) + sign}
    running = counts.get("running", tally.running)
    return replace(
        tally,
        frames_total=tally.frames_total + sign * length,
        frames_done=tally.frames_done + sign * done,
        # Rounding must not leave a trace of chunks that are no longer painted.
        fps=max(0.0, fps) if running else 0.0,
        **counts,
    )


def counts(jobs: Iterable[Job]) -> Counter[JobState]:
    """How many jobs are in each state."""
    return Counter(job.state for job in jobs)
