"""What a test can say about a region that nobody controls: how machines boot, fail and vanish, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.emulator.nodes import Node
    from tests.emulator.pools import Pool
    from tests.emulator.tasks import Task


@dataclass(frozen=True)
class Size:
    """A virtual machine size; prices in dollars an hour, East US, Linux, of a catalogue of about 2025."""

    family: str
    cores: int
    dedicated: Decimal
    spot: Decimal


SIZES = {
    "standard_nc4as_t4_v3": Size("standardNCASv3_T4Family", 4, Decimal("0.526"), Decimal("0.063")),
    "standard_nc8as_t4_v3": Size("standardNCASv3_T4Family", 8, Decimal("0.752"), Decimal("0.090")),
    "standard_nc16as_t4_v3": Size("standardNCASv3_T4Family", 16, Decimal("1.204"), Decimal("0.144")),
    "standard_nc64as_t4_v3": Size("standardNCASv3_T4Family", 64, Decimal("4.352"), Decimal("0.519")),
    "standard_nc24ads_a100_v4": Size("standardNCADSA100v4Family", 24, Decimal("3.673"), Decimal("0.444")),
    "standard_nc48ads_a100_v4": Size("standardNCADSA100v4Family", 48, Decimal("7.346"), Decimal("0.889")),
    "standard_nc40ads_h100_v5": Size("standardNCadsH100v5Family", 40, Decimal("6.98"), Decimal("6.98")),
    "standard_nv36ads_a10_v5": Size("standardNVADSA10v5Family", 36, Decimal("3.20"), Decimal("0.80")),
    "standard_d2s_v3": Size("standardDSv3Family", 2, Decimal("0.096"), Decimal("0.019")),
}
"""By lower-case name; a pool of any other size is refused."""


@dataclass
class Quota:
    """What the account may have."""

    spot_cores: int = 1000
    dedicated_cores: int = 1000
    """Of each family that `families` does not name."""
    families: dict[str, int] = field(default_factory=dict)
    pools: int = 100
    active_jobs: int = 100


@dataclass(frozen=True)
class Simulated:
    """How a task, or a start task, goes without being run: virtual seconds, then this result.

    Output files are still uploaded for real. `effect` is called with the task's working folder, in a thread of its own,
    before the task completes; what it raises is the task's stderr, with exit code 1.
    """

    seconds: float
    exit_code: int = 0
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents by path from the task's working folder; ../stdout.txt is what it printed."""
    effect: Callable[[Path], None] | None = None


@dataclass
class Script:
    """How the region behaves; change any of it at any time. Durations are virtual seconds."""

    allocation_seconds: float = 30.0
    """From a resize to its new nodes; beyond the pool's resizeTimeout it fails with AllocationTimedout."""
    creating_seconds: float = 30.0
    boot_seconds: Callable[[Node], float] | float = 120.0
    leave_seconds: float = 20.0
    delete_seconds: float = 10.0
    """How long pools, jobs and terminations linger in their last state but one."""
    restore_seconds: float | None = 300.0
    """How long a preempted node is away; None: for good."""
    task: Callable[[Task, Node], Simulated] | None = None
    """None: nodes really run the command lines."""
    start_task: Callable[[Node], Simulated] | None = None
    preemption: Callable[[Task, Node], float | None] | None = None
    """Asked whenever a task starts on a Spot node: after how many seconds the node is taken away, None for not."""
    unusable: Callable[[Node], bool] | None = None
    """Asked when a node has booted."""
    allocation: Callable[[Pool, bool, int], tuple[int, str]] | None = None
    """(pool, dedicated, wanted) -> (granted, error code for the rest, such as AllocationFailed)."""
    sampling: Callable[[Pool], bool] | None = None
    """Asked every 30 s of a pool that scales itself: False leaves a gap in its samples."""
    body_limit: int = 1 << 20
    """Bytes of a request's body; more is RequestBodyTooLarge."""
    node_environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that every command line finds on its node, beside Batch's own."""
