"""What the nodes cost: seconds of every state, from allocation to removal, times the price of their size."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from tests.emulator.script import SIZES

FREE = frozenset({"preempted", "deallocated"})
"""States without a machine behind them; all others cost the same."""


@dataclass
class Meter:
    """One node's seconds by state."""

    pool: str
    node: str
    size: str
    dedicated: bool
    state: str
    since: float
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    removed: bool = False

    def turn(self, state: str | None, now: float) -> None:
        """The node enters a state at `now` (virtual seconds), or leaves the pool (None)."""
        if not self.removed:
            self.seconds[self.state] += now - self.since
        self.state, self.since, self.removed = state or self.state, now, state is None

    def billed(self, now: float) -> float:
        running = 0.0 if self.removed or self.state in FREE else now - self.since
        return running + sum(seconds for state, seconds in self.seconds.items() if state not in FREE)

    def cost(self, now: float) -> Decimal:
        size = SIZES[self.size]
        price = size.dedicated if self.dedicated else size.spot
        return price * Decimal(self.billed(now)) / 3600


class Bill:
    """All meters that ever ran, those of removed nodes and deleted pools too."""

    def __init__(self) -> None:
        self.meters: list[Meter] = []

    def open(self, pool: str, node: str, size: str, dedicated: bool, now: float) -> Meter:
        meter = Meter(pool, node, size, dedicated, "creating", now)
        self.meters.append(meter)
        return meter

    def node_seconds(self, now: float, pool: str | None = None) -> float:
        return sum(meter.billed(now) for meter in self.meters if pool in (None, meter.pool))

    def cost(self, now: float, pool: str | None = None) -> Decimal:
        """Dollars."""
        return sum((meter.cost(now) for meter in self.meters if pool in (None, meter.pool)), Decimal(0))
