"""The runner's step `collect`: what backends report of chunks and fits is checked and written down."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from stylizer.backend import Backend, Phase, Report
from stylizer.errors import BackendRejected, BackendUnavailable, ConfigError, OutputError, StylizerError
from stylizer.estimate import Measurement
from stylizer.files import digest_of
from stylizer.jobs import FINISHED, ChunkState, Job, JobState, Quality
from stylizer.rows import Fit
from stylizer.work import Given, Run, anew, fail, reject, spec_of

WARM_STEPS = 8
"""Of a fit, before its pace says something."""
COMMAND_SECONDS = 3.0
"""A process that began no longer before a job than this was started for it."""
SCARCE_BYTES = 64 << 20
"""With less room than this on the disk, a chunk that could not be written is not tried again."""


def collect(run: Run) -> None:
    """Ask each backend what became of what it was given, and write it down."""
    given: dict[str, dict[str, Given]] = {}
    for what in run.under_way():
        given.setdefault(what.backend, {})[what.id] = what
    for name, asked in given.items():
        if not run.is_well(name):
            continue
        try:
            reports = run.backend(name).poll(asked)
        except BackendUnavailable as error:
            run.trouble(name, error)
            continue
        except (BackendRejected, ConfigError) as error:
            for job in {what.job for what in asked.values()}:
                reject(run, job, name, error)
            continue
        run.answers(name)
        # Files are looked at before the store is: then one transaction takes in all that was said.
        heard = [
            (asked[report.id], *_looked_at(run, asked[report.id], report, name)) for report in reports if report.id in asked
        ]
        with run.store.transaction():
            for what, report, path in heard:
                _hear(run, what, report, path, name)


def _looked_at(run: Run, what: Given, report: Report, name: str) -> tuple[Report, Path | None]:
    """A report as it is believed, and the file that is done: one that cannot be had is a failure."""
    if report.phase is not Phase.DONE:
        return report, None
    try:
        return report, _fetched(run, what, report, run.backend(name))
    except BackendUnavailable as error:
        run.trouble(name, error)
        return Report(report.id, Phase.WAITING), None
    except (StylizerError, OSError) as error:
        hint = error.hint if isinstance(error, StylizerError) else ""
        return Report(report.id, Phase.FAILED, error=str(error), hint=hint, code="output"), None


def _hear(run: Run, what: Given, report: Report, path: Path | None, name: str) -> None:
    if report.phase is Phase.LOST:
        anew(run, what, report.error or f"{_called(what)} was lost on {name}; it starts anew.")
    elif report.phase is Phase.FAILED:
        _failed(run, what, report)
    elif report.phase is Phase.RUNNING:
        _running(run, what, report)
    elif path:
        _finished(run, what, report, path)


def _called(what: Given) -> str:
    return "The fit" if isinstance(what, Fit) else f"Chunk {what.index}"


def _running(run: Run, what: Given, report: Report) -> None:
    with run.store.transaction():
        if isinstance(what, Fit):
            if what.state is ChunkState.SUBMITTED:
                run.store.move_fit(what.job, ChunkState.RUNNING)
            job = run.store.job(what.job)
            if (job.fit_done, job.fit_total) != (report.done, report.total):
                run.store.change(what.job, fit_done=report.done, fit_total=report.total)
                if report.done >= WARM_STEPS and report.fps > 0:
                    # At once: the estimate of what is left rests on how fast it goes now.
                    _measure(run, job, report, step=1 / report.fps)
            return
        if what.state is ChunkState.SUBMITTED:
            run.store.move_chunk(what.job, what.index, ChunkState.RUNNING, worker=report.worker)
        if what.frames_done != report.done:
            run.store.progress(what.job, what.index, report.done, report.fps, report.worker)


def _fetched(run: Run, what: Given, report: Report, backend: Backend) -> Path:
    """The file, believed only when it is here and is the one that the worker wrote."""
    path = backend.fetch(spec_of(run, run.store.job(what.job), what))
    if digest_of(path) != report.digest:
        raise OutputError(f"{_called(what)} is not the file that its worker wrote.", hint="Check the disk.")
    return path


def _finished(run: Run, what: Given, report: Report, path: Path) -> None:
    store, job = run.store, run.store.job(what.job)
    pace = report.done / report.seconds if report.seconds > 0 else 0.0
    # The first that is done in a run tells how long it took to start.
    start = 0.0 if what.backend in run.begun else _waited(run, job, report)
    run.begun.add(what.backend)
    with store.transaction():
        for note in report.notes:
            store.note(what.job, None if isinstance(what, Fit) else what.index, "note", note)
        if isinstance(what, Fit):
            step = 1 / report.fps if report.fps > 0 else 1 / pace if pace else 0.0
            _measure(run, job, report, step=step, begin=report.seconds - report.done * step, start=start)
            store.move_fit(what.job, ChunkState.DONE)
            store.change(what.job, checkpoint=path, fit_done=report.done, fit_total=report.done)
            if job.state is JobState.FITTING:
                store.move(what.job, JobState.RENDERING, f"The look is fitted, in {report.seconds:.0f} s.")
        else:
            # How long a reference painting takes says nothing of the network's speed.
            if job.look.quality is not Quality.REFERENCE:
                _measure(run, job, report, fps=pace, start=start)
            store.move_chunk(
                what.job,
                what.index,
                ChunkState.DONE,
                f"Chunk {what.index} is painted, {report.done} frames in {report.seconds:.1f} s.",
                frames_done=report.done,
                fps=pace,
                worker=report.worker,
                error="",
                output=path,
                digest=report.digest,
                finished_at=run.clock(),
            )


def _measure(
    run: Run, job: Job, report: Report, *, fps: float = 0.0, step: float = 0.0, begin: float = 0.0, start: float = 0.0
) -> None:
    """What estimates rest on from now on: frames a second, seconds of a step, of a fit before its steps, of the start."""
    if report.worker:
        width, height = run.media.size(job)
        begin, start = max(0.0, begin), max(0.0, start)
        run.store.measure(
            Measurement(report.worker, job.precision, width, height, fps, step, run.clock(), start, begin, 0.0)
        )


def _waited(run: Run, job: Job, report: Report) -> float:
    """Seconds from the beginning of a job in this run until its worker was at work."""
    began, alive = max(job.started_at or 0.0, run.store.runner().started_at), psutil.Process().create_time()
    # A command that was started for this job is waited for as well.
    began = alive if 0 <= began - alive < COMMAND_SECONDS else began
    return run.clock() - began - report.seconds


def _failed(run: Run, what: Given, report: Report) -> None:
    """Try again, so many times; then, or at once if trying is of no use, the job fails and the others go on."""
    limit, failures = run.config.run.retries, what.failures + 1
    hopeless = not report.retryable or (report.code == "output" and _is_scarce(run.work))
    place = None if isinstance(what, Fit) else what.index
    job = run.store.job(what.job)
    with run.store.transaction():
        if not hopeless and failures <= limit:
            text = f"{_called(what)} failed and is tried again ({failures} of {limit}): {report.error}"
            anew(run, what, text, failures)
            return
        if isinstance(what, Fit):
            run.store.move_fit(what.job, ChunkState.FAILED, report.error, failures=failures)
        else:
            run.store.move_chunk(
                what.job, what.index, ChunkState.FAILED, report.error, failures=failures, error=report.error
            )
        if report.log:
            run.store.note(what.job, place, "log", report.log)
        if job.state not in FINISHED:
            fail(run, what.job, report.error, report.hint)


def _is_scarce(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free < SCARCE_BYTES
