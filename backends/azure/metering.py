"""The meters of all jobs: which nodes Batch has, as money."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from azure.batch import models as m

from backends.azure.account import Account
from backends.azure.faults import Missing, said
from backends.azure.meter import SUFFIX, Ledger, reopened
from backends.azure.planner import BOOT_SECONDS
from backends.azure.prices import Price, price_of
from backends.azure.runs import Run
from stylizer.backend import Node
from stylizer.config import AzureDefaults
from stylizer.errors import ConfigError

LEAVING_SECONDS = 60.0
"""From the end of a Batch job until its last node is gone, at most, where nobody saw it go."""
AWAY_SECONDS = 300.0
"""Without a look; then what nodes have cost is reckoned from the times of their tasks."""
IDLE_SECONDS = 600.0
"""From a node's last task until its pool has let it go: two looks of the pool at its queue."""
AWAY = "; while nobody looked, by the times of its tasks"


@dataclass(slots=True)
class Meters:
    """A ledger for each run, those of earlier processes too."""

    account: Account
    settings: AzureDefaults
    lock: threading.RLock
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    """By the run's key."""
    unpriced: set[str] = field(default_factory=set)
    """Sizes whose price is not known here."""
    _sizes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in sorted(self.account.ledgers.glob(f"*{SUFFIX}")):
            if ledger := reopened(path):
                self.ledgers[path.name.removesuffix(SUFFIX)] = ledger

    def count(self, run: Run, job: m.BatchJob | None, nodes: Sequence[m.BatchNode], *, ended: bool) -> bool:
        """Take in which nodes a run has; whether it may still cost something. `ended`: its Batch job has."""
        now, ledger = self.account.batch.now, self._ledger(run)
        info = job.execution_info if job else None
        end = info.end_time.timestamp() if info and info.end_time else None
        is_missed = ledger.misses([node.id or "" for node in nodes])
        worked = {}
        if (is_missed or ended) and not ledger.final and now - ledger.seen_at > AWAY_SECONDS:
            worked = self._worked(run, end or now)
        if ended and self.settings.pool:
            # Its nodes outlive the job and cost it nothing more.
            with self.lock:
                self._reckon(ledger, worked, job)
                ledger.end(max(ledger.seen_at, min(now, end or now)))
            return False
        left = self._left(run, ledger.seen_at, now, end, worked) if is_missed else now
        if ended and not nodes:
            with self.lock:
                self._reckon(ledger, worked, job)
                ledger.end(left)
            return False
        begun = job.creation_time.timestamp() if job and job.creation_time and self.settings.pool else 0.0
        with self.lock:
            ledger.see([self._node(node, begun) for node in nodes], now, left=left)
        return True

    def _left(
        self, run: Run, seen_at: float, now: float, end: float | None, worked: Mapping[str, tuple[float, float]]
    ) -> float:
        """When nodes left that are no longer there: as their pool says, else halfway between the last look and this one,
        and never long after the end of the Batch job or, where nobody looked for long, of the work.
        """
        latest = now if end is None else min(now, end + LEAVING_SECONDS)
        if worked:
            latest = min(latest, max(last for _, last in worked.values()) + IDLE_SECONDS)
        latest = max(seen_at, latest)
        with suppress(Missing):
            pool = self.account.batch.pool(run.pool)
            since = pool.allocation_state_transition_time
            if said(pool.allocation_state) == "steady" and since and seen_at <= since.timestamp() <= latest:
                return since.timestamp()
        return latest - min(latest - seen_at, LEAVING_SECONDS) / 2

    def _worked(self, run: Run, end: float) -> dict[str, tuple[float, float]]:
        """From when to when each node had tasks."""
        spans: dict[str, tuple[float, float]] = {}
        with suppress(Missing):
            for task in self.account.batch.tasks(run.batch_job):
                info, node = task.execution_info, task.node_info.node_id if task.node_info else None
                if node and info and info.start_time:
                    begun, over = info.start_time.timestamp(), info.end_time.timestamp() if info.end_time else end
                    first, last = spans.get(node, (begun, over))
                    spans[node] = min(first, begun), max(last, over)
        return spans

    def _reckon(self, ledger: Ledger, worked: Mapping[str, tuple[float, float]], job: m.BatchJob | None) -> None:
        """Count nodes that were never seen: from as long before their first task as a node takes to start, until their last
        one has ended and they have gone.
        """
        made = job.creation_time.timestamp() if job and job.creation_time else 0.0
        price = self._price(self.settings.vm_size, spot=self.settings.spot).per_hour
        for node, (first, last) in worked.items():
            ledger.reckon(node, max(made, first - BOOT_SECONDS), last + LEAVING_SECONDS / 2, price)
        if worked and AWAY not in ledger.basis:
            ledger.basis += AWAY

    def is_final(self, run: Run) -> bool:
        return run.key not in self.ledgers or self.ledgers[run.key].final

    def sizes(self, run: Run) -> dict[str, str]:
        """VM sizes of its nodes that were ever seen, by their ids."""
        for node in self._ledger(run).nodes:
            self._sizes[node.id] = node.size
        return self._sizes

    def _ledger(self, run: Run) -> Ledger:
        if run.key not in self.ledgers:
            price = self._price(self.settings.vm_size, spot=self.settings.spot)
            with self.lock:
                path = self.account.ledgers / f"{run.key}{SUFFIX}"
                self.ledgers[run.key] = Ledger(path, run.job, price.currency, price.basis)
        return self.ledgers[run.key]

    def _price(self, size: str, *, spot: bool) -> Price:
        """Of that size; of the one in the settings where it is not known, which `unpriced` then says."""
        try:
            return price_of(size, self.settings.region, spot=spot, cache=self.account.cache)
        except ConfigError:
            self.unpriced.add(size)
            return price_of(self.settings.vm_size, self.settings.region, spot=spot, cache=self.account.cache)

    def _node(self, node: m.BatchNode, begun: float) -> tuple[Node, float]:
        """A node, and since when it costs this run something: never before `begun`."""
        spot = not node.is_dedicated
        size = node.vm_size or self.settings.vm_size
        since = node.state_transition_time.timestamp() if node.state_transition_time else self.account.batch.now
        allocated = node.allocation_time.timestamp() if node.allocation_time else since
        price = self._price(size, spot=spot).per_hour
        return Node(node.id or "", said(node.state), size, spot, since, price), max(begun, allocated)
