"""Pools: targets, allocation within quota, autoscale, and the nodes in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tests.emulator.account import Account, Document, Resource, check_id, seconds, stamp
from tests.emulator.clock import Alarm
from tests.emulator.errors import ServiceError, invalid
from tests.emulator.formula import SAMPLE_SECONDS, FormulaError, Samples, evaluate
from tests.emulator.nodes import STATES, Node
from tests.emulator.script import SIZES

if TYPE_CHECKING:
    from tests.emulator.jobs import Job

SERVER_SIDE = ("enableAutoScale", "autoScaleFormula", "autoScaleEvaluationInterval")
KINDS = (("dedicated", True), ("lowPriority", False))


class Pool(Resource):
    """Nodes of one size. `job`: the job that it was made for, if it is an auto-pool."""

    def __init__(self, account: Account, spec: Document, job: Job | None = None) -> None:
        check(spec)
        if len(account.pools) >= account.quota.pools:
            raise ServiceError("PoolQuotaReached")
        super().__init__(account, f"/pools/{spec['id']}", "active")
        self.id: str = spec["id"]
        self.spec = {name: value for name, value in spec.items() if name not in SERVER_SIDE}
        self.job = job
        self.size = str(spec["vmSize"]).lower()
        self.nodes: dict[str, Node] = {}
        self.targets = {True: 0, False: 0}
        self.allocation_state, self.allocation_since = "steady", self.created
        self.resize_errors: list[Document] = []
        self.samples = {name: Samples() for name in VARIABLES}
        self.formula: str | None = None
        self.interval = 900.0
        self.auto_scale_run: Document | None = None
        self.enabled_at: float | None = None
        self._resizing: Alarm | None = None
        self._evaluating: Alarm | None = None
        self._sampling: Alarm | None = None
        if spec.get("enableAutoScale"):
            self.enable_auto_scale(spec.get("autoScaleFormula"), spec.get("autoScaleEvaluationInterval"))
        elif spec.get("targetDedicatedNodes") or spec.get("targetLowPriorityNodes"):
            self.resize(spec.get("targetDedicatedNodes", 0), spec.get("targetLowPriorityNodes", 0))
        account.pools[self.id] = self

    @property
    def slots(self) -> int:
        return int(self.spec.get("taskSlotsPerNode", 1))

    def ensure_active(self) -> None:
        if self.state == "deleting":
            raise ServiceError("PoolBeingDeleted")

    def of_kind(self, dedicated: bool) -> list[Node]:
        return [node for node in self.nodes.values() if node.dedicated == dedicated]

    # Resizing

    def resize(self, dedicated: int, spot: int, option: str = "requeue", timeout: float | None = None) -> None:
        """Set the targets: surplus nodes leave now, missing ones are allocated after a while."""
        clock, script = self.account.clock, self.account.script
        self.targets = {True: dedicated, False: spot}
        self.resize_errors = []
        self.touch()
        self._allocation("resizing")
        for kind in (True, False):
            staying = [node for node in self.of_kind(kind) if not node.leaving]
            surplus = len(staying) - self.targets[kind]
            for node in sorted(staying, key=lambda node: node.worth)[: max(0, surplus)]:
                node.leave(option)
        limit = seconds(self.spec.get("resizeTimeout", "PT15M")) if timeout is None else timeout
        if self._resizing:
            self._resizing.cancel()
        grows = any(len(self.of_kind(kind)) < self.targets[kind] for kind in (True, False))
        if not grows:
            self._resizing = None
            self.settle()
        elif script.allocation_seconds > limit:
            self._resizing = clock.after(limit, self._time_out)
        else:
            self._resizing = clock.after(script.allocation_seconds, self._allocate)

    def stop_resize(self) -> None:
        if self.allocation_state != "resizing":
            raise ServiceError("OperationInvalidForCurrentState")
        if self._resizing:
            self._resizing.cancel()
        self._resizing = None
        self._error("ResizeStopped", "The resize operation was stopped.")
        self.targets = {kind: len([node for node in self.of_kind(kind) if not node.leaving]) for kind in (True, False)}
        self.settle()

    def settle(self) -> None:
        """Steady again once nothing is on its way in or out."""
        if self._resizing is None and not any(node.leaving for node in self.nodes.values()):
            self._allocation("steady")

    def remove(self, node_ids: Iterable[str], option: str = "requeue") -> None:
        """Take these nodes out and lower the targets by as many."""
        for node in [self.node(node_id) for node_id in node_ids]:
            if not node.leaving:
                self.targets[node.dedicated] -= 1
                node.leave(option)
        self._allocation("resizing")
        self.touch()

    def node(self, node_id: str) -> Node:
        if node_id not in self.nodes:
            raise ServiceError("NodeNotFound")
        return self.nodes[node_id]

    def delete(self) -> None:
        """Take everything down; running tasks go back to the queue of their job."""
        self.enter("deleting")
        self.disable_auto_scale()
        if self._resizing:
            self._resizing.cancel()
        for node in list(self.nodes.values()):
            node.leave("requeue")
        self.account.clock.after(self.account.script.delete_seconds, self._gone)

    def _gone(self) -> None:
        for node in list(self.nodes.values()):
            node.remove()
        self.account.pools.pop(self.id, None)

    def _allocation(self, state: str) -> None:
        if state != self.allocation_state:
            self.allocation_state, self.allocation_since = state, self.account.clock.now()

    def _error(self, code: str, message: str, **values: str) -> None:
        details = [{"name": name, "value": value} for name, value in values.items()]
        self.resize_errors.append({"code": code, "message": message, "values": details})

    def _time_out(self) -> None:
        self._resizing = None
        self._error("AllocationTimedout", "Desired number of nodes could not be allocated as the resize timeout was reached")
        self.settle()

    def _allocate(self) -> None:
        self._resizing = None
        for kind in (True, False):
            wanted = self.targets[kind] - len([node for node in self.of_kind(kind) if not node.leaving])
            if wanted <= 0:
                continue
            granted = min(wanted, self._within_quota(kind))
            if granted < wanted:
                code = "AccountCoreQuotaReached" if kind else "AccountSpotCoreQuotaReached"
                message = "The specified account has reached core quota for the " + ("VM family" if kind else "Spot VMs")
                self._error(code, message, VMSize=self.size, RequestedNodes=str(wanted), GrantedNodes=str(granted))
            if granted and self.account.script.allocation:
                possible, code = self.account.script.allocation(self, kind, granted)
                if possible < granted:
                    self._error(code, "Desired number of nodes could not be allocated")
                granted = min(granted, possible)
            for _ in range(granted):
                node = Node(self, kind)
                self.nodes[node.id] = node
        self.settle()

    def _within_quota(self, dedicated: bool) -> int:
        quota, size = self.account.quota, SIZES[self.size]
        pools = self.account.pools.values()
        used = sum(
            SIZES[pool.size].cores * len(pool.of_kind(dedicated))
            for pool in {*pools, self}
            if not dedicated or SIZES[pool.size].family == size.family
        )
        limit = quota.families.get(size.family, quota.dedicated_cores) if dedicated else quota.spot_cores
        return max(0, limit - used) // size.cores

    # Autoscale

    def enable_auto_scale(self, formula: str | None, interval: str | None) -> None:
        """Evaluate now and then at every interval; what is not given stays as it was."""
        now = self.account.clock.seconds
        if self.enabled_at is not None and now - self.enabled_at < 30:
            raise ServiceError("TooManyEnableAutoScaleRequests")
        formula = formula or self.formula
        if formula is None:
            raise ServiceError("MissingRequiredProperty", PropertyName="autoScaleFormula")
        every = seconds(interval, "autoScaleEvaluationInterval") if interval else self.interval
        if not 300 <= every <= 7 * 86400:
            raise invalid("autoScaleEvaluationInterval", interval, "not between 5 minutes and 168 hours")
        self.evaluate(formula, syntax_only=True)
        self.formula, self.interval, self.enabled_at = formula, every, now
        self.touch()
        if self._evaluating:
            self._evaluating.cancel()
        self._evaluate()
        if self._sampling is None:
            self._sampling = self.account.clock.after(SAMPLE_SECONDS, self._sample)

    def disable_auto_scale(self) -> None:
        for alarm in (self._evaluating, self._sampling):
            if alarm:
                alarm.cancel()
        self._evaluating = self._sampling = self.formula = self.auto_scale_run = None

    def evaluate(self, formula: str, syntax_only: bool = False) -> Document:
        """What the formula says now, as an autoScaleRun; changes nothing. ServiceError if it cannot be read."""
        if len(formula) > 8192:
            raise ServiceError("AutoScalingFormulaTooLong")
        run: Document = {"timestamp": stamp(self.account.clock.now())}
        try:
            values: dict[str, float | str] = {
                "$TargetDedicatedNodes": float(self.targets[True]),
                "$TargetLowPriorityNodes": float(self.targets[False]),
                "$NodeDeallocationOption": "requeue",
            }
            results = evaluate(formula, self.account.clock.now(), self.samples, values)
        except FormulaError as error:
            if error.code == "AutoScalingFormulaSyntaxError":
                raise ServiceError(error.code, Reason=error.message) from None
            run["error"] = {"code": error.code, "message": error.message, "values": []}
        else:
            run["results"] = ";".join(f"{name}={show(value)}" for name, value in results.items())
        return run

    def _evaluate(self) -> None:
        if self.formula is None:
            return
        self._evaluating = self.account.clock.after(self.interval, self._evaluate)
        run = self.auto_scale_run = self.evaluate(self.formula)
        if "error" in run:
            return
        found = dict(part.split("=", 1) for part in run["results"].split(";"))
        targets = {True: target(found["$TargetDedicatedNodes"]), False: target(found["$TargetLowPriorityNodes"])}
        short = self._resizing is None and any(len(self.of_kind(kind)) < targets[kind] for kind in (True, False))
        if targets != self.targets or short:
            self.resize(targets[True], targets[False], found["$NodeDeallocationOption"])

    def _sample(self) -> None:
        self._sampling = self.account.clock.after(SAMPLE_SECONDS, self._sample)
        if self.account.script.sampling and not self.account.script.sampling(self):
            return
        now = self.account.clock.now()
        tasks = {"active": 0, "running": 0}
        for job in self.account.jobs.values():
            if job.pool is self:
                for state, count in job.tally().items():
                    tasks[state] = tasks.get(state, 0) + count
        measured = {
            "$ActiveTasks": tasks["active"],
            "$RunningTasks": tasks["running"],
            "$PendingTasks": tasks["active"] + tasks["running"],
            "$CurrentDedicatedNodes": len(self.of_kind(True)),
            "$CurrentLowPriorityNodes": len(self.of_kind(False)),
            "$PreemptedNodeCount": sum(node.state == "preempted" for node in self.nodes.values()),
        }
        for name, value in measured.items():
            taken = self.samples[name].taken
            taken.append((now, float(value)))
            del taken[:-2880]

    # What it looks like

    def document(self) -> Document:
        shown = {
            **{name: value for name, value in self.spec.items() if name not in ("targetDedicatedNodes",)},
            **self.history(),
            "allocationState": self.allocation_state,
            "allocationStateTransitionTime": stamp(self.allocation_since),
            "resizeTimeout": self.spec.get("resizeTimeout", "PT15M"),
            "currentDedicatedNodes": len(self.of_kind(True)),
            "currentLowPriorityNodes": len(self.of_kind(False)),
            "targetDedicatedNodes": self.targets[True],
            "targetLowPriorityNodes": self.targets[False],
            "enableAutoScale": self.formula is not None,
            "enableInterNodeCommunication": self.spec.get("enableInterNodeCommunication", False),
            "taskSlotsPerNode": self.slots,
            "taskSchedulingPolicy": self.spec.get("taskSchedulingPolicy", {"nodeFillType": "spread"}),
        }
        if self.resize_errors:
            shown["resizeErrors"] = self.resize_errors
        if self.formula is not None:
            shown["autoScaleFormula"] = self.formula
            shown["autoScaleEvaluationInterval"] = f"PT{int(self.interval)}S"
        if self.auto_scale_run:
            shown["autoScaleRun"] = self.auto_scale_run
        return shown

    def counts(self) -> Document:
        """An item of list_pool_node_counts."""
        shown: Document = {"poolId": self.id}
        for name, kind in KINDS:
            nodes = self.of_kind(kind)
            numbers = {key: sum(node.state == state for node in nodes) for state, key in STATES.items()}
            shown[name] = {**numbers, "total": len(nodes)}
        return shown


VARIABLES = (
    "$ActiveTasks",
    "$RunningTasks",
    "$PendingTasks",
    "$CurrentDedicatedNodes",
    "$CurrentLowPriorityNodes",
    "$PreemptedNodeCount",
)


def show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def target(value: str) -> int:
    return max(0, int(float(value)))


def check(spec: Document) -> None:
    """What the service refuses at once, beyond what a schema can say."""
    check_id(spec["id"])
    if str(spec["vmSize"]).lower() not in SIZES:
        raise invalid("vmSize", spec["vmSize"], "The specified VM size is not supported in this location")
    if "virtualMachineConfiguration" not in spec:
        raise ServiceError("MissingRequiredProperty", PropertyName="virtualMachineConfiguration")
    targets = [name for name in ("targetDedicatedNodes", "targetLowPriorityNodes") if spec.get(name)]
    if spec.get("enableAutoScale") and targets:
        raise invalid(targets[0], spec[targets[0]], "cannot be set when enableAutoScale is true")
    if not spec.get("enableAutoScale") and spec.get("autoScaleFormula"):
        raise invalid("autoScaleFormula", spec["autoScaleFormula"], "cannot be set unless enableAutoScale is true")
    if not 1 <= spec.get("taskSlotsPerNode", 1) <= 4 * SIZES[str(spec["vmSize"]).lower()].cores:
        raise invalid("taskSlotsPerNode", spec["taskSlotsPerNode"], "more than 4 times the number of cores")
