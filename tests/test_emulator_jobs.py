"""Jobs and tasks of the emulator, seen through the SDK, with tasks that take virtual time instead of running."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from tests.emulator.clients import client, job, minutes, pool, task
from tests.emulator.script import Simulated
from tests.emulator.server import Emulator

TERMINATE: Any = {"terminateReason": "stylizer cancel"}


@pytest.fixture
def batch() -> Iterator[Emulator]:
    with Emulator(scale=0) as emulator:
        emulator.script.task = lambda task, node: Simulated(60, int(task.id.partition("-exit-")[2] or 0))
        yield emulator
    assert emulator.violations == []


@pytest.fixture
def sdk(batch: Emulator) -> Iterator[BatchClient]:
    with client(batch) as opened:
        opened.create_pool(pool())
        batch.advance(200)
        yield opened


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    """The code with which the service refuses."""
    with pytest.raises(HttpResponseError) as caught:
        call(*arguments, **options)
    assert caught.value.error is not None
    return str(caught.value.error.code)


def state(sdk: BatchClient, name: str = "job") -> str:
    return m.BatchJobState(sdk.get_job(name).state or "").value


def test_two_steps_to_a_job_that_ends_by_itself(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job(all_tasks_complete_mode=m.BatchAllTasksCompleteMode.NO_ACTION))
    results = sdk.create_tasks("job", [task(f"chunk-{n:05}") for n in range(250)]).result_values
    assert results and len(results) == 250 and batch.calls["create_task_collection"] == 3
    sdk.update_job("job", m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    assert refusal(sdk.create_job, job()) == "JobExists"
    batch.advance(60 * 125)
    assert state(sdk) == "terminating"
    batch.advance(10)
    found = sdk.get_job("job")
    assert found.state == "completed" and found.execution_info
    assert found.execution_info.termination_reason == "AllTasksComplete"
    counts = sdk.get_job_task_counts("job").task_counts
    assert (counts.active, counts.running, counts.succeeded, counts.failed) == (0, 0, 250, 0)
    assert refusal(sdk.create_task, "job", task("late")) == "JobCompleted"
    assert refusal(sdk.begin_terminate_job, "job", options=TERMINATE) == "JobCompleted"


def test_a_job_without_tasks_ends_at_once(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job(all_tasks_complete_mode="terminatejob"))
    batch.advance(10)
    assert state(sdk) == "completed"


def test_adding_again_is_harmless(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())
    sdk.create_tasks("job", [task("a"), task("b")])
    results = sdk.create_tasks("job", [task("b"), task("c")]).result_values
    found = {result.task_id: result for result in results or []}
    assert found["c"].status == "success" and found["b"].status == "clienterror"
    assert found["b"].error and found["b"].error.code == "TaskExists"
    assert refusal(sdk.create_task, "job", task("a")) == "TaskExists"
    assert [t.id for t in sdk.list_tasks("job", select=["id"])] == ["b", "a", "c"]


def test_a_body_too_large_is_halved(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())
    batch.script.body_limit = 20_000
    sdk.create_tasks("job", [task(f"t{n}", "x" * 1000) for n in range(40)])
    assert batch.answers["create_task_collection", 413] >= 1
    assert sum(1 for _ in sdk.list_tasks("job")) == 40
    with pytest.raises(m.CreateTasksError):
        sdk.create_tasks("job", [task("huge", "x" * 30_000)])
    too_many = m.BatchTaskGroup(task_values=[task(f"u{n}") for n in range(101)])
    batch.script.body_limit = 1 << 20
    assert refusal(sdk.create_task_collection, "job", too_many) == "OutOfRangeInput"


def test_lists(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())
    batch.script.task = lambda task, node: Simulated(60, int(task.id == "t1"))
    for n in range(7):
        sdk.create_task("job", task(f"t{n}"))
    batch.advance(70)
    ids = [t.id for t in sdk.list_tasks("job", filter="state eq 'completed'", select=["id"], max_results=1)]
    assert ids == ["t0", "t1"] and batch.calls["list_tasks"] == 2
    failed = list(sdk.list_tasks("job", filter="executionInfo/result eq 'failure' and executionInfo/exitCode ge 1"))
    assert [t.id for t in failed] == ["t1"]
    either = sdk.list_tasks("job", filter="(id eq 't5' or startswith(id,'t6')) and state ne 'completed'")
    assert [t.id for t in either] == ["t5", "t6"]
    since = sdk.get_task("job", "t0").state_transition_time
    assert since is not None
    later = sdk.list_tasks(
        "job", filter=f"stateTransitionTime gt DateTime'{since - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}'"
    )
    assert {t.id for t in later} == {"t0", "t1", "t2", "t3"}
    chosen = next(iter(sdk.list_tasks("job", select=["id", "executionInfo"])))
    assert chosen.state is None and chosen.execution_info
    assert refusal(lambda: list(sdk.list_tasks("job", filter="commandLine eq 'x'"))) == "InvalidQueryParameterValue"
    for broken in ("state eq", "creationTime gt DateTime'then'", "(id eq 'x'", "id eq 'x' id", "id ~ 'x'"):
        assert refusal(lambda text=broken: list(sdk.list_tasks("job", filter=text))) == "InvalidQueryParameterValue"
    assert [found.id for found in sdk.list_jobs(filter="state eq 'active' and executionInfo/poolId eq 'pool'")] == ["job"]


def test_retries_are_counted_apart_from_requeues(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job(constraints=m.BatchJobConstraints(max_task_retry_count=2)))
    sdk.create_task("job", task("a-exit-1"))
    own = m.BatchTaskConstraints(max_task_retry_count=0)
    sdk.create_task("job", task("b-exit-1", constraints=own))
    batch.advance(65)
    found = sdk.get_task("job", "a-exit-1")
    assert found.state == "running" and found.execution_info and found.execution_info.retry_count == 1
    assert sdk.get_task("job", "b-exit-1").state == "completed"
    batch.advance(120)
    found = sdk.get_task("job", "a-exit-1")
    assert found.state == "completed" and found.execution_info and found.execution_info.failure_info
    info = found.execution_info
    assert (info.exit_code, info.retry_count, info.requeue_count, info.result) == (1, 2, 0, "failure")
    assert info.failure_info and (info.failure_info.code, info.failure_info.category) == ("FailureExitCode", "usererror")
    sdk.reactivate_task("job", "a-exit-1")
    found = sdk.get_task("job", "a-exit-1")
    assert found.execution_info and found.execution_info.retry_count == 0 and found.execution_info.exit_code is None
    sdk.create_task("job", task("fine"))
    batch.advance(500)
    assert refusal(sdk.reactivate_task, "job", "fine") == "TaskSucceeded"


def test_chunks_wait_for_the_fit(batch: Emulator, sdk: BatchClient) -> None:
    needed = m.BatchTaskDependencies(task_ids=["fit"])
    sdk.create_job(job("plain"))
    assert refusal(sdk.create_task, "plain", task("x", depends_on=needed)) == "TaskDependenciesNotSpecifiedOnJob"
    sdk.create_job(job(uses_task_dependencies=True))
    sdk.create_tasks("job", [task("fit"), *(task(f"chunk-{n}", depends_on=needed) for n in range(2))])
    batch.advance(30)
    counts = sdk.get_job_task_counts("job").task_counts
    assert (counts.running, counts.active) == (1, 2)
    batch.advance(31)
    counts = sdk.get_job_task_counts("job").task_counts
    assert (counts.running, counts.succeeded) == (2, 1)


def test_a_failed_dependency_blocks_unless_told_otherwise(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job(uses_task_dependencies=True))
    satisfy = m.ExitConditions(default=m.ExitOptions(dependency_action="satisfy"))
    sdk.create_task("job", task("a-exit-3"))
    sdk.create_task("job", task("b-exit-3", exit_conditions=satisfy))
    for name in ("a", "b"):
        needed = m.BatchTaskDependencies(task_ids=[f"{name}-exit-3"])
        sdk.create_task("job", task(f"after-{name}", depends_on=needed))
    batch.advance(3600)
    assert sdk.get_task("job", "after-a").state == "active"
    assert sdk.get_task("job", "after-b").state == "completed"


def options(action: str) -> m.ExitOptions:
    return m.ExitOptions(job_action=action)


def test_an_exit_code_can_end_the_job(batch: Emulator, sdk: BatchClient) -> None:
    conditions = m.ExitConditions(
        exit_codes=[m.ExitCodeMapping(code=78, exit_options=options("terminate"))], default=options("none")
    )
    assert refusal_of_job_action(sdk, conditions) == "InvalidPropertyValue"
    sdk.create_job(job(task_failure_mode=m.BatchTaskFailureMode.PERFORM_EXIT_OPTIONS_JOB_ACTION))
    sdk.create_tasks(
        "job", [task(f"{n}-exit-{code}", exit_conditions=conditions) for n, code in enumerate((0, 1, 1, 78, 0, 0))]
    )
    batch.advance(60 * 8)
    found = sdk.get_job("job")
    assert found.state == "completed" and found.execution_info
    assert found.execution_info.termination_reason == "TaskFailed"
    sdk.create_job(job("strict", task_failure_mode="performexitoptionsjobaction"))
    sdk.create_task("strict", task("x-exit-1"))
    batch.advance(75)
    assert state(sdk, "strict") == "completed"  # the default for any failure is to end the job


def refusal_of_job_action(sdk: BatchClient, conditions: m.ExitConditions) -> str:
    sdk.create_job(job("lenient"))
    return refusal(sdk.create_task, "lenient", task("x", exit_conditions=conditions))


def test_wall_clocks(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())
    batch.script.task = lambda task, node: Simulated(7200)
    limits = m.BatchTaskConstraints(max_wall_clock_time=minutes(30), max_task_retry_count=3)
    sdk.create_task("job", task("long", constraints=limits))
    batch.advance(1801)
    found = sdk.get_task("job", "long")
    assert found.state == "completed" and found.execution_info and found.execution_info.failure_info
    assert found.execution_info.failure_info.code == "TaskEnded"
    sdk.create_task("job", task("longer"))
    sdk.update_job("job", m.BatchJobUpdateOptions(constraints=m.BatchJobConstraints(max_wall_clock_time=minutes(40))))
    batch.advance(40 * 60 - 1801 + 11)
    found_job = sdk.get_job("job")
    assert found_job.state == "completed" and found_job.execution_info
    assert found_job.execution_info.termination_reason == "MaxWallClockTimeExpiry"
    assert sdk.get_task("job", "longer").state == "completed"


def test_cancelling_tasks_and_jobs(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())
    sdk.create_tasks("job", [task(name) for name in "abcde"])
    running = [t.id for t in sdk.list_tasks("job", filter="state eq 'running'")]
    waiting = [t.id for t in sdk.list_tasks("job", filter="state eq 'active'")]
    assert (len(running), len(waiting)) == (2, 3)
    sdk.terminate_task("job", running[0])
    sdk.terminate_task("job", waiting[2])
    sdk.delete_task("job", waiting[1])
    assert refusal(sdk.terminate_task, "job", running[0]) == "TaskCompleted"
    assert refusal(sdk.get_task, "job", waiting[1]) == "TaskNotFound"
    ended = sdk.get_task("job", waiting[2]).execution_info
    assert ended and ended.failure_info and ended.failure_info.code == "TaskEnded"
    assert sdk.get_task("job", waiting[0]).state == "running"
    sdk.create_task("job", task("never"))
    sdk.begin_terminate_job("job", options=TERMINATE)
    assert refusal(sdk.create_task, "job", task("late")) == "JobBeingTerminated"
    batch.advance(10)
    info = sdk.get_job("job").execution_info
    assert info and info.termination_reason == "stylizer cancel"
    assert sdk.get_task("job", "never").state == "active"  # what waits stays as it is and never runs
    sdk.begin_delete_job("job")
    assert state(sdk) == "deleting"
    assert refusal(sdk.begin_delete_job, "job") == "JobBeingDeleted"
    batch.advance(10)
    assert refusal(sdk.get_job, "job") == "JobNotFound"
    assert next(iter(sdk.list_pool_node_counts())).low_priority.idle == 2  # type: ignore[union-attr]


def test_disabling_puts_tasks_back(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())
    sdk.create_tasks("job", [task("a"), task("b")])
    sdk.begin_disable_job("job", m.BatchJobDisableOptions(disable_tasks="requeue"), polling_interval=0).wait()
    counts = sdk.get_job_task_counts("job").task_counts
    assert (state(sdk), counts.active, counts.running) == ("disabled", 2, 0)
    batch.advance(300)
    assert sdk.get_job_task_counts("job").task_counts.active == 2
    sdk.begin_enable_job("job", polling_interval=0).wait()
    batch.advance(61)
    assert sdk.get_job_task_counts("job").task_counts.succeeded == 2


def test_slots_and_priorities(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_pool(pool("big", task_slots_per_node=4, target_low_priority_nodes=1))
    batch.advance(200)
    info = m.BatchPoolInfo(pool_id="big")
    sdk.create_job(job("low", pool_info=info, max_parallel_tasks=2))
    sdk.create_job(job("high", pool_info=info, priority=5))
    sdk.begin_disable_job("high", m.BatchJobDisableOptions(disable_tasks="requeue"), polling_interval=0).wait()
    sdk.create_tasks("low", [task(f"t{n}") for n in range(3)])
    assert sdk.get_job_task_counts("low").task_counts.running == 2
    sdk.create_tasks("high", [task("wide", required_slots=3), task("thin", required_slots=1)])
    sdk.begin_enable_job("high", polling_interval=0).wait()
    counts = sdk.get_job_task_counts("high")
    assert (counts.task_counts.running, counts.task_slot_counts.active) == (1, 3)
    node = next(iter(sdk.list_nodes("big")))
    assert (node.running_tasks_count, node.running_task_slots_count) == (3, 3)
    batch.advance(61)
    assert sdk.get_job_task_counts("high").task_slot_counts.running == 3
    assert sdk.get_job_task_counts("low").task_counts.running == 1


def test_versions(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())
    before = sdk.get_job("job").etag
    change = m.BatchJobUpdateOptions(priority=3)
    sdk.update_job("job", change, etag=before, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(HttpResponseError) as caught:
        sdk.update_job("job", change, etag=before, match_condition=MatchConditions.IfNotModified)
    assert caught.value.status_code == 412
    found = sdk.get_job("job")
    assert found.priority == 3 and found.etag != before
    found.priority = 4
    sdk.replace_job("job", m.BatchJob(pool_info=found.pool_info, priority=4))
    assert sdk.get_job("job").priority == 4
