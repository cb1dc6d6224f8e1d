"""What the nodes of one job have cost: every second that a node was allocated, whatever it did, at its price.

Kept in a small file, so that a restart goes on counting. When a node left that is gone is known to the second where the pool
tells, else to half the time between two looks; and no node is counted long beyond the end of its Batch job.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from stylizer.backend import Meter, Node
from stylizer.files import settle

SUFFIX = ".meter.json"
READY = ("idle", "running")
TAKEN = "preempted"
FREE = (TAKEN, "deallocated", "deallocating")
"""States of a node that is listed but is no machine just now."""


@dataclass(slots=True)
class Span:
    """A node from its allocation on."""

    node: str
    since: float
    until: float
    price: str
    """Of an hour."""

    @property
    def cost(self) -> Decimal:
        return Decimal(self.price) * Decimal(max(0.0, self.until - self.since)) / 3600


@dataclass(slots=True)
class Life:
    """What machines of one size went through."""

    starts: list[float] = field(default_factory=list)
    """Seconds from the allocation of each until it took tasks."""
    spot_hours: float = 0.0
    """Of Spot machines together."""
    taken: int = 0
    """Of them, how often one was taken away."""


@dataclass(slots=True)
class Ledger:
    """The nodes of one job, seen time and again."""

    path: Path
    job: int
    currency: str
    basis: str
    past: Decimal = Decimal(0)
    """Of nodes that are gone."""
    open: dict[str, Span] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    """When nodes were taken away."""
    nodes: Sequence[Node] = ()
    lives: dict[str, Life] = field(default_factory=dict)
    """By size, in lower case."""
    started: set[str] = field(default_factory=set)
    """Nodes that have taken tasks."""
    seen_at: float = 0.0
    final: bool = False

    def see(self, found: Iterable[tuple[Node, float]], now: float, *, left: float | None = None) -> None:
        """These nodes are there now, each with when it was allocated. `left`: when those left that were there the last
        time and no longer are; else just now.

        Times are of Azure's clock; ours may differ.
        """
        listed = list(found)
        self._learn(listed, now)
        here = [(node, allocated) for node, allocated in listed if node.state not in FREE]
        taken = {node.id: node.since for node, _ in listed if node.state in FREE}
        until = now if left is None else left
        for name, span in list(self.open.items()):
            if not any(node.id == name and allocated <= span.since for node, allocated in here):
                span.until = max(span.until, min(until, taken.get(name, until)))
                self.past += self.open.pop(name).cost
                self.gone[name] = span.until
        for node, allocated in here:
            # A node that was taken away and given back keeps its name, and maybe the time of its allocation.
            gone = self.gone.get(node.id, 0.0)
            since = allocated if allocated > gone else max(gone, node.since)
            span = self.open.setdefault(node.id, Span(node.id, since, now, str(node.price_per_hour)))
            span.until = max(span.until, now)
        self.nodes = [node for node, _ in listed]
        self.seen_at = now
        self.final = False
        self.keep()

    def _learn(self, listed: Iterable[tuple[Node, float]], now: float) -> None:
        """Take down how long nodes took to start and how often they were taken away."""
        before = {node.id: node for node in self.nodes}
        for node, allocated in listed:
            life = self.lives.setdefault(node.size.lower(), Life())
            if node.state in READY and node.id not in self.started:
                self.started.add(node.id)
                life.starts.append(max(0.0, node.since - allocated))
            if node.spot and node.id in before and node.state not in FREE:
                life.spot_hours += max(0.0, now - self.seen_at) / 3600
            if node.state == TAKEN and node.id in before and before[node.id].state != TAKEN:
                life.taken += 1

    def reckon(self, node: str, since: float, until: float, price: Decimal) -> None:
        """Count a node that was never seen; one that was is left as it was counted."""
        if node not in self.open and node not in self.gone:
            self.past += Span(node, since, until, str(price)).cost
            self.gone[node] = until

    def end(self, left: float) -> None:
        """Nothing of it costs anything any more, since then."""
        self.see((), left)
        self.final = True
        self.keep()

    @property
    def spent(self) -> Decimal:
        return self.past + sum((span.cost for span in self.open.values()), Decimal(0))

    def meter(self, now: float) -> Meter:
        """As it stands; what was there at the last look is taken to be there still."""
        per_hour = sum((Decimal(span.price) for span in self.open.values()), Decimal(0))
        since = per_hour * Decimal(max(0.0, now - self.seen_at)) / 3600
        return Meter(
            self.job,
            (self.spent + since).quantize(Decimal("0.000001")),
            per_hour,
            self.currency,
            self.basis,
            max(now, self.seen_at),
            tuple(self.nodes),
            self.final,
        )

    def misses(self, names: Collection[str]) -> bool:
        """Whether a node that was there is not among these."""
        return not self.open.keys() <= set(names)

    def keep(self) -> None:
        """Write it down, whole or not at all."""
        text = json.dumps(
            {
                "job": self.job,
                "currency": self.currency,
                "basis": self.basis,
                "past": str(self.past),
                "open": [asdict(span) for span in self.open.values()],
                "gone": self.gone,
                "lives": {size: asdict(life) for size, life in self.lives.items()},
                "started": sorted(self.started),
                "seen_at": self.seen_at,
                "final": self.final,
            }
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        settle(part, self.path)


def reopened(path: Path) -> Ledger | None:
    """The ledger that an earlier process kept; None where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = Ledger(path, int(raw["job"]), str(raw["currency"]), str(raw["basis"]), Decimal(raw["past"]))
        found.open = {one["node"]: Span(**one) for one in raw["open"]}
        found.gone = {str(node): float(when) for node, when in raw["gone"].items()}
        found.lives = {str(size): Life(**one) for size, one in raw.get("lives", {}).items()}
        found.started = set(raw.get("started", ()))
        found.seen_at, found.final = float(raw["seen_at"]), bool(raw["final"])
        return found
    return None


def lived(ledgers: Path) -> dict[str, Life]:
    """What machines of each size (in lower case) went through in the runs of these ledgers."""
    found: dict[str, Life] = {}
    for path in sorted(ledgers.glob(f"*{SUFFIX}")):
        for size, life in (ledger.lives if (ledger := reopened(path)) else {}).items():
            known = found.setdefault(size, Life())
            known.starts += life.starts
            known.spot_hours += life.spot_hours
            known.taken += life.taken
    return found
