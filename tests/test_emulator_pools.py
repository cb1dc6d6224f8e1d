"""Pools and nodes of the emulator, seen through the SDK, on a clock that moves only when told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError

from tests.emulator.clients import auto_pool, client, job, minutes, pool, task
from tests.emulator.script import SIZES, Simulated
from tests.emulator.server import Emulator

GROW = "$TargetLowPriorityNodes = min(5, $PendingTasks.GetSamplePercent(TimeInterval_Minute * 5) < 70 ? 2 : "
GROW += "max($PendingTasks.GetSample(1))); $NodeDeallocationOption = taskcompletion;"
# The SDK does not export these models, and cannot do without them
REBOOT: Any = {"nodeRebootOption": "requeue"}
DISABLE: Any = {"nodeDisableSchedulingOption": "requeue"}


@pytest.fixture
def batch() -> Iterator[Emulator]:
    with Emulator(scale=0) as emulator:
        emulator.script.task = lambda task, node: Simulated(600)
        yield emulator
    assert emulator.violations == []


@pytest.fixture
def sdk(batch: Emulator) -> Iterator[BatchClient]:
    with client(batch) as opened:
        yield opened


def states(sdk: BatchClient, name: str = "pool") -> dict[str, int]:
    return dict(Counter(m.BatchNodeState(node.state).value for node in sdk.list_nodes(name)))


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    """The code with which the service refuses."""
    with pytest.raises(HttpResponseError) as caught:
        call(*arguments, **options)
    assert caught.value.error is not None
    return str(caught.value.error.code)


def test_a_node_from_allocation_to_removal(batch: Emulator, sdk: BatchClient) -> None:
    batch.script.start_task = lambda node: Simulated(40)
    start = m.BatchStartTask(command_line="/bin/bash -c 'nvidia-smi'", wait_for_success=True)
    sdk.create_pool(pool(start_task=start, target_low_priority_nodes=1, target_dedicated_nodes=1))
    assert sdk.get_pool("pool").allocation_state == "resizing"
    seen = []
    for seconds in (30, 30, 120, 40):
        batch.advance(seconds)
        seen.append(states(sdk))
    assert seen == [{"creating": 2}, {"starting": 2}, {"waitingforstarttask": 2}, {"idle": 2}]
    found = sdk.get_pool("pool")
    assert (found.allocation_state, found.current_low_priority_nodes, found.current_dedicated_nodes) == ("steady", 1, 1)
    counts = next(iter(sdk.list_pool_node_counts(filter="poolId eq 'pool'")))
    assert counts.dedicated and counts.low_priority
    assert (counts.dedicated.idle, counts.low_priority.idle, counts.low_priority.total) == (1, 1, 1)
    node = next(node for node in sdk.list_nodes("pool") if not node.is_dedicated)
    assert node.start_task_info and (node.start_task_info.exit_code, node.start_task_info.result) == (0, "success")
    assert sdk.get_node("pool", node.id).virtual_machine_info.image_reference.sku == "2404"  # type: ignore[union-attr]
    sdk.begin_resize_pool("pool", m.BatchPoolResizeOptions(target_dedicated_nodes=0))
    assert states(sdk) == {"leavingpool": 1, "idle": 1}
    batch.advance(20)
    assert states(sdk) == {"idle": 1}
    sdk.begin_delete_pool("pool")
    assert sdk.get_pool("pool").state == "deleting"
    batch.advance(10)
    assert refusal(sdk.get_pool, "pool") == "PoolNotFound"
    # Allocated at 30 s; the dedicated one was gone at 240 s, the Spot one at 250 s
    assert batch.node_seconds() == pytest.approx(210 + 220, abs=1e-6)
    size = SIZES["standard_nc4as_t4_v3"]
    expected = (size.dedicated * 210 + size.spot * 220) / 3600
    assert abs(batch.cost() - expected) < Decimal("1e-9")


def test_a_start_task_that_fails(batch: Emulator, sdk: BatchClient) -> None:
    results = iter([1, 0, 1, 1])
    batch.script.start_task = lambda node: Simulated(10, next(results))
    start = m.BatchStartTask(command_line="/bin/bash -c 'nvidia-smi'", wait_for_success=True, max_task_retry_count=1)
    sdk.create_pool(pool(start_task=start, target_low_priority_nodes=1))
    batch.advance(250)
    assert states(sdk) == {"idle": 1}
    sdk.begin_resize_pool("pool", m.BatchPoolResizeOptions(target_low_priority_nodes=2))
    batch.advance(250)
    assert states(sdk) == {"idle": 1, "starttaskfailed": 1}
    node = next(iter(sdk.list_nodes("pool", filter="state eq 'starttaskfailed'")))
    assert node.start_task_info and node.start_task_info.failure_info
    assert (node.start_task_info.retry_count, node.start_task_info.failure_info.code) == (1, "FailureExitCode")
    assert node.errors and node.errors[0].code == "StartTaskFailed"


def test_preemption_sends_the_task_back_and_the_node_returns(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_pool(pool(target_low_priority_nodes=1))
    sdk.create_job(job())
    sdk.create_task("job", task("chunk-00000"))
    batch.advance(200)
    assert sdk.get_task("job", "chunk-00000").state == "running"
    before = batch.node_seconds()
    node_id = batch.preempt(task_id="chunk-00000")
    found = sdk.get_task("job", "chunk-00000")
    assert found.state == "active" and found.node_info is None and found.execution_info
    assert (found.execution_info.requeue_count, found.execution_info.retry_count) == (1, 0)
    assert states(sdk) == {"preempted": 1}
    assert sdk.get_pool("pool").current_low_priority_nodes == 1
    batch.advance(299)
    assert batch.node_seconds() == before
    batch.advance(1 + 30 + 120)
    found = sdk.get_task("job", "chunk-00000")
    assert found.state == "running" and found.node_info and found.node_info.node_id == node_id
    batch.advance(600)
    assert sdk.get_task("job", "chunk-00000").state == "completed"


def test_scripted_preemption_and_unusable_nodes(batch: Emulator, sdk: BatchClient) -> None:
    batch.script.preemption = lambda task, node: 100.0 if task.execution["requeueCount"] < 2 else None
    spoiled = iter([True])
    batch.script.unusable = lambda node: next(spoiled, False)
    sdk.create_pool(pool(target_low_priority_nodes=2))
    sdk.create_job(job())
    sdk.create_task("job", task("one"))
    batch.advance(180)
    assert states(sdk) == {"unusable": 1, "running": 1}
    spoiled_node = next(iter(sdk.list_nodes("pool", filter="state eq 'unusable'")))
    assert spoiled_node.errors and spoiled_node.errors[0].code == "NodeUnusable"
    sdk.begin_reboot_node("pool", spoiled_node.id, options=REBOOT)
    batch.advance(3000)
    found = sdk.get_task("job", "one")
    assert found.state == "completed" and found.execution_info and found.execution_info.requeue_count == 2
    assert states(sdk) == {"idle": 2}


def test_quota_is_told_by_resize_errors(batch: Emulator, sdk: BatchClient) -> None:
    batch.quota.spot_cores, batch.quota.families = 10, {"standardNCASv3_T4Family": 0}
    sdk.create_pool(pool(target_low_priority_nodes=3, target_dedicated_nodes=1))
    batch.advance(30)
    found = sdk.get_pool("pool")
    assert found.allocation_state == "steady" and found.resize_errors
    assert {error.code for error in found.resize_errors} == {"AccountCoreQuotaReached", "AccountSpotCoreQuotaReached"}
    assert (found.current_low_priority_nodes, found.current_dedicated_nodes) == (2, 0)
    batch.quota.pools = 1
    assert refusal(sdk.create_pool, pool("other")) == "PoolQuotaReached"
    batch.quota.active_jobs = 1
    sdk.create_job(job())
    assert refusal(sdk.create_job, job("more")) == "ActiveJobAndScheduleQuotaReached"


def test_allocation_that_fails_or_takes_too_long(batch: Emulator, sdk: BatchClient) -> None:
    batch.script.allocation = lambda pool, dedicated, wanted: (wanted - 1, "AllocationFailed")
    sdk.create_pool(pool(target_low_priority_nodes=3))
    batch.advance(30)
    found = sdk.get_pool("pool")
    assert found.current_low_priority_nodes == 2 and found.resize_errors
    assert [error.code for error in found.resize_errors] == ["AllocationFailed"]
    batch.script.allocation_seconds = 3600
    sdk.create_pool(pool("slow", resize_timeout=minutes(5)))
    assert (
        refusal(sdk.begin_resize_pool, "slow", m.BatchPoolResizeOptions(target_low_priority_nodes=1)) == "PoolBeingResized"
    )
    batch.advance(300)
    slow = sdk.get_pool("slow")
    assert slow.allocation_state == "steady" and slow.resize_errors and not slow.current_low_priority_nodes
    assert slow.resize_errors[0].code == "AllocationTimedout"
    sdk.begin_resize_pool("slow", m.BatchPoolResizeOptions(target_low_priority_nodes=1))
    sdk.begin_stop_pool_resize("slow", polling_interval=0).wait()
    stopped = sdk.get_pool("slow")
    assert stopped.allocation_state == "steady" and stopped.target_low_priority_nodes == 0


def test_autoscale_follows_the_queue_to_zero(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_pool(pool(enable_auto_scale=True, auto_scale_formula=GROW, auto_scale_evaluation_interval=minutes(5)))
    found = sdk.get_pool("pool")
    assert found.auto_scale_run and found.auto_scale_run.error is None
    assert "$TargetLowPriorityNodes=2" in (found.auto_scale_run.results or "")
    assert found.target_low_priority_nodes == 2
    sdk.create_job(job())
    sdk.create_tasks("job", [task(f"t{n}") for n in range(10)])
    batch.advance(301)
    assert sdk.get_pool("pool").target_low_priority_nodes == 5
    batch.advance(3600)
    assert sdk.get_job_task_counts("job").task_counts.succeeded == 10
    found = sdk.get_pool("pool")
    assert (found.target_low_priority_nodes, found.current_low_priority_nodes) == (0, 0)
    total = batch.node_seconds()
    batch.advance(3600)
    assert batch.node_seconds() == total


def test_autoscale_errors(batch: Emulator, sdk: BatchClient) -> None:
    unguarded = "$TargetLowPriorityNodes = max($PendingTasks.GetSample(1));"
    sdk.create_pool(pool(enable_auto_scale=True, auto_scale_formula=unguarded))
    run = sdk.get_pool("pool").auto_scale_run
    assert run and run.error and run.error.code == "InsufficientSampleData"
    short = {"auto_scale_formula": GROW, "auto_scale_evaluation_interval": minutes(4)}
    assert refusal(sdk.create_pool, pool("b", enable_auto_scale=True, **short)) == "InvalidPropertyValue"
    broken = {"auto_scale_formula": "$TargetLowPriorityNodes = ;"}
    assert refusal(sdk.create_pool, pool("b", enable_auto_scale=True, **broken)) == "AutoScalingFormulaSyntaxError"
    again = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=GROW, auto_scale_evaluation_interval=minutes(5))
    assert refusal(sdk.enable_pool_auto_scale, "pool", again) == "TooManyEnableAutoScaleRequests"
    batch.advance(31)
    sdk.enable_pool_auto_scale("pool", again)
    assert sdk.get_pool("pool").target_low_priority_nodes == 2
    trial = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes = 7;")
    assert "$TargetDedicatedNodes=7" in (sdk.evaluate_pool_auto_scale("pool", trial).results or "")
    assert sdk.get_pool("pool").target_dedicated_nodes == 0
    resize = m.BatchPoolResizeOptions(target_low_priority_nodes=1)
    assert refusal(sdk.begin_resize_pool, "pool", resize) == "OperationInvalidForCurrentState"
    sdk.disable_pool_auto_scale("pool")
    assert sdk.get_pool("pool").enable_auto_scale is False
    assert refusal(sdk.evaluate_pool_auto_scale, "pool", trial) == "OperationInvalidForCurrentState"


def test_autoscale_with_a_gap_in_its_samples(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_pool(pool(enable_auto_scale=True, auto_scale_formula=GROW, auto_scale_evaluation_interval=minutes(5)))
    sdk.create_job(job())
    batch.script.task = lambda task, node: Simulated(36_000)
    sdk.create_tasks("job", [task(f"t{n}") for n in range(4)])
    batch.advance(301)
    assert sdk.get_pool("pool").target_low_priority_nodes == 4
    batch.script.sampling = lambda pool: False
    batch.advance(300)
    assert sdk.get_pool("pool").target_low_priority_nodes == 2  # what the formula says without samples


def test_deleting_a_pool_puts_its_tasks_back(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_job(job())  # a job may come before its pool
    sdk.create_task("job", task("t"))
    sdk.create_pool(pool(target_low_priority_nodes=1))
    batch.advance(200)
    assert sdk.get_task("job", "t").state == "running"
    sdk.begin_delete_pool("pool")
    found = sdk.get_task("job", "t")
    assert found.state == "active" and found.execution_info and found.execution_info.requeue_count == 1
    assert refusal(sdk.begin_delete_pool, "pool") == "PoolBeingDeleted"
    batch.advance(20)
    sdk.create_pool(pool(target_low_priority_nodes=1))
    batch.advance(900)
    assert sdk.get_task("job", "t").state == "completed"


def test_auto_pools_that_cannot_be_made(batch: Emulator, sdk: BatchClient) -> None:
    def scheduling_error(name: str) -> str:
        found = sdk.get_job(name)
        assert found.state == "completed" and found.execution_info and found.execution_info.scheduling_error
        return str(found.execution_info.scheduling_error.code)

    broken = {"enable_auto_scale": True, "auto_scale_formula": "$TargetDedicatedNodes = ;"}
    sdk.create_job(job("broken", pool_info=auto_pool(**broken)))
    assert scheduling_error("broken") == "InvalidAutoScaleFormulaInAutoPool"
    batch.quota.pools = 0
    sdk.create_job(job("crowded", pool_info=auto_pool(target_low_priority_nodes=1)))
    assert scheduling_error("crowded") == "AutoPoolCreationFailedWithQuotaReached"


def test_removing_nodes_spares_what_runs_with_taskcompletion(batch: Emulator, sdk: BatchClient) -> None:
    sdk.create_pool(pool(target_low_priority_nodes=2))
    sdk.create_job(job())
    sdk.create_tasks("job", [task("a"), task("b")])
    batch.advance(200)
    first, second = (node.id for node in sdk.list_nodes("pool"))
    option = m.BatchNodeDeallocationOption.TASK_COMPLETION
    remove = m.BatchNodeRemoveOptions(node_ids=[first], node_deallocation_option=option)
    sdk.begin_remove_nodes("pool", remove)
    assert sdk.get_pool("pool").target_low_priority_nodes == 1
    assert states(sdk) == {"running": 2}
    batch.advance(650)
    assert [node.id for node in sdk.list_nodes("pool")] == [second]
    assert sdk.get_job_task_counts("job").task_counts.succeeded == 2
    sdk.disable_node_scheduling("pool", second, options=DISABLE)
    sdk.create_task("job", task("c"))
    batch.advance(60)
    assert sdk.get_task("job", "c").state == "active" and states(sdk) == {"offline": 1}
    sdk.enable_node_scheduling("pool", second)
    batch.advance(1)
    assert sdk.get_task("job", "c").state == "running"


def test_auto_pool_ends_with_its_job(batch: Emulator, sdk: BatchClient) -> None:
    limits = m.BatchJobConstraints(max_wall_clock_time=timedelta(hours=1))
    sdk.create_job(job(pool_info=auto_pool(target_low_priority_nodes=1), constraints=limits))
    found = sdk.get_job("job")
    assert found.execution_info
    name = found.execution_info.pool_id or ""
    assert name.startswith("stylizer_") and sdk.get_pool(name).state == "active"
    batch.advance(3600)
    assert sdk.get_job("job").state == "terminating"
    batch.advance(10)
    ended = sdk.get_job("job")
    assert ended.state == "completed" and ended.execution_info
    assert ended.execution_info.termination_reason == "MaxWallClockTimeExpiry"
    batch.advance(30)
    assert refusal(sdk.get_pool, name) == "PoolNotFound"
    assert batch.node_seconds() == pytest.approx(3600 - 30 + 10 + 10)


def test_pool_properties_and_lists(batch: Emulator, sdk: BatchClient) -> None:
    tags = [m.BatchMetadataItem(name="stylizer", value="1")]
    for name in ("pool-1", "pool-2", "warm"):
        sdk.create_pool(pool(name, metadata=tags, target_low_priority_nodes=0))
    assert [p.id for p in sdk.list_pools(filter="startswith(id, 'pool') and state eq 'active'")] == ["pool-1", "pool-2"]
    assert [p.id for p in sdk.list_pools(select=["id"], max_results=1)] == ["pool-1", "pool-2", "warm"]
    assert refusal(sdk.create_pool, pool("warm")) == "PoolExists"
    sdk.update_pool("warm", m.BatchPoolUpdateOptions(metadata=[m.BatchMetadataItem(name="a", value="b")]))
    assert [(tag.name, tag.value) for tag in sdk.get_pool("warm").metadata or []] == [("a", "b")]
    assert refusal(sdk.create_pool, m.BatchPoolCreateOptions(id="x", vm_size="Standard_Nope")) == "InvalidPropertyValue"
    images = {
        image.image_reference.sku: image for image in sdk.list_supported_images(filter="verificationType eq 'verified'")
    }
    assert "DockerCompatible" in (images["2404"].capabilities or [])
    assert images["2204"].batch_support_end_of_life
