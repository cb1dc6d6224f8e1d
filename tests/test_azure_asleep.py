"""The computer that started a run is shut and does not come back for hours: Azure ends all of it by itself, nothing costs
on, and what was painted lands when somebody comes back.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stylizer.backend import Phase
from stylizer.files import digest_of
from tests.azure_for_tests import ROOT, Cloud, cloud, ended
from tests.azurite import Azurite, azurite, missing
from tests.jobs_for_tests import chunk_spec, until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
HOUR = 3600.0
PATIENCE = 90.0
"""Seconds until a client of its own must have come so far; on a busy machine Python alone takes many."""


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        yield made
        assert made.batch.violations == []


def started_and_killed(
    account: Cloud, chunks: int, when: Callable[[], object], first: str = "", **settings: object
) -> list[str]:
    """A client of its own submits chunks and is killed as soon as `when` holds; `first`: what its program does before."""
    program = f"""
import time
from pathlib import Path
from backends.azure import AzureBackend
from stylizer.config import AzureDefaults, Config
from tests.azure_for_tests import unchanged_if_fake
from tests.jobs_for_tests import chunk_spec
{first}
folder = Path({str(account.folder)!r})
config = Config(azure={account.settings(**settings)!r})
backend = AzureBackend(config, check=unchanged_if_fake, pace=0.05, home=folder / "here")
backend.submit([chunk_spec(folder, n) for n in range({chunks})])
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as client:
        try:
            until(when, PATIENCE)
        finally:
            client.kill()
    return [chunk_spec(account.folder, n).id for n in range(chunks)]


def tasks_ended(account: Cloud, count: int) -> bool:
    with account.batch.clock.lock:
        tasks = [task for job in account.batch.account.jobs.values() for task in job.tasks.values()]
        return sum(task.state == "completed" for task in tasks) >= count


def closes_itself(account: Cloud) -> bool:
    """Whether Batch ends the job when its tasks are done."""
    with account.batch.clock.lock:
        return any(job.spec.get("onAllTasksComplete") == "terminatejob" for job in account.batch.account.jobs.values())


def nodes(account: Cloud) -> int:
    with account.batch.clock.lock:
        account.batch.clock.catch_up()
        return sum(len(pool.nodes) for pool in account.batch.account.pools.values())


def costs_nothing_more(account: Cloud) -> None:
    before = account.batch.cost()
    account.batch.clock.advance(10 * HOUR)
    assert nodes(account) == 0 and account.batch.cost() == before > 0


def come_back(account: Cloud, names: list[str], share: float, **settings: object) -> None:
    """All of it lands here, painted once; and what it cost is known, but for such a share."""
    backend = account.backend(**settings)
    reports = ended(backend, names, PATIENCE)
    assert {report.phase for report in reports.values()} == {Phase.DONE}
    for n in range(len(names)):
        spec = chunk_spec(account.folder, n)
        assert digest_of(backend.fetch(spec)) == reports[spec.id].digest
    starts = [line.split()[0] for line in (account.folder / "notes").read_text().splitlines()]
    assert sorted(starts) == sorted(names)
    until(lambda: all(meter.final for meter in backend.meters()), PATIENCE)
    (meter,) = backend.meters()
    assert "while nobody looked" in meter.basis
    bill = float(account.batch.cost())
    assert (1 - share) * bill < float(meter.spent) < (1 + share) * bill


def test_the_job_ends_with_its_last_task_and_takes_its_pool_along(account: Cloud) -> None:
    names = started_and_killed(account, 5, lambda: closes_itself(account))
    until(lambda: not account.batch.account.pools, PATIENCE)
    costs_nothing_more(account)
    come_back(account, names, 0.5)


def test_a_job_that_was_never_closed_has_no_nodes_soon_and_ends_with_its_wall_clock(account: Cloud) -> None:
    # Killed after the tasks were added and before the job was told to end with them.
    hangs = "from backends.azure.client import Batch; Batch.end_when_done = lambda *_: time.sleep(300)"
    names = started_and_killed(account, 3, lambda: tasks_ended(account, 3), hangs)
    assert not closes_itself(account)
    account.batch.clock.advance(0.5 * HOUR)
    assert nodes(account) == 0
    (job,) = account.batch.account.jobs.values()
    assert job.state == "active" and job.pool is not None
    costs_nothing_more(account)
    assert job.state == "completed" and not account.batch.account.pools
    come_back(account, names, 0.5)


def test_a_task_that_never_ends_ends_with_the_wall_clock(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=600.0)
    started_and_killed(account, 2, lambda: closes_itself(account) and (tmp_path / "notes").exists())
    account.batch.clock.advance(5.5 * HOUR)
    assert nodes(account) > 0
    account.batch.clock.advance(HOUR)
    until(lambda: not account.batch.account.pools, PATIENCE)
    costs_nothing_more(account)


def test_a_named_pool_stays_without_nodes(account: Cloud) -> None:
    settings = {"pool": "warm", "keep_warm_minutes": 30.0}
    names = started_and_killed(account, 3, lambda: closes_itself(account), **settings)
    until(lambda: tasks_ended(account, 3), PATIENCE)
    account.batch.clock.advance(0.25 * HOUR)
    assert nodes(account) > 0
    account.batch.clock.advance(HOUR)
    assert list(account.batch.account.pools) == ["warm"]
    costs_nothing_more(account)
    # What the pool keeps warm is nobody's.
    come_back(account, names, 1.0, **settings)
