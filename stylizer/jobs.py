"""Jobs, chunks and what they are made of: values, states and legal moves. No I/O.

A job paints one clip in one look. Its chunks are half-open frame ranges of the clip; the output of each depends on its
spec alone, so any machine may render it, twice if need be. `attempt` names a try, `failures` limits tries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path


class MediaKind(StrEnum):
    VIDEO = "video"
    STILL = "still"
    SEQUENCE = "sequence"
    """A folder of numbered pictures."""


class JobState(StrEnum):
    QUEUED = "queued"
    FITTING = "fitting"
    RENDERING = "rendering"
    ASSEMBLING = "assembling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Desired(StrEnum):
    """What a person wants of a job. Front ends write it, the runner reconciles."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class RunnerDesired(StrEnum):
    """What a person wants of the runner. Each runner begins at RUN."""

    RUN = "run"
    DRAIN = "drain"
    """Start nothing more, finish what is being painted, then end."""
    STOP = "stop"
    """End now."""


class ChunkState(StrEnum):
    READY = "ready"
    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.FITTING, JobState.RENDERING, JobState.FAILED, JobState.CANCELLED}),
    JobState.FITTING: frozenset({JobState.QUEUED, JobState.RENDERING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RENDERING: frozenset({JobState.QUEUED, JobState.ASSEMBLING, JobState.FAILED, JobState.CANCELLED}),
    JobState.ASSEMBLING: frozenset(
        {JobState.QUEUED, JobState.RENDERING, JobState.DONE, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.DONE: frozenset({JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}
"""Legal moves. Back to QUEUED means: start again from what is already finished (retry, restart, redo)."""

CHUNK_MOVES: dict[ChunkState, frozenset[ChunkState]] = {
    ChunkState.READY: frozenset({ChunkState.SUBMITTED}),
    ChunkState.SUBMITTED: frozenset({ChunkState.RUNNING, ChunkState.DONE, ChunkState.FAILED, ChunkState.READY}),
    ChunkState.RUNNING: frozenset({ChunkState.DONE, ChunkState.FAILED, ChunkState.READY}),
    ChunkState.DONE: frozenset({ChunkState.READY}),
    ChunkState.FAILED: frozenset({ChunkState.READY}),
}

FINISHED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
"""States of a job that the runner leaves alone."""


class Quality(StrEnum):
    DRAFT = "draft"
    """No fit: the style encoder's guess, calibrated on the clip."""
    STANDARD = "standard"
    HIGH = "high"
    REFERENCE = "reference"
    """The standard fit, then every frame optimised pixel by pixel: for stills and short clips, on this machine."""


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Frames start..stop-1 of a clip, counted in presentation order from 0."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"not a frame range: {self.start}..{self.stop}")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Clip:
    """What `video.probe` found in a source."""

    path: Path
    kind: MediaKind
    width: int
    """Pixels as a person sees them: after rotation."""
    height: int
    frames: int
    rate: Fraction
    """Mean frames a second; the timestamps themselves are carried from the source, never recomputed. 0 for pictures."""
    duration: float
    """Seconds; 0 for pictures."""
    codec: str
    pixel_format: str
    rotation: int
    """Degrees clockwise that a player turns the coded picture by: 0, 90, 180, 270."""
    audio_tracks: int
    fingerprint: str
    """Changes when the bytes do: size, modification time and a hash of both ends."""
    notes: tuple[str, ...] = ()
    """What a person should know of this source (variable frame rate, a data track that cannot be carried, …)."""


@dataclass(frozen=True, slots=True)
class StyleImage:
    path: Path
    weight: float
    """Weights of a look sum to 1."""
    digest: str
    """SHA-256 of the file's bytes, so that a look keeps its meaning when a file is replaced."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the artist asked for."""

    styles: tuple[StyleImage, ...]
    strength: float = 1.0
    """0 is the photograph, 1 the painting."""
    brush: float = 1.0
    """Size of the strokes relative to the frame; 1 is as in the style picture. 0.25..4."""
    keep_color: bool = False
    quality: Quality = Quality.STANDARD
    size: int | None = None
    """Long side of the output in pixels; None is the source's."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the output is written. Empty strings and None mean: what suits the container."""

    codec: str = ""
    crf: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    id: int
    key: str
    """Hash of everything that makes the output what it is and where; adding the same job again finds this one."""
    clip: Clip
    look: Look
    encoding: Encoding
    output: Path
    backend: str
    """What was asked for: auto, local, azure, …"""
    device: str
    precision: str
    state: JobState
    desired: Desired
    priority: int
    position: float
    """Place in the queue among equals; smaller is earlier."""
    max_cost: float
    """Money that rented machines may cost for this job; 0: no limit."""
    deadline: float | None
    """When it should be done (Unix time)."""
    added_at: float
    started_at: float | None
    finished_at: float | None
    error: str
    hint: str
    checkpoint: Path | None
    """The fitted checkpoint; while it is fitted, where it will be."""
    fit_done: int
    fit_total: int


@dataclass(frozen=True, slots=True)
class Chunk:
    job: int
    index: int
    frames: FrameRange
    state: ChunkState
    backend: str
    attempt: int
    failures: int
    frames_done: int
    fps: float
    worker: str
    """Which worker or node has it, as its backend names it."""
    error: str
    output: Path | None
    digest: str
    """SHA-256 of the finished chunk file."""
    submitted_at: float | None
    finished_at: float | None

    @property
    def id(self) -> str:
        return chunk_id(self.job, self.index, self.attempt)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history, for a person."""

    seq: int
    at: float
    job: int | None
    chunk: int | None
    kind: str
    text: str


def chunk_id(job: int, index: int, attempt: int) -> str:
    """Names one attempt everywhere (process, task, blob, log): at most 64 of [A-Za-z0-9_-]."""
    return f"{job}-{index:05}-{attempt}"


def move_job(job: Job, state: JobState, **changes: object) -> Job:
    """The job in a new state. An illegal move is a bug and raises ValueError."""
    if state not in JOB_MOVES[job.state]:
        raise ValueError(f"job {job.id} cannot go from {job.state} to {state}")
    return replace(job, state=state, **changes)  # type: ignore[arg-type]


def move_chunk(chunk: Chunk, state: ChunkState, **changes: object) -> Chunk:
    """The chunk in a new state. An illegal move is a bug and raises ValueError."""
    if state not in CHUNK_MOVES[chunk.state]:
        raise ValueError(f"chunk {chunk.id} cannot go from {chunk.state} to {state}")
    return replace(chunk, state=state, **changes)  # type: ignore[arg-type]
