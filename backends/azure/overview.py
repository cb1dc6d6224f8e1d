"""What of ours is in the account: seen, read and cleaned up, without the job store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from azure.batch import models as m

from backends.azure.account import Account
from backends.azure.definitions import MARK
from backends.azure.faults import Missing, said
from backends.azure.meter import reopened
from backends.azure.pool import BAD
from backends.azure.prices import price_of
from backends.azure.runs import prefix_of
from backends.azure.storage import Container
from stylizer.config import AzureDefaults
from stylizer.errors import BackendRejected

OURS = "stylizer-"
"""How the names of all our Batch jobs begin."""


@dataclass(frozen=True, slots=True)
class Found:
    """A Batch job or pool of stylizer's."""

    kind: str
    """job or pool"""
    name: str
    state: str
    job: int
    """The stylizer job; 0 for a pool."""
    is_own: bool
    """Whether this installation made it."""
    tasks: tuple[int, int, int]
    """Waiting, running, complete."""
    nodes: int
    per_hour: Decimal
    currency: str
    spent: Decimal | None
    """As counted on this computer; None where it was not."""
    since: float

    @property
    def costs(self) -> bool:
        return self.nodes > 0


def look(account: Account, settings: AzureDefaults) -> Iterator[Found]:
    """All jobs and pools of stylizer's in the account, whoever's they are."""
    own = f"{OURS}{account.installation}-"
    in_jobs = set()
    for job in account.batch.jobs(OURS):
        name = job.id or ""
        number = re.match(rf"{OURS}[0-9a-f]+-(\d+)-", name)
        pool = job.execution_info.pool_id or "" if job.execution_info else ""
        in_jobs.add(pool)
        active = said(job.state) == "active"
        counts = account.batch.task_counts(name) if active else None
        nodes = account.batch.nodes(pool) if pool and active else []
        ledger = reopened(account.ledgers / f"{name.rpartition('-')[0]}.meter.json")
        per_hour, currency = _price(nodes, account, settings)
        yield Found(
            "job",
            name,
            said(job.state),
            int(number[1]) if number else 0,
            name.startswith(own),
            (counts.active, counts.running, counts.completed) if counts else (0, 0, 0),
            len(nodes),
            per_hour,
            currency,
            ledger.spent if ledger else None,
            job.creation_time.timestamp() if job.creation_time else 0.0,
        )
    for pool_ in account.batch.pools():
        name = pool_.id or ""
        if name in in_jobs or not (_is_marked(pool_) or name == settings.pool):
            continue
        nodes = account.batch.nodes(name)
        per_hour, currency = _price(nodes, account, settings)
        since = pool_.creation_time.timestamp() if pool_.creation_time else 0.0
        yield Found("pool", name, said(pool_.state), 0, True, (0, 0, 0), len(nodes), per_hour, currency, None, since)


def _is_marked(pool: m.BatchPool) -> bool:
    return any(item.name == MARK for item in pool.metadata or ())


def _price(nodes: list[m.BatchNode], account: Account, settings: AzureDefaults) -> tuple[Decimal, str]:
    prices = [
        price_of(node.vm_size or settings.vm_size, settings.region, spot=not node.is_dedicated, cache=account.cache)
        for node in nodes
        if said(node.state) != "preempted"
    ]
    return sum((price.per_hour for price in prices), Decimal(0)), prices[0].currency if prices else ""


def clean(account: Account, settings: AzureDefaults, *, everything: bool, each: Callable[[str], None]) -> None:
    """Forget this installation's runs that are over or that nobody drives, and their files; `everything`: also those that
    are driven, and what was uploaded for all. `each` is told the name of what goes.
    """
    for found in list(look(account, settings)):
        if found.kind != "job" or not found.is_own:
            continue
        run = found.name.rpartition("-")[0]
        if found.state == "active" and not everything and _is_driven(account, run):
            continue
        each(found.name)
        account.batch.delete_job(found.name)
        for container in (account.media, account.logs):
            _delete(container, f"{run}/")
        (account.ledgers / f"{run}.meter.json").unlink(missing_ok=True)
    if everything:
        for container, prefix in ((account.media, "content/"), (account.logs, "code/")):
            each(f"{container.name}/{prefix}")
            _delete(container, prefix)


def _delete(container: Container, prefix: str) -> None:
    try:
        for blob in list(container.list(prefix)):
            container.delete(blob.name)
    except Missing:
        return


def _is_driven(account: Account, run: str) -> bool:
    """Whether some stylizer holds the run just now."""
    looker = f"looker {time.time()}"
    try:
        account.logs.lease(f"{run}/lock", looker)
    except Missing:
        return False
    except BackendRejected:
        return True
    account.logs.release(f"{run}/lock", looker)
    return False


def down(account: Account, settings: AzureDefaults, each: Callable[[str], None]) -> None:
    """End everything of stylizer's that costs money, whoever's it is: jobs with their pools, and our named pool."""
    for found in list(look(account, settings)):
        if found.kind == "job" and found.state in ("active", "disabled", "enabling", "disabling"):
            each(found.name)
            account.batch.end_job(found.name, "stylizer: azure down")
        elif found.kind == "pool":
            each(found.name)
            account.batch.delete_pool(found.name)


def leftovers(account: Account, settings: AzureDefaults) -> list[str]:
    """What costs something and is driven by nobody, a sentence each: to be told before more is started."""
    told = []
    for found in look(account, settings):
        if not found.costs or (found.kind == "job" and _is_driven(account, found.name.rpartition("-")[0])):
            continue
        hours = max(0.0, account.batch.now - found.since) / 3600
        machines = "1 machine" if found.nodes == 1 else f"{found.nodes} machines"
        told.append(
            f"{found.name} has {machines} that cost {found.per_hour:.2f} {found.currency} an hour, for {hours:.1f} h now"
        )
    return told


# ---- logs ----


@dataclass(slots=True)
class Reader:
    """Reads the logs of one stylizer job, each line once; `chunk`: of that one alone."""

    account: Account
    job: int
    chunk: int | None = None
    told: dict[str, int] | None = None
    """Bytes of each that were read."""

    def read(self) -> Iterator[tuple[str, str]]:
        """New lines since the last time, each with what it is of: a spec's id, or a node."""
        told = self.told = self.told or {}
        running: dict[str, str] = {}
        wanted = None if self.chunk is None else f"{self.job}-{self.chunk:05}-"
        for job in self.account.batch.jobs(prefix_of(self.account.installation, self.job)):
            run = (job.id or "").rpartition("-")[0]
            for blob in self.account.logs.list(f"{run}/logs/"):
                name = blob.name.rpartition("/")[2].removesuffix(".log")
                if wanted is None or name.startswith(wanted):
                    start = told.get(name, 0)
                    # What was read from the node while it ran has other bytes: it is not told twice.
                    text = self.account.logs.tail(blob.name, start) if start >= 0 else b""
                    told[name] = start + len(text) if start >= 0 else start
                    yield from ((name, line) for line in text.decode("utf-8", "replace").splitlines())
            if said(job.state) == "active":
                running.update(
                    {one.id or "": job.id or "" for one in self.account.batch.tasks(job.id or "", only="running")}
                )
                pool = job.execution_info.pool_id if job.execution_info else ""
                yield from self._nodes(pool or "", told)
        for name, batch_job in running.items():
            if told.get(name, 0) <= 0 and (wanted is None or name.startswith(wanted)):
                start = -told.get(name, 0)
                text = self.account.batch.task_text(batch_job, name, "stdout.txt", start).encode()
                if text:
                    told[name] = -(start + len(text))
                    yield from ((name, line) for line in text.decode().splitlines())

    def _nodes(self, pool: str, told: dict[str, int]) -> Iterator[tuple[str, str]]:
        """Why nodes did not start."""
        for node in self.account.batch.nodes(pool) if pool else ():
            if said(node.state) in BAD and node.id and node.id not in told:
                told[node.id] = 1
                text = self.account.batch.node_text(pool, node.id, "startup/stderr.txt")
                yield from ((node.id, line) for line in text.splitlines()[-40:])
                yield from ((node.id, f"{error.code}: {error.message}") for error in node.errors or ())
