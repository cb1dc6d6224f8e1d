"""Rows of the store as values and back."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from stylizer.jobs import CHUNK_MOVES, Chunk, ChunkState, Clip, Desired, Encoding, FrameRange, Job, JobState, Look
from stylizer.wire import pack, unpack


@dataclass(frozen=True, slots=True)
class Fit:
    """The fit of a job: one spec, with the states of a chunk."""

    job: int
    state: ChunkState
    backend: str
    attempt: int
    failures: int
    submitted_at: float | None

    @property
    def id(self) -> str:
        return f"{self.job}-fit-{self.attempt}"


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over a job's chunks."""

    frames_total: int = 0
    frames_done: int = 0
    """Of finished chunks, and of those that are running as far as they are."""
    fps: float = 0.0
    """Of all running chunks together."""
    ready: int = 0
    submitted: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0

    @property
    def under_way(self) -> int:
        return self.submitted + self.running

    @property
    def chunks(self) -> int:
        return self.ready + self.submitted + self.running + self.done + self.failed


TALLY = """
    SELECT job,
        sum(stop - start) AS frames_total,
        sum(CASE state WHEN 'done' THEN stop - start WHEN 'running' THEN min(frames_done, stop - start) ELSE 0 END)
            AS frames_done,
        total(fps) FILTER (WHERE state = 'running') AS fps,
        count(*) FILTER (WHERE state = 'ready') AS ready,
        count(*) FILTER (WHERE state = 'submitted') AS submitted,
        count(*) FILTER (WHERE state = 'running') AS running,
        count(*) FILTER (WHERE state = 'done') AS done,
        count(*) FILTER (WHERE state = 'failed') AS failed
    FROM chunks
"""

FRESH: dict[str, object] = {
    "backend": "",
    "frames_done": 0,
    "fps": 0.0,
    "worker": "",
    "output": None,
    "digest": "",
    "submitted_at": None,
    "finished_at": None,
}
"""Fields of a chunk that begins anew."""


def move_fit(fit: Fit, state: ChunkState, **changes: object) -> Fit:
    """The fit in a new state (staying is allowed). An illegal move is a bug and raises ValueError."""
    if state is not fit.state and state not in CHUNK_MOVES[fit.state]:
        raise ValueError(f"fit {fit.id} cannot go from {fit.state} to {state}")
    return replace(fit, state=state, **changes)  # type: ignore[arg-type]


def stored(value: Any) -> str:
    """A value of ours as JSON text; ASCII, so that file names which are no Unicode survive too."""
    return json.dumps(pack(value), sort_keys=True)


@lru_cache(maxsize=2048)
def _loaded(kind: type, text: str) -> Any:
    return unpack(kind, json.loads(text))


def look(text: str) -> Look:
    """A look's column as a value."""
    found: Look = _loaded(Look, text)
    return found


def clean(text: str) -> str:
    """Text that SQLite can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def column(value: object) -> object:
    """A field of Job, Chunk or Fit as its column's value."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return stored(value)
    return clean(value) if isinstance(value, str) else value


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(json.loads(text))


def job(row: sqlite3.Row) -> Job:
    values = dict(row)
    del values["changed"]
    values["clip"] = _loaded(Clip, values["clip"])
    values["look"] = look(values["look"])
    values["encoding"] = _loaded(Encoding, values["encoding"])
    values["output"] = Path(json.loads(values["output"]))
    values["state"] = JobState(values["state"])
    values["desired"] = Desired(values["desired"])
    values["checkpoint"] = _path(values["checkpoint"])
    return Job(**values)


def chunk(row: sqlite3.Row) -> Chunk:
    values = dict(row)
    del values["changed"]
    index, start, stop = values.pop("position"), values.pop("start"), values.pop("stop")
    values |= {"state": ChunkState(values["state"]), "output": _path(values["output"])}
    return Chunk(index=index, frames=FrameRange(start, stop), **values)


def fit(row: sqlite3.Row) -> Fit:
    return Fit(**{**dict(row), "state": ChunkState(row["state"])})


def tally(row: sqlite3.Row) -> Tally:
    values = dict(row)
    del values["job"]
    return Tally(**values)
