"""One job of stylizer's as Azure has it: its specs and what is known of them. No I/O; whoever shares it locks it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from backends.azure.storage import Blob, content_hash
from stylizer.backend import Phase, Report
from stylizer.errors import BackendRejected
from stylizer.wire import Spec, hear, pack

MOST_NOTES = 100


@dataclass(slots=True)
class Entry:
    """A spec, and what is known of it."""

    report: Report
    spec: Spec | None = None
    """None where an earlier process submitted it."""
    given: bool = False
    """Whether Batch has a task for it."""
    size: int = 0
    """Bytes of its result; it is painted when this is known."""
    notes: int = 0
    landing: Future[Report] | None = None
    """While its result is fetched."""

    @property
    def is_open(self) -> bool:
        return self.report.phase in (Phase.WAITING, Phase.RUNNING)


@dataclass(slots=True)
class Run:
    """Everything of one stylizer job: one Batch job at a time, which is its `generation`."""

    key: str
    """Of its blobs, and of its Batch jobs apart from the generation."""
    job: int
    entries: dict[str, Entry] = field(default_factory=dict)
    generation: int = 0
    """0: no Batch job has been made yet."""
    pool: str = ""
    """Empty until Batch has made it."""
    ended: bool = True
    """Whether there is no Batch job that takes tasks."""
    stopping: bool = False
    """Whether it is to end at once."""
    cancelled: set[str] = field(default_factory=set)
    """Tasks that Batch still has to be told of."""
    giving: Future[dict[str, str]] | None = None
    """While specs are uploaded; it comes to those that were refused, and why."""
    given_now: tuple[str, ...] = ()
    wanted: int = 0
    """Nodes that the pool was last told to begin with."""
    looked_at: float = 0.0
    looks: int = 0
    held_at: float = 0.0
    idle_since: float = 0.0
    waiting_since: float = 0.0
    """Since when there has been no node; 0 while there is one."""
    node_states: dict[str, str] = field(default_factory=dict)
    """As last written into the run's log."""
    said: list[str] = field(default_factory=list)
    """What a person should hear of its machines, a sentence each."""
    lost_nodes: frozenset[str] = frozenset()
    preemptions: int = 0
    dedicated: bool = False
    """Whether so many Spot nodes were taken away that it goes on without."""
    rejected: BackendRejected | None = None
    """What needs a person before anything of it can go on."""
    trouble: str = ""
    """What keeps its nodes from coming, in a sentence."""

    @property
    def batch_job(self) -> str:
        return f"{self.key}-{self.generation}"

    def open(self) -> list[str]:
        return [name for name, entry in self.entries.items() if entry.is_open]

    def wants(self, name: str) -> bool:
        """Whether it still is to be carried out."""
        entry = self.entries.get(name)
        return entry is not None and entry.is_open

    def lose(self, names: Sequence[str], reason: str) -> None:
        """These start anew; it is nobody's failure."""
        for name in names:
            self.entries[name].report = Report(name, Phase.LOST, error=reason)

    def hear(self, blob: Blob, worker: str) -> str:
        """Take in one blob that a node wrote under state/, which may hold anything. Returns "failed" where the words in it
        are wanted, else nothing.
        """
        found = re.fullmatch(r".*/state/([A-Za-z0-9_-]{1,64})\.(progress|failed|done)", blob.name)
        entry = self.entries.get(found[1]) if found else None
        if not found or entry is None or not entry.is_open or entry.size:
            return ""
        facts, node = blob.metadata, re.sub(r"[^A-Za-z0-9_-]", "", blob.metadata.get("node", ""))[:64]
        entry.given = True
        if found[2] == "failed":
            return "failed"
        if found[2] == "progress":
            entry.report = replace(
                entry.report,
                phase=Phase.RUNNING,
                done=int(_number(facts.get("done"))),
                total=int(_number(facts.get("total"))),
                fps=_number(facts.get("fps")),
                worker=f"azure {node}",
            )
        elif re.fullmatch(r"[0-9a-f]{64}", facts.get("digest", "")):
            entry.size = max(1, int(_number(facts.get("size"))))
            entry.notes = int(_number(facts.get("notes")))
            entry.report = replace(
                entry.report,
                phase=Phase.RUNNING,
                done=int(_number(facts.get("frames"))),
                digest=facts["digest"],
                seconds=max(0.001, _number(facts.get("seconds"))),
                worker=worker,
            )
        return ""

    def fail(self, name: str, report: Report) -> None:
        self.entries[name].report = replace(report, worker=self.entries[name].report.worker)


def key_of(installation: str, spec: Spec) -> str:
    """Names what a spec's job is made of, on this installation. A job store that begins anew begins with job 1 again: the
    clip and the look are in the key, so that what another job 1 left in Azure is never taken for its own.
    """
    made = content_hash(json.dumps([pack(spec.clip), pack(spec.look)]))
    return f"{prefix_of(installation, job_of(spec.id))}{made[:8]}"


def prefix_of(installation: str, job: int) -> str:
    """How the names of all Batch jobs of a stylizer job begin."""
    return f"stylizer-{installation}-{job}-"


def job_of(name: str) -> int:
    """The stylizer job that a spec's id names; -1 if it names none."""
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() and len(number) < 12 else -1


def failure(name: str, text: str, log: str) -> Report:
    """The report of what a node said of a failure, which may be anything."""
    line = hear(text)
    if line is None or line.kind != "failed" or line.id != name:
        return Report(name, Phase.FAILED, error="The node said that it failed, and not why.", code="worker", log=log)
    return Report(
        name,
        Phase.FAILED,
        error=line.message[:2000],
        hint=line.hint[:500],
        code=line.code[:50],
        retryable=line.retryable,
        log=log,
    )


def notes_in(text: str) -> tuple[str, ...]:
    """Notes that a node wrote, which may be anything."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(str(one)[:2000] for one in found[:MOST_NOTES]) if isinstance(found, list) else ()


def _number(text: str | None) -> float:
    """A plain number of what a node wrote; 0 for anything else."""
    return float(text) if text and re.fullmatch(r"\d{1,15}(\.\d{1,6})?", text) else 0.0
