"""The Batch account: what exists in it, and the clock and the lock that all of it lives by."""

from __future__ import annotations

import itertools
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.emulator.bill import Bill
from tests.emulator.clock import Clock
from tests.emulator.errors import invalid
from tests.emulator.script import Quota, Script

if TYPE_CHECKING:
    from tests.emulator.jobs import Job
    from tests.emulator.pools import Pool

Document = dict[str, Any]
"""JSON as it goes over the wire."""
FOREVER = "P10675199DT2H48M5.4775807S"
DURATION = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


class Account:
    """All state. Whoever reads or changes it holds `clock.lock`."""

    def __init__(self, name: str, key: str, clock: Clock, script: Script, quota: Quota, root: Path) -> None:
        self.name = name
        self.key = key
        self.clock = clock
        self.script = script
        self.quota = quota
        self.root = root
        """Where the nodes' disks are."""
        self.url = ""
        self.trust: str | bool = True
        """The certificate (path) with which nodes check the storage that they read and write."""
        self.bill = Bill()
        self.pools: dict[str, Pool] = {}
        self.jobs: dict[str, Job] = {}
        self._order = itertools.count(1)

    def number(self) -> int:
        """Counts everything that is ever made; orders lists."""
        return next(self._order)


class Resource:
    """What pools, jobs and tasks have in common: an identity, a version and a state with its times."""

    def __init__(self, account: Account, path: str, state: str) -> None:
        self.account = account
        self.path = path
        self.number = account.number()
        self.created = self.modified = self.since = account.clock.now()
        self.etag = f"0x{secrets.token_hex(8).upper()}"
        self.state = state
        self.previous: tuple[str, datetime] | None = None

    @property
    def url(self) -> str:
        return self.account.url + self.path

    def touch(self) -> None:
        self.modified = self.account.clock.now()
        self.etag = f"0x{secrets.token_hex(8).upper()}"

    def enter(self, state: str) -> None:
        """Change the state; time stands in stateTransitionTime."""
        if state != self.state:
            self.previous = (self.state, self.since)
            self.state, self.since = state, self.account.clock.now()

    def history(self) -> Document:
        """The properties that all of them show."""
        shown: Document = {
            "url": self.url,
            "eTag": self.etag,
            "lastModified": stamp(self.modified),
            "creationTime": stamp(self.created),
            "state": self.state,
            "stateTransitionTime": stamp(self.since),
        }
        return shown

    def past(self) -> Document:
        """The state before, of those that show it."""
        if self.previous is None:
            return {}
        return {"previousState": self.previous[0], "previousStateTransitionTime": stamp(self.previous[1])}


def check_id(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise invalid("id", name, "The id may have 1 to 64 letters, digits, hyphens and underscores")


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(duration: Any, name: str = "duration") -> float:
    """Seconds of an ISO 8601 duration (weeks to seconds); InvalidPropertyValue for anything else."""
    found = DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if found is None or not any(found.groups()):
        raise invalid(name, duration, "not a duration")
    weeks, days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + rest
