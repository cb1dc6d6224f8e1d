"""Requests, answers, and the table of operations: who answers which method on which path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.emulator.account import Account, Document, Resource
from tests.emulator.errors import ServiceError
from tests.emulator.queries import page


@dataclass
class Request:
    """One call, authenticated and held to the contract. Names in the path are in `path`."""

    account: Account
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name."""
    body: Document
    path: Mapping[str, str] = field(default_factory=dict)

    def page(self, kind: str, items: Iterable[tuple[int, Document]], path: str) -> Answer:
        """A page of a list of (number of creation, document)."""
        placed = [(f"{number:012}", document) for number, document in items]
        return Answer(body=page(kind, placed, self.query, self.account.url + path))

    def match(self, resource: Resource) -> None:
        """Hold the resource to the request's If-Match and If-None-Match."""
        wanted = self.headers.get("if-match", "*").strip('"')
        unwanted = self.headers.get("if-none-match", "").strip('"')
        if wanted not in ("*", resource.etag) or unwanted in ("*", resource.etag):
            raise ServiceError("ConditionNotMet")


@dataclass
class Answer:
    """`content` are bytes as they are, `body` is JSON; `status` falls back to the operation's own."""

    body: Document | None = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None


@dataclass(frozen=True)
class Operation:
    name: str
    """As the SDK calls it."""
    method: str
    template: str
    status: int
    answer: Callable[[Request], Answer]
    pattern: re.Pattern[str]


OPERATIONS: list[Operation] = []
Answering = Callable[[Request], Answer]


def operation(method: str, template: str, status: int = 200) -> Callable[[Answering], Answering]:
    """Register the function under its own name for a method and a path such as /jobs/{jobId}."""
    pattern = re.sub(r"\{filePath\}", r"(?P<filePath>.+)", template)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

    def register(answer: Answering) -> Answering:
        name = answer.__name__
        OPERATIONS.append(Operation(name, method, template, status, answer, re.compile(pattern)))
        return answer

    return register


def resolve(method: str, path: str) -> tuple[Operation, dict[str, str]]:
    """The operation, and the names in the path, decoded. ServiceError if there is none."""
    verbs = False
    for known in OPERATIONS:
        found = known.pattern.fullmatch(path)
        if found and known.method == method:
            return known, {name: unquote(value) for name, value in found.groupdict().items()}
        verbs = verbs or found is not None
    raise ServiceError("UnsupportedHttpVerb" if verbs else "InvalidUri")


def created(resource: Resource) -> Answer:
    """The answer to a successful POST of a new resource."""
    return Answer(headers={"Location": resource.url, "DataServiceId": resource.url, **versions(resource)})


def versions(resource: Resource) -> dict[str, str]:
    modified = resource.modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return {"ETag": f'"{resource.etag}"', "Last-Modified": modified}
