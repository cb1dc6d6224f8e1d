"""How jobs stand, as a person looks at them: read from the store, with the time that is left. Nothing is changed here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from stylizer.errors import ConfigError
from stylizer.estimate import RENTED, Measurement, rest_of
from stylizer.estimate import time_left as estimated
from stylizer.files import glimpse_of
from stylizer.jobs import FINISHED, Chunk, ChunkState, Desired, Event, Job, JobState, Quality
from stylizer.ledger import Money, RunnerRow, day_of
from stylizer.rows import Tally
from stylizer.store import Store

ACTIVE = (JobState.FITTING, JobState.RENDERING, JobState.ASSEMBLING)
UNFINISHED = tuple(state for state in JobState if state not in FINISHED)
MOST_WAITING = 3
"""Queued jobs that are named beside those at work; the others are counted."""
WARM_FRAMES = 8
"""A chunk that has painted fewer frames says nothing yet of its speed."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as a person looks at it."""

    job: Job
    tally: Tally
    """Frames and chunks, by state; frames_total is the clip's, also before it is cut."""
    fps: float
    """Frames a second that it is painted with now; 0 when nothing of it is being painted."""
    eta: float | None
    """Seconds of work left for this job alone; None where nothing is known yet, or nothing is left."""
    basis: str
    """What the eta rests on."""
    elapsed: float
    """Seconds since it was first started, until it was finished."""
    place: int | None
    """Place in the queue, 1 is first; None for a job that is finished."""
    money: tuple[Money, ...] = ()
    """What rented machines have cost for it, by backend."""

    @property
    def share(self) -> float:
        """Painted part of the clip, 0..1."""
        return self.tally.frames_done / self.tally.frames_total if self.tally.frames_total else 0.0


@dataclass(frozen=True, slots=True)
class Status:
    jobs: tuple[JobView, ...]
    """In the order of the queue; where some were left out, those that are finished first."""
    counts: Mapping[tuple[JobState, Desired], int]
    """Jobs in each state, by what is wanted of them; of all, also those that are not in `jobs`."""
    running: bool
    """Whether a runner is at work; without one nothing moves."""
    eta: float | None
    """Seconds for all that is left, one job after the other; None as soon as one of them is unknown."""
    runner: RunnerRow
    today: Decimal
    """What rented machines have cost since midnight."""

    def count(self, states: Collection[JobState], desired: Collection[Desired] = tuple(Desired)) -> int:
        """How many jobs are in any of these states, of which any of these is wanted."""
        return sum(n for (state, want), n in self.counts.items() if state in states and want in desired)

    def of(self, job: int) -> JobView:
        """ConfigError if there is no such job."""
        for view in self.jobs:
            if view.job.id == job:
                return view
        raise ConfigError(f"There is no job {job}.", hint="See stylizer status for those that there are.")


@dataclass(frozen=True, slots=True)
class Detail:
    """One job, down to its chunks and its history."""

    view: JobView
    chunks: tuple[Chunk, ...]
    events: tuple[Event, ...]
    """The newest ones, oldest first."""


@dataclass(frozen=True, slots=True)
class AtWork:
    """What is being worked on, for a screen that is drawn often."""

    views: tuple[JobView, ...]
    """Jobs that are being worked on, then the first ones that wait."""
    more: int
    """So many others wait."""


def picture_of(job: Job) -> Path | None:
    """The small frame that shows how a job's painting takes shape while its look is fitted, once there is one."""
    found = glimpse_of(job.checkpoint) if job.checkpoint else None
    return found if found and found.is_file() else None


def status(store: Store, most: int | None = None) -> Status:
    """How the jobs stand now, consistent with one another. `most`: of those that wait, the first so many, and of those that
    are finished, the last; the others are only counted, which is quick however many there are. None: all.
    """
    with store.reading():
        if most is None:
            jobs, tallies = store.jobs(), store.tallies()
        else:
            jobs = [*store.finished(most), *store.jobs(ACTIVE), *store.jobs((JobState.QUEUED,), most=most)]
            tallies = {job.id: store.tally(job.id) for job in jobs}
        known, counts, runner = store.measurements(), store.counts(), store.runner()
        today = store.spent_on(day_of(time.time()))
        queue = {job: place for place, job in enumerate(store.ids(UNFINISHED), 1)}
        costs: dict[int, list[Money]] = {}
        for one in store.money():
            costs.setdefault(one.meter.job, []).append(one)
        views = tuple(
            view(store, job, tallies.get(job.id), known, queue.get(job.id), tuple(costs.get(job.id, ()))) for job in jobs
        )
        etas = [view.eta for view in views if view.job.state not in FINISHED and view.job.desired is Desired.RUN]
        etas += [] if most is None else _etas_of_others(store, {job.id for job in jobs}, known)
    total = sum(eta for eta in etas if eta is not None) if etas and None not in etas else None
    return Status(views, counts, store.has_runner(), total, runner, today)


def _etas_of_others(store: Store, but: Collection[int], known: Sequence[Measurement]) -> list[float | None]:
    """Seconds left of the wanted jobs but these. One that is not begun stands for all that are painted at its pace."""
    begun = [store.job(number) for number in store.begun() if number not in but]
    etas = [_eta(store, job, store.tally(job.id), known)[0] for job in begun]
    for number, frames, jobs in store.untouched(but):
        etas.append(time_left(store.job(number), Tally(frames_total=frames), (), known, jobs=jobs)[0])
    return etas


def detail(store: Store, job: int, events: int = 200) -> Detail:
    """One job as it stands now. ConfigError if there is no such job."""
    with store.reading():
        found, known = store.job(job), store.measurements()
        queue = store.ids(UNFINISHED)
        place = queue.index(job) + 1 if job in queue else None
        looked = view(store, found, store.tally(job), known, place, tuple(store.money(job)))
        return Detail(looked, tuple(store.chunks(job)), tuple(store.events(job=job, most=events)))


def at_work(store: Store, jobs: Collection[int] | None = None) -> AtWork:
    """What of these jobs (None: all) is being worked on; quick however long the queue is."""
    with store.reading():
        known = store.measurements()
        active = [job for job in store.jobs(ACTIVE) if jobs is None or job.id in jobs]
        queued = [number for number in store.ids((JobState.QUEUED,)) if jobs is None or number in jobs]
        shown = [*active, *map(store.job, queued[:MOST_WAITING])]
        views = tuple(
            view(store, job, store.tally(job.id), known, None, tuple(store.money(job.id)))
            if job.state in ACTIVE
            else view(store, job, None, known, None)
            for job in shown
        )
    return AtWork(views, len(queued) - len(shown) + len(active))


def view(
    store: Store,
    job: Job,
    tally: Tally | None,
    known: list[Measurement],
    place: int | None,
    money: tuple[Money, ...] = (),
) -> JobView:
    """A job as a person looks at it, from what the caller has read of it; `tally` None: it is not cut yet."""
    if tally is None or not tally.chunks:
        tally = Tally(frames_total=job.clip.frames)
    eta, basis = (None, "") if job.state in FINISHED else _eta(store, job, tally, known)
    elapsed = (job.finished_at or time.time()) - job.started_at if job.started_at else 0.0
    pace = store.rates(job.id, 1) if tally.running and not tally.fps else []
    # A chunk that has only begun has no pace yet: the last one's stands for it.
    fps = tally.fps or sum(pace) * tally.running
    return JobView(job, tally, fps, eta, basis, max(0.0, elapsed), place, money)


def _eta(store: Store, job: Job, tally: Tally, known: Sequence[Measurement]) -> tuple[float | None, str]:
    """Seconds left and what they rest on: this job's own pace as soon as it has one, else what was measured before."""
    warm = [
        chunk.fps
        for chunk in (store.chunks(job.id, (ChunkState.RUNNING,)) if tally.running else ())
        if chunk.fps > 0 and chunk.frames_done >= (1 if job.look.quality is Quality.REFERENCE else WARM_FRAMES)
    ]
    return time_left(job, tally, (store.rates(job.id) if tally.done else []) + warm, known)


def time_left(
    job: Job, tally: Tally, own: Sequence[float], known: Sequence[Measurement], *, now: float | None = None, jobs: int = 1
) -> tuple[float | None, str]:
    """Seconds left of an unfinished job and what they rest on, with the frames a second of its `own` chunks, each on its own
    device; (None, "") where nothing is known. `jobs`: it stands for so many, whose frames the tally counts.
    """
    is_reference = job.look.quality is Quality.REFERENCE
    rest = replace(rest_of(job.clip, job.look), frames=tally.frames_total - tally.frames_done, joined=tally.frames_total)
    if job.state is JobState.QUEUED:
        # Others are before it: when it begins, a worker is at work. What is painted in part has been fitted.
        fits = 0 if tally.frames_done else jobs
        rest = replace(rest, start=None, steps=rest.steps * fits, fits=fits)
    elif job.state is JobState.FITTING:
        waited = (time.time() if now is None else now) - (job.started_at or 0.0)
        begun = job.fit_done > 0
        rest = replace(rest, start=None if begun else waited, steps=rest.steps - job.fit_done, fits=0 if begun else 1)
    else:
        rest = replace(rest, start=None, steps=0, fits=0)
    if is_reference and not own:
        # The speed of the network says nothing of it.
        return None, ""
    # The median: one chunk that hung or was cheap says little of the others.
    pace = statistics.median(own) * max(1, tally.running) if own else 0.0
    device = RENTED if job.backend == RENTED else "" if job.device == "auto" else job.device
    found = estimated(rest, known, pace, device=device, precision="" if job.precision == "auto" else job.precision)
    return (found.seconds, found.basis) if found else (None, "")
