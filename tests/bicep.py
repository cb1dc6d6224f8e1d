"""The project's Bicep files as values, and what Bicep's compiler would say of the Batch resources in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pycep import BicepParser

from tests.media import SHARED

INFRA = Path(__file__).parents[1] / "infra"
MODULES = sorted(path.stem for path in INFRA.glob("*.bicep"))
TYPES = SHARED / "data" / "bicep-types" / "batch-2025-06-01.json"


def text_of(module: str) -> str:
    return (INFRA / f"{module}.bicep").read_text(encoding="utf-8")


@cache
def parsed(module: str) -> dict[str, Any]:
    return read(text_of(module))


def read(text: str) -> dict[str, Any]:
    found: Any = BicepParser().parse(text=text)
    return dict(found)


def plain(resource: dict[str, Any]) -> dict[str, Any]:
    """What a resource or a module says, without its condition or loop."""
    config: dict[str, Any] = resource["config"]
    return config["config"] if "condition" in config else config


def resources(module: str, kind: str) -> list[dict[str, Any]]:
    return [
        plain(one) for one in parsed(module).get("resources", {}).values() if one["type"] == kind and not one["existing"]
    ]


# ---- the types of Microsoft.Batch ----

SCALARS: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "StringLiteralType": lambda value, kind: value == kind["value"],
    "StringType": lambda value, _: isinstance(value, str),
    "BooleanType": lambda value, _: isinstance(value, bool),
    "IntegerType": lambda value, _: isinstance(value, int) and not isinstance(value, bool),
    "AnyType": lambda *_: True,
    "ArrayType": lambda *_: False,
}


class Schema:
    """The property types of Microsoft.Batch, as Bicep's compiler has them."""

    def __init__(self, types: list[dict[str, Any]]) -> None:
        self.types = types
        self.kinds = {one["name"]: self._at(one["body"]) for one in types if one["$type"] == "ResourceType"}

    def _at(self, reference: dict[str, str]) -> dict[str, Any]:
        return self.types[int(reference["$ref"].removeprefix("#/"))]

    def wrong(self, kind: str, config: dict[str, Any], names: set[str]) -> list[str]:
        """What the compiler would say of a resource; `names` are those that stand for values."""
        body = self.kinds[kind]
        ours = {key: value for key, value in config.items() if key not in ("parent", "dependsOn", "depends_on", "scope")}
        return list(self._wrong(ours, body, names, kind))

    def _wrong(self, value: Any, kind: dict[str, Any], names: set[str], at: str) -> Iterator[str]:
        if isinstance(value, dict) and value.keys() & {"operator", "function"}:
            operator = value.get("operator", {})
            if operator.get("type") == "conditional":
                for branch in ("true_value", "false_value"):
                    if operator["operands"][branch] is not None:
                        yield from self._wrong(operator["operands"][branch], kind, names, at)
            return
        if isinstance(value, str) and (value in names or "${" in value):
            return
        match kind["$type"]:
            case "ObjectType":
                yield from self._object(value, kind, names, at)
            case "ArrayType" if isinstance(value, list):
                for one in value:
                    yield from self._wrong(one, self._at(kind["itemType"]), names, f"{at}[]")
            case "UnionType":
                members = [self._at(one) for one in kind["elements"]]
                if not any(not list(self._wrong(value, member, names, at)) for member in members):
                    yield f"{at}: {value!r} is none of {[one.get('value', one['$type']) for one in members]}"
            case other if not SCALARS[other](value, kind):
                yield f"{at}: {value!r} is no {kind.get('value', other)}"

    def _object(self, value: Any, kind: dict[str, Any], names: set[str], at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no object"
            return
        known = kind["properties"]
        for key, inner in value.items():
            if key in known:
                if known[key]["flags"] & 2:
                    yield f"{at}.{key} may only be read"
                yield from self._wrong(inner, self._at(known[key]["type"]), names, f"{at}.{key}")
            elif "additionalProperties" in kind:
                yield from self._wrong(inner, self._at(kind["additionalProperties"]), names, f"{at}.{key}")
            else:
                yield f"{at}.{key} is not known"
        for key, one in known.items():
            # 1: required; 8: written by Bicep itself (type and API version)
            if one["flags"] & 1 and not one["flags"] & 8 and key not in value:
                yield f"{at}.{key} is missing"


def mistakes(text: str) -> list[str]:
    """What is wrong with the Batch resources of a Bicep file."""
    found = read(text)
    schema = Schema(json.loads(TYPES.read_text(encoding="utf-8")))
    names = {name for part in ("parameters", "variables", "resources", "modules") for name in found.get(part, {})}
    return [
        wrong
        for one in found["resources"].values()
        if one["type"].startswith("Microsoft.Batch/") and not one["existing"]
        for wrong in schema.wrong(f"{one['type']}@{one['api_version']}", plain(one), names)
    ]
