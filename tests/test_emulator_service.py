"""The emulator as a web service: who may call, what goes wrong on request, what is counted, and the API's contract."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError, ServiceResponseError

from tests.azurite import Login
from tests.emulator.clients import client, job, pool, task
from tests.emulator.contract import Contract, calls, problems, validator
from tests.emulator.faults import Fault
from tests.emulator.official import Official, find_specification
from tests.emulator.rest import OPERATIONS, Answer
from tests.emulator.script import Simulated
from tests.emulator.server import Emulator

SPECIFICATION = find_specification()


@pytest.fixture
def batch() -> Iterator[Emulator]:
    with Emulator(scale=0) as emulator:
        emulator.script.task = lambda task, node: Simulated(60)
        yield emulator


@pytest.fixture
def sdk(batch: Emulator) -> Iterator[BatchClient]:
    with client(batch) as opened:
        yield opened
    assert batch.violations == []


def caught(call: Any, *arguments: Any, **options: Any) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as error:
        call(*arguments, **options)
    return error.value


# Who may call


def test_shared_keys(batch: Emulator, sdk: BatchClient) -> None:
    assert list(sdk.list_jobs(filter="state eq 'active'", select=["id", "state"], max_results=10)) == []
    for name, key in ((batch.account.name, "d3Jvbmc="), ("nobody", batch.account.key)):
        with BatchClient(batch.url, AzureNamedKeyCredential(name, key), retry_total=0) as stranger:
            error = caught(stranger.get_job, "job")
            assert error.status_code == 403 and error.error and error.error.code == "AuthenticationFailed"
            assert error.error.details
    batch.skew = 3600
    assert caught(sdk.get_job, "job").error.code == "AuthenticationFailed"  # type: ignore[union-attr]
    batch.skew, batch.shared_key = 0, False
    assert caught(sdk.get_job, "job").status_code == 403


def test_bearer_tokens_over_tls() -> None:
    with Emulator(tls=True, scale=0) as batch:
        with BatchClient(batch.url, Login(), connection_verify=str(batch.cert), retry_total=0) as sdk:
            sdk.create_pool(pool())
            assert sdk.get_pool("pool").url == f"{batch.url}/pools/pool"
            batch.accept_token = lambda token: False
            error = caught(sdk.get_pool, "pool")
            assert isinstance(error, ClientAuthenticationError) and error.status_code == 401
        assert batch.violations == []


def test_tokens_are_not_taken_without_tls(batch: Emulator) -> None:
    found = requests.get(f"{batch.url}/pools?api-version=2025-06-01", headers={"Authorization": "Bearer x"}, timeout=10)
    assert found.status_code == 403 and found.json()["code"] == "AuthenticationFailed"


# What goes wrong on request


def test_an_error_looks_like_the_services(batch: Emulator, sdk: BatchClient) -> None:
    error = caught(sdk.get_task, "job", "t")
    assert error.status_code == 404 and error.error and error.error.code == "JobNotFound"
    first, second, third = (error.error.message or "").splitlines()
    assert first == "The specified job does not exist."
    assert second.startswith("RequestId:") and third.startswith("Time:")


def test_throttling_is_waited_for(batch: Emulator) -> None:
    batch.faults.add(Fault("get_pool", status=429, times=1, retry_after=1))
    with client(batch, retry_total=3) as sdk:
        sdk.create_pool(pool())
        start = time.monotonic()
        sdk.get_pool("pool")
    assert time.monotonic() - start >= 1
    assert batch.calls["get_pool"] == 2 and batch.answers["get_pool", 429] == 1


@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServerBusy")])
def test_errors_by_operation(batch: Emulator, sdk: BatchClient, status: int, code: str) -> None:
    batch.faults.add(Fault("list_*", status=status, times=1, skip=1))
    assert list(sdk.list_pools()) == []
    error = caught(lambda: list(sdk.list_jobs()))
    assert error.status_code == status and error.error and error.error.code == code
    assert list(sdk.list_jobs()) == []


def test_a_rate_of_faults(batch: Emulator, sdk: BatchClient) -> None:
    fault = batch.faults.add(Fault("get_job", status=503, rate=0.3))
    for _ in range(200):
        with pytest.raises(HttpResponseError):
            sdk.get_job("none")
    assert 30 < batch.answers["get_job", 503] < 90
    assert batch.answers["get_job", 503] + batch.answers["get_job", 404] == 200 == batch.calls["get_job"]
    fault.rate = 0
    batch.forget_calls()
    caught(sdk.get_job, "none")
    assert batch.answers == {("get_job", 404): 1}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_dropped_connections(batch: Emulator, sdk: BatchClient, moment: str) -> None:
    sdk.create_job(job())
    batch.faults.add(Fault("create_task", drop=moment, times=1))
    with pytest.raises((ServiceResponseError, ServiceRequestError)):
        sdk.create_task("job", task("t"))
    assert [t.id for t in sdk.list_tasks("job")] == (["t"] if moment == "after" else [])
    assert batch.answers["create_task", 0] == 1


def test_adding_tasks_goes_through_a_bad_day(batch: Emulator) -> None:
    batch.faults.add(Fault("create_task_collection", status=503, rate=0.5))
    batch.faults.add(Fault("get_job_task_counts", delay=0.2, times=1))
    with client(batch) as sdk:
        sdk.create_job(job())
        sdk.create_tasks("job", [task(f"t{n}") for n in range(500)])
        start = time.monotonic()
        assert sdk.get_job_task_counts("job").task_counts.active == 500
        assert time.monotonic() - start >= 0.2


# The contract


def test_operations_are_those_of_the_sdk() -> None:
    known = calls()
    assert len(known) == 72
    for operation in OPERATIONS:
        assert (known[operation.name].method, known[operation.name].template) == (operation.method, operation.template)


def test_violations_are_found(batch: Emulator, sdk: BatchClient) -> None:
    def refused(call: Any, *arguments: Any) -> str:
        before = len(batch.violations)
        assert caught(call, *arguments).status_code == 400
        found = batch.violations[before:]
        del batch.violations[before:]
        return " ".join(found)

    wrong_case = m.BatchJobUpdateOptions(all_tasks_complete_mode="TerminateJob")
    sdk.create_job(job())
    assert "request update_job onAllTasksComplete" in refused(sdk.update_job, "job", wrong_case)
    missing = m.BatchPoolCreateOptions({"id": "pool"})
    assert '"vmSize" is a required property' in refused(sdk.create_pool, missing)
    misspelled = m.BatchJobCreateOptions({"id": "x", "poolInfo": {"poolId": "pool"}, "prioritty": 1})
    assert "prioritty" in refused(sdk.create_job, misspelled)
    number = m.BatchJobCreateOptions({"id": "x", "poolInfo": {"poolId": "p"}, "constraints": {"maxWallClockTime": 5}})
    assert "constraints/maxWallClockTime" in refused(sdk.create_job, number)
    assert "$select of unknown exitCode" in refused(lambda: list(sdk.list_tasks("job", select=["id", "exitCode"])))
    secret = m.BatchTaskCreateOptions({"id": "t", "commandLine": ["planted-secret"]})
    assert "planted-secret" not in refused(sdk.create_task, "job", secret)


@pytest.mark.skipif(SPECIFICATION is None, reason="the published specification is not here")
def test_violations_of_the_published_contract(batch: Emulator, sdk: BatchClient) -> None:
    assert caught(lambda: list(sdk.list_jobs(max_results=1001))).status_code == 400
    assert batch.violations == ["official request list_jobs: maxresults is out of range"]
    batch.violations.clear()


def test_answers_are_held_to_the_contract_too() -> None:
    operation = next(operation for operation in OPERATIONS if operation.name == "get_job")
    contract = Contract()
    assert contract.check_response(operation, Answer({"poolInfo": {"poolId": "x"}}), {}) == []
    assert contract.check_response(operation, Answer({"id": "x"}), {"$select": "id"}) == []
    assert contract.check_response(operation, Answer({"id": "x"}), {})
    assert contract.check_response(operation, Answer({"poolInfo": {}, "state": "Active"}), {})
    assert contract.check_response(operation, Answer(None), {})


REJECTED = {
    # What version 2025-06-01 took away: targetNodeCommunicationMode, currentNodeCommunicationMode, resourceTags
    "JobSchedules_CreateJobSchedule_Complex": "NodeCommunicationMode",
    "Jobs_CreateJob_Complex": "NodeCommunicationMode",
    "Pools_CreatePool_ResourceTags": "resourceTags",
    "Pools_CreatePool_VirtualMachineConfigurationWithExtensions": "NodeCommunicationMode",
    "Pools_GetPool_AcceleratedNetworking": "NodeCommunicationMode",
    "Pools_GetPool_SecurityProfile": "NodeCommunicationMode",
    "Pools_GetPool_VirtualMachineConfigurationWithExtensions": "NodeCommunicationMode",
    "Pools_GetPool_VirtualMachineConfigurationWithOSDisk": "NodeCommunicationMode",
    "Pools_GetPool_VirtualMachineConfigurationWithServiceArtifactReference": "NodeCommunicationMode",
    # What it added as required
    "Pools_ListPoolNodeCounts": "deallocated",
    # A mistake in the example: null for a boolean
    "Pools_CreatePool_SecurityProfile": "vTpmEnabled",
}


def bodies(example: dict[str, Any], published: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The JSON that an official example sends and gets; the contents of files are not JSON."""
    names = [p["name"] for p in published["parameters"] if p.get("in") == "body"]
    sent = [example["parameters"][name] for name in names if name in example["parameters"]]
    got = [answer["body"] for answer in example["responses"].values() if isinstance(answer.get("body"), dict)]
    return sent, got


@pytest.mark.skipif(SPECIFICATION is None, reason="the published specification is not here")
def test_official_examples() -> None:
    assert SPECIFICATION is not None
    official = Official(SPECIFICATION)
    published = {
        told["operationId"]: (method.upper(), template, told)
        for template, methods in official.specification["paths"].items()
        for method, told in methods.items()
    }
    by_place = {(call.method, call.template): call for call in calls().values()}
    paths = sorted((SPECIFICATION / "examples").glob("*.json"))
    assert len(paths) == 88
    rejected: dict[str, str] = {}
    for path in paths:
        example = json.loads(path.read_text(encoding="utf-8"))
        method, template, told = published[example["operationId"]]
        call = by_place[method, template]
        sent, got = bodies(example, told)
        found = [problem for body in sent for problem in problems(validator(call.body), body, "")]
        if call.answer:
            found += [problem for body in got for problem in problems(validator(call.answer, call.listed), body, "")]
        if found:
            rejected[path.stem] = " ".join(found)
        for body in sent:
            reference = next(p["schema"]["$ref"] for p in told["parameters"] if p.get("in") == "body")
            wrong = problems(official.validator(reference), body, "")
            assert not wrong or path.stem == "Pools_CreatePool_SecurityProfile", (path.stem, wrong)
    assert rejected.keys() == REJECTED.keys()
    for name, reason in REJECTED.items():
        assert reason in rejected[name]


# On its own


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "tests.emulator", "--scale", "1000", "--account", "mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            with BatchClient(told["url"], AzureNamedKeyCredential(told["account"], told["key"])) as sdk:
                sdk.create_pool(pool())
                assert sdk.get_pool("pool").target_low_priority_nodes == 2
        finally:
            process.kill()
    assert told["account"] == "mine"


def test_nonsense_is_answered(batch: Emulator) -> None:
    where = urlsplit(batch.url)
    for line in (b"GET /nowhere HTTP/1.1", b"PUT /pools HTTP/1.1", b"POST /jobs HTTP/1.1"):
        with socket.create_connection((where.hostname, where.port), timeout=10) as plain:
            plain.sendall(line + b"\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            answer = plain.makefile("rb").read()
        assert answer.split()[1] in (b"400", b"405", b"403")
    assert batch.violations == []
