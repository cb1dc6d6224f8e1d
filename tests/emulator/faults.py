"""A service having a bad day: throttling, errors, broken connections and delays, by operation."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase

CODES = {429: "TooManyRequests", 500: "InternalError", 503: "ServerBusy", 401: "InvalidAuthenticationInfo"}


@dataclass
class Fault:
    """What happens to requests of the operations that `operation` (a glob of SDK names, such as list_*) matches.

    It happens at `rate` (0..1), or to the next `times` of them, after the first `skip`. The answer is `status` with
    `code`; or the connection is dropped, before the request was carried out or `drop="after"`; or, with neither, the
    request is just late.
    """

    operation: str = "*"
    status: int = 0
    code: str = ""
    rate: float = 1.0
    times: int | None = None
    skip: int = 0
    retry_after: float | None = None
    """Seconds, the Retry-After header; fractions are rounded up."""
    drop: str = ""
    """before or after"""
    delay: float = 0.0
    """Real seconds."""

    def __post_init__(self) -> None:
        self.code = self.code or CODES.get(self.status, "")
        if self.drop not in ("", "before", "after") or (self.status and not self.code):
            raise ValueError(f"a fault drops before or after, and a status of {self.status} needs a code")


class Faults:
    """The rules in force; the first that matches and strikes decides."""

    def __init__(self, seed: int = 0) -> None:
        self.rules: list[Fault] = []
        self._dice = random.Random(seed)
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self.rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self.rules.clear()

    def strike(self, operation: str) -> Fault | None:
        """What befalls the next request of this operation, if anything."""
        with self._lock:
            for fault in self.rules:
                if not fnmatchcase(operation, fault.operation) or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                elif self._dice.random() < fault.rate:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None
