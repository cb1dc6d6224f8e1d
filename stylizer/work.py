"""What the steps of the runner share while one runner runs, and what more than one of them does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylizer.backend import Backend
from stylizer.config import Config
from stylizer.errors import BackendRejected, BackendUnavailable, StylizerError
from stylizer.jobs import FINISHED, Chunk, ChunkState, Clip, Desired, Job, JobState, MediaKind
from stylizer.rows import Fit
from stylizer.store import Store
from stylizer.wire import ChunkSpec, FitSpec, Spec

Given = Chunk | Fit
"""What a backend can be given, as the store knows it."""
UNDER_WAY = (ChunkState.SUBMITTED, ChunkState.RUNNING)
ACTIVE = (JobState.FITTING, JobState.RENDERING, JobState.ASSEMBLING)
HOME = "local"
"""The backend of this machine."""
PATIENCE = 5.0
"""Seconds until a backend that is unavailable is asked again."""
LONG_PATIENCE = 600.0
"""The same for one that needs a person."""


@dataclass(frozen=True, slots=True)
class Media:
    """What the runner needs of clips and checkpoints, so that it imports no media library itself."""

    check: Callable[[Clip], None]
    """InputError if the source is gone or is no longer what was probed."""
    size: Callable[[Job], tuple[int, int]]
    """Width and height of the output."""
    checkpoint: Callable[[Job], Path]
    """Where the fitted checkpoint belongs; the same path for the same fit."""
    is_whole: Callable[[Path], bool]
    """Whether there is a usable checkpoint at a path."""
    assemble: Callable[[Job, Sequence[Path], int], Sequence[str]]
    """Join the chunk files, which hold so many frames, into the job's output; returns notes for a person."""


@dataclass(frozen=True, slots=True)
class Unwell:
    """A backend that is left alone."""

    since: float
    until: float
    error: str


@dataclass(slots=True)
class Run:
    """What the steps share while one runner runs."""

    store: Store
    config: Config
    work: Path
    media: Media
    load: Callable[[str], Backend]
    clock: Callable[[], float] = time.time
    focus: frozenset[int] | None = None
    """Only these jobs; None: all."""
    draining: bool = False
    """Submit nothing more; then the runner ends."""
    held: bool = False
    """Submit nothing more until a person lets the queue go on."""
    backends: dict[str, Backend] = field(default_factory=dict)
    cloud: str = ""
    """The backend that jobs may be given to that leave it to us; empty: none is set up."""
    unwell: dict[str, Unwell] = field(default_factory=dict)
    placed: dict[tuple[int, str], object] = field(default_factory=dict)
    """What was said last of where a job is painted."""
    broke: dict[int, str] = field(default_factory=dict)
    """Jobs that nothing more may be rented for, and why."""
    stopped: set[tuple[int, str]] = field(default_factory=set)
    """Jobs whose rented machines were stopped for their cost."""
    said: set[tuple[int, str]] = field(default_factory=set)
    """What was told of jobs' machines."""
    metered_at: float = 0.0
    released_at: float = 0.0
    checking: dict[int, Future[list[int]]] = field(default_factory=dict)
    assembling: dict[int, Future[Sequence[str]]] = field(default_factory=dict)
    joining_since: dict[int, float] = field(default_factory=dict)
    """When jobs began to be put together."""
    begun: set[str] = field(default_factory=set)
    """Backends that have finished something."""
    aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="aside"))
    """Reads and writes whole files, so that the loop does not stand still."""

    def jobs(
        self,
        *states: JobState,
        desired: Sequence[Desired] = tuple(Desired),
        backend: str | None = None,
        most: int = sys.maxsize,
    ) -> list[Job]:
        """The first `most` of such jobs, of those in focus."""
        if self.focus is None:
            return self.store.jobs(states, desired, backend=backend, most=most)
        found = self.store.jobs(states, desired, backend=backend)
        return [job for job in found if job.id in self.focus][:most]

    def under_way(self) -> list[Given]:
        """What backends have of all jobs, in focus or not."""
        given: list[Given] = [*self.store.fits_under_way()]
        return [*given, *self.store.under_way()]

    def folder(self, job: int) -> Path:
        return self.work / str(job)

    def backend(self, name: str) -> Backend:
        """ConfigError if there is no such backend."""
        if name not in self.backends:
            self.backends[name] = self.load(name)
        return self.backends[name]

    def is_well(self, name: str) -> bool:
        return name not in self.unwell or self.unwell[name].until <= self.clock()

    def why_unwell(self, name: str) -> str:
        return self.unwell[name].error if name in self.unwell else ""

    def unwell_since(self, name: str) -> float | None:
        return self.unwell[name].since if name in self.unwell else None

    def trouble(self, name: str, error: BackendUnavailable) -> None:
        """The backend is left alone for a moment, then asked again."""
        if name not in self.unwell:
            self.store.note(None, None, "backend", f"{name}: {error.message} It is asked again until it answers.")
        self._leave(name, error, PATIENCE)

    def refuse(self, name: str, error: StylizerError) -> None:
        """The backend needs a person: it is left alone for long."""
        if name not in self.unwell:
            self.store.note(None, None, "backend", f"{name}: {error.message} {error.hint}")
        self._leave(name, error, LONG_PATIENCE)

    def answers(self, name: str) -> None:
        """The backend is well again, if it was not."""
        if self.unwell.pop(name, None):
            self.store.note(None, None, "backend", f"{name} answers again.")

    def _leave(self, name: str, error: StylizerError, seconds: float) -> None:
        since = self.unwell[name].since if name in self.unwell else self.clock()
        self.unwell[name] = Unwell(since, self.clock() + seconds, error.message)

    def costs(self, name: str) -> bool:
        """Whether something of this backend still costs money."""
        return any(one.backend == name and not one.meter.final for one in self.store.money())


def is_auto(job: Job) -> bool:
    """Whether it is left to us who paints a job."""
    return job.backend in ("", "auto")


def fail(run: Run, job: int, error: str, hint: str) -> None:
    """End a job; what is finished of it is kept for a retry."""
    kept = hint or f"See stylizer status; to try again: stylizer retry {job}"
    run.store.move(job, JobState.FAILED, error, error=error, hint=kept, finished_at=run.clock())


def spec_of(run: Run, job: Job, what: Given) -> Spec:
    """The spec of a chunk or a fit: always the same one for the same attempt."""
    if isinstance(what, Fit):
        return FitSpec(what.id, job.clip, job.look, run.media.checkpoint(job), job.device, job.precision)
    suffix = {MediaKind.VIDEO: ".nut", MediaKind.STILL: job.output.suffix, MediaKind.SEQUENCE: ""}[job.clip.kind]
    return ChunkSpec(
        id=what.id,
        clip=job.clip,
        frames=what.frames,
        look=job.look,
        checkpoint=job.checkpoint or run.media.checkpoint(job),
        # The attempt is in the name: a lost worker that is still alive cannot write into a later attempt's file.
        output=run.folder(job.id) / f"{what.id}{suffix}",
        target=job.output,
        size=run.media.size(job),
        encoding=job.encoding,
        device=job.device,
        precision=job.precision,
    )


def take_back(run: Run, job: Job, states: Sequence[ChunkState], *, backend: str = "") -> None:
    """Cancel what backends (or the one that is named) have of a job, in these states; it is READY again and no failure is
    counted.

    Cancelled first: should we end between the two, the next poll says LOST and comes to the same.
    """
    fit = run.store.fit(job.id)
    given: list[Given] = [*run.store.chunks(job.id, states)]
    if fit and fit.state in states:
        given.append(fit)
    given = [what for what in given if backend in ("", what.backend)]
    for name in {what.backend for what in given}:
        try:
            if name in run.backends:
                run.backends[name].cancel([what.id for what in given if what.backend == name])
        except BackendUnavailable as error:
            run.trouble(name, error)
        except BackendRejected:
            # Cancelling is best effort; what else the backend refuses is told where work is given to it.
            pass
    with run.store.transaction():
        for what in given:
            anew(run, what)


def anew(run: Run, what: Given, text: str = "", failures: int | None = None) -> None:
    """Make a chunk or fit READY for another attempt, with the event `text`; `failures`: how many it has had by now."""
    changes: dict[str, Any] = {} if failures is None else {"failures": failures}
    if isinstance(what, Fit):
        run.store.move_fit(what.job, ChunkState.READY, text, **changes)
    else:
        run.store.move_chunk(what.job, what.index, ChunkState.READY, text, **changes)


def reject(run: Run, job: int, name: str, error: StylizerError) -> None:
    """The backend will not do this job's work: it is taken back. A job that was bound to it fails; another goes on
    elsewhere.
    """
    found = run.store.job(job)
    take_back(run, found, UNDER_WAY, backend=name)
    if is_auto(found) and name == run.cloud:
        run.refuse(name, error)
    elif found.state not in FINISHED:
        fail(run, job, error.message, error.hint)
