"""Jobs: queues of tasks on a pool, with the server-side stops."""

from __future__ import annotations

import uuid
from collections import Counter

from tests.emulator.account import FOREVER, Account, Document, Resource, check_id, seconds, stamp
from tests.emulator.clock import Alarm
from tests.emulator.errors import ServiceError
from tests.emulator.nodes import schedule
from tests.emulator.pools import Pool
from tests.emulator.tasks import Task

LIVE = ("active", "disabling", "disabled", "enabling", "terminating", "deleting")
"""States in which a job counts against the quota."""


class Job(Resource):
    """A queue of tasks on a pool: one that exists, or one made for it that goes when it ends."""

    def __init__(self, account: Account, spec: Document) -> None:
        check_id(spec["id"])
        if sum(job.state in LIVE for job in account.jobs.values()) >= account.quota.active_jobs:
            raise ServiceError("ActiveJobAndScheduleQuotaReached")
        super().__init__(account, f"/jobs/{spec['id']}", "active")
        self.id: str = spec["id"]
        self.spec = spec
        self.priority: int = spec.get("priority", 0)
        self.tasks: dict[str, Task] = {}
        self.waiting: dict[str, Task] = {}
        """Active tasks, in the order in which they came."""
        self.execution: Document = {"startTime": stamp(self.created)}
        self.reason: str | None = None
        self._wall_clock: Alarm | None = None
        self._auto_pool: Pool | None = None
        self._limit()
        automatic = spec["poolInfo"].get("autoPoolSpecification")
        self.pool_id = spec["poolInfo"].get("poolId", "")
        if automatic:
            self.pool_id = f"{automatic.get('autoPoolIdPrefix', '')}_{str(uuid.uuid4()).upper()}".lstrip("_")
        account.jobs[self.id] = self
        if automatic:
            self._make_pool(automatic)
        self.execution["poolId"] = self.pool_id
        self.check_complete()

    def _make_pool(self, automatic: Document) -> None:
        if "pool" not in automatic:
            self._stillborn("InvalidAutoPoolSettings", "The specified autopool settings are not valid.")
            return
        try:
            self._auto_pool = Pool(self.account, {**automatic["pool"], "id": self.pool_id}, self)
        except ServiceError as error:
            if error.code == "PoolQuotaReached":
                self._stillborn("AutoPoolCreationFailedWithQuotaReached", "The pool quota for the account is reached.")
                return
            if error.code.startswith("AutoScaling"):
                self._stillborn("InvalidAutoScaleFormulaInAutoPool", "The specified auto-scaling settings are not valid.")
                return
            del self.account.jobs[self.id]
            raise

    def _stillborn(self, code: str, message: str) -> None:
        self.execution["schedulingError"] = {"category": "usererror", "code": code, "message": message, "details": []}
        self._complete()

    @property
    def pool(self) -> Pool | None:
        """The pool that it runs on, if that exists and lives."""
        pool = self.account.pools.get(self.pool_id)
        return pool if pool and pool.state == "active" else None

    @property
    def is_full(self) -> bool:
        limit: int = self.spec.get("maxParallelTasks", -1)
        return limit >= 0 and sum(task.run is not None for task in self.tasks.values()) >= limit

    def _limit(self) -> None:
        """Start, or set anew, the clock that ends the job; it counts from the job's creation."""
        if self._wall_clock:
            self._wall_clock.cancel()
        limit = self.spec.get("constraints", {}).get("maxWallClockTime", FOREVER)
        if limit == FOREVER:
            return
        age = (self.account.clock.now() - self.created).total_seconds()
        wait = seconds(limit, "maxWallClockTime") - age
        self._wall_clock = self.account.clock.after(wait, lambda: self.terminate("MaxWallClockTimeExpiry"))

    def add(self, spec: Document) -> Task:
        """Queue a task; who adds many calls `schedule` once after the last."""
        if self.state in ("terminating", "deleting", "completed"):
            codes = {"terminating": "JobBeingTerminated", "deleting": "JobBeingDeleted", "completed": "JobCompleted"}
            raise ServiceError(codes[self.state])
        if spec["id"] in self.tasks:
            raise ServiceError("TaskExists")
        task = Task(self, spec)
        self.tasks[task.id] = self.waiting[task.id] = task
        return task

    def update(self, change: Document, replace: bool = False) -> None:
        """PATCH, or PUT where what is missing falls back to its default."""
        changeable = ("priority", "maxParallelTasks", "constraints", "onAllTasksComplete", "metadata", "allowTaskPreemption")
        if replace:
            for name in changeable:
                self.spec.pop(name, None)
        if "poolInfo" in change:
            if self.state != "disabled" and change["poolInfo"] != self.spec["poolInfo"]:
                raise ServiceError("OperationInvalidForCurrentState")
            self.spec["poolInfo"] = change["poolInfo"]
            self.pool_id = change["poolInfo"].get("poolId", self.pool_id)
        self.spec.update({name: value for name, value in change.items() if name in changeable})
        self.priority = self.spec.get("priority", 0)
        self.touch()
        self._limit()
        self.check_complete()

    def check_complete(self) -> None:
        """End the job if it is to end with its last task; having none counts as having done them all."""
        mode = self.spec.get("onAllTasksComplete", "noaction")
        if (
            mode == "terminatejob"
            and self.state == "active"
            and not any(t.state != "completed" for t in self.tasks.values())
        ):
            self.terminate("AllTasksComplete")

    def disable(self, option: str) -> None:
        if self.state != "active":
            raise ServiceError("JobDisabled" if self.state == "disabled" else "JobNotActive")
        self.enter("disabling")
        self.touch()
        for task in list(self.tasks.values()):
            if task.run and option != "wait":
                task.interrupt(requeue=option == "requeue")
        self.task_left()

    def enable(self) -> None:
        if self.state not in ("disabled", "disabling"):
            raise ServiceError("OperationInvalidForCurrentState")
        self.enter("active")
        self.touch()
        if self.pool:
            schedule(self.pool)

    def task_left(self) -> None:
        """A task of this job no longer runs."""
        if self.state == "disabling" and not any(task.run for task in self.tasks.values()):
            self.enter("disabled")
        self.check_complete()

    def terminate(self, reason: str) -> None:
        """End running tasks; those still in the queue stay as they are and never run."""
        if self.state in ("terminating", "completed", "deleting"):
            return
        self.reason = reason
        self._stop("terminating")
        self.account.clock.after(self.account.script.delete_seconds, self._complete)

    def _stop(self, state: str) -> None:
        self.enter(state)
        self.touch()
        if self._wall_clock:
            self._wall_clock.cancel()
        for task in list(self.tasks.values()):
            if task.run:
                task.interrupt(requeue=False)

    def _complete(self) -> None:
        if self.state == "deleting":
            return
        self.enter("completed")
        self.touch()
        self.execution["endTime"] = stamp(self.account.clock.now())
        if self.reason:
            self.execution["terminateReason"] = self.reason
        self._release_pool()

    def delete(self) -> None:
        """Forget it, its tasks and its auto-pool."""
        if self.state == "deleting":
            raise ServiceError("JobBeingDeleted")
        self._stop("deleting")
        self._release_pool()
        self.account.clock.after(self.account.script.delete_seconds, self._gone)

    def _gone(self) -> None:
        self.account.jobs.pop(self.id, None)

    def _release_pool(self) -> None:
        pool, automatic = self._auto_pool, self.spec["poolInfo"].get("autoPoolSpecification", {})
        if pool and pool.state == "active" and not automatic.get("keepAlive"):
            pool.delete()

    def tally(self) -> Counter[str]:
        """Tasks by state as the counts show it: preparing counts as running."""
        shown = {"preparing": "running"}
        return Counter(shown.get(task.state, task.state) for task in self.tasks.values())

    def counts(self) -> Document:
        """The answer of get_job_task_counts."""

        def numbers(weigh: bool) -> Document:
            found: Counter[str] = Counter()
            for task in self.tasks.values():
                weight = task.slots if weigh else 1
                found[{"preparing": "running"}.get(task.state, task.state)] += weight
                if task.state == "completed":
                    found["failed" if task.failed else "succeeded"] += weight
            return {name: found[name] for name in ("active", "running", "completed", "succeeded", "failed")}

        return {"taskCounts": numbers(False), "taskSlotCounts": numbers(True)}

    def document(self) -> Document:
        defaults: Document = {
            "priority": 0,
            "maxParallelTasks": -1,
            "allowTaskPreemption": False,
            "usesTaskDependencies": False,
            "onAllTasksComplete": "noaction",
            "onTaskFailure": "noaction",
        }
        constraints = {"maxWallClockTime": FOREVER, "maxTaskRetryCount": 0, **self.spec.get("constraints", {})}
        return {
            **defaults,
            **self.spec,
            **self.history(),
            **self.past(),
            "constraints": constraints,
            "executionInfo": self.execution,
        }
