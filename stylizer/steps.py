"""The steps of the runner's loop, each a function of one Run. What they decide is in the store before they act on it.

- plan: queued jobs: is the source unchanged, what is finished already, is a fit needed
- collect (collect.py): what backends report of chunks and fits
- reconcile: what a person wants now: cancelled and paused jobs
- submit: ready fits and chunks, as many as there is room for
- assemble: jobs whose chunks are all done
- release: backends that nobody needs any more
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

from stylizer import plan as planning
from stylizer.errors import BackendRejected, BackendUnavailable, StoreError, StylizerError
from stylizer.files import digest_of
from stylizer.jobs import FINISHED, Chunk, ChunkState, Desired, Job, JobState
from stylizer.rows import Fit
from stylizer.wire import Spec
from stylizer.work import ACTIVE, UNDER_WAY, Given, Run, backend_of, fail, reject, spec_of, take_back


def plan(run: Run) -> None:
    """Take up queued jobs: check the source and what is finished already, then fit, or render at once."""
    for job in run.jobs(JobState.QUEUED):
        if job.desired is not Desired.RUN or run.draining or run.held:
            continue
        try:
            if job.id not in run.checking:
                run.backend(backend_of(job))
                run.media.check(job.clip)
                if not run.store.chunks(job.id):
                    run.store.cut(job.id, planning.cut(job.clip, run.config.run.chunk_seconds))
                run.checking[job.id] = run.aside.submit(_damaged, run.store.chunks(job.id, (ChunkState.DONE,)))
            if run.checking[job.id].done():
                _take_up(run, job, run.checking.pop(job.id).result())
        except StoreError:
            raise
        except StylizerError as error:
            fail(run, job.id, error.message, error.hint)


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
            store.move(job.id, JobState.FITTING, "The look is fitted to the clip.", fit_done=0, **started)


def reconcile(run: Run) -> None:
    """Bring what is so to what is wanted: jobs that are cancelled, paused or failed have nothing more under way."""
    # All jobs, in focus or not: nobody else can cancel while we run.
    for job in run.store.jobs((JobState.QUEUED, *ACTIVE)):
        if job.desired is Desired.CANCEL and job.id not in run.assembling:
            take_back(run, job, UNDER_WAY)
            run.checking.pop(job.id, None)
            run.store.move(job.id, JobState.CANCELLED, "Cancelled.", finished_at=run.clock())
            shutil.rmtree(run.folder(job.id), ignore_errors=True)
        elif job.desired is Desired.PAUSE or run.draining or run.held:
            take_back(run, job, (ChunkState.SUBMITTED,))
    for number in {what.job for what in run.under_way()}:
        job = run.store.job(number)
        if job.state in FINISHED:
            take_back(run, job, UNDER_WAY)


def submit(run: Run) -> None:
    """Give backends as much as they have room for. The store says SUBMITTED before a backend hears of it."""
    jobs = [job for job in run.jobs(JobState.FITTING, JobState.RENDERING) if job.desired is Desired.RUN]
    if run.draining or run.held or not jobs:
        return
    free = _room(run, jobs)
    if not any(free.values()):
        return
    ready: dict[tuple[int, int | None], Given] = {}
    waiting = []
    for job in jobs:
        for what in _ready(run, job, free.get(backend_of(job), 0)):
            index = None if isinstance(what, Fit) else what.index
            ready[job.id, index] = what
            waiting.append(planning.Waiting(job.id, index, job.priority, job.position, backend_of(job)))
    by_number = {job.id: job for job in jobs}
    chosen = _choose(run, waiting, free)
    given: dict[str, list[Spec]] = {}
    with run.store.transaction():
        for item in chosen:
            what = ready[item.job, item.index]
            if isinstance(what, Fit):
                run.store.move_fit(item.job, ChunkState.SUBMITTED, backend=item.backend, submitted_at=run.clock())
            else:
                run.store.move_chunk(
                    item.job, what.index, ChunkState.SUBMITTED, backend=item.backend, submitted_at=run.clock()
                )
            given.setdefault(item.backend, []).append(spec_of(run, by_number[item.job], what))
    for name, specs in given.items():
        try:
            run.backend(name).submit(specs)
        except BackendUnavailable as error:
            run.trouble(name, error)
        except BackendRejected as error:
            for number in {int(spec.id.partition("-")[0]) for spec in specs}:
                reject(run, number, error)


def _choose(run: Run, waiting: Sequence[planning.Waiting], free: Mapping[str, int]) -> list[planning.Waiting]:
    """What to submit, without jobs whose work files have no place to go: these fail."""
    chosen, refused = planning.place(waiting, free), set()
    for number in {item.job for item in chosen}:
        try:
            run.folder(number).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            refused.add(number)
            text = f"The folder for unfinished work {run.work} cannot be written: {error.strerror or error}."
            fail(run, number, text, f"Free some space or check its owner; then stylizer retry {number}.")
    return [item for item in chosen if item.job not in refused]


def _room(run: Run, jobs: Sequence[Job]) -> dict[str, int]:
    """How many more specs the backend of each of these jobs would take now."""
    free = {}
    for name in {backend_of(job) for job in jobs}:
        free[name] = 0
        try:
            if run.is_well(name):
                free[name] = run.backend(name).capacity().free
        except BackendUnavailable as error:
            run.trouble(name, error)
        except BackendRejected as error:
            for job in jobs:
                if backend_of(job) == name:
                    reject(run, job.id, error)
    return free


def _ready(run: Run, job: Job, most: int) -> Sequence[Given]:
    """At most so many chunks of a job that could be submitted, or its fit."""
    if not most:
        return ()
    if job.state is JobState.RENDERING:
        return run.store.chunks(job.id, (ChunkState.READY,), most=most)
    fit, checkpoint = run.store.fit(job.id), run.media.checkpoint(job)
    if fit is None or fit.state is not ChunkState.READY:
        return ()
    if run.media.is_whole(checkpoint):
        text = "The look was fitted for another job just now; painting starts."
        run.store.move(job.id, JobState.RENDERING, text, checkpoint=checkpoint)
        return ()
    others = (run.store.job(other.job) for other in run.store.fits_under_way())
    return () if any(run.media.checkpoint(other) == checkpoint for other in others) else (fit,)


def assemble(run: Run) -> None:
    """Put complete jobs together, aside."""
    publish(run)
    for job in run.jobs(JobState.RENDERING):
        if job.desired is not Desired.RUN:
            continue
        with run.store.transaction():
            tally = run.store.tally(job.id)
            if tally.done < tally.chunks:
                continue
            chunks = run.store.chunks(job.id)
            run.store.move(job.id, JobState.ASSEMBLING, "The chunks are put together.")
        files = [chunk.output for chunk in chunks if chunk.output]
        frames = sum(chunk.frames_done for chunk in chunks)
        run.assembling[job.id] = run.aside.submit(run.media.assemble, job, files, frames)


def publish(run: Run) -> None:
    """Write down what came of the jobs that were put together."""
    for number in [job for job, future in run.assembling.items() if future.done()]:
        future = run.assembling.pop(number)
        if not future.cancelled():
            _publish(run, run.store.job(number), future)


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
        shutil.rmtree(run.folder(job.id), ignore_errors=True)


def release(run: Run) -> None:
    """Let go of backends that no unfinished job needs."""
    needed = {backend_of(job) for job in run.jobs(*(state for state in JobState if state not in FINISHED))}
    needed |= {what.backend for what in run.under_way()}
    for name in [name for name in run.backends if name not in needed]:
        run.backends.pop(name).close()
