"""What of an Azure account works for stylizer, what does not, and what to do: one Check a line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from backends.azure.account import Account, open_account
from backends.azure.client import BATCH_KEY
from backends.azure.definitions import NODE_AGENT, image_of
from backends.azure.faults import SKEW_SECONDS, Missing, clean, speaking
from backends.azure.giving import MARGIN
from backends.azure.links import LONGEST, SKEW, account_of
from backends.azure.overview import leftovers
from backends.azure.prices import prices, size_of
from backends.azure.storage import STORAGE_KEY, Container
from stylizer.check import Check
from stylizer.config import AzureDefaults, Config, places
from stylizer.errors import BackendUnavailable, StylizerError

BATCH_ROLE, BLOB_ROLE, LINK_ROLE = (
    "Azure Batch Data Contributor",
    "Storage Blob Data Contributor",
    "Storage Blob Delegator",
)
SCOPE = "https://batch.core.windows.net//.default"
SOON = timedelta(days=180)
"""An image whose support ends sooner is named."""


def examine_azure(config: Config) -> Iterator[Check]:
    """All checks, cheapest first; what rests on something that is bad is left out. No check raises."""
    try:
        account = open_account(config)
    except StylizerError as error:
        yield Check("azure", "bad", error.message, error.hint)
        return
    settings = config.azure
    yield from _said("settings", lambda: _settings(settings))
    signed = list(_said("sign-in", lambda: _sign_in(settings)))
    yield from signed
    if any(check.verdict == "bad" for check in signed):
        return
    batch = list(_said("batch", lambda: _batch(account), f"Your account needs the role {BATCH_ROLE} on {settings.batch}."))
    yield from batch
    containers = {"media": account.media, "logs": account.logs}
    for name, container in containers.items():
        advice = f"Your account needs the role {BLOB_ROLE} on {account_of(container.url)}."
        yield from _said(name, partial(_storage, container), advice)
    advice = f"Your account needs the role {LINK_ROLE} (or {BLOB_ROLE}) on {account_of(account.media.url)}."
    yield from _said("links", lambda: _links(account, settings), advice)
    if any(check.name == "batch" and check.verdict == "bad" for check in batch):
        return
    yield from _said("image", lambda: _image(account, settings))
    yield from _said("quota", lambda: _quota(settings))
    yield from _said("leftovers", lambda: _leftovers(account, settings))


def _said(name: str, check: Callable[[], Iterator[Check]], role: str = "") -> Iterator[Check]:
    """The check, or why it could not be made; `role` is what a refusal is most likely for want of."""
    try:
        yield from check()
    except BackendUnavailable as error:
        yield Check(name, "bad", error.message, "Check the address in the config, your network and its firewall.")
    except StylizerError as error:
        refused = role and "refuses" in error.message and "clock" not in error.message
        yield Check(
            name, "bad", error.message, f"{role} One that was just given takes some minutes." if refused else error.hint
        )


def _settings(settings: AzureDefaults) -> Iterator[Check]:
    size = size_of(settings.vm_size)
    price = prices(settings.region, [size.name], places().cache)[size.name, settings.spot]
    kind = "Spot" if settings.spot else "dedicated"
    text = f"up to {settings.nodes} x {size.name} {kind}, {price.per_hour:.3f} {price.currency} an hour each, {price.basis}"
    yield Check("machines", "poor" if size.warning else "good", text, size.warning)
    links = timedelta(hours=settings.wall_clock_hours) + MARGIN + SKEW
    if links > LONGEST:
        yield Check(
            "limit",
            "bad",
            f"{settings.wall_clock_hours:g} h; the links that nodes are given live seven days at most",
            "Lower azure.wall_clock_hours in the config.",
        )
    else:
        yield Check("limit", "good", f"no run costs anything after {settings.wall_clock_hours:g} h, whatever happens here")


def _sign_in(settings: AzureDefaults) -> Iterator[Check]:
    if settings.shared_key:
        missing = [name for name in (BATCH_KEY, STORAGE_KEY) if not os.environ.get(name)]
        if missing:
            yield Check("sign-in", "bad", f"by key, but {' and '.join(missing)} is not set", "Set it, or use az login.")
        else:
            advice = "Entra is safer: az login, and azure.shared_key = false."
            yield Check("sign-in", "poor", "by the accounts' keys, from the environment", advice)
        return
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    with speaking("signing in"):
        token = DefaultAzureCredential().get_token(SCOPE)
    minutes = (token.expires_on - time.time()) / 60
    yield Check("sign-in", "good", f"by Entra, for {minutes:.0f} more min; it renews itself")


def _batch(account: Account) -> Iterator[Check]:
    pools = sum(1 for _ in account.batch.pools())
    yield Check("batch", "good", f"{account.batch.endpoint} answers, {pools} {'pool' if pools == 1 else 'pools'}")
    ahead = time.time() - account.batch.now
    if abs(ahead) > SKEW_SECONDS:
        text = f"{abs(ahead) / 60:.0f} min {'ahead of' if ahead > 0 else 'behind'} Azure's"
        yield Check("clock", "bad", text, "Set the clock of this machine by the network.")
    else:
        yield Check("clock", "good", "as Azure's")


def _storage(container: Container) -> Iterator[Check]:
    try:
        next(container.list("content/"), None)
        text = f"{container.url}/{container.name} can be read"
    except Missing:
        text = f"{container.url} answers; {container.name} is made by the first run"
    yield Check("storage", "good", text)


def _links(account: Account, settings: AzureDefaults) -> Iterator[Check]:
    expires = datetime.now(UTC) + timedelta(hours=min(settings.wall_clock_hours, 100)) + MARGIN
    account.media.read_link("content/x", expires)
    kind = "the account's key" if settings.shared_key else "your own delegation"
    yield Check("links", "good", f"signed by {kind}, each for one file, for {settings.wall_clock_hours + 1:g} h")


def _image(account: Account, settings: AzureDefaults) -> Iterator[Check]:
    wanted = image_of(settings)
    name = f"{wanted.publisher} {wanted.offer} {wanted.sku}"
    for image in account.batch.images():
        reference = image.image_reference
        same = reference and (reference.publisher, reference.offer, reference.sku) == (
            wanted.publisher,
            wanted.offer,
            wanted.sku,
        )
        if not same or image.node_agent_sku_id != NODE_AGENT:
            continue
        end = image.batch_support_end_of_life
        if end and end < datetime.now(UTC) + SOON:
            yield Check("image", "poor", f"{name}: Batch supports it until {end:%Y-%m-%d}", "Update stylizer before that.")
        else:
            yield Check("image", "good", name + (f", until {end:%Y-%m-%d}" if end else ""))
        return
    yield Check("image", "bad", f"Batch does not offer {name} here", "Choose another region, or give azure.image.")


def _quota(settings: AzureDefaults) -> Iterator[Check]:
    where = "The portal shows it: Batch account, Quotas."
    if not (settings.subscription and settings.resource_group):
        yield Check("quota", "poor", "not looked up: azure.subscription and azure.resource_group are not set", where)
        return
    try:
        from azure.mgmt.batch import BatchManagementClient  # noqa: PLC0415
    except ImportError:
        yield Check("quota", "poor", "not looked up: azure-mgmt-batch is not installed", "pip install 'stylizer[azure]'")
        return
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    name = account_of(settings.batch)
    client = BatchManagementClient(DefaultAzureCredential(), settings.subscription)
    with speaking("quotas were looked up"):
        account = client.batch_account.get(settings.resource_group, name)
    yield from quotas(settings, account.properties)


def quotas(settings: AzureDefaults, found: Any) -> Iterator[Check]:
    """What the account may have (`BatchAccountProperties`), against what the settings want."""
    size = size_of(settings.vm_size)
    wanted = settings.nodes * size.cores
    if settings.spot:
        have, kind = found.low_priority_core_quota, "Spot cores"
    else:
        families = {_plain(one.name): one.core_quota for one in found.dedicated_core_quota_per_vm_family or ()}
        is_apart = found.dedicated_core_quota_per_vm_family_enforced
        have = families.get(_plain(size.family), 0) if is_apart else found.dedicated_core_quota
        kind = f"dedicated cores of {size.family}" if is_apart else "dedicated cores"
    text = f"{have or 0} {kind}; {settings.nodes} x {size.name} take {wanted}"
    ask = "Ask for more in the portal (Batch account, Quotas)" + ("" if settings.spot else ", or use --spot") + "."
    if have is None:
        yield Check("quota", "poor", f"Azure does not say how many {kind} there may be", ask)
    elif have < size.cores:
        yield Check("quota", "bad", text, ask)
    elif have < wanted:
        yield Check("quota", "poor", f"{text}: {have // size.cores} at once", ask)
    else:
        yield Check("quota", "good", text)


def _plain(family: str | None) -> str:
    return clean(family or "").replace(" ", "").lower()


def _leftovers(account: Account, settings: AzureDefaults) -> Iterator[Check]:
    found = leftovers(account, settings)
    for sentence in found:
        yield Check("leftovers", "poor", sentence, "stylizer azure ls shows it; stylizer azure clean ends it.")
    if not found:
        yield Check("leftovers", "good", "nothing of earlier runs costs anything")
