"""Each verb of a person once. Commands change what is desired in the store and return values; they print nothing.

What a command wants is carried out by the runner. Where no runner is at work, the command settles it itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
from stylizer.jobs import (
    FINISHED,
    Chunk,
    ChunkState,
    Clip,
    Desired,
    Encoding,
    Event,
    Job,
    JobState,
    Look,
    MediaKind,
    Quality,
)
from stylizer.ledger import Money, RunnerRow, day_of
from stylizer.rows import Tally
from stylizer.store import Store
from stylizer.wire import pack

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


def key_of(clip: Clip, look: Look, encoding: Encoding, output: Path, precision: str) -> str:
    """Hash of all that makes the output what it is and where. Backend and device are not part: they only carry it out."""
    parts = [clip.fingerprint, _real(clip.path), pack(look), pack(encoding), _real(output), precision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def add(
    store: Store,
    clip: Clip,
    look: Look,
    encoding: Encoding,
    output: Path,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    again: bool = False,
    priority: int = 0,
    max_cost: float = 0.0,
    deadline: float | None = None,
) -> Job:
    """The job for this, queued unless it is done already and its output still exists (`again` queues it all the same).

    The same job is found again and carries on, on the backend and device asked for now. ConfigError if `output` is the
    source or a style, or if another unfinished job writes it.
    """
    output = output.absolute()
    backend = _place(look, backend)
    _check_output(clip, look, output)
    key = key_of(clip, look, encoding, output, precision)
    with store.transaction():
        _check_free(store, output, key)
        known = store.find(key)
        if known is None:
            return store.add(
                key,
                clip,
                look,
                encoding,
                output,
                backend=backend,
                device=device,
                precision=precision,
                priority=priority,
                max_cost=max_cost,
                deadline=deadline,
            )
        if known.state is JobState.DONE and output.exists() and not again:
            return known
        due = deadline or known.deadline
        store.change(known.id, backend=backend, device=device, max_cost=max_cost, deadline=due, desired=Desired.RUN)
        if known.state is JobState.DONE:
            _paint_anew(store, known)
        elif known.state in FINISHED:
            _queue_again(store, known, "It is tried again.")
        elif known.desired is not Desired.RUN:
            store.note(known.id, None, "resumed", "It goes on.")
        return store.job(known.id)


def _place(look: Look, backend: str) -> str:
    """The backend that a look may be painted on if this one is asked for; ConfigError if there is none."""
    if look.quality is not Quality.REFERENCE:
        return backend
    if backend not in ("", "auto", "local"):
        hint = "Leave --backend out, or choose --quality high."
        raise ConfigError(f"The quality reference is painted on this machine alone, not on {backend}.", hint=hint)
    return "local"


def cancel(store: Store, job: int, work: Path | None = None) -> Job:
    """End a job; what it has painted is thrown away. Its work files in `work` go at once if no runner is there to do it."""
    with store.without_runner() as alone, store.transaction():
        found = store.job(job)
        if found.state in FINISHED:
            return found
        found = store.change(job, "cancelling", "It is to be cancelled.", desired=Desired.CANCEL)
        if not alone:
            return found
        for chunk in store.chunks(job, (ChunkState.SUBMITTED, ChunkState.RUNNING)):
            store.move_chunk(job, chunk.index, ChunkState.READY)
        found = store.move(job, JobState.CANCELLED, "Cancelled.", finished_at=time.time())
    if work:
        shutil.rmtree(work / str(job), ignore_errors=True)
    return found


def pause(store: Store, job: int) -> Job:
    """Start nothing more of a job; what is being painted is finished. ConfigError if it is finished."""
    with store.transaction():
        found = store.job(job)
        if found.state in FINISHED:
            raise ConfigError(f"Job {job} is {found.state}; only a job that is not finished can be paused.")
        if found.desired is Desired.PAUSE:
            return found
        return store.change(job, "paused", "It is paused.", desired=Desired.PAUSE)


def resume(store: Store, job: int) -> Job:
    """Carry on with a paused job. ConfigError if it is finished."""
    with store.transaction():
        found = store.job(job)
        if found.state in FINISHED:
            hint = f"To try it again: stylizer retry {job}"
            raise ConfigError(f"Job {job} is {found.state} and cannot be resumed.", hint=hint)
        if found.desired is Desired.RUN:
            return found
        return store.change(job, "resumed", "It goes on.", desired=Desired.RUN)


def hold(store: Store, held: bool) -> None:
    """Pause the whole queue, also what is still to come into it, or let it go on."""
    with store.transaction():
        if store.runner().held is not held:
            store.hold(held)
            store.note(None, None, "queue", "The queue is paused." if held else "The queue goes on.")


def send_to(store: Store, job: int, backend: str) -> Job:
    """Let another backend (or auto) have what is still to be painted of a job. ConfigError if it is finished."""
    with store.transaction():
        found = store.job(job)
        backend = _place(found.look, backend)
        if found.state in FINISHED:
            raise ConfigError(f"Job {job} is {found.state}.", hint=f"To try it elsewhere: stylizer retry {job} --backend ‥")
        return store.change(job, "placed", f"What is left of it goes to {backend}.", backend=backend)


def retry(store: Store, job: int, backend: str = "") -> Job:
    """Try a failed or cancelled job again, on another backend if one is named; finished chunks are kept. ConfigError for
    a job in another state.
    """
    with store.transaction():
        found = store.job(job)
        if found.state not in (JobState.FAILED, JobState.CANCELLED):
            hint = f"To paint it anew: stylizer redo {job}" if found.state is JobState.DONE else ""
            raise ConfigError(f"Job {job} is {found.state}; only a failed or cancelled one can be tried again.", hint=hint)
        store.change(job, desired=Desired.RUN, backend=_place(found.look, backend or found.backend))
        return _queue_again(store, found, "It is tried again.")


def redo(store: Store, job: int, chunk: int | None = None) -> Job:
    """Paint one chunk anew, or the whole job, and put the clip together again.

    ConfigError if it does not exist or is at work. The work files of a job that is DONE are gone, so that all of its
    chunks are painted anew, whichever is named.
    """
    with store.transaction():
        found = store.job(job)
        state = None if chunk is None else store.chunk(job, chunk).state
        if state in (ChunkState.SUBMITTED, ChunkState.RUNNING):
            raise ConfigError(f"Chunk {chunk} of job {job} is being painted right now.")
        if found.state is JobState.ASSEMBLING or (chunk is None and found.state not in FINISHED):
            raise ConfigError(f"Job {job} is {found.state}.", hint="Wait until it is done, or cancel it first.")
        store.change(job, desired=Desired.RUN)
        if found.state is JobState.DONE or chunk is None:
            return _paint_anew(store, found)
        if state is not ChunkState.READY:
            store.move_chunk(job, chunk, ChunkState.READY, f"Chunk {chunk} is painted anew.", failures=0, error="")
        return _queue_again(store, found, "It is tried again.") if found.state in FINISHED else store.job(job)


def remove(store: Store, job: int, work: Path | None = None) -> None:
    """Forget a finished job and its work files; its output stays. ConfigError if it is not finished."""
    with store.transaction():
        found = store.job(job)
        if found.state not in FINISHED:
            raise ConfigError(f"Job {job} is {found.state}.", hint=f"Cancel it first: stylizer cancel {job}")
        if store.tally(job).under_way and store.has_runner():
            raise ConfigError(f"Job {job} is just being stopped.", hint="Try again in a moment.")
        store.remove(job)
    if work:
        shutil.rmtree(work / str(job), ignore_errors=True)


def move(store: Store, job: int, place: int | None = None, priority: int | None = None) -> Job:
    """Give a job another priority (higher goes first), another place in the queue (1 is first), or both.

    A place among jobs of another priority takes that priority. ConfigError if the job is finished.
    """
    with store.transaction():
        found = store.job(job)
        if found.state in FINISHED:
            raise ConfigError(f"Job {job} is {found.state} and is not in the queue.")
        if priority is not None:
            store.change(job, priority=priority)
        others = [other for other in _queue(store) if other.id != job]
        if place is not None and others:
            at = min(max(0, place - 1), len(others))
            level = others[min(at, len(others) - 1)].priority
            before = [other.position for other in others[:at] if other.priority == level]
            after = [other.position for other in others[at:] if other.priority == level]
            low = before[-1] if before else after[0] - 2
            high = after[0] if after else low + 2
            store.change(job, priority=level, position=(low + high) / 2)
        store.note(job, None, "moved", "Its place in the queue was changed.")
        return store.job(job)


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


def _queue(store: Store) -> list[Job]:
    return store.jobs(UNFINISHED)


def _queue_again(store: Store, job: Job, text: str) -> Job:
    _check_free(store, job.output, job.key)
    for chunk in store.chunks(job.id, (ChunkState.FAILED,)):
        store.move_chunk(job.id, chunk.index, ChunkState.READY, failures=0, error="")
    fit = store.fit(job.id)
    if fit and fit.state is ChunkState.FAILED:
        store.move_fit(job.id, ChunkState.READY, failures=0)
    return store.move(job.id, JobState.QUEUED, text, error="", hint="", finished_at=None)


def _paint_anew(store: Store, job: Job) -> Job:
    for chunk in store.chunks(job.id, (ChunkState.DONE, ChunkState.FAILED)):
        store.move_chunk(job.id, chunk.index, ChunkState.READY, failures=0, error="")
    return _queue_again(store, job, "It is painted anew.")


def _check_free(store: Store, output: Path, key: str) -> None:
    for other in store.writing_to(output):
        if other.key != key and other.state not in FINISHED:
            raise ConfigError(
                f"Job {other.id} already writes {output}, in another look or from another clip.",
                hint=f"Give another name with --output, or end that job: stylizer cancel {other.id}",
            )


def _check_output(clip: Clip, look: Look, output: Path) -> None:
    if _same(output, clip.path):
        raise ConfigError(f"The output {output} is the source itself.", hint="Give another name with --output.")
    if clip.kind is MediaKind.SEQUENCE and _same(output.parent, clip.path):
        raise ConfigError(f"The output {output} is inside the source folder.", hint="Give a folder elsewhere with --output.")
    if any(_same(output, style.path) for style in look.styles):
        raise ConfigError(f"The output {output} is the style picture.", hint="Give another name with --output.")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return _real(one) == _real(other)


def _real(path: Path) -> str:
    return os.path.realpath(path)
