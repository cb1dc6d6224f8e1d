"""The seam between the runner and whatever renders: a few verbs and the values that cross it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from stylizer.config import Config
from stylizer.errors import ConfigError
from stylizer.estimate import Estimate, Measurement
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
    """Frames or steps a second."""
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
    """Of one slot; 0 where it costs nothing."""
    kind: str = "cpu"
    """cuda, mps or cpu for devices of this machine; cloud for what is rented."""
    delay: float | None = None
    """Seconds until it begins with what it is given now; None where it does not say."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that a backend rents."""

    id: str
    state: str
    """In the backend's own word: starting, idle, running, preempted, unusable, …"""
    size: str
    spot: bool
    since: float
    """When it came into that state (Unix time)."""
    price_per_hour: Decimal


@dataclass(frozen=True, slots=True)
class Meter:
    """What a backend has spent on a job in all, every node-second of every state counted."""

    job: int
    spent: Decimal
    per_hour: Decimal
    """What its nodes cost an hour now."""
    currency: str
    basis: str
    """What the prices rest on: Retail Prices API of DATE / catalogue of DATE."""
    at: float
    nodes: tuple[Node, ...] = ()
    final: bool = False
    """Nothing of this job costs anything any more."""
    said: tuple[str, ...] = ()
    """What a person should hear of its machines, a sentence each, oldest first; those of this process alone."""


class Backend(Protocol):
    """Renders specs; knows nothing of jobs, stores, retries or screens.

    Constructing does no I/O and spends nothing; `submit` is the only verb that may spend. Exceptions mean that the
    backend is unwell: BackendUnavailable (wait) or BackendRejected (needs a person). Vendor exceptions never cross.
    """

    name: str

    def capacity(self) -> Capacity: ...

    def estimate(self, clip: Clip, look: Look, known: Sequence[Measurement] = ()) -> Estimate:
        """Time and money for the whole clip, from what was measured before."""
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

    def meters(self) -> Sequence[Meter]:
        """What each job has cost in all, also by way of an earlier process; none where nothing costs. Cheap to ask:
        the backend counts by itself, at its own pace.
        """
        ...

    def stop_spending(self, job: int) -> None:
        """End all of this job that costs money, for good; repeatable. What is finished can still be fetched."""
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
