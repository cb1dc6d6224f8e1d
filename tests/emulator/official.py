"""The API's contract as Microsoft published it for version 2024-07-01, with what 2025-06-01 changed in it.

The specification is not part of the project; where its folder is absent, only the SDK's contract is checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.emulator.account import Document
from tests.emulator.contract import MASK, problems
from tests.emulator.rest import Answer, Operation

ADDED = {
    "BatchError": ["odata.metadata"],
    "BatchJobNetworkConfiguration": ["skipWithdrawFromVNet"],
    "BatchJobNetworkConfigurationUpdate": ["skipWithdrawFromVNet"],
    "BatchJobUpdateContent": ["networkConfiguration"],
    "BatchNode": ["ipv6Address"],
    "BatchNodeCounts": ["deallocated", "deallocating"],
    "BatchNodeRemoteLoginSettings": ["ipv6RemoteLoginIPAddress", "ipv6RemoteLoginPort"],
    "BatchPoolUpdateContent": [
        "displayName",
        "enableInterNodeCommunication",
        "mountConfiguration",
        "networkConfiguration",
        "taskSchedulingPolicy",
        "taskSlotsPerNode",
        "upgradePolicy",
        "userAccounts",
        "virtualMachineConfiguration",
        "vmSize",
    ],
    "BatchTaskContainerSettings": ["containerHostBatchBindMounts"],
    "BatchTaskContainerSettingsUpdate": ["containerHostBatchBindMounts"],
    "BatchTaskSchedulingPolicy": ["jobDefaultOrder"],
    "BatchTaskSchedulingPolicyUpdate": ["jobDefaultOrder"],
    "DataDisk": ["managedDisk"],
    "DiskEncryptionConfiguration": ["customerManagedKey"],
    "ImageReference": ["communityGalleryImageId", "sharedGalleryImageId"],
    "ManagedDisk": ["diskEncryptionSet", "securityProfile"],
    "ManagedDiskUpdate": ["diskEncryptionSet", "securityProfile"],
    "PublicIpAddressConfiguration": ["ipFamilies", "ipTags"],
    "SecurityProfile": ["proxyAgentSettings"],
    "SecurityProfileUpdate": ["proxyAgentSettings"],
}
"""New properties, by definition."""
RELAXED = ("BatchError", "ManagedDisk", "SecurityProfile")
"""Definitions that no longer require anything."""
GROWN = {"BatchNodeState": ["deallocated", "deallocating"], "SecurityTypes": ["confidentialvm"]}
"""New values."""
FORCED = ("delete_job", "delete_job_schedule", "terminate_job", "terminate_job_schedule")
"""Operations that now take the query name force."""


def find_specification() -> Path | None:
    """The folder of the specification and its examples, if it is here."""
    shared = Path(os.environ.get("STYLIZER_SHARED", Path(__file__).parents[3] / "shared"))
    folder = shared / "data" / "batch-api"
    return folder if (folder / "BatchService.json").is_file() else None


class Official:
    """Judges requests and answers as `Contract` does."""

    def __init__(self, folder: Path) -> None:
        self.specification: Document = json.loads((folder / "BatchService.json").read_text(encoding="utf-8"))
        self._validators: dict[tuple[str, bool], Any] = {}

    @cached_property
    def definitions(self) -> Document:
        """As published, with the changes, and closed to unknown properties."""
        found: Document = self.specification["definitions"]
        for name, values in GROWN.items():
            found[name]["enum"] += values
        for name, properties in ADDED.items():
            found[name]["properties"] |= {new: {} for new in properties}
        for name in RELAXED:
            del found[name]["required"]
        for definition in found.values():
            if "properties" in definition:
                definition.setdefault("additionalProperties", False)
        return found

    def validator(self, reference: str, partial: bool = False) -> Any:
        """Of a definition; `partial`: with $select, nothing is required of it, or of the items of a list."""
        name = reference.removeprefix("#/definitions/")
        known = self._validators.get((name, partial))
        if known is None:
            wanted: Document = {"$ref": reference}
            if partial:
                wanted = self._loose(self.definitions[name])
                if "value" in wanted["properties"]:
                    item = wanted["properties"]["value"]["items"]["$ref"].removeprefix("#/definitions/")
                    listed = {"type": "array", "items": self._loose(self.definitions[item])}
                    wanted["properties"] = {**wanted["properties"], "value": listed}
            # One that only refers may hold nothing else
            schema = {"definitions": self.definitions, "allOf": [wanted]}
            known = self._validators[name, partial] = jsonschema_rs.Draft4Validator(schema, mask=MASK)
        return known

    @staticmethod
    def _loose(definition: Document) -> Document:
        return {key: value for key, value in definition.items() if key != "required"}

    def published(self, operation: Operation) -> Document | None:
        """What the specification says of an operation; None for those that came later."""
        found: Document | None = self.specification["paths"].get(operation.template, {}).get(operation.method.lower())
        return found

    def parameters(self, published: Document) -> list[Document]:
        shared = self.specification["parameters"]
        return [shared[p["$ref"].split("/")[-1]] if "$ref" in p else p for p in published["parameters"]]

    def check_request(
        self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str], body: Document | None
    ) -> list[str]:
        published = self.published(operation)
        if published is None:
            return []
        where = f"official request {operation.name}"
        found = []
        parameters = self.parameters(published)
        known = {p["name"]: p for p in parameters if p["in"] == "query"}
        for name, value in query.items():
            limits = known.get(name)
            if limits is None and name != "$skiptoken" and (name != "force" or operation.name not in FORCED):
                found.append(f"{where}: unknown query name {name}")
            elif limits and limits["type"] == "integer" and not in_range(value, limits):
                found.append(f"{where}: {name} is out of range")
        types = published.get("consumes", [])
        if body is not None and types and headers.get("content-type") not in types:
            found.append(f"{where}: content type {headers.get('content-type')}")
        for parameter in parameters:
            if parameter["in"] == "body" and body is not None:
                found += problems(self.validator(parameter["schema"]["$ref"]), body, where)
            elif parameter["in"] == "body" and parameter.get("required"):
                found.append(f"{where}: no body")
        return found

    def check_response(self, operation: Operation, answer: Answer, query: Mapping[str, str]) -> list[str]:
        published = self.published(operation)
        if published is None:
            return []
        where = f"official response {operation.name}"
        told = published["responses"].get(str(answer.status))
        if told is None:
            return [f"{where}: status {answer.status}"]
        reference = told.get("schema", {}).get("$ref")
        if (reference is None) != (answer.body is None):
            return [f"{where}: {'no body' if reference else 'it has a body'}"]
        return problems(self.validator(reference, "$select" in query), answer.body, where) if reference else []

    def check_error(self, body: Document, name: str) -> list[str]:
        return problems(self.validator("#/definitions/BatchError"), body, f"official error {name}")


@cache
def published() -> Official | None:
    """The specification that is here, read once."""
    folder = find_specification()
    return Official(folder) if folder else None


def in_range(value: str, limits: Document) -> bool:
    return value.isdigit() and limits.get("minimum", 0) <= int(value) <= limits.get("maximum", 2**31)
