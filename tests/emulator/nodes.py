"""A node: from allocation over boot and start task to work, and out again."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.emulator.account import Document, stamp
from tests.emulator.clock import Alarm
from tests.emulator.errors import ServiceError
from tests.emulator.execution import Outcome, Run
from tests.emulator.transfer import store

if TYPE_CHECKING:
    from tests.emulator.pools import Pool
    from tests.emulator.tasks import Task

STATES = {
    "creating": "creating",
    "starting": "starting",
    "waitingforstarttask": "waitingForStartTask",
    "starttaskfailed": "startTaskFailed",
    "idle": "idle",
    "running": "running",
    "offline": "offline",
    "preempted": "preempted",
    "unusable": "unusable",
    "leavingpool": "leavingPool",
    "rebooting": "rebooting",
    "reimaging": "reimaging",
    "unknown": "unknown",
    "upgradingos": "upgradingOS",
    "deallocated": "deallocated",
    "deallocating": "deallocating",
}
"""Every state and what the node counts call it."""
READY = ("idle", "running")


class Node:
    """One machine of a pool. All methods are called under the clock's lock."""

    def __init__(self, pool: Pool, dedicated: bool) -> None:
        account = pool.account
        self.account = account
        self.pool = pool
        self.dedicated = dedicated
        self.number = account.number()
        self.id = f"tvmps_{secrets.token_hex(16)}_{'d' if dedicated else 'p'}"
        self.path = f"/pools/{pool.id}/nodes/{self.id}"
        self.folder = account.root / pool.id / self.id
        self.allocated = self.booted = self.since = account.clock.now()
        self.state = "creating"
        self.meter = account.bill.open(pool.id, self.id, pool.size, dedicated, account.clock.seconds)
        self.scheduling = True
        self.leaving = ""
        """How its tasks are treated as it leaves: requeue, terminate, taskcompletion; empty while it stays."""
        self.tasks: dict[str, Task] = {}
        """Running here, by URL."""
        self.recent: list[Task] = []
        self.run_count = self.success_count = 0
        self.errors: list[Document] = []
        self.start_task: Document | None = None
        self._start_run: Run | None = None
        self._alarm: Alarm | None = None
        self._later(account.script.creating_seconds, self._start)

    @property
    def worth(self) -> tuple[bool, int, int]:
        """Those worth least leave first: not ready, then idle, then by how much they run."""
        return (self.state in READY, len(self.tasks), -self.number)

    @property
    def free_slots(self) -> int:
        if self.state not in READY or self.leaving or not self.scheduling:
            return 0
        return self.pool.slots - sum(task.slots for task in self.tasks.values())

    def enter(self, state: str) -> None:
        if state != self.state:
            self.meter.turn(state, self.account.clock.seconds)
            self.state, self.since = state, self.account.clock.now()

    # Coming up

    def _later(self, wait: float, action: Callable[[], None]) -> None:
        self._stay()
        self._alarm = self.account.clock.after(wait, action)

    def _stay(self) -> None:
        if self._alarm:
            self._alarm.cancel()

    def _start(self) -> None:
        self.enter("starting")
        boot = self.account.script.boot_seconds
        self._later(boot(self) if callable(boot) else boot, self._boot)

    def _boot(self) -> None:
        self.booted = self.account.clock.now()
        if self.account.script.unusable and self.account.script.unusable(self):
            self.spoil()
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        spec = self.pool.spec.get("startTask")
        if spec is None:
            self._ready()
            return
        self.start_task = {"state": "running", "startTime": stamp(self.booted), "retryCount": 0}
        self.enter("waitingforstarttask" if spec.get("waitForSuccess", True) else "idle")
        self._run_start_task()
        schedule(self.pool)

    def _run_start_task(self) -> None:
        script = self.account.script
        simulated = script.start_task(self) if script.start_task else None
        spec = self.pool.spec["startTask"]
        self._start_run = Run(self, spec, self.folder / "startup", {}, simulated, self._start_task_ended)
        self._start_run.start()

    def _start_task_ended(self, outcome: Outcome) -> None:
        info, spec = self.start_task, self.pool.spec["startTask"]
        assert info is not None
        retries = spec.get("maxTaskRetryCount", 0)
        if outcome.failure and (retries < 0 or info["retryCount"] < retries):
            info["retryCount"] += 1
            info["lastRetryTime"] = stamp(self.account.clock.now())
            self._run_start_task()
            return
        info.update(state="completed", endTime=stamp(self.account.clock.now()), **outcome.document())
        if not outcome.failure:
            self._ready()
        elif spec.get("waitForSuccess", True):
            self.errors = [{"code": "StartTaskFailed", "message": "The start task failed on the node.", "errorDetails": []}]
            self.enter("starttaskfailed")

    def _ready(self) -> None:
        self.enter("running" if self.tasks else "idle")
        schedule(self.pool)

    # Work

    def took(self, task: Task) -> None:
        self.tasks[task.url] = task
        self.run_count += 1
        self.recent = [*[other for other in self.recent if other is not task][-9:], task]
        self.enter("running")

    def finished(self, task: Task, succeeded: bool) -> None:
        """The task no longer runs here."""
        self.tasks.pop(task.url, None)
        self.success_count += succeeded
        if not self.tasks and self.state == "running":
            if self.leaving == "taskcompletion":
                self._leave()
            else:
                self.enter("idle" if self.scheduling else "offline")

    # Trouble and the end

    def clear(self, option: str = "requeue") -> None:
        """Stop what runs: back to the queue, or ended for good. What was on the disk is lost with it."""
        if self._start_run:
            self._start_run.stop()
        for task in list(self.tasks.values()):
            task.interrupt(requeue=option != "terminate")
        self.tasks.clear()

    def preempt(self) -> None:
        """The machine is taken away; it may come back later, empty, under the same name."""
        if self.dedicated or self.state in ("preempted", "leavingpool"):
            return
        self.enter("preempted")
        self._stay()
        self.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.start_task = None
        if self.leaving:
            self._leave()
        elif self.account.script.restore_seconds is not None:
            self._later(self.account.script.restore_seconds, self._restore)
        schedule(self.pool)

    def _restore(self) -> None:
        self.enter("creating")
        self._later(self.account.script.creating_seconds, self._start)

    def spoil(self) -> None:
        """The node becomes unusable, as when its agent does not answer."""
        message = "The node agent could not be started or its disk is full."
        self.errors = [{"code": "NodeUnusable", "message": message, "errorDetails": []}]
        self.enter("unusable")
        self._stay()
        self.clear()
        schedule(self.pool)

    def reboot(self, state: str = "rebooting", option: str = "requeue") -> None:
        if self.state not in (*READY, "unusable", "starttaskfailed", "offline"):
            raise ServiceError("OperationInvalidForCurrentState")
        self.enter(state)
        self.clear(option)
        if state == "reimaging":
            shutil.rmtree(self.folder, ignore_errors=True)
        self.errors = []
        self._later(10.0, self._start)
        schedule(self.pool)

    def set_scheduling(self, enabled: bool, option: str = "requeue") -> None:
        if enabled == self.scheduling:
            raise ServiceError("NodeAlreadyInTargetSchedulingState")
        self.scheduling = enabled
        if not enabled and option != "taskcompletion":
            self.clear(option)
        if self.state in (*READY, "offline") and not self.tasks:
            self.enter("idle" if enabled else "offline")
        schedule(self.pool)

    def leave(self, option: str) -> None:
        """Leave the pool: now, or with taskcompletion when nothing runs here any more."""
        if self.state == "leavingpool":
            return
        self.leaving = option
        if option != "taskcompletion" or not self.tasks:
            self._leave()

    def _leave(self) -> None:
        gone = self.state == "preempted"
        self.enter("leavingpool")
        self.clear("requeue" if self.leaving == "taskcompletion" else self.leaving)
        self._later(0 if gone else self.account.script.leave_seconds, self.remove)

    def remove(self) -> None:
        """Gone; billing ends."""
        self._stay()
        self.clear()
        if self.pool.nodes.pop(self.id, None):
            self.meter.turn(None, self.account.clock.seconds)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.pool.settle()
        schedule(self.pool)

    def halt(self) -> None:
        """The emulator ends: nothing that runs here outlives it."""
        for run in (self._start_run, *(task.run for task in self.tasks.values())):
            if run:
                run.stop()

    def upload_logs(self, container: str, prefix: str) -> int:
        """Put the agent's log, and the start task's output, into the container; returns how many files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "agent-debug.log"
        log.write_text("".join(f"{problem['code']}: {problem['message']}\n" for problem in self.errors) or self.state)
        paths = [log, *(self.folder / "startup").glob("std*.txt")]
        for path in paths:
            store(path, f"{prefix}/{path.name}", {"containerUrl": container}, self.account.trust)
        return len(paths)

    def document(self) -> Document:
        digits = [self.number // 250 % 250, self.number % 250 + 4]
        shown: Document = {
            "id": self.id,
            "url": self.account.url + self.path,
            "state": self.state,
            "schedulingState": "enabled" if self.scheduling else "disabled",
            "stateTransitionTime": stamp(self.since),
            "lastBootTime": stamp(self.booted),
            "allocationTime": stamp(self.allocated),
            "ipAddress": f"10.0.{digits[0]}.{digits[1]}",
            "affinityId": f"TVM:{self.id}",
            "vmSize": self.pool.spec["vmSize"],
            "totalTasksRun": self.run_count,
            "runningTasksCount": len(self.tasks),
            "runningTaskSlotsCount": sum(task.slots for task in self.tasks.values()),
            "totalTasksSucceeded": self.success_count,
            "isDedicated": self.dedicated,
            "nodeAgentInfo": {"version": "1.12.18", "lastUpdateTime": stamp(self.booted)},
            "virtualMachineInfo": {"imageReference": self.pool.spec["virtualMachineConfiguration"]["imageReference"]},
        }
        if self.recent:
            shown["recentTasks"] = [task.reference() for task in self.recent]
        if "startTask" in self.pool.spec:
            shown["startTask"] = self.pool.spec["startTask"]
        if self.start_task:
            shown["startTaskInfo"] = self.start_task
        if self.errors:
            shown["errors"] = self.errors
        return shown


def schedule(pool: Pool) -> None:
    """Give waiting tasks of the jobs on this pool to its free slots: by priority of the job, then in order of arrival."""
    free = {node.id: node.free_slots for node in pool.nodes.values() if node.free_slots}
    jobs = [job for job in pool.account.jobs.values() if job.pool is pool and job.state == "active"]
    for job in sorted(jobs, key=lambda job: (-job.priority, job.number)):
        for task in list(job.waiting.values()):
            if not free or job.is_full:
                break
            # Spread is the service's default: the emptiest node first
            node_id = max(free, key=lambda node_id: free[node_id])
            if free[node_id] < task.slots or not task.unblocked:
                continue
            task.start(pool.nodes[node_id])
            free[node_id] -= task.slots
            if not free[node_id]:
                del free[node_id]
