"""The seam between the runner and whatever renders: six verbs and the values that cross it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from stylizer.config import Config
from stylizer.errors import ConfigError
from stylizer.estimate import Estimate
from stylizer.jobs import Clip, Look
from stylizer.wire import Spec

ENTRY_POINTS = "stylizer.backends"


class Phase(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    """The backend knows nothing of this id (any more): the try is void and is no failure."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a backend says of one spec, fits and chunks alike."""

    id: str
    phase: Phase
    done: int = 0
    """Frames, or steps of a fit."""
    total: int = 0
    fps: float = 0.0
    worker: str = ""
    digest: str = ""
    """SHA-256 of the finished file."""
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    code: str = ""
    retryable: bool = True
    notes: tuple[str, ...] = ()
    log: str = ""
    """The last lines that the worker printed, for a failure."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many specs the backend can carry out at once, and how many more it would take now."""

    total: int
    free: int
    label: str
    price_per_hour: float = 0.0


class Backend(Protocol):
    """Renders specs; knows nothing of jobs, stores, retries or screens.

    Constructing does no I/O and spends nothing; `submit` is the only verb that may spend. Exceptions mean that the
    backend is unwell: BackendUnavailable (wait) or BackendRejected (needs a person). Vendor exceptions never cross.
    """

    name: str

    def capacity(self) -> Capacity: ...

    def estimate(self, clip: Clip, look: Look) -> Estimate:
        """Time and money for the whole clip."""
        ...

    def submit(self, specs: Sequence[Spec]) -> None:
        """Start these. Idempotent by id: an id that is already known is left as it is."""
        ...

    def poll(self, ids: Collection[str]) -> Sequence[Report]:
        """One report for each id, in any order; LOST for an unknown one. A failed spec is a report, not an exception."""
        ...

    def fetch(self, spec: Spec) -> Path:
        """Make the output of a DONE spec exist here, whole or not at all, and return its path."""
        ...

    def cancel(self, ids: Collection[str]) -> None:
        """Stop these; best effort, repeatable, unknown ids are ignored."""
        ...

    def close(self) -> None:
        """Release what is held. Running work may be stopped; it is then LOST to the next poll."""
        ...


def names() -> list[str]:
    """Installed backends, without importing any."""
    return sorted(point.name for point in entry_points(group=ENTRY_POINTS))


def load(name: str, config: Config) -> Backend:
    """The backend of that name: the entry point is called with the config. ConfigError if there is none."""
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            make = point.load()
            backend: Backend = make(config)
            return backend
    raise ConfigError(
        f"There is no backend called {name!r}; installed are: {', '.join(names()) or 'none'}.",
        hint="Choose one of these with --backend, or leave it at auto.",
    )
