"""Each verb of a person once. Commands change what is desired in the store and return values; they print nothing.

What a command wants is carried out by the runner. Where no runner is at work, the command settles it itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

from stylizer.errors import ConfigError
from stylizer.jobs import FINISHED, ChunkState, Clip, Desired, Encoding, Job, JobState, Look, MediaKind, Quality
from stylizer.store import Store
from stylizer.views import UNFINISHED
from stylizer.wire import pack


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
