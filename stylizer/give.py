"""The runner's step `submit`: what is READY is given to backends, as `placement.share` says. The store says SUBMITTED
before a backend hears of it. And `recall`: what a cloud that is unwell has is taken back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from stylizer import placement
from stylizer.errors import BackendRejected, BackendUnavailable
from stylizer.estimate import FIT_STEPS, rate_here
from stylizer.jobs import ChunkState, Desired, Job, JobState
from stylizer.placement import Demand, Room, Share
from stylizer.rows import Fit
from stylizer.wire import Spec
from stylizer.work import HOME, UNDER_WAY, Given, Run, fail, is_auto, reject, spec_of, take_back

START_SECONDS = 300.0
"""Until rented machines begin, where it has not been measured."""
STEPS = {"cuda": 0.03, "mps": 0.1, "cpu": 0.35, "cloud": 0.03}
"""Seconds of one step of a fit on a kind of device, where none has been measured."""
RECALL_SECONDS = 120.0
"""A cloud that is unwell for so long loses what it has of jobs that are not bound to it."""


def submit(run: Run) -> None:
    """Give backends as much as they have room for."""
    if run.draining or run.held:
        return
    jobs = {job.id: job for job in run.jobs(JobState.FITTING, JobState.RENDERING, desired=(Desired.RUN,))}
    if not jobs:
        return
    rooms = _rooms(run, jobs.values())
    if not any(room.free for room in rooms.values() if not room.trouble):
        return
    # One transaction for all that is decided: each has to reach the disk before it counts.
    with run.store.transaction():
        demands = _demands(run, jobs.values(), rooms)
        now, burst = run.clock(), run.config.place.burst
        shares = placement.share(demands, rooms, home=HOME, cloud=run.cloud, burst=burst, now=now)
        _tell(run, shares, jobs, rooms)
        specs = _decided(run, [part for part in shares if part.count and _has_folder(run, part.job)], jobs)
    _give(run, specs)


def _decided(run: Run, shares: Sequence[Share], jobs: Mapping[int, Job]) -> dict[str, list[Spec]]:
    """Write down who gets what; what each backend is to be given."""
    specs: dict[str, list[Spec]] = {}
    with run.store.transaction():
        for part in shares:
            job, at = jobs[part.job], run.clock()
            for what in _chosen(run, job, part):
                if isinstance(what, Fit):
                    run.store.move_fit(job.id, ChunkState.SUBMITTED, backend=part.backend, submitted_at=at)
                else:
                    run.store.move_chunk(job.id, what.index, ChunkState.SUBMITTED, backend=part.backend, submitted_at=at)
                specs.setdefault(part.backend, []).append(spec_of(run, job, what))
                run.stopped.discard((job.id, part.backend))
    return specs


def _give(run: Run, specs: Mapping[str, Sequence[Spec]]) -> None:
    for name, given in specs.items():
        try:
            run.backend(name).submit(given)
        except BackendUnavailable as error:
            run.trouble(name, error)
        except BackendRejected as error:
            for number in {int(spec.id.partition("-")[0]) for spec in given}:
                reject(run, number, name, error)


def _chosen(run: Run, job: Job, part: Share) -> Sequence[Given]:
    if job.state is JobState.FITTING:
        fit = run.store.fit(job.id)
        return (fit,) if fit else ()
    return run.store.chunks(job.id, (ChunkState.READY,), most=part.count, from_end=part.from_end)


def _rooms(run: Run, jobs: Collection[Job]) -> dict[str, Room]:
    """The backends that these jobs may go to."""
    names = {job.backend for job in jobs if not is_auto(job)}
    if any(map(is_auto, jobs)) or any(_may_fit_here(run, job) for job in jobs):
        names |= {HOME, run.cloud} - {""}
    return {name: _room(run, name, jobs) for name in names}


def _room(run: Run, name: str, jobs: Collection[Job]) -> Room:
    """A backend with what it has and how fast it is."""
    kind = "cloud" if name == run.cloud else "cpu"
    if not run.is_well(name):
        return Room(name, kind, 0, 0, trouble=run.why_unwell(name))
    try:
        found = run.backend(name).capacity()
    except BackendUnavailable as error:
        run.trouble(name, error)
        return Room(name, kind, 0, 0, trouble=error.message)
    except BackendRejected as error:
        for job in jobs:
            if job.backend == name or is_auto(job):
                reject(run, job.id, name, error)
        return Room(name, kind, 0, 0, trouble=error.message)
    run.answers(name)
    rate = backlog = 0.0
    if run.cloud and run.config.place.burst != "never":
        rate = _rate(run, name if found.kind == "cloud" else found.kind)
        backlog = _backlog(run, name)
    delay = START_SECONDS if found.delay is None else found.delay
    return Room(
        name,
        found.kind,
        found.free,
        found.total,
        rate,
        backlog,
        delay if found.kind == "cloud" and not backlog else 0.0,
        _step(run, name if found.kind == "cloud" else found.kind) or STEPS.get(found.kind, STEPS["cpu"]),
    )


def _rate(run: Run, device: str) -> float:
    """Pixels a second of one device of that kind, as last measured at about 720p; 0 if never."""
    found = rate_here(run.store.measurements(), width=1280, height=720, device=device)
    return found[0] * 1280 * 720 if found else 0.0


def _step(run: Run, device: str) -> float:
    """Seconds of one step of a fit on a device of that kind, as last measured; 0 if never."""
    known = run.store.measurements()
    return next((m.fit_seconds_per_step for m in known if m.device.startswith(device) and m.fit_seconds_per_step > 0), 0.0)


def _may_fit_here(run: Run, job: Job) -> bool:
    """Whether the fit of a job that is bound to the cloud may as well be made here."""
    if job.state is not JobState.FITTING or job.backend != run.cloud or job.device != "auto":
        return False
    fit = run.store.fit(job.id)
    # What failed here is tried there.
    return fit is not None and not fit.failures


def _backlog(run: Run, name: str) -> float:
    """Pixels that a backend still has to paint."""
    total = 0.0
    sizes: dict[int, int] = {}
    for chunk in run.store.under_way():
        if chunk.backend == name:
            if chunk.job not in sizes:
                width, height = run.media.size(run.store.job(chunk.job))
                sizes[chunk.job] = width * height
            total += (len(chunk.frames) - chunk.frames_done) * sizes[chunk.job]
    return total


def _demands(run: Run, jobs: Iterable[Job], rooms: Mapping[str, Room]) -> list[Demand]:
    ready = run.store.ready()
    demands = []
    fitted = {run.media.checkpoint(run.store.job(fit.job)) for fit in run.store.fits_under_way()}
    for job in jobs:
        if not is_auto(job) and rooms[job.backend].trouble:
            continue
        if job.state is JobState.FITTING:
            count, pixels = int(_is_fit_ready(run, job, fitted)), 0.0
        else:
            count, frames = ready.get(job.id, (0, 0))
            width, height = run.media.size(job)
            pixels = float(frames * width * height)
        if count:
            is_fit, broke = job.state is JobState.FITTING, run.broke.get(job.id, "")
            steps = FIT_STEPS[job.look.quality] if _may_fit_here(run, job) else None
            demands.append(
                Demand(job.id, job.priority, job.position, job.backend, count, pixels, is_fit, steps, job.deadline, broke)
            )
    return demands


def _is_fit_ready(run: Run, job: Job, fitted: set[Path]) -> bool:
    """Whether the job's fit can be submitted. A look that is fitted, or is being `fitted` for another job, is not fitted
    twice.
    """
    fit, checkpoint = run.store.fit(job.id), run.media.checkpoint(job)
    if fit is None or fit.state is not ChunkState.READY:
        return False
    if run.media.is_whole(checkpoint):
        text = "The look was fitted for another job just now; painting starts."
        run.store.move(job.id, JobState.RENDERING, text, checkpoint=checkpoint)
        return False
    if checkpoint in fitted:
        return False
    fitted.add(checkpoint)
    return True


def _has_folder(run: Run, job: int) -> bool:
    """Whether the job's work files have a place to go; if not, it fails."""
    try:
        run.folder(job).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"The folder for unfinished work {run.work} cannot be written: {error.strerror or error}."
        fail(run, job, text, f"Free some space or check its owner; then stylizer retry {job}.")
        return False
    return True


def _tell(run: Run, shares: Iterable[Share], jobs: Mapping[int, Job], rooms: Mapping[str, Room]) -> None:
    """Say where a job is painted and why, once and whenever it changes."""
    for part in shares:
        job = jobs[part.job]
        if not part.why:
            continue
        if job.state is JobState.FITTING:
            if part.count and _may_fit_here(run, job) and run.placed.get((job.id, "fit")) != part.backend:
                run.placed[job.id, "fit"] = part.backend
                run.store.note(job.id, None, "machine", part.why)
            continue
        what = "The last chunks are" if part.from_end else "It is"
        where = "in the cloud" if rooms[part.backend].kind == "cloud" else "here"
        place = part.backend if not is_auto(job) else where
        text = f"{what} painted {'on ' if not is_auto(job) else ''}{place}: {part.why.rstrip('.')}."
        # How late, how many: these change all the time and are said once.
        heading = (part.backend, part.from_end, part.why.partition(" by ")[0])
        if part.count and run.placed.get((job.id, part.backend)) != heading:
            run.placed[job.id, part.backend] = heading
            run.store.note(job.id, None, "placed", text)


def recall(run: Run) -> None:
    """Take back what an unwell cloud has of jobs that may be painted here as well."""
    name = run.cloud
    since = run.unwell_since(name)
    if not name or since is None or run.clock() - since < RECALL_SECONDS:
        return
    for number in {what.job for what in run.under_way() if what.backend == name}:
        job = run.store.job(number)
        if is_auto(job):
            take_back(run, job, UNDER_WAY, backend=name)
            run.store.note(
                number, None, "placed", f"{name} is unwell for {RECALL_SECONDS / 60:.0f} min; it is painted here."
            )
