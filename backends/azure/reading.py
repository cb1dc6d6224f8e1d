"""The logs of a run, as they are in Azure: all of it in the order in which it came, or one chunk; and live what runs now."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from azure.batch import models as m

from backends.azure.account import Account
from backends.azure.errands import run_log_name
from backends.azure.faults import said
from backends.azure.pool import BAD
from backends.azure.runs import prefix_of
from stylizer.wire import LINE_KINDS

MOST_LINES = 40
"""Of what a node said as it did not start."""


@dataclass(slots=True)
class Reader:
    """Reads the logs of one stylizer job, each line once; `chunk`: of that one alone."""

    account: Account
    job: int
    chunk: int | None = None
    read_to: Counter[str] = field(default_factory=Counter)
    """Bytes of each blob, or of a running task's output, that were read."""
    come: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Lines of each spec's worker that came live, and that came in a log: the same ones, whichever is first."""
    told: Counter[str] = field(default_factory=Counter)
    """Of them, those that were told."""
    bad: set[str] = field(default_factory=set)
    """Nodes of which it was told why they did not start."""

    def read(self) -> Iterator[tuple[str, str]]:
        """New lines since the last time, each with what it is of: a spec's id, or a node."""
        for job in self.account.batch.jobs(prefix_of(self.account.installation, self.job)):
            name = job.id or ""
            run = name.rpartition("-")[0]
            yield from self._whole(run) if self.chunk is None else self._one(run)
            if said(job.state) == "active":
                yield from self._running(name)
                pool = job.execution_info.pool_id if job.execution_info else ""
                yield from self._nodes(pool or "") if self.chunk is None else ()

    def _whole(self, run: str) -> Iterator[tuple[str, str]]:
        for text in self._lines(run_log_name(run)):
            try:
                found = json.loads(text)
                origin, node, kind = (str(found.get(key, "")) for key in ("of", "node", "kind"))
            except (ValueError, RecursionError, AttributeError):
                continue
            if kind in ("startup", "trouble"):
                if node in self.bad:
                    continue
            elif kind in LINE_KINDS and not self._is_new("log", origin):
                continue
            yield origin or node, str(found["text"]) if kind in ("text", "startup", "trouble") else text

    def _one(self, run: str) -> Iterator[tuple[str, str]]:
        for blob in self.account.logs.list(f"{run}/logs/{self.job}-{self.chunk:05}-"):
            name = blob.name.rpartition("/")[2].removesuffix(".log")
            for text in self._lines(blob.name):
                if not _is_workers(text) or self._is_new("log", name):
                    yield name, text

    def _lines(self, name: str) -> Iterator[str]:
        """What was added to a blob, in whole lines."""
        while content := self.account.logs.tail(name, self.read_to[name]):
            whole = content[: content.rfind(b"\n") + 1] or content
            self.read_to[name] += len(whole)
            yield from whole.decode("utf-8", "replace").splitlines()

    def _running(self, job: str) -> Iterator[tuple[str, str]]:
        """What tasks print that run now."""
        wanted = "" if self.chunk is None else f"{self.job}-{self.chunk:05}-"
        for task in self.account.batch.tasks(job, only="running"):
            name = task.id or ""
            if name.startswith(wanted):
                text = self.account.batch.task_text(job, name, "stdout.txt", self.read_to[f"live {name}"])
                whole = text[: text.rfind("\n") + 1]
                self.read_to[f"live {name}"] += len(whole.encode())
                for line in whole.splitlines():
                    if not _is_workers(line) or self._is_new("live", name):
                        yield name, line

    def _is_new(self, way: str, spec: str) -> bool:
        """Whether the next line of a spec's worker that came this way has not come the other way before."""
        self.come[way, spec] += 1
        if self.come[way, spec] <= self.told[spec]:
            return False
        self.told[spec] += 1
        return True

    def _nodes(self, pool: str) -> Iterator[tuple[str, str]]:
        """Why nodes did not start, where nobody has written it down."""
        nodes: list[m.BatchNode] = self.account.batch.nodes(pool) if pool else []
        for node in nodes:
            if said(node.state) in BAD and node.id and node.id not in self.bad:
                self.bad.add(node.id)
                text = self.account.batch.node_text(pool, node.id, "startup/stderr.txt")
                yield from ((node.id, line) for line in text.splitlines()[-MOST_LINES:])
                yield from ((node.id, f"{error.code}: {error.message}") for error in node.errors or ())


def _is_workers(text: str) -> bool:
    return any(f'"kind": "{kind}"' in text for kind in LINE_KINDS)
