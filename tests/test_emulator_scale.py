"""A thousand chunks on a hundred nodes that are taken away again and again, in seconds."""

from __future__ import annotations

import random
import time
import zlib

from tests.emulator.clients import client, job, pool, task
from tests.emulator.faults import Fault
from tests.emulator.script import Quota, Script, Simulated
from tests.emulator.server import Emulator
from tests.emulator.tasks import Task

CHUNKS, NODES = 1000, 100


def test_a_thousand_chunks_on_a_hundred_spot_nodes() -> None:
    dice = random.Random(7)

    def seconds(task: Task) -> float:
        return 60 + zlib.crc32(task.id.encode()) % 60

    script = Script(
        task=lambda task, node: Simulated(seconds(task)),
        preemption=lambda task, node: dice.uniform(1, 60) if dice.random() < 0.2 else None,
    )
    with Emulator(scale=1000, script=script, quota=Quota(spot_cores=4 * NODES)) as batch:
        batch.faults.add(Fault(status=503, rate=0.05))
        batch.faults.add(Fault(status=429, rate=0.05, retry_after=0))
        with client(batch, retry_total=10, retry_backoff_factor=0.01) as sdk:
            sdk.create_pool(pool(target_low_priority_nodes=NODES))
            sdk.create_job(job())
            sdk.create_tasks("job", [task(f"chunk-{n:05}") for n in range(CHUNKS)])
            deadline = time.monotonic() + 60
            while sdk.get_job_task_counts("job").task_counts.completed < CHUNKS:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            tasks = list(sdk.list_tasks("job", filter="state eq 'completed'", select=["id", "executionInfo"]))
        assert {found.id for found in tasks} == {f"chunk-{n:05}" for n in range(CHUNKS)}
        requeued = sum(found.execution_info.requeue_count for found in tasks if found.execution_info)
        assert 0.1 * CHUNKS < requeued < 0.5 * CHUNKS
        assert all(found.execution_info and found.execution_info.result == "success" for found in tasks)
        assert sum(batch.calls.values()) <= 3 * CHUNKS
        worked = sum(seconds(found) for found in batch.account.jobs["job"].tasks.values())
        assert worked < batch.node_seconds() < 4 * worked
        assert batch.violations == []
