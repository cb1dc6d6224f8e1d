"""What sets Azure up, held offline: no compiler is needed, and nothing is deployed."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from backends.azure.errands import result_name
from backends.azure.prices import sizes
from backends.azure.runs import prefix_of
from stylizer import azure_verbs
from stylizer.config import AzureDefaults
from tests.bicep import INFRA, MODULES, TYPES, mistakes, parsed, plain, resources, text_of
from tests.emulator.formula import Samples, evaluate

ROOT = Path(__file__).parents[1]
ROLES = {
    "Azure Batch Data Contributor": "6aaa78f1-f7de-44ca-8722-c64a23943cae",
    "Azure Batch Account Reader": "11076f67-66f6-4be0-8f6b-f0609fd05cc9",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Blob Delegator": "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "AcrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    "Network Contributor": "4d97b98b-1d4f-4787-a291-c67834d212e7",
}
"""Azure's built-in roles that may be given; there is no owner and no account contributor among them."""
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


needs_types = pytest.mark.skipif(not TYPES.exists(), reason="the property types of Microsoft.Batch are not here")


@needs_types
@pytest.mark.parametrize("module", ["account", "pool"])
def test_every_batch_property_is_one_that_azure_knows(module: str) -> None:
    assert not mistakes(text_of(module))


@needs_types
@pytest.mark.parametrize(
    ("module", "good", "bad"),
    [
        ("account", "['AAD']", "['Entra']"),
        ("account", "allowedAuthenticationModes", "allowedAuthentication"),
        ("account", "'BatchService'", "'Service'"),
        ("account", "isPublic ? 'Allow'", "isPublic ? 'Open'"),
        ("account", "accountAccess: {\n        defaultAction:", "accountAccess: {\n        action:"),
        ("pool", "vmSize: vmSize", "vmSizes: vmSize"),
        ("pool", "'DockerCompatible'", "{}"),
        ("pool", "registryServer:", "server:"),
        ("pool", "'NoPublicIPAddresses'", "'nopublicipaddresses'"),
        ("pool", "waitForSuccess: true", "waitForSuccess: 'yes'"),
        ("pool", "maxTaskRetryCount: 1", "maxTaskRetryCount: true"),
        ("pool", "type: 'UserAssigned'", "type: 'SystemAssigned'"),
        ("pool", "nodeAgentSkuId: 'batch.node.ubuntu 24.04'", ""),
    ],
)
def test_the_check_finds_what_is_wrong(module: str, good: str, bad: str) -> None:
    text = text_of(module)
    assert good in text
    assert mistakes(text.replace(good, bad))


# ---- what holds whatever the types say ----


@pytest.mark.parametrize("module", MODULES)
def test_only_known_roles_are_given_and_each_by_its_name(module: str) -> None:
    text = text_of(module)
    listed = {(quoted or bare): guid for quoted, bare, guid in re.findall(rf"(?:'([^']+)'|(\w+)): '({GUID.pattern})'", text)}
    assert listed == {name: ROLES[name] for name in listed}
    assert sorted(GUID.findall(text)) == sorted(listed.values())
    given = {quoted or bare for quoted, bare in re.findall(r"roles(?:\['([^']+)'\]|\.(\w+))", text)}
    assert given == set(listed)


def test_each_role_is_given_on_the_smallest_thing_that_has_it() -> None:
    scopes = sorted(
        (module, one["name"]["function"]["parameters"]["extra_string_2"], one["scope"])
        for module in MODULES
        for one in resources(module, "Microsoft.Authorization/roleAssignments")
    )
    assert scopes == [
        ("account", "AcrPull", "images"),
        ("account", "AcrPush", "images"),
        ("account", "Azure Batch Account Reader", "batch"),
        ("account", "Azure Batch Data Contributor", "batch"),
        ("network", "Network Contributor", "nodes"),
        ("storage", "Storage Blob Data Contributor", "held"),
        ("storage", "Storage Blob Data Contributor", "heldNodeLogs"),
        ("storage", "Storage Blob Data Reader", "held"),
        ("storage", "Storage Blob Delegator", "account"),
    ]


def test_the_machines_may_read_code_and_nothing_else() -> None:
    media, logs = (plain(parsed("account")["modules"][name])["params"] for name in ("media", "logs"))
    assert media["readerId"] == ""
    assert "identity" in str(logs["readerId"])
    for name in ("writerId", "principalId"):
        assert "identity" not in str(media.get(name, "")) + str(logs.get(name, ""))


def test_storage_takes_no_keys_no_plain_http_and_no_strangers() -> None:
    (account,) = resources("storage", "Microsoft.Storage/storageAccounts")
    assert account["properties"].items() >= {
        ("allowSharedKeyAccess", False),
        ("allowBlobPublicAccess", False),
        ("supportsHttpsTrafficOnly", True),
        ("minimumTlsVersion", "TLS1_2"),
    }
    containers = resources("storage", "Microsoft.Storage/storageAccounts/blobServices/containers")
    assert [one["properties"] for one in containers] == [{"publicAccess": "None"}] * 2
    (batch,) = resources("account", "Microsoft.Batch/batchAccounts")
    assert batch["properties"]["allowedAuthenticationModes"] == ["AAD"]
    (registry,) = resources("account", "Microsoft.ContainerRegistry/registries")
    assert registry["properties"] == {"adminUserEnabled": False}


@pytest.mark.parametrize("module", MODULES)
def test_no_key_is_asked_for_or_told(module: str) -> None:
    text = text_of(module)
    assert not re.search(
        r"list(Keys|Credentials|AccountSas|ServiceSas)|@secure|connectionString|InstrumentationKey", text, re.I
    )
    assert "http://" not in text
    for name in parsed(module).get("outputs", {}):
        assert not re.search("key|secret|password|token|sas", name, re.I)


def test_old_runs_and_unread_content_are_deleted() -> None:
    (policy,) = resources("storage", "Microsoft.Storage/storageAccounts/managementPolicies")
    rules = [one["definition"] for one in policy["properties"]["policy"]["rules"]]
    prefixes = [one["filters"]["prefixMatch"][0] for one in rules]
    shared = {name: plain(parsed("account")["modules"][name])["params"]["sharedPrefix"] for name in ("media", "logs")}
    assert shared == {"media": "content/", "logs": "code/"}
    written = f"stylizer/{result_name(prefix_of('0123abcd', 7) + 'x', '7-00000-1')}"
    assert written.startswith(prefixes[0].replace("${container}", "stylizer"))
    assert prefixes[1] == "${container}/${sharedPrefix}"
    # What grows as it is written, and what broken machines bring, goes too.
    assert rules[0]["filters"]["blobTypes"] == ["blockBlob", "appendBlob"]
    assert rules[0]["filters"]["prefixMatch"][1] == "${container}-nodes/"
    kept = [one["actions"]["baseBlob"]["delete"] for one in rules]
    assert kept == [{"daysAfterModificationGreaterThan": "keepDays"}, {"daysAfterLastAccessTimeGreaterThan": "keepDays"}]
    (service,) = resources("storage", "Microsoft.Storage/storageAccounts/blobServices")
    assert service["properties"]["lastAccessTimeTrackingPolicy"]["enable"] is True
    # Links live for 7 days at most, and what they lead to must be there.
    decorators = {one["type"]: one.get("argument") for one in parsed("main")["parameters"]["keepDays"]["decorators"]}
    assert decorators["min_value"] > 7


def test_machines_in_the_network_have_one_way_out_and_none_in() -> None:
    nodes = next(one for one in resources("network", "Microsoft.Network/virtualNetworks/subnets") if one["name"] == "nodes")
    assert nodes["properties"]["defaultOutboundAccess"] is False
    assert "natGateway" in nodes["properties"]
    (pool,) = resources("pool", "Microsoft.Batch/batchAccounts/pools")
    assert "NoPublicIPAddresses" in str(pool["properties"]["networkConfiguration"])
    (group,) = resources("network", "Microsoft.Network/networkSecurityGroups")
    assert all(one["properties"]["access"] == "Deny" for one in group["properties"]["securityRules"])


# ---- that the parts fit ----


def test_each_parameter_says_what_it_is_for() -> None:
    for name, one in parsed("main")["parameters"].items():
        said = [decorator["argument"] for decorator in one["decorators"] if decorator["type"] == "description"]
        assert said, name
        assert len(said[0]) > 10


@pytest.mark.parametrize("module", MODULES)
def test_modules_get_what_they_take_and_tell_what_is_asked(module: str) -> None:
    for name, one in parsed(module).get("modules", {}).items():
        called = Path(one["detail"]["path"]).stem
        taken = parsed(called)["parameters"]
        params = plain(one)["params"]
        assert set(params) <= set(taken)
        assert {key for key, value in taken.items() if "default" not in value} <= set(params)
        asked = set(re.findall(rf"\b{name}\.outputs\.(\w+)", text_of(module)))
        assert asked <= set(parsed(called).get("outputs", {}))


def test_what_azd_gives_are_parameters() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    assert set(given) <= set(parsed("main")["parameters"])
    project = (ROOT / "azure.yaml").read_text(encoding="utf-8")
    assert re.search(r"^  path: infra$", project, re.M)
    assert re.search(r"^  module: main$", project, re.M)


def test_the_outputs_are_what_stylizer_is_told() -> None:
    outputs = parsed("main")["outputs"]
    assert set(outputs) - {"registryServer", "init"} <= {field.name for field in fields(AzureDefaults)}
    (line,) = re.findall(r"^output init string = '(.*)'$", text_of("main"), re.M)
    used = set(re.findall(r"--[a-z-]+", line))
    assert used <= init_options()
    assert {"--batch", "--media", "--logs", "--pool", "--identity", "--image"} <= used
    assert plain_default("container") == AzureDefaults().container
    assert plain_default("vmSize") == AzureDefaults().vm_size
    assert plain_default("maxNodes") == AzureDefaults().nodes


def init_options() -> set[str]:
    command: Any = typer.main.get_command(azure_verbs.app)
    return {option for parameter in command.commands["init"].params for option in parameter.opts}


def plain_default(name: str) -> Any:
    return parsed("main")["parameters"][name]["default"]


# ---- the same by hand ----


def document() -> str:
    return (ROOT / "docs" / "azure.md").read_text(encoding="utf-8")


def test_the_document_names_the_roles_that_are_given() -> None:
    listed = re.findall(r"^\| ((?:Azure|Storage|Network|Acr)[^|]*?) \|", document(), re.M)
    assert sorted(listed) == sorted(ROLES)
    assert set(re.findall(r'may "([^"]+)"', document())) <= set(ROLES)


def test_the_commands_set_up_what_the_description_does() -> None:
    text = document()
    for option in ("--allow-shared-key-access false", "--allow-blob-public-access false", "--https-only true", "TLS1_2"):
        assert option in text
    assert '"allowedAuthenticationModes": ["AAD"]' in text
    (policy,) = re.findall(r"--policy '(.*?\}\]\})'\n", text, re.S)
    for given, meant in (("""'"$2"'""", "${container}"), ("""'"$2/$3"'""", "${container}/${sharedPrefix}")):
        policy = policy.replace(given, meant)
    by_hand = json.loads(policy.replace("14", '"keepDays"').replace("${sharedPrefix}/", "${sharedPrefix}"))
    (described,) = resources("storage", "Microsoft.Storage/storageAccounts/managementPolicies")
    assert by_hand == described["properties"]["policy"]
    assert plain_default("keepDays") == 14


def test_what_the_document_tells_stylizer_is_understood() -> None:
    lines = document().replace("\\\n", " ").splitlines()
    (line,) = (line for line in lines if line.startswith("stylizer azure init --batch"))
    assert set(re.findall(r"--[a-z-]+", re.sub(r"\$\(.*?\)", "", line))) <= init_options()


# ---- the formula of the named pool ----

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def formula(*, most: int = 8, slots: int = 1, kind: str = "LowPriority", other: str = "Dedicated") -> str:
    """As Bicep puts it together."""
    text: str = parsed("pool")["variables"]["formulaText"]["value"]
    for name, value in {"MOST": most, "SLOTS": slots, "KIND": kind, "OTHER": other}.items():
        text = text.replace(f"{{{name}}}", str(value))
    assert not re.search(r"[{}]", text)
    return text


def queue(*values: float) -> dict[str, Samples]:
    """One sample every half minute, the newest last."""
    start = NOW - timedelta(seconds=30 * (len(values) - 1))
    return {"$PendingTasks": Samples([(start + timedelta(seconds=30 * n), value) for n, value in enumerate(values)])}


@pytest.mark.parametrize(
    ("pending", "before", "slots", "wanted"),
    [
        ((), 0, 1, 0),
        ((), 3, 1, 3),
        ((), 3, 4, 3),
        ((5.0,) * 3, 2, 1, 2),
        ((0.0,) * 10, 3, 1, 0),
        ((5.0,) * 10, 0, 1, 5),
        ((0.0,) * 9 + (6.0,), 0, 1, 6),
        ((5.0,) * 9 + (0.0,), 5, 1, 4.5),
        ((500.0,) * 10, 0, 1, 8),
        ((9.0,) * 10, 0, 4, 3),
        ((0.0,) * 10, 2, 4, 0),
    ],
)
def test_the_pool_follows_its_queue_down_to_nothing(
    pending: tuple[float, ...], before: float, slots: int, wanted: float
) -> None:
    values: dict[str, float | str] = {"$TargetLowPriorityNodes": before, "$TargetDedicatedNodes": 1.0}
    found = evaluate(formula(slots=slots), NOW, queue(*pending), values)
    # Batch rents whole machines.
    assert int(found["$TargetLowPriorityNodes"]) == int(wanted)
    assert found["$TargetDedicatedNodes"] == 0
    assert found["$NodeDeallocationOption"] == "taskcompletion"


def test_dedicated_machines_follow_it_too() -> None:
    values: dict[str, float | str] = {"$TargetLowPriorityNodes": 2.0, "$TargetDedicatedNodes": 0.0}
    found = evaluate(formula(kind="Dedicated", other="LowPriority"), NOW, queue(*(5.0,) * 10), values)
    assert (found["$TargetDedicatedNodes"], found["$TargetLowPriorityNodes"]) == (5, 0)


def test_every_machine_that_can_be_asked_for_has_a_number_of_gpus_that_the_pool_takes() -> None:
    decorators = {one["type"]: one.get("argument") for one in parsed("main")["parameters"]["gpusPerNode"]["decorators"]}
    assert {size.gpus for size in sizes() if size.gpus} <= set(decorators["allowed"])
