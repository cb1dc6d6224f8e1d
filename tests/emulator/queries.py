"""Lists as the service gives them: $filter, $select, maxresults and $skiptoken."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from tests.emulator.account import Document
from tests.emulator.errors import ServiceError

TIMES = "eq ne ge gt le lt"
NAMES = "startswith eq ne ge gt le lt"
EQUAL = "eq ne"
FILTERS: dict[str, dict[str, str]] = {
    "pools": {
        "id": NAMES,
        "state": EQUAL,
        "stateTransitionTime": TIMES,
        "allocationState": EQUAL,
        "allocationStateTransitionTime": TIMES,
        "creationTime": TIMES,
        "enableAutoScale": EQUAL,
        "lastModified": TIMES,
        "vmSize": EQUAL,
        "enableInterNodeCommunication": EQUAL,
    },
    "jobs": {
        "id": NAMES,
        "state": EQUAL,
        "stateTransitionTime": TIMES,
        "creationTime": TIMES,
        "lastModified": TIMES,
        "executionInfo/startTime": TIMES,
        "executionInfo/endTime": TIMES,
        "executionInfo/poolId": NAMES,
    },
    "tasks": {
        "id": NAMES,
        "state": EQUAL,
        "stateTransitionTime": TIMES,
        "creationTime": TIMES,
        "lastModifiedTime": TIMES,
        "executionInfo/startTime": TIMES,
        "executionInfo/endTime": TIMES,
        "executionInfo/exitCode": TIMES,
        "executionInfo/result": EQUAL,
    },
    "nodes": {
        "state": EQUAL,
        "stateTransitionTime": TIMES,
        "lastBootTime": TIMES,
        "allocationTime": TIMES,
        "startTaskInfo/state": "eq",
        "startTaskInfo/result": EQUAL,
        "startTaskInfo/exitCode": TIMES,
        "startTaskInfo/startTime": TIMES,
        "startTaskInfo/endTime": TIMES,
    },
    "nodecounts": {"poolId": "eq"},
    "files": {"name": "startswith"},
    "supportedimages": {"osType": EQUAL, "verificationType": EQUAL, "nodeAgentSKUId": EQUAL},
}
"""Which properties each list can be filtered by, and how: nothing else is supported by the service."""
TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<time>[Dd]ate[Tt]ime'[^']*'|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<number>-?\d+)|(?P<name>[A-Za-z]\w*(?:/\w+)*)|(?P<sign>[(),]))"
)
Test = Callable[[Document], bool]


class _Filter:
    """Reads an expression into a test of one document."""

    def __init__(self, text: str, allowed: Mapping[str, str]) -> None:
        self.text = text
        self.allowed = allowed
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            found = TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise self.wrong(f"unexpected {text[at : at + 10]!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.at = 0

    def wrong(self, reason: str) -> ServiceError:
        details = {"QueryParameterName": "$filter", "QueryParameterValue": self.text, "Reason": reason}
        return ServiceError("InvalidQueryParameterValue", **details)

    def whole(self) -> Test:
        test = self.either()
        if self.at != len(self.tokens):
            raise self.wrong(f"unexpected {self.tokens[self.at][1]}")
        return test

    def take(self, *wanted: str) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if wanted and text.lower() not in wanted and kind not in wanted:
            raise self.wrong(f"expected {' or '.join(wanted)}")
        self.at += 1
        return text

    def next_is(self, word: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][1].lower() == word

    def either(self) -> Test:
        tests = [self.both()]
        while self.next_is("or"):
            self.at += 1
            tests.append(self.both())
        return lambda document: any(test(document) for test in tests)

    def both(self) -> Test:
        tests = [self.one()]
        while self.next_is("and"):
            self.at += 1
            tests.append(self.one())
        return lambda document: all(test(document) for test in tests)

    def one(self) -> Test:
        if self.next_is("("):
            self.at += 1
            test = self.either()
            self.take(")")
            return test
        if self.next_is("startswith"):
            self.at += 1
            self.take("(")
            name = self.property("startswith")
            self.take(",")
            start = literal(self.take("text"))
            self.take(")")
            return lambda document: str(find(document, name) or "").startswith(str(start))
        name = self.take("name")
        sign = self.take("eq", "ne", "ge", "gt", "le", "lt").lower()
        self.at -= 2
        self.property(sign)
        self.at += 1
        try:
            value = literal(self.take("text", "time", "number", "true", "false"))
        except ValueError:
            raise self.wrong("not a time") from None
        compare = getattr(operator, sign)

        def holds(document: Document) -> bool:
            found = find(document, name)
            if found is None:
                return sign == "ne"
            if isinstance(value, datetime):
                found = datetime.fromisoformat(str(found).replace("Z", "+00:00"))
            return type(found) is type(value) and bool(compare(found, value))

        return holds

    def property(self, sign: str) -> str:
        name = self.take("name")
        if sign not in self.allowed.get(name, "").split():
            raise self.wrong(f"{name} {sign} is not supported")
        return name


def literal(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return datetime.fromisoformat(text.split("'")[1 if "'" in text else 0].replace("Z", "+00:00"))


def find(document: Document, path: str) -> Any:
    found: Any = document
    for part in path.replace("lastModifiedTime", "lastModified").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def select(document: Document, query: Mapping[str, str]) -> Document:
    """Only the properties that $select names."""
    wanted = [name for name in query.get("$select", "").split(",") if name]
    return {name: document[name] for name in wanted if name in document} if wanted else document


def page(kind: str, items: Sequence[tuple[str, Document]], query: Mapping[str, str], url: str) -> Document:
    """One page of a list. `items`: (position, document) in rising order of position; what came before stays skipped."""
    asked = query.get("maxresults", "1000")
    limit = int(asked) if asked.isdecimal() else 0
    if not 1 <= limit <= 1000:
        details = {"QueryParameterName": "maxresults", "QueryParameterValue": asked}
        raise ServiceError("OutOfRangeQueryParameterValue", **details, MinimumAllowed="1", MaximumAllowed="1000")
    test = _Filter(query["$filter"], FILTERS[kind]).whole() if query.get("$filter") else None
    skipped = query.get("$skiptoken", "")
    chosen = [(at, item) for at, item in items if (not skipped or at > skipped) and (test is None or test(item))]
    answer: Document = {"value": [select(item, query) for _, item in chosen[:limit]]}
    if len(chosen) > limit:
        more = {**query, "$skiptoken": chosen[limit - 1][0]}
        answer["odata.nextLink"] = f"{url}?{urlencode(more)}"
    return answer
