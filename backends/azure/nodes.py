"""What the nodes of a run go through: counted as money, written into the run's log, told where a person should know of it,
and judged.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.batch import models as m

from backends.azure import pool as pools
from backends.azure.account import Account
from backends.azure.definitions import formula
from backends.azure.errands import run_log_name
from backends.azure.faults import Missing, clean, said
from backends.azure.metering import Meters
from backends.azure.runs import Run
from backends.azure.telemetry import Telemetry
from stylizer.config import AzureDefaults
from stylizer.errors import BackendError, BackendRejected

POOL_EVERY = 3
"""Looks after which a pool without nodes is asked why."""
SPOT_LOSSES = 3
"""Spot nodes that may be taken away, for each that was asked for, before it goes on with dedicated ones."""
MOST_LINES = 40
"""Of what a node said as it did not start."""
HANDED_OVER = timedelta(hours=1)
"""That a node has for bringing its own logs."""


@dataclass(slots=True)
class Nodes:
    """Looks after the nodes of every run."""

    account: Account
    settings: AzureDefaults
    lock: threading.RLock
    meters: Meters
    telemetry: Telemetry | None = None

    def watch(self, run: Run, job: m.BatchJob | None, *, ended: bool) -> BackendRejected | None:
        """See what nodes a run has now. Returns what no waiting mends: that none comes, and why."""
        nodes = self.account.batch.nodes(run.pool) if run.pool else []
        may_cost = self.meters.count(run, job, nodes, ended=ended)
        for size in {node.vm_size for node in nodes} & self.meters.unpriced:
            self._say(run, f"What a {size} costs is not known here; it is counted as a {self.settings.vm_size}.")
        # A log that cannot be written, or a node that cannot be asked, must not cost the picture.
        with suppress(BackendError):
            self._write_down(run, nodes)
        return self._judge(run, nodes, ended=ended) if may_cost else None

    # ---- written down and told ----

    def _write_down(self, run: Run, nodes: Sequence[m.BatchNode]) -> None:
        """Each change of a node's state, and all that is known of one that is of no use."""
        states = {node.id or "": said(node.state) for node in nodes}
        lines = [
            _line("node", node, state=said(node.state), size=node.vm_size, is_spot=not node.is_dedicated)
            for node in nodes
            if run.node_states.get(node.id or "") != said(node.state)
        ]
        lines += [
            json.dumps({"at": round(time.time(), 3), "kind": "node", "node": name, "state": "gone"})
            for name in run.node_states.keys() - states.keys()
        ]
        for node in nodes:
            if said(node.state) in pools.BAD and run.node_states.get(node.id or "") != said(node.state):
                lines += self._tell(run, node)
        if self.telemetry:
            sizes = self.meters.sizes(run)
            for line in map(json.loads, lines):
                if line["kind"] == "node":
                    size = sizes.get(line["node"], "")
                    self.telemetry.node(run.job, line["node"], line["state"], size, line["at"])
        run.node_states = states
        if lines:
            self.account.logs.append(run_log_name(run.key), "\n".join(lines) + "\n")

    def _tell(self, run: Run, node: m.BatchNode) -> Iterator[str]:
        """Say what is wrong with a node; the lines are for the run's log."""
        last = ""
        if said(node.state) == "starttaskfailed":
            words = self._start_words(run, node)
            last = f" It said: {clean(words[-1])}." if words else ""
            yield from (_line("startup", node, text=clean(text)) for text in words)
        else:
            last = f" {self._hand_over(run, node)}"
        yield from (_line("trouble", node, text=f"{e.code}: {clean(e.message or '')}") for e in node.errors or ())
        self._say(run, f"Machine {node.id} is of no use: {pools.why_bad(node)}.{last}")

    def _say(self, run: Run, text: str) -> None:
        with self.lock:
            if text not in run.said:
                run.said.append(text)

    def _start_words(self, run: Run, node: m.BatchNode) -> list[str]:
        """The last lines that a node said before it failed to start."""
        return self.account.batch.node_text(run.pool, node.id or "", "startup/stderr.txt").strip().splitlines()[-MOST_LINES:]

    def _hand_over(self, run: Run, node: m.BatchNode) -> str:
        """Have Batch bring the logs of a node that nobody can ask to a container that holds nothing else; where they are."""
        place = self.account.node_logs
        now = datetime.fromtimestamp(self.account.batch.now, UTC)
        try:
            place.create()
            link = place.drop_link(datetime.now(UTC) + HANDED_OVER)
            since = node.allocation_time or now - timedelta(days=1)
            folder = self.account.batch.hand_over_logs(run.pool, node.id or "", link, since)
        except BackendError as error:
            return f"Its logs could not be had: {error.message}"
        return f"Its logs are in the container {place.name}, {folder}."

    # ---- judged ----

    def _judge(self, run: Run, nodes: Sequence[m.BatchNode], *, ended: bool) -> BackendRejected | None:
        taken = frozenset(node.id for node in nodes if said(node.state) == pools.GONE)
        run.preemptions += len(taken - run.lost_nodes)
        run.lost_nodes = taken
        if self.settings.spot and not run.dedicated and run.preemptions >= SPOT_LOSSES * max(1, run.wanted):
            run.dedicated = True
            now = datetime.fromtimestamp(self.account.batch.now, UTC)
            self.account.batch.set_formula(run.pool, formula(self.settings, run.wanted, now, spot=False))
            self._say(run, f"Spot machines were taken away {run.preemptions} times; it goes on with dedicated ones.")
        well = any(said(node.state) not in (*pools.BAD, pools.GONE) for node in nodes)
        if well or ended or not run.open():
            run.waiting_since, run.trouble = 0.0, ""
            return None
        run.waiting_since = run.waiting_since or time.monotonic()
        if run.pool and (nodes or run.looks % POOL_EVERY == 0):
            try:
                pool: m.BatchPool | None = self.account.batch.pool(run.pool)
            except Missing:
                pool = None
            try:
                run.trouble = pools.examine(self.settings, pool, nodes, time.monotonic() - run.waiting_since)
            except BackendRejected as error:
                return BackendRejected(f"{error.message}{self._last_words(run, nodes)}", hint=error.hint)
            if run.trouble:
                self._say(run, f"There is no machine yet: {run.trouble}.")
        return None

    def _last_words(self, run: Run, nodes: Sequence[m.BatchNode]) -> str:
        for node in nodes:
            if said(node.state) == "starttaskfailed":
                words = self._start_words(run, node)
                return f" It said: {clean(words[-1])}." if words else ""
        return ""


def _line(kind: str, node: m.BatchNode, **facts: Any) -> str:
    """A line of the run's log."""
    since = node.state_transition_time.timestamp() if node.state_transition_time else time.time()
    return json.dumps({"at": round(since, 3), "kind": kind, "node": node.id, **facts})
