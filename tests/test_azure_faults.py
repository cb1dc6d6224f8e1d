"""Runs on an emulated account when things go wrong: each leads on, or to one sentence, and never to a node left running."""

import os
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport

from backends.azure.account import open_account
from backends.azure.staging import Staging
from stylizer.backend import Phase
from stylizer.config import Config
from stylizer.errors import BackendRejected
from tests.azure_for_tests import Cloud, cloud, ended
from tests.azurite import Azurite, azurite, missing
from tests.emulator.faults import Fault
from tests.jobs_for_tests import chunk_spec, until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "art.jpg").write_bytes(b"a style, as far as these tests go")
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        yield made
        assert made.batch.violations == []


def test_a_job_that_was_deleted_in_the_portal_is_lost_and_goes_on_in_another(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=60.0)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until(lambda: backend.poll([spec.id])[0].phase is Phase.RUNNING)
    (name,) = account.batch.account.jobs
    open_account(Config(azure=account.settings()), tmp_path / "here").batch.delete_job(name)
    assert ended(backend, [spec.id])[spec.id].phase is Phase.LOST
    account.tell_workers()
    again = chunk_spec(tmp_path, attempt=2)
    backend.submit([again])
    assert ended(backend, [again.id])[again.id].phase is Phase.DONE


def test_a_spot_node_that_is_taken_away_costs_the_chunk_a_new_start(account: Cloud, tmp_path: Path) -> None:
    account.batch.script.restore_seconds = 5.0
    account.tell_workers(pace=1.0)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until((tmp_path / "notes").exists)
    account.batch.preempt(task_id=spec.id)
    assert ended(backend, [spec.id])[spec.id].phase is Phase.DONE
    assert len((tmp_path / "notes").read_text().splitlines()) == 2


def test_when_spot_nodes_keep_going_away_dedicated_ones_come(account: Cloud, tmp_path: Path) -> None:
    account.batch.script.restore_seconds = 5.0
    account.batch.script.preemption = lambda task, node: 5.0
    account.tell_workers(pace=1.0)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    assert ended(backend, [spec.id])[spec.id].phase is Phase.DONE
    assert any(not node.spot for node in backend.meters()[0].nodes) or account.batch.cost() > 0
    with account.batch.clock.lock:
        assert any(meter.dedicated for meter in account.batch.account.bill.meters)


def test_storage_that_is_busy_is_waited_for(account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send, dice, struck = RequestsTransport.send, random.Random(3), []

    def flaky(self: RequestsTransport, request: Any, **options: Any) -> Any:
        if account.storage.endpoint in request.url and dice.random() < 0.2:
            struck.append(request.method)
            if dice.random() < 0.3:
                raise ServiceRequestError("the connection was dropped")
            request.url = f"{account.storage.endpoint.rpartition('/')[0]}/busy"
        answer = send(self, request, **options)
        if request.url.endswith("/busy"):
            assert answer.internal_response.content is not None  # read: or the connection stays open when it is tried again
            answer.status_code = answer.internal_response.status_code = 503
        return answer

    monkeypatch.setattr(RequestsTransport, "send", flaky)
    monkeypatch.setattr("azure.storage.blob._shared.policies.StorageRetryPolicy.sleep", lambda *_: None)
    backend, specs = account.backend(), [chunk_spec(tmp_path, n) for n in range(4)]
    backend.submit(specs)
    reports = ended(backend, [spec.id for spec in specs], 60.0)
    assert {report.phase for report in reports.values()} == {Phase.DONE} and len(struck) > 2
    assert sorted(line.split()[0] for line in (tmp_path / "notes").read_text().splitlines()) == [s.id for s in specs]


def test_throttling_and_broken_connections_are_waited_out(account: Cloud, tmp_path: Path) -> None:
    account.batch.faults.add(Fault(status=429, rate=0.2, retry_after=0.1))
    account.batch.faults.add(Fault(status=503, rate=0.1))
    account.batch.faults.add(Fault("create_task*", times=1, drop="after"))
    backend, specs = account.backend(), [chunk_spec(tmp_path, n) for n in range(6)]
    backend.submit(specs)
    reports = ended(backend, [spec.id for spec in specs], 60.0)
    assert {report.phase for report in reports.values()} == {Phase.DONE}
    started = [line.split()[0] for line in (tmp_path / "notes").read_text().splitlines()]
    assert sorted(started) == sorted(spec.id for spec in specs)


def test_a_quota_of_zero_is_said_and_nothing_is_left(account: Cloud, tmp_path: Path) -> None:
    account.batch.quota.spot_cores = 0
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    with pytest.raises(BackendRejected, match="quota of Spot cores"):
        until(lambda: not backend.poll([spec.id]))
    backend.cancel([spec.id])
    until(lambda: all(job.state in ("completed", "terminating") for job in account.batch.account.jobs.values()))


def test_machines_that_azure_does_not_have_are_said_and_waited_for(account: Cloud, tmp_path: Path) -> None:
    account.batch.script.allocation = lambda pool, dedicated, wanted: (0, "AllocationFailed")
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until(lambda: any("none of these machines to give" in text for one in backend.meters() for text in one.said))
    assert "no machine yet" in backend.capacity().label and backend.poll([spec.id])[0].phase is Phase.WAITING
    account.batch.script.allocation = None
    assert ended(backend, [spec.id])[spec.id].phase is Phase.DONE


def test_a_start_task_that_fails_is_said(account: Cloud, tmp_path: Path) -> None:
    backend, spec = account.backend(start="echo no driver >&2; exit 9"), chunk_spec(tmp_path)
    backend.submit([spec])
    with pytest.raises(BackendRejected, match=r"exit code 9.*It said: no driver"):
        until(lambda: not backend.poll([spec.id]))


def test_a_node_without_stylizer_is_said(account: Cloud, tmp_path: Path) -> None:
    backend, spec = account.backend(python="no-such-python"), chunk_spec(tmp_path)
    backend.submit([spec])
    report = ended(backend, [spec.id])[spec.id]
    assert report.phase is Phase.FAILED and "CommandProgramNotFound" in report.error


@pytest.mark.parametrize(
    ("fate", "said", "retryable"), [("fail", "told to", True), ("input", "told to", False), ("crash", "crashed", True)]
)
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_what_fails_on_a_node_is_said(account: Cloud, tmp_path: Path, fate: str, said: str, retryable: bool) -> None:
    account.tell_workers(fates={"0": fate})
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    report = ended(backend, [spec.id])[spec.id]
    assert report.phase is Phase.FAILED and said in report.error and report.retryable is retryable
    if fate == "crash":
        assert "about to crash" in report.log


def test_a_run_that_another_client_drives_is_left_alone(
    account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.tell_workers(pace=60.0)
    first, spec = account.backend(), chunk_spec(tmp_path)
    first.submit([spec])
    until((tmp_path / "notes").exists)
    monkeypatch.setattr("platform.node", lambda: "another computer with a copy of this home")
    second = account.backend()
    with pytest.raises(BackendRejected, match="Another stylizer"):
        until(lambda: second.poll([spec.id])[0].phase is Phase.LOST, 5.0)


def test_the_wall_clock_ends_what_nobody_ended(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=60.0)
    backend, spec = account.backend(wall_clock_hours=0.01), chunk_spec(tmp_path)
    backend.submit([spec])
    report = ended(backend, [spec.id])[spec.id]
    assert report.phase is Phase.LOST and "hours are over" in report.error
    account.batch.wait(lambda: not any(pool.nodes for pool in account.batch.account.pools.values()))


@pytest.mark.parametrize("how", ["cancel", "stop"])
def test_what_is_taken_back_while_it_is_uploaded_rents_nothing(
    account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    stage, begun, go_on = Staging.stage, threading.Event(), threading.Event()

    def slow(self: Staging, spec: Any, expires: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return stage(self, spec, expires)

    monkeypatch.setattr(Staging, "stage", slow)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    assert begun.wait(20)
    backend.cancel([spec.id]) if how == "cancel" else backend.stop_spending(1)
    go_on.set()
    assert backend._driver
    (run,) = backend._driver.runs.values()
    until(lambda: run.giving is None)
    assert backend.poll([spec.id])[0].phase is Phase.LOST
    assert account.batch.account.jobs == {} and account.batch.account.pools == {}


def test_a_laptop_that_slept_finds_everything_done(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=0.3)
    backend, specs = account.backend(), [chunk_spec(tmp_path, n) for n in range(4)]
    backend.submit(specs)
    until(lambda: any(report.phase is Phase.RUNNING for report in backend.poll([spec.id for spec in specs])))
    assert backend._driver
    backend._driver.pace = 1e9
    account.batch.wait(lambda: not any(pool.nodes for pool in account.batch.account.pools.values()))
    account.batch.advance(8 * 3600.0)
    backend._driver.pace = 0.05
    assert {report.phase for report in ended(backend, [spec.id for spec in specs]).values()} == {Phase.DONE}
    until(lambda: backend.meters()[0].final)
    # The job's own end bounds what was not seen: a minute of leaving for each node, not eight hours.
    spent, bill = float(backend.meters()[0].spent), float(account.batch.cost())
    assert bill - 2e-4 <= spent <= bill + 2 * 0.019 / 60 + 2e-4


def test_links_that_have_expired_fail_the_task_and_not_the_run(
    account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.azure.giving.MARGIN", timedelta(hours=-7))
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    report = ended(backend, [spec.id])[spec.id]
    assert report.phase is Phase.FAILED and report.retryable and "could not carry out" in report.error
    monkeypatch.undo()
    monkeypatch.setenv("STYLIZER_AZURE_BATCH_KEY", account.batch.account.key)
    monkeypatch.setenv("STYLIZER_AZURE_STORAGE_KEY", account.storage.key)
    again = chunk_spec(tmp_path, attempt=2)
    backend.submit([again])
    assert ended(backend, [again.id])[again.id].phase is Phase.DONE


def test_a_pool_that_cannot_be_made_is_said(account: Cloud, tmp_path: Path) -> None:
    account.batch.quota.pools = 0
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    with pytest.raises(BackendRejected, match="could not start the machines"):
        until(lambda: not backend.poll([spec.id]))


def test_too_many_jobs_are_said(account: Cloud, tmp_path: Path) -> None:
    account.batch.quota.active_jobs = 0
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    with pytest.raises(BackendRejected, match="as many active jobs"):
        until(lambda: not backend.poll([spec.id]))


def test_a_sign_in_that_is_not_taken_is_said(account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_AZURE_BATCH_KEY", "d3Jvbmc=")
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    with pytest.raises(BackendRejected, match="does not take our sign-in"):
        until(lambda: not backend.poll([spec.id]))
    monkeypatch.delenv("STYLIZER_AZURE_BATCH_KEY")
    without = account.backend()
    without.submit([spec])
    with pytest.raises(BackendRejected, match="not in the environment"):
        until(lambda: not without.poll([spec.id]))
    with pytest.raises(BackendRejected, match="not set up"):
        account.backend(batch="").capacity()
    with pytest.raises(BackendRejected, match="'Standard_Nonsense'"):
        account.backend(vm_size="Standard_Nonsense").capacity()
