"""Operations on pools and nodes."""

from __future__ import annotations

import uuid

from tests.emulator.account import Document, seconds
from tests.emulator.errors import ServiceError, invalid
from tests.emulator.nodes import READY, Node
from tests.emulator.pools import Pool
from tests.emulator.queries import select
from tests.emulator.rest import Answer, Request, created, operation, versions


def image(publisher: str, offer: str, sku: str, agent: str, capabilities: list[str], end: str = "") -> Document:
    shown: Document = {
        "nodeAgentSKUId": agent,
        "imageReference": {"publisher": publisher, "offer": offer, "sku": sku, "version": "latest"},
        "osType": "linux",
        "capabilities": capabilities,
        "verificationType": "verified",
    }
    return {**shown, "batchSupportEndOfLife": end} if end else shown


GPU = ["DockerCompatible", "NvidiaTeslaDriverInstalled"]
IMAGES = [
    image("microsoft-dsvm", "ubuntu-hpc", "2404", "batch.node.ubuntu 24.04", GPU),
    image("microsoft-dsvm", "ubuntu-hpc", "2204", "batch.node.ubuntu 22.04", GPU, "2027-06-30T00:00:00Z"),
    image("canonical", "ubuntu-24_04-lts", "server", "batch.node.ubuntu 24.04", []),
    image("almalinux", "almalinux-hpc", "8_10-hpc-gen2", "batch.node.el 8", GPU),
]


def pool_of(request: Request) -> Pool:
    pool = request.account.pools.get(request.path["poolId"])
    if pool is None:
        raise ServiceError("PoolNotFound")
    return pool


def node_of(request: Request) -> Node:
    return pool_of(request).node(request.path["nodeId"])


def check_image(spec: Document) -> None:
    """Refuse an image or an agent that the service does not offer."""
    configuration = spec.get("virtualMachineConfiguration", {})
    reference = configuration.get("imageReference", {})
    if "virtualMachineImageId" in reference:
        return
    for offered in IMAGES:
        known = offered["imageReference"]
        if all(str(reference.get(name)).lower() == known[name].lower() for name in ("publisher", "offer", "sku")):
            if offered["nodeAgentSKUId"] == configuration.get("nodeAgentSKUId"):
                return
            raise invalid("nodeAgentSKUId", configuration.get("nodeAgentSKUId"), "The agent does not fit the image")
    raise invalid("imageReference", reference.get("offer"), "The specified image reference is not supported")


@operation("POST", "/pools", 201)
def create_pool(request: Request) -> Answer:
    if request.body["id"] in request.account.pools:
        raise ServiceError("PoolExists")
    check_image(request.body)
    return created(Pool(request.account, request.body))


@operation("GET", "/pools")
def list_pools(request: Request) -> Answer:
    pools = request.account.pools.values()
    return request.page("pools", [(pool.number, pool.document()) for pool in pools], "/pools")


@operation("GET", "/pools/{poolId}")
def get_pool(request: Request) -> Answer:
    pool = pool_of(request)
    return Answer(select(pool.document(), request.query), headers=versions(pool))


@operation("HEAD", "/pools/{poolId}")
def pool_exists(request: Request) -> Answer:
    return Answer(headers=versions(pool_of(request)))


@operation("PATCH", "/pools/{poolId}")
def update_pool(request: Request) -> Answer:
    pool = pool_of(request)
    request.match(pool)
    pool.ensure_active()
    pool.spec.update(request.body)
    pool.touch()
    return Answer(headers=versions(pool))


@operation("POST", "/pools/{poolId}/updateproperties", 204)
def replace_pool_properties(request: Request) -> Answer:
    pool = pool_of(request)
    pool.ensure_active()
    for name in ("startTask", "metadata", "applicationPackageReferences"):
        pool.spec.pop(name, None)
    pool.spec.update(request.body)
    pool.touch()
    return Answer(headers=versions(pool))


@operation("DELETE", "/pools/{poolId}", 202)
def delete_pool(request: Request) -> Answer:
    pool = pool_of(request)
    request.match(pool)
    pool.ensure_active()
    pool.delete()
    return Answer()


@operation("POST", "/pools/{poolId}/enableautoscale")
def enable_pool_auto_scale(request: Request) -> Answer:
    pool = pool_of(request)
    request.match(pool)
    pool.ensure_active()
    if pool.formula is None and pool.allocation_state != "steady":
        raise ServiceError("PoolBeingResized")
    pool.enable_auto_scale(request.body.get("autoScaleFormula"), request.body.get("autoScaleEvaluationInterval"))
    return Answer(headers=versions(pool))


@operation("POST", "/pools/{poolId}/disableautoscale")
def disable_pool_auto_scale(request: Request) -> Answer:
    pool = pool_of(request)
    pool.disable_auto_scale()
    pool.touch()
    return Answer(headers=versions(pool))


@operation("POST", "/pools/{poolId}/evaluateautoscale")
def evaluate_pool_auto_scale(request: Request) -> Answer:
    pool = pool_of(request)
    if pool.formula is None:
        raise ServiceError("OperationInvalidForCurrentState")
    return Answer(pool.evaluate(request.body["autoScaleFormula"]))


@operation("POST", "/pools/{poolId}/resize", 202)
def resize_pool(request: Request) -> Answer:
    pool, body = pool_of(request), request.body
    request.match(pool)
    pool.ensure_active()
    if pool.formula is not None:
        raise ServiceError("OperationInvalidForCurrentState")
    if pool.allocation_state != "steady":
        raise ServiceError("PoolBeingResized")
    dedicated = body.get("targetDedicatedNodes", pool.targets[True])
    spot = body.get("targetLowPriorityNodes", pool.targets[False])
    timeout = seconds(body["resizeTimeout"], "resizeTimeout") if "resizeTimeout" in body else None
    pool.resize(dedicated, spot, body.get("nodeDeallocationOption", "requeue"), timeout)
    return Answer(headers=versions(pool))


@operation("POST", "/pools/{poolId}/stopresize", 202)
def stop_pool_resize(request: Request) -> Answer:
    pool = pool_of(request)
    request.match(pool)
    pool.stop_resize()
    return Answer(headers=versions(pool))


@operation("POST", "/pools/{poolId}/removenodes", 202)
def remove_nodes(request: Request) -> Answer:
    pool = pool_of(request)
    request.match(pool)
    pool.ensure_active()
    if pool.allocation_state != "steady":
        raise ServiceError("PoolBeingResized")
    if pool.formula is not None:
        raise ServiceError("OperationInvalidForCurrentState")
    pool.remove(request.body["nodeList"], request.body.get("nodeDeallocationOption", "requeue"))
    return Answer(headers=versions(pool))


@operation("GET", "/nodecounts")
def list_pool_node_counts(request: Request) -> Answer:
    pools = request.account.pools.values()
    return request.page("nodecounts", [(pool.number, pool.counts()) for pool in pools], "/nodecounts")


@operation("GET", "/supportedimages")
def list_supported_images(request: Request) -> Answer:
    return request.page("supportedimages", enumerate(IMAGES, start=1), "/supportedimages")


@operation("GET", "/pools/{poolId}/nodes")
def list_nodes(request: Request) -> Answer:
    pool = pool_of(request)
    nodes = [(node.number, node.document()) for node in pool.nodes.values()]
    return request.page("nodes", nodes, f"/pools/{pool.id}/nodes")


@operation("GET", "/pools/{poolId}/nodes/{nodeId}")
def get_node(request: Request) -> Answer:
    return Answer(select(node_of(request).document(), request.query))


@operation("POST", "/pools/{poolId}/nodes/{nodeId}/reboot", 202)
def reboot_node(request: Request) -> Answer:
    node_of(request).reboot("rebooting", request.body.get("nodeRebootOption", "requeue"))
    return Answer()


@operation("POST", "/pools/{poolId}/nodes/{nodeId}/reimage", 202)
def reimage_node(request: Request) -> Answer:
    node_of(request).reboot("reimaging", request.body.get("nodeReimageOption", "requeue"))
    return Answer()


@operation("POST", "/pools/{poolId}/nodes/{nodeId}/disablescheduling")
def disable_node_scheduling(request: Request) -> Answer:
    node_of(request).set_scheduling(False, request.body.get("nodeDisableSchedulingOption", "requeue"))
    return Answer()


@operation("POST", "/pools/{poolId}/nodes/{nodeId}/enablescheduling")
def enable_node_scheduling(request: Request) -> Answer:
    node_of(request).set_scheduling(True)
    return Answer()


@operation("POST", "/pools/{poolId}/nodes/{nodeId}/uploadbatchservicelogs")
def upload_node_logs(request: Request) -> Answer:
    node = node_of(request)
    if node.state not in (*READY, "unusable", "starttaskfailed", "offline"):
        raise ServiceError("OperationInvalidForCurrentState")
    folder = f"{node.pool.id}/{node.id}/{uuid.uuid4()}"
    count = node.upload_logs(request.body["containerUrl"], folder)
    return Answer({"virtualDirectoryName": folder, "numberOfFilesUploaded": count})
