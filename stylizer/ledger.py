"""The store's smaller tables: the runner and what is wanted of it, inboxes, deliveries, money."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from stylizer import rows
from stylizer.backend import Meter, Node
from stylizer.database import Database
from stylizer.jobs import RunnerDesired
from stylizer.wire import pack, unpack


@dataclass(frozen=True, slots=True)
class RunnerRow:
    """The runner of this store, and what is wanted of it. Whether it is alive says its lock (`Store.has_runner`)."""

    pid: int
    started_at: float
    desired: RunnerDesired
    held: bool
    """The whole queue is paused: nothing more is started, whoever runs it."""
    inbox: str
    """What it watches; empty where it only works off the queue."""


class Arrival(StrEnum):
    """How far a file of an inbox is."""

    SETTLING = "settling"
    """It is still being written."""
    WAITING = "waiting"
    """Something is missing: a style, or room within the hour. The reason says what."""
    TAKEN = "taken"
    """It has its jobs."""
    REFUSED = "refused"
    """It cannot be painted; the reason says why. Another file of that name is looked at anew."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file, a folder of pictures or a blob in an inbox."""

    inbox: str
    path: str
    """Relative to the inbox, with slashes."""
    fingerprint: str
    state: Arrival
    reason: str
    jobs: tuple[int, ...]
    at: float
    """When it came into that state (Unix time)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An output that is to be brought to a second place: another name for the same content, or a blob."""

    job: int
    target: str
    done_at: float | None
    failures: int
    error: str


@dataclass(frozen=True, slots=True)
class Money:
    """What a backend has spent on a job."""

    backend: str
    meter: Meter
    today: Decimal
    """Of it, what was spent on the local day of the meter's last word."""


class Ledger(Database):
    """See the module. Every method is one transaction, or a part of the one around it."""

    # ---- the runner ----

    def runner(self) -> RunnerRow:
        row = self._query("SELECT * FROM runner")[0]
        return RunnerRow(row["pid"], row["started_at"], RunnerDesired(row["desired"]), bool(row["held"]), row["inbox"])

    def begin_runner(self, pid: int, inbox: str = "") -> None:
        """A runner begins: what was wanted of an earlier one is forgotten, but for a held queue."""
        sql = "UPDATE runner SET pid = ?, started_at = ?, desired = 'run', inbox = ?"
        self._change(sql, (pid, self._clock(), rows.clean(inbox)))

    def want_runner(self, desired: RunnerDesired) -> None:
        """What the runner should do; the one that runs now sees it at its next turn."""
        self._change("UPDATE runner SET desired = ?", (desired.value,))

    def hold(self, held: bool) -> None:
        """Pause the whole queue, or let it go on."""
        self._change("UPDATE runner SET held = ?", (held,))

    def told(self) -> int:
        """Up to which event messages were sent; 0: none were wanted so far."""
        return int(self._value("SELECT told FROM runner"))

    def set_told(self, seq: int) -> None:
        """Messages of events up to this one are sent, or are as good as sent."""
        self._change("UPDATE runner SET told = ?", (seq,))

    # ---- inboxes ----

    def found(self, inbox: str, states: Collection[Arrival] = tuple(Arrival)) -> list[Found]:
        """What is known of an inbox, by path."""
        marks = ",".join("?" * len(states))
        sql = f"SELECT * FROM inbox WHERE inbox = ? AND state IN ({marks}) ORDER BY path"  # noqa: S608
        return [_found(dict(row)) for row in self._query(sql, [rows.clean(inbox), *(state.value for state in states)])]

    def inboxes(self) -> list[str]:
        """All that were ever watched."""
        return [row[0] for row in self._query("SELECT DISTINCT inbox FROM inbox ORDER BY inbox")]

    def find_found(self, fingerprint: str) -> list[Found]:
        """Files of any inbox with that fingerprint."""
        return [_found(dict(row)) for row in self._query("SELECT * FROM inbox WHERE fingerprint = ?", (fingerprint,))]

    def put_found(self, found: Found) -> None:
        """Write down how far a file is."""
        sql = "INSERT OR REPLACE INTO inbox (inbox, path, fingerprint, state, reason, jobs, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
        texts = (rows.clean(found.inbox), rows.clean(found.path), found.fingerprint)
        values = (found.state.value, rows.clean(found.reason), json.dumps(found.jobs), found.at)
        self._change(sql, (*texts, *values))

    def drop_found(self, inbox: str, path: str) -> None:
        """Forget a file that is no longer there."""
        self._change("DELETE FROM inbox WHERE inbox = ? AND path = ?", (rows.clean(inbox), rows.clean(path)))

    # ---- deliveries ----

    def deliver(self, job: int, target: str) -> None:
        """The job's output is to be brought there too, once it is done."""
        self._change("INSERT OR IGNORE INTO deliveries (job, target) VALUES (?, ?)", (job, rows.clean(target)))

    def deliveries(self, job: int | None = None, *, due: bool = False) -> list[Delivery]:
        """Of one job or of all; with `due` those whose job is done and that are not made since."""
        sql = "SELECT deliveries.* FROM deliveries JOIN jobs ON jobs.id = job WHERE (? IS NULL OR job = ?)"
        if due:
            sql += " AND jobs.state = 'done' AND (done_at IS NULL OR done_at < jobs.finished_at)"
        return [Delivery(**dict(row)) for row in self._query(sql + " ORDER BY job, target", (job, job))]

    def drop_deliveries(self, target: str, but: int) -> None:
        """That place is for this job alone from now on: no other's output is brought there any more."""
        self._change("DELETE FROM deliveries WHERE target = ? AND job != ?", (rows.clean(target), but))

    def delivered(self, job: int, target: str, error: str = "") -> None:
        """It is there; or it failed once more, for this reason."""
        sql = (
            "UPDATE deliveries SET failures = failures + 1, error = ? WHERE job = ? AND target = ?"
            if error
            else "UPDATE deliveries SET done_at = ?, error = '' WHERE job = ? AND target = ?"
        )
        self._change(sql, (rows.clean(error) if error else self._clock(), job, rows.clean(target)))

    # ---- money ----

    def meter(self, backend: str, meter: Meter) -> None:
        """Take down what a job has cost in all by now."""
        day = day_of(meter.at)
        values = (meter.job, backend, day, str(meter.spent), str(meter.per_hour), meter.currency, meter.basis, meter.at)
        sql = f"INSERT OR REPLACE INTO meters VALUES ({','.join('?' * 10)})"  # noqa: S608
        self._change(sql, (*values, json.dumps(pack(meter.nodes)), meter.final))

    def money(self, job: int | None = None) -> list[Money]:
        """What jobs have cost: the newest word of each backend on each job that cost anything."""
        sql = "SELECT * FROM meters WHERE (? IS NULL OR job = ?) ORDER BY job, backend, day"
        days: dict[tuple[int, str], list[Meter]] = {}
        for row in self._query(sql, (job, job)):
            values = dict(row)
            backend = values.pop("backend")
            del values["day"]
            values |= {"spent": Decimal(values["spent"]), "per_hour": Decimal(values["per_hour"])}
            values |= {"final": bool(values["final"]), "nodes": unpack(tuple[Node, ...], json.loads(values["nodes"]))}
            days.setdefault((values["job"], backend), []).append(Meter(**values))
        return [_money(backend, of_days) for (_, backend), of_days in days.items()]

    def spent_on(self, day: str) -> Decimal:
        """What all jobs have cost on a local day (`day_of`), those that were removed since too."""
        return sum((one.today for one in self.money() if day_of(one.meter.at) == day), self.forgotten(day))

    def forgotten(self, day: str) -> Decimal:
        """What jobs have cost on that day that were removed since."""
        return Decimal(self._value("SELECT spent FROM forgotten WHERE day = ?", (day,)) or 0)

    def _keep_cost(self, job: int) -> None:
        """Take down what a job that is to be removed has cost, day by day."""
        before: dict[str, Decimal] = {}
        for row in self._query("SELECT backend, day, spent FROM meters WHERE job = ? ORDER BY day", (job,)):
            whole = Decimal(row["spent"])
            spent = self.forgotten(row["day"]) + whole - before.get(row["backend"], Decimal(0))
            self._change("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (row["day"], str(spent)))
            before[row["backend"]] = whole


def day_of(at: float) -> str:
    """The local day of a time."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _money(backend: str, days: Sequence[Meter]) -> Money:
    before = days[-2].spent if len(days) > 1 else Decimal(0)
    return Money(backend, days[-1], days[-1].spent - before)


def _found(row: dict[str, object]) -> Found:
    jobs = tuple(json.loads(str(row["jobs"])))
    return Found(**{**row, "state": Arrival(row["state"]), "jobs": jobs})  # type: ignore[arg-type]
