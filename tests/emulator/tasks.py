"""Tasks: from the queue onto a node, and to their end."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.emulator.account import FOREVER, Document, Resource, check_id, seconds, stamp
from tests.emulator.clock import Alarm
from tests.emulator.errors import ServiceError, invalid
from tests.emulator.execution import Outcome, Run, failure
from tests.emulator.nodes import Node, schedule

if TYPE_CHECKING:
    from tests.emulator.jobs import Job


class Task(Resource):
    """One command line to run; `run` is set while it runs on `node`."""

    def __init__(self, job: Job, spec: Document) -> None:
        self._check(job, spec)
        super().__init__(job.account, f"/jobs/{job.id}/tasks/{spec['id']}", "active")
        self.id: str = spec["id"]
        self.job = job
        self.spec = spec
        self.slots: int = spec.get("requiredSlots", 1)
        self.run: Run | None = None
        self.node: Node | None = None
        self.files: Path | None = None
        """Where its files were last, on its node."""
        self.execution: Document = {"retryCount": 0, "requeueCount": 0}
        self.satisfied = False
        """Whether tasks that depend on it may run."""
        self._alarm: Alarm | None = None

    @staticmethod
    def _check(job: Job, spec: Document) -> None:
        check_id(spec["id"])
        if spec.get("dependsOn") and not job.spec.get("usesTaskDependencies"):
            raise ServiceError("TaskDependenciesNotSpecifiedOnJob")
        if job.spec.get("onTaskFailure", "noaction") == "noaction":
            for options in all_options(spec.get("exitConditions", {})):
                if "jobAction" in options:
                    raise invalid("jobAction", options["jobAction"], "The job's onTaskFailure is noaction")
        seconds(spec.get("constraints", {}).get("maxWallClockTime", "PT1S"), "maxWallClockTime")

    @property
    def failed(self) -> bool:
        return self.execution.get("result") == "failure"

    @property
    def unblocked(self) -> bool:
        """Whether all that it depends on is done."""
        wanted = self.spec.get("dependsOn", {})
        names = [*wanted.get("taskIds", [])]
        names += [str(n) for r in wanted.get("taskIdRanges", []) for n in range(r["start"], r["end"] + 1)]
        tasks = self.job.tasks
        return all(name in tasks and tasks[name].satisfied for name in names)

    @property
    def retries(self) -> int:
        """How often its command line may run again after a failure; -1: for ever."""
        common: int = self.job.spec.get("constraints", {}).get("maxTaskRetryCount", 0)
        own: int = self.spec.get("constraints", {}).get("maxTaskRetryCount", common)
        return own

    def start(self, node: Node) -> None:
        """Take it from the queue onto the node."""
        clock, script = self.account.clock, self.account.script
        del self.job.waiting[self.id]
        self.node = node
        self.enter("preparing")
        node.took(self)
        self.execution.pop("endTime", None)
        self.execution["startTime"] = stamp(clock.now())
        if self.execution["retryCount"]:
            self.execution["lastRetryTime"] = stamp(clock.now())
        simulated = script.task(self, node) if script.task else None
        self.files = node.folder / "workitems" / self.job.id / self.id
        environment = {"AZ_BATCH_JOB_ID": self.job.id, "AZ_BATCH_TASK_ID": self.id}
        common = {item["name"]: item.get("value", "") for item in self.job.spec.get("commonEnvironmentSettings", [])}
        self.run = Run(node, self.spec, self.files, {**environment, **common}, simulated, self._ended, self._began)
        limit = self.spec.get("constraints", {}).get("maxWallClockTime", FOREVER)
        if limit != FOREVER:
            self._alarm = clock.after(seconds(limit), self._time_out)
        if script.preemption and not node.dedicated:
            wait = script.preemption(self, node)
            if wait is not None:
                clock.after(wait, partial(self._preempt, self.run))
        self.run.start()

    def _preempt(self, run: Run) -> None:
        if run is self.run and self.node:
            self.node.preempt()

    def _began(self) -> None:
        self.enter("running")

    def _ended(self, outcome: Outcome) -> None:
        # Only the command line's own failure counts; neither transfers nor time-outs are tried again
        may = self.retries < 0 or self.execution["retryCount"] < self.retries
        if outcome.exit_code and may:
            self._leave()
            self.execution["retryCount"] += 1
            self._queue()
        else:
            self._finish(outcome)

    def _time_out(self) -> None:
        problem = failure("TaskEnded", "Task was ended as it exceeded its maximum wall clock time")
        self.stop()
        self._finish(Outcome(failure=problem))

    def stop(self) -> None:
        if self.run:
            self.run.stop()

    def _leave(self) -> None:
        """Off its node."""
        if self._alarm:
            self._alarm.cancel()
        self.run = None
        if self.node:
            self.node.finished(self, not self.failed and self.execution.get("result") == "success")

    def _queue(self) -> None:
        self.enter("active")
        self.job.waiting[self.id] = self
        pool = self.job.pool
        self.job.task_left()
        if pool:
            schedule(pool)

    def interrupt(self, requeue: bool) -> None:
        """Stop it where it runs: back to the queue, as after preemption, or ended by request."""
        if requeue and self.job.state in ("active", "disabling", "disabled"):
            self.stop()
            self._leave()
            self.node, self.files = None, None
            self.execution["requeueCount"] += 1
            self.execution["lastRequeueTime"] = stamp(self.account.clock.now())
            self._queue()
        else:
            self.end()

    def end(self) -> None:
        """End it by request, running or waiting."""
        self.stop()
        self._finish(Outcome(failure=failure("TaskEnded", "Task Was Ended by User Request")))

    def _finish(self, outcome: Outcome) -> None:
        self.execution.update(outcome.document())
        self._leave()
        self.job.waiting.pop(self.id, None)
        self.enter("completed")
        self.execution["endTime"] = stamp(self.account.clock.now())
        self.execution.setdefault("startTime", self.execution["endTime"])
        options = self._options(outcome)
        self.satisfied = options.get("dependencyAction", "block" if outcome.failure else "satisfy") == "satisfy"
        ends_job = options.get("jobAction", "terminate" if outcome.failure else "none")
        if self.job.spec.get("onTaskFailure") == "performexitoptionsjobaction" and self.job.state == "active":
            if ends_job == "terminate":
                self.job.terminate("TaskFailed")
            elif ends_job == "disable":
                self.job.disable("requeue")
        self.job.task_left()
        if self.job.pool:
            schedule(self.job.pool)

    def _options(self, outcome: Outcome) -> Document:
        """The exit options that apply: those of a failed transfer, of the exit code, of its range, or the default."""
        conditions: Document = self.spec.get("exitConditions", {})
        empty: Document = {}
        if outcome.condition:
            return dict(conditions.get(outcome.condition) or conditions.get("default", empty))
        for entry in conditions.get("exitCodes", []):
            if entry["code"] == outcome.exit_code:
                return dict(entry["exitOptions"])
        for entry in conditions.get("exitCodeRanges", []):
            if outcome.exit_code is not None and entry["start"] <= outcome.exit_code <= entry["end"]:
                return dict(entry["exitOptions"])
        # Exit code 0 meets no condition, and so not the default one either
        return dict(conditions.get("default", empty)) if outcome.failure else empty

    def reactivate(self) -> None:
        """Queue a task that failed once more, with a fresh count of retries."""
        if self.state != "completed":
            raise ServiceError("TaskNotCompleted")
        if not self.failed:
            raise ServiceError("TaskSucceeded")
        if self.job.state in ("completed", "terminating", "deleting"):
            raise ServiceError("JobCompleted" if self.job.state == "completed" else "JobBeingTerminated")
        self.execution = {"retryCount": 0, "requeueCount": self.execution["requeueCount"]}
        self.node = None
        self.touch()
        self._queue()

    def delete(self) -> None:
        self.stop()
        if self.run:
            self._leave()
        self.job.waiting.pop(self.id, None)
        del self.job.tasks[self.id]
        self.job.task_left()
        if self.job.pool:
            schedule(self.job.pool)

    def reference(self) -> Document:
        """How its node names it."""
        return {
            "taskUrl": self.url,
            "jobId": self.job.id,
            "taskId": self.id,
            "taskState": self.state,
            "executionInfo": self.execution,
        }

    def document(self) -> Document:
        limits = {"maxWallClockTime": FOREVER, "retentionTime": "P7D", "maxTaskRetryCount": self.retries}
        shown: Document = {
            "userIdentity": {"autoUser": {"scope": "task", "elevationLevel": "nonadmin"}},
            "requiredSlots": 1,
            **self.spec,
            **self.history(),
            **self.past(),
            "constraints": {**limits, **self.spec.get("constraints", {})},
            "executionInfo": self.execution,
        }
        if self.node:
            shown["nodeInfo"] = {
                "affinityId": f"TVM:{self.node.id}",
                "nodeUrl": self.account.url + self.node.path,
                "poolId": self.node.pool.id,
                "nodeId": self.node.id,
                "taskRootDirectory": f"workitems/{self.job.id}/{self.id}",
                "taskRootDirectoryUrl": f"{self.account.url}{self.node.path}/files/workitems/{self.job.id}/{self.id}",
            }
        return shown


def all_options(conditions: Document) -> list[Document]:
    """Every set of exit options that the conditions hold."""
    entries = [*conditions.get("exitCodes", []), *conditions.get("exitCodeRanges", [])]
    single = (conditions.get(name) for name in ("preProcessingError", "fileUploadError", "default"))
    return [entry["exitOptions"] for entry in entries] + [options for options in single if options]
