"""Jobs, pools and tasks as Batch wants them described. Pure: settings in, SDK objects out."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import distribution

from azure.batch import models as m

from backends.azure.planner import KEPT_MINUTES
from backends.azure.prices import size_of
from stylizer.config import AzureDefaults

MARK = "stylizer"
"""Metadata key by which we know what is ours."""
ERRANDS = "errands.json"
WINDOW = timedelta(minutes=10)
"""From the start of a pool until its size follows the queue: before that there are no samples of the queue."""
EVERY = timedelta(minutes=5)
"""Between two evaluations of the formula; Batch allows no less."""
NODE_AGENT = "batch.node.ubuntu 24.04"
NEEDS = ("av", "filelock", "numpy", "pillow", "platformdirs", "psutil", "safetensors", "torch")
"""What the worker imports, of all that stylizer depends on."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that Batch itself fetches to a node: by a link, or as the pool's identity."""

    name: str
    url: str
    identity: str = ""

    @property
    def resource(self) -> m.ResourceFile:
        reference = m.BatchNodeIdentityReference(resource_id=self.identity) if self.identity else None
        return m.ResourceFile(http_url=self.url, file_path=self.name, identity_reference=reference)


def formula(settings: AzureDefaults, wanted: int, now: datetime, *, spot: bool) -> str:
    """How many nodes the pool has: `wanted` at once, then as many as there are tasks for, none when there are none.

    `GetSample` stands in the branch alone where there are samples: one evaluation without any would leave a new pool empty.
    """
    keep = max(KEPT_MINUTES, settings.keep_warm_minutes if settings.pool else 0.0)
    slots = max(1, size_of(settings.vm_size).gpus)
    kind, other = "LowPriority", "Dedicated"
    if not spot:
        kind, other = other, kind
    return f"""cap = {settings.nodes};
lifespan = time() - time("{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}");
startup = TimeInterval_Minute * {WINDOW.total_seconds() / 60:g};
percent = $PendingTasks.GetSamplePercent(TimeInterval_Minute * {keep:g});
queue = percent < 70 ? (lifespan > startup ? $Target{kind}Nodes * {slots} : {wanted * slots})
  : max($PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * {keep:g})));
nodes = (queue + {slots - 1}) / {slots};
nodes = lifespan > startup ? nodes : max(nodes, {wanted});
$Target{kind}Nodes = min(cap, nodes);
$Target{other}Nodes = 0;
$NodeDeallocationOption = taskcompletion;
"""


def wanted_nodes(settings: AzureDefaults, tasks: int) -> int:
    """Nodes that so many tasks keep busy, at most as many as the settings allow."""
    return max(1, min(settings.nodes, math.ceil(tasks / max(1, size_of(settings.vm_size).gpus))))


def pool(
    settings: AzureDefaults,
    wheel: File | None,
    wanted: int,
    now: datetime,
    *,
    spot: bool,
    mounts: list[m.MountConfiguration] | None = None,
) -> m.BatchPoolSpecification:
    """A pool that scales itself, down to nothing too. `wheel`: what its nodes install, where no image has it."""
    size = size_of(settings.vm_size)
    network = None
    if settings.subnet:
        address = m.BatchPublicIpAddressConfiguration(
            ip_address_provisioning_type=m.IpAddressProvisioningType.NO_PUBLIC_IP_ADDRESSES
        )
        network = m.NetworkConfiguration(subnet_id=settings.subnet, public_ip_address_configuration=address)
    return m.BatchPoolSpecification(
        vm_size=settings.vm_size,
        virtual_machine_configuration=m.VirtualMachineConfiguration(
            image_reference=image_of(settings),
            node_agent_sku_id=NODE_AGENT,
            container_configuration=_containers(settings),
        ),
        task_slots_per_node=max(1, size.gpus),
        enable_auto_scale=True,
        auto_scale_formula=formula(settings, wanted, now, spot=spot),
        auto_scale_evaluation_interval=EVERY,
        start_task=m.BatchStartTask(
            command_line=bash(start_command(settings, wheel)),
            resource_files=[wheel.resource] if wheel else [],
            wait_for_success=True,
            max_task_retry_count=1,
            user_identity=m.UserIdentity(
                auto_user=m.AutoUserSpecification(scope=m.AutoUserScope.POOL, elevation_level=m.ElevationLevel.ADMIN)
            ),
        ),
        network_configuration=network,
        mount_configuration=mounts,
        metadata=[m.BatchMetadataItem(name=MARK, value="1")],
    )


def image_of(settings: AzureDefaults) -> m.BatchVmImageReference:
    """What a node boots: with Docker and the GPU's driver where it has one."""
    if size_of(settings.vm_size).gpus:
        return m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404", version="latest")
    return m.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server", version="latest")


def _containers(settings: AzureDefaults) -> m.BatchContainerConfiguration | None:
    if not settings.image:
        return None
    server = settings.image.partition("/")[0]
    registries = None
    if settings.identity and "." in server:
        identity = m.BatchNodeIdentityReference(resource_id=settings.identity)
        registries = [m.ContainerRegistryReference(registry_server=server, identity_reference=identity)]
    return m.BatchContainerConfiguration(
        type=m.ContainerType.DOCKER_COMPATIBLE,
        container_image_names=[settings.image],
        container_registries=registries,
    )


def start_command(settings: AzureDefaults, wheel: File | None) -> str:
    """What a node does before it takes tasks: see that the GPU answers, and install the worker where no image has it."""
    if settings.start:
        return settings.start
    steps = ["set -e"]
    if size_of(settings.vm_size).gpus:
        steps.append("nvidia-smi")
    if wheel:
        needs = " ".join(f'"{need}"' for need in requirements())
        steps += [
            'cd "$AZ_BATCH_NODE_SHARED_DIR"',
            "python3 -m venv env || (apt-get update -q && apt-get install -q -y python3-venv && python3 -m venv env)",
            f"env/bin/pip install -q {needs}",
            f'env/bin/pip install -q --no-deps "$AZ_BATCH_NODE_STARTUP_DIR/wd/{wheel.name}"',
            'env/bin/python -c "import stylizer.worker, stylizer.transfer"',
        ]
        if size_of(settings.vm_size).gpus:
            steps.append('env/bin/python -c "import torch; assert torch.cuda.is_available()"')
    return "; ".join(steps)


def bash(text: str) -> str:
    """A command line that has a shell. Plain single quotes where they do: how Batch reads nested ones is nowhere said."""
    return shlex.join(["/bin/bash", "-c", text]) if "'" in text else f"/bin/bash -c '{text}'"


def requirements() -> list[str]:
    """What the worker needs of the packages that stylizer depends on, as pip takes them."""
    found = (line.partition(";")[0].strip() for line in distribution("stylizer").requires or () if "extra ==" not in line)
    return sorted(need for need in found if re.split(r"[^a-zA-Z0-9_.-]", need)[0].lower() in NEEDS)


def job(
    settings: AzureDefaults, name: str, facts: dict[str, str], specification: m.BatchPoolSpecification
) -> m.BatchJobCreateOptions:
    """A job that takes tasks until it is told to end; its wall clock ends it, and its auto-pool, in any case."""
    if settings.pool:
        where = m.BatchPoolInfo(pool_id=settings.pool)
    else:
        where = m.BatchPoolInfo(
            auto_pool_specification=m.BatchAutoPoolSpecification(
                auto_pool_id_prefix=MARK,
                pool_lifetime_option=m.BatchPoolLifetimeOption.JOB,
                keep_alive=False,
                pool=specification,
            )
        )
    return m.BatchJobCreateOptions(
        id=name,
        pool_info=where,
        constraints=m.BatchJobConstraints(
            max_wall_clock_time=timedelta(hours=settings.wall_clock_hours), max_task_retry_count=0
        ),
        all_tasks_complete_mode=m.BatchAllTasksCompleteMode.NO_ACTION,
        task_failure_mode=m.BatchTaskFailureMode.NO_ACTION,
        metadata=[m.BatchMetadataItem(name=key, value=value) for key, value in {MARK: "1", **facts}.items()],
    )


def tasks(settings: AzureDefaults, names: Sequence[str], errands: File) -> list[m.BatchTaskCreateOptions]:
    """A task for each spec; all of them find their errand in one file."""
    container = None
    if settings.image:
        container = m.BatchTaskContainerSettings(image_name=settings.image, container_run_options="--rm --ipc=host")
    return [
        m.BatchTaskCreateOptions(
            id=name,
            command_line=command(settings, name),
            container_settings=container,
            resource_files=[errands.resource],
            constraints=m.BatchTaskConstraints(retention_time=timedelta(days=1), max_task_retry_count=0),
        )
        for name in names
    ]


def command(settings: AzureDefaults, name: str) -> str:
    """A task's command line; nothing in it is secret. Without a shell Batch expands no variables."""
    rest = f"-P -m stylizer.transfer {name} {ERRANDS}"
    if settings.python:
        return f"{settings.python} {rest}"
    if settings.image:
        return f"python {rest}"
    return bash(f'"$AZ_BATCH_NODE_SHARED_DIR/env/bin/python" {rest}')
