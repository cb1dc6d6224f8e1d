"""What keeps a pool from doing its work, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from azure.batch import models as m

from backends.azure.definitions import MARK
from backends.azure.faults import clean, said
from stylizer.config import AzureDefaults
from stylizer.errors import BackendRejected

PATIENCE_SECONDS = 1800.0
"""Without a single node; Azure may be short of a size for a while."""
BAD = ("starttaskfailed", "unusable")
READY = ("idle", "running")
GONE = "preempted"
QUOTAS = {
    "AccountCoreQuotaReached": "dedicated cores of this family",
    "AccountVMSeriesCoreQuotaReached": "dedicated cores of this family",
    "AccountSpotCoreQuotaReached": "Spot cores",
    "AccountLowPriorityCoreQuotaReached": "Spot cores",
}
"""Codes of resize errors that no waiting mends, and what there is too little of."""
WORDS = {
    "AllocationFailed": "Azure has none of these machines to give just now",
    "AllocationTimedout": "Azure took too long to give a machine",
    "AllocationTimedOut": "Azure took too long to give a machine",
    "ResizeStopped": "somebody stopped the pool from growing",
}


def examine(settings: AzureDefaults, pool: m.BatchPool | None, nodes: Sequence[m.BatchNode], seconds: float) -> str:
    """Why there is no node, after `seconds` without any; empty where there is one, or nothing is wrong yet. BackendRejected
    where waiting is of no use.
    """
    if any(said(node.state) not in (*BAD, GONE) for node in nodes):
        return ""
    kind = "Spot" if settings.spot else "dedicated"
    where = f" in {settings.region}" if settings.region else ""
    for error in (pool.resize_errors or ()) if pool else ():
        code = error.code or ""
        if code in QUOTAS:
            raise BackendRejected(
                f"Your Batch account may not have one {settings.vm_size}{where}: "
                f"its quota of {QUOTAS[code]} is used up or 0.",
                hint="Ask for more in the portal (Batch account, Quotas), or choose another --vm-size"
                + (", or --no-spot." if settings.spot else ", or --spot."),
            )
        trouble = f"{WORDS.get(code, clean(error.message or code))} ({settings.vm_size}, {kind}{where})"
        if seconds > PATIENCE_SECONDS:
            raise BackendRejected(
                f"No machine came in {seconds / 60:.0f} min: {trouble}.",
                hint="Choose another --vm-size or region" + (", or --no-spot." if settings.spot else "."),
            )
        return trouble
    scaling = pool.auto_scale_run.error if pool and pool.auto_scale_run else None
    if scaling and scaling.code != "InsufficientSampleData":
        raise BackendRejected(
            f"The pool cannot follow its formula ({scaling.code}: {clean(scaling.message or '')}).",
            hint="This is a fault of stylizer's; please report it.",
        )
    if nodes and all(said(node.state) in BAD for node in nodes):
        raise BackendRejected(f"All {len(nodes)} machines are of no use: {why_bad(nodes[0])}.", hint=_advice(nodes[0]))
    if seconds > PATIENCE_SECONDS:
        raise BackendRejected(
            f"No machine came in {seconds / 60:.0f} min, and Azure does not say why ({settings.vm_size}, {kind}{where}).",
            hint="Look at the pool in the portal; stylizer doctor --backend azure looks at quotas.",
        )
    return "a machine of it was taken away" if nodes else ""


def check_started(job: m.BatchJob) -> None:
    """BackendRejected if the job never got a pool."""
    error = job.execution_info.scheduling_error if job.execution_info else None
    if error:
        raise BackendRejected(
            f"Azure could not start the machines ({error.code}: {clean(error.message or '')}).",
            hint="Check azure.vm_size, azure.subnet and azure.pool in the config, and the quota of pools.",
        )


def is_ours(pool: m.BatchPool) -> bool:
    """Whether stylizer made it, or its infrastructure."""
    return any(item.name == MARK for item in pool.metadata or ())


def why_bad(node: m.BatchNode) -> str:
    """What is wrong with a node in one of the states BAD."""
    if said(node.state) == "starttaskfailed":
        info = node.start_task_info
        code = info.exit_code if info else None
        message = info.failure_info.message if info and info.failure_info else ""
        return f"what they run first failed (exit code {code}{', ' + clean(message) if message else ''})"
    why = "".join(f" ({error.code}: {clean(error.message or '')})" for error in (node.errors or ())[:1])
    return f"Azure calls them unusable{why}"


def _advice(node: m.BatchNode) -> str:
    if said(node.state) == "starttaskfailed":
        return "See stylizer azure logs; often the GPU driver is missing (another --vm-size) or the network is closed."
    return "Try again; if it stays so, choose another --vm-size or region."
