"""What of ours is in the account: seen and cleaned up, without the job store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from azure.batch import models as m

from backends.azure.account import Account
from backends.azure.faults import Missing, said
from backends.azure.meter import SUFFIX, reopened
from backends.azure.pool import is_ours
from backends.azure.prices import price_of
from backends.azure.storage import Container
from stylizer.config import AzureDefaults
from stylizer.errors import BackendRejected, ConfigError

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
    unpriced: str = ""
    """A size of its machines whose price is not known; they are not in `per_hour`."""

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
        active = said(job.state) == "active"
        if active:
            in_jobs.add(pool)
        counts = account.batch.task_counts(name) if active else None
        nodes = account.batch.nodes(pool) if pool and active else []
        ledger = reopened(account.ledgers / f"{name.rpartition('-')[0]}{SUFFIX}")
        per_hour, currency, unpriced = _price(nodes, account, settings)
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
            unpriced,
        )
    for pool_ in account.batch.pools():
        name = pool_.id or ""
        if name in in_jobs or not (is_ours(pool_) or name == settings.pool):
            continue
        nodes = account.batch.nodes(name)
        per_hour, currency, unpriced = _price(nodes, account, settings)
        since = pool_.creation_time.timestamp() if pool_.creation_time else 0.0
        yield Found(
            "pool", name, said(pool_.state), 0, True, (0, 0, 0), len(nodes), per_hour, currency, None, since, unpriced
        )


def _price(nodes: list[m.BatchNode], account: Account, settings: AzureDefaults) -> tuple[Decimal, str, str]:
    """What these cost an hour, as far as that is known, its currency, and what size is not known here."""
    prices, unknown = [], ""
    for node in nodes:
        if said(node.state) != "preempted":
            size = node.vm_size or settings.vm_size
            try:
                prices.append(price_of(size, settings.region, spot=not node.is_dedicated, cache=account.cache))
            except ConfigError:
                unknown = size
    return sum((price.per_hour for price in prices), Decimal(0)), prices[0].currency if prices else "", unknown


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
        (account.ledgers / f"{run}{SUFFIX}").unlink(missing_ok=True)
    if everything:
        for container, prefix in ((account.media, "content/"), (account.logs, "code/"), (account.node_logs, "")):
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


def unpriced(size: str) -> str:
    return f"what a {size} costs is not known here"


def leftovers(account: Account, settings: AzureDefaults) -> list[str]:
    """What costs something and is driven by nobody, a sentence each: to be told before more is started."""
    told = []
    for found in look(account, settings):
        if not found.costs or (found.kind == "job" and _is_driven(account, found.name.rpartition("-")[0])):
            continue
        hours = max(0.0, account.batch.now - found.since) / 3600
        machines = "1 machine" if found.nodes == 1 else f"{found.nodes} machines"
        cost = f"{machines} that cost {found.per_hour:.2f} {found.currency} an hour" if found.currency else machines
        unknown = f" ({unpriced(found.unpriced)})" if found.unpriced else ""
        told.append(f"{found.name} has {cost}, for {hours:.1f} h now{unknown}")
    return told
