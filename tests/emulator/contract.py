"""The API's contract as the installed SDK knows it: JSON schemas from its models, paths and query names from its requests.

It cannot find the SDK's own mistakes; it finds those of who calls it, and those of this emulator.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs
from azure.batch import models
from azure.core.paging import ItemPaged

from tests.emulator.account import Document
from tests.emulator.rest import Answer, Operation

CALLS = importlib.import_module("azure.batch._operations._operations")
PRIVATE = importlib.import_module("azure.batch.models._models")
CONTENT_TYPE = "application/json; odata=minimalmetadata"
DURATION = r"^P(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$"
MASK = "the value"
"""Stands for what was sent, in messages: that may be secret."""
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


class _Models:
    """Where the SDK's annotations look up names: public models, then private ones."""

    def __getattr__(self, name: str) -> Any:
        if name == "_models":
            return self
        return getattr(models, name) if hasattr(models, name) else getattr(PRIVATE, name)


@dataclass(frozen=True)
class Call:
    """What the SDK knows of one operation. `body` and `answer` name definitions; `listed`: the answer is a list of them."""

    method: str
    template: str
    query: frozenset[str]
    body: str
    needs_body: bool
    answer: str
    listed: bool


def hints(thing: Any, module: types.ModuleType) -> dict[str, Any]:
    return typing.get_type_hints(thing, {**vars(module), "_models": _Models()})


def schema(kind: Any) -> Document:
    """The JSON schema of an annotation."""
    if isinstance(kind, type):
        if kind in PLAIN:
            return {"type": PLAIN[kind]}
        if kind is datetime:
            return {"type": "string", "format": "date-time"}
        if kind is timedelta:
            return {"type": "string", "pattern": DURATION}
        if issubclass(kind, Enum):
            return {"type": "string", "enum": [member.value for member in kind]}
        if kind.__module__ == PRIVATE.__name__:
            return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, parts = typing.get_origin(kind), [part for part in typing.get_args(kind) if part is not type(None)]
    if origin in (typing.Union, types.UnionType):
        known = [part for part in parts if not (part is str and len(parts) > 1)]
        return schema(known[0])
    if origin is list:
        return {"type": "array", "items": schema(parts[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(parts[1])}
    raise TypeError(f"no schema for {kind}")


def fields(model: type) -> dict[str, Any]:
    """The SDK's fields of a model, by Python name."""
    found: dict[str, Any] = {}
    for ancestor in reversed(model.__mro__):
        found |= {name: value for name, value in vars(ancestor).items() if type(value).__name__ == "_RestField"}
    return found


@cache
def definitions() -> dict[str, Document]:
    """A schema for every model of the SDK: the properties that have a field, required where its constructor says so."""
    found: dict[str, Document] = {}
    for name, model in vars(PRIVATE).items():
        if not isinstance(model, type) or model.__module__ != PRIVATE.__name__:
            continue
        annotations, known = hints(model, PRIVATE), fields(model)
        if not known:
            continue
        model()  # the SDK names its fields when the first object is made
        required: list[str] = []
        for overload in typing.get_overloads(model.__init__):  # type: ignore[misc]
            for parameter in inspect.signature(overload).parameters.values():
                if parameter.name in known and parameter.default is parameter.empty:
                    required.append(known[parameter.name]._rest_name)
        found[name] = {
            "type": "object",
            "properties": {value._rest_name: schema(annotations[attribute]) for attribute, value in known.items()},
            "required": sorted(required),
            "additionalProperties": False,
        }
    found["BatchError"]["properties"]["odata.metadata"] = {"type": "string"}
    return found


@cache
def calls() -> dict[str, Call]:
    """All operations of the SDK, by name."""
    found: dict[str, Call] = {}
    client = CALLS._BatchClientOperationsMixin
    for builder_name, builder in vars(CALLS).items():
        match = re.fullmatch(r"build_batch_(\w+?)(_internal)?_request", builder_name)
        if match is None:
            continue
        given = {name: sample(name, kind) for name, kind in hints(builder, CALLS).items() if name not in NOT_SENT}
        if 'pop("content_type")' in inspect.getsource(builder):
            given["content_type"] = CONTENT_TYPE
        request = builder(**given)
        url = urlsplit(request.url)
        attribute = match[1] + (match[2] or "")
        method = getattr(client, f"_{attribute}" if match[2] else attribute)
        told = hints(inspect.unwrap(method), CALLS)
        returned = told.pop("return", type(None))
        listed = typing.get_origin(returned) is ItemPaged
        answer = model_of(typing.get_args(returned)[0] if listed else returned)
        sent = [kind for kind in told.values() if model_of(kind)]
        body = model_of(sent[0]) if sent else ""
        needed = bool(sent) and type(None) not in typing.get_args(sent[0])
        names = frozenset(name for name, _ in parse_qsl(url.query))
        template = re.sub(r"__(\w+)__", braces, url.path)
        found[match[1]] = Call(request.method, template, names, body, needed, answer, listed)
    return found


NOT_SENT = ("return", "kwargs", "etag", "match_condition")


def sample(name: str, kind: Any) -> Any:
    """Something that a request can be built from; what ends up in the path keeps its name."""
    parts = [part for part in (typing.get_args(kind) or (kind,)) if part is not type(None)]
    if parts[0] is str:
        return f"__{name}__"
    return {int: 1, bool: True, datetime: datetime(2026, 1, 1, tzinfo=UTC)}.get(parts[0], ["x"])


def braces(found: re.Match[str]) -> str:
    head, *rest = found[1].split("_")
    return "{" + head + "".join(word.title() for word in rest) + "}"


def model_of(kind: Any) -> str:
    """The definition that an annotation names; empty if it names none."""
    for part in (kind, *typing.get_args(kind)):
        if isinstance(part, type) and part.__module__ == PRIVATE.__name__ and part.__name__ in definitions():
            return part.__name__
    return ""


@cache
def validator(name: str, listed: bool = False, partial: bool = False) -> jsonschema_rs.Draft202012Validator:
    """Of a definition, or a page of them; `partial`: with $select, only what is there is looked at."""
    wanted: Document = {"$ref": f"#/$defs/{name}"}
    if partial:
        wanted = {key: value for key, value in definitions()[name].items() if key != "required"}
    if listed:
        link = {"type": "string"}
        properties = {"value": {"type": "array", "items": wanted}, "odata.nextLink": link, "odata.metadata": link}
        wanted = {"type": "object", "properties": properties, "required": ["value"], "additionalProperties": False}
    return jsonschema_rs.Draft202012Validator({"$defs": definitions(), **wanted}, validate_formats=True, mask=MASK)


def problems(check: Any, document: Any, where: str) -> list[str]:
    """What is wrong with a document, and where in it."""
    found = []
    for error in check.iter_errors(document):
        place = "/".join(str(part) for part in error.instance_path)
        found.append(f"{where} {place}: {error.message}")
    return found


class Contract:
    """Judges requests and answers; every method returns what is wrong, a line each."""

    def check_request(
        self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str], body: Document | None
    ) -> list[str]:
        call = calls()[operation.name]
        where = f"request {operation.name}"
        found = [f"{where}: unknown query name {name}" for name in query if name not in call.query | {"$skiptoken"}]
        if "api-version" not in query:
            found.append(f"{where}: no api-version")
        properties = definitions()[call.answer]["properties"] if call.answer else {}
        names = query.get("$select", "").split(",")
        found += [f"{where}: $select of unknown {name}" for name in names if name and name not in properties]
        if body is None:
            return [*found, f"{where}: no body"] if call.needs_body else found
        if not call.body:
            return [*found, f"{where}: it takes no body"]
        if headers.get("content-type") != CONTENT_TYPE:
            found.append(f"{where}: content type {headers.get('content-type')}")
        return found + problems(validator(call.body), body, where)

    def check_response(self, operation: Operation, answer: Answer, query: Mapping[str, str]) -> list[str]:
        call = calls()[operation.name]
        where = f"response {operation.name}"
        if answer.body is None:
            return [f"{where}: no body"] if call.answer else []
        if not call.answer:
            return [f"{where}: it has a body"]
        return problems(validator(call.answer, call.listed, "$select" in query), answer.body, where)

    def check_error(self, body: Document, name: str) -> list[str]:
        return problems(validator("BatchError"), body, f"error {name}")
