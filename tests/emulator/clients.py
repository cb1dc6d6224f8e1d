"""What tests and demos say to the service through the SDK again and again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from tests.emulator.server import Emulator


def client(emulator: Emulator, **options: Any) -> BatchClient:
    """Signs with the account's shared key; gives up at the first error unless told otherwise."""
    key = AzureNamedKeyCredential(emulator.account.name, emulator.account.key)
    return BatchClient(emulator.url, key, **{"retry_total": 0, **options})


def machine() -> m.VirtualMachineConfiguration:
    image = m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404", version="latest")
    return m.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")


def pool(name: str = "pool", **options: Any) -> m.BatchPoolCreateOptions:
    """Of one-T4 machines, two of them on Spot, unless told otherwise."""
    if not {"enable_auto_scale", "target_dedicated_nodes", "target_low_priority_nodes"} & options.keys():
        options["target_low_priority_nodes"] = 2
    return m.BatchPoolCreateOptions(
        id=name, vm_size="Standard_NC4as_T4_v3", virtual_machine_configuration=machine(), **options
    )


def auto_pool(**options: Any) -> m.BatchPoolInfo:
    """A pool that lives and dies with its job."""
    spec = m.BatchPoolSpecification(vm_size="Standard_NC4as_T4_v3", virtual_machine_configuration=machine(), **options)
    lifetime = m.BatchPoolLifetimeOption.JOB
    automatic = m.BatchAutoPoolSpecification(
        auto_pool_id_prefix="stylizer", pool_lifetime_option=lifetime, keep_alive=False, pool=spec
    )
    return m.BatchPoolInfo(auto_pool_specification=automatic)


def job(name: str = "job", **options: Any) -> m.BatchJobCreateOptions:
    """On the pool called pool, unless told otherwise."""
    options.setdefault("pool_info", m.BatchPoolInfo(pool_id="pool"))
    return m.BatchJobCreateOptions(id=name, **options)


def task(name: str, command: str = "true", **options: Any) -> m.BatchTaskCreateOptions:
    """The command is bash."""
    return m.BatchTaskCreateOptions(id=name, command_line=f"/bin/bash -c '{command}'", **options)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
