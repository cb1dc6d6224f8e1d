"""The steps of the runner's loop, each a function of one Run. What they decide is in the store before they act on it.

- plan: queued jobs: is the source unchanged, what is finished already, is a fit needed
- collect (collect.py): what backends report of chunks and fits
- reconcile: what a person wants now: cancelled and paused jobs
- submit (give.py): ready fits and chunks, as many as there is room for; before it recall: what an unwell cloud has
- meter (money.py): what rented machines have cost, and an end to them before it is too much
- assemble: jobs whose chunks are all done
- release: backends that nobody needs any more
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from itertools import chain

from stylizer import plan as planning
from stylizer.errors import StoreError, StylizerError
from stylizer.estimate import Measurement
from stylizer.files import digest_of
from stylizer.jobs import FINISHED, Chunk, ChunkState, Desired, FrameRange, Job, JobState
from stylizer.work import ACTIVE, HOME, UNDER_WAY, Run, fail, is_auto, take_back

MOST_AT_ONCE = 16
"""Jobs of one backend that are taken up; the others wait in the queue, where they can still be moved."""
RELEASE_SECONDS = 10.0


def plan(run: Run) -> None:
    """Take up queued jobs, the first ones of each backend: check the source and what is finished already, then fit, or
    render at once.
    """
    if run.draining or run.held:
        return
    taken = Counter(job.backend for job in run.jobs(JobState.FITTING, JobState.RENDERING, desired=(Desired.RUN,)))
    wanted = run.store.backends_wanted()
    queues = (
        run.jobs(JobState.QUEUED, desired=(Desired.RUN,), backend=name, most=max(0, MOST_AT_ONCE - taken[name]))
        for name in wanted
    )
    looked_at = [_look_at(run, job) for job in chain.from_iterable(queues)]
    if not looked_at:
        return
    # One transaction for all of them: each has to reach the disk before it counts.
    with run.store.transaction():
        for job, parts, error in looked_at:
            if error:
                fail(run, job.id, error.message, error.hint)
            elif job.id not in run.checking:
                run.store.cut(job.id, parts)
                run.checking[job.id] = run.aside.submit(_damaged, run.store.chunks(job.id, (ChunkState.DONE,)))
            elif run.checking[job.id].done():
                _take_up(run, job, run.checking.pop(job.id).result())


def _look_at(run: Run, job: Job) -> tuple[Job, Sequence[FrameRange], StylizerError | None]:
    """A queued job, the chunks that it still has to be cut into, and why it cannot be painted."""
    try:
        run.media.checkpoint(job)
        if job.id in run.checking:
            return job, (), None
        run.backend(HOME if is_auto(job) else job.backend)
        run.media.check(job.clip)
        return job, () if run.store.tally(job.id).chunks else _ranges(run, job), None
    except StoreError:
        raise
    except StylizerError as error:
        return job, (), error


def _ranges(run: Run, job: Job) -> list[FrameRange]:
    """The job's chunks: as long as suits the cloud that it is bound to, which is said; else as the settings have them."""
    if is_auto(job) or job.backend != run.cloud:
        return planning.cut(job.clip, run.config.run.chunk_seconds)
    found = run.backend(job.backend).estimate(job.clip, job.look, run.store.measurements())
    if not found.chunk_frames:
        return planning.cut(job.clip, run.config.run.chunk_seconds)
    parts = planning.cut_to(job.clip, found.chunk_frames)
    count = "1 chunk" if len(parts) == 1 else f"{len(parts)} chunks of {len(parts[0])} frames"
    money = "" if found.cost is None else f" and {found.cost:.{2 if found.cost >= 1 else 3}f} {found.currency}"
    text = f"About {found.seconds / 60:.0f} min{money} on {job.backend}, without the fit, in {count} ({found.basis})."
    run.store.note(job.id, None, "machine", text)
    return parts


def _damaged(chunks: Iterable[Chunk]) -> list[int]:
    """Which finished chunks are not there as they were: from a run that a power cut ended, or cleaned away."""
    bad = []
    for chunk in chunks:
        try:
            whole = chunk.output is not None and digest_of(chunk.output) == chunk.digest
        except OSError:
            whole = False
        if not whole:
            bad.append(chunk.index)
    return bad


def _take_up(run: Run, job: Job, bad: list[int]) -> None:
    store = run.store
    checkpoint = run.media.checkpoint(job)
    with store.transaction():
        for index in bad:
            if store.chunk(job.id, index).state is ChunkState.DONE:
                store.move_chunk(job.id, index, ChunkState.READY, f"The file of chunk {index} is gone; it is painted anew.")
        chunks = store.chunks(job.id)
        if failed := [chunk for chunk in chunks if chunk.state is ChunkState.FAILED]:
            fail(run, job.id, failed[0].error, "")
            return
        started = {"started_at": job.started_at or run.clock()}
        if all(chunk.state is ChunkState.DONE for chunk in chunks):
            store.move(job.id, JobState.RENDERING, "All of it is painted already.", **started)
        elif run.media.is_whole(checkpoint):
            text = "The look is fitted already; painting starts."
            store.move(job.id, JobState.RENDERING, text, checkpoint=checkpoint, **started)
        else:
            checkpoint.unlink(missing_ok=True)
            fit = store.fit(job.id)
            if fit is None or fit.state not in UNDER_WAY:
                store.move_fit(job.id, ChunkState.READY)
            text = "The look is fitted to the clip."
            store.move(job.id, JobState.FITTING, text, checkpoint=checkpoint, fit_done=0, **started)


def reconcile(run: Run) -> None:
    """Bring what is so to what is wanted: jobs that are cancelled, paused or failed have nothing more under way."""
    # All jobs, in focus or not: nobody else can cancel while we run.
    pausing = run.draining or run.held
    wanted = tuple(Desired) if pausing else (Desired.CANCEL, Desired.PAUSE)
    for job in [*run.store.jobs((JobState.QUEUED,), (Desired.CANCEL,)), *run.store.jobs(ACTIVE, wanted)]:
        if job.desired is Desired.CANCEL and job.id not in run.assembling:
            take_back(run, job, UNDER_WAY)
            run.checking.pop(job.id, None)
            run.store.move(job.id, JobState.CANCELLED, "Cancelled.", finished_at=run.clock())
            shutil.rmtree(run.folder(job.id), ignore_errors=True)
        else:
            take_back(run, job, (ChunkState.SUBMITTED,))
    for number in {what.job for what in run.under_way()}:
        job = run.store.job(number)
        if job.state in FINISHED:
            take_back(run, job, UNDER_WAY)


def assemble(run: Run) -> None:
    """Put complete jobs together, aside."""
    publish(run)
    complete = [number for number in run.store.complete() if run.focus is None or number in run.focus]
    if not complete:
        return
    with run.store.transaction():
        jobs = [run.store.move(number, JobState.ASSEMBLING, "The chunks are put together.") for number in complete]
    for job in jobs:
        chunks = run.store.chunks(job.id)
        files = [chunk.output for chunk in chunks if chunk.output]
        frames = sum(chunk.frames_done for chunk in chunks)
        run.joining_since[job.id] = run.clock()
        run.assembling[job.id] = run.aside.submit(run.media.assemble, job, files, frames)


def publish(run: Run) -> None:
    """Write down what came of the jobs that were put together."""
    ended = {job: future for job, future in run.assembling.items() if future.done()}
    if not ended:
        return
    with run.store.transaction():
        for number, future in ended.items():
            del run.assembling[number]
            if not future.cancelled():
                _publish(run, run.store.job(number), future)
    # Not before: what they were made of is needed until it is written down that they are made.
    for number in ended:
        if run.store.job(number).state is JobState.DONE:
            shutil.rmtree(run.folder(number), ignore_errors=True)


def _publish(run: Run, job: Job, future: Future[Sequence[str]]) -> None:
    try:
        notes = future.result()
    except StylizerError as error:
        fail(run, job.id, error.message, error.hint)
    except OSError as error:
        hint = f"Free some space or choose another place; then stylizer retry {job.id}: nothing is painted twice."
        fail(run, job.id, f"The output {job.output} cannot be written: {error.strerror or error}.", hint)
    else:
        with run.store.transaction():
            for note in notes:
                run.store.note(job.id, None, "note", note)
            run.store.move(job.id, JobState.DONE, f"{job.output.name} is done.", finished_at=run.clock())
            _measure_join(run, job)


def _measure_join(run: Run, job: Job) -> None:
    """How long a frame took to be put together, kept with the device that painted it."""
    seconds = (run.clock() - run.joining_since.pop(job.id)) / max(1, job.clip.frames)
    device, (width, height) = run.store.chunk(job.id, 0).worker, run.media.size(job)
    if device:
        now = run.clock()
        run.store.measure(Measurement(device, job.precision, width, height, 0.0, 0.0, now, join_seconds_per_frame=seconds))


def release(run: Run) -> None:
    """Let go of backends that no unfinished job needs."""
    if run.clock() < run.released_at + RELEASE_SECONDS:
        return
    run.released_at = run.clock()
    needed = {name or "auto" for name in run.store.backends_wanted()}
    if "auto" in needed:
        needed |= {HOME, run.cloud}
    needed |= {what.backend for what in run.under_way()}
    for name in [name for name in run.backends if name not in needed and not run.costs(name)]:
        run.backends.pop(name).close()
