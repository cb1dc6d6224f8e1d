"""The store's file: opened, checked, migrated and locked; transactions; what SQLite complains of as sentences."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from stylizer.errors import StoreError
from stylizer.migrations import APPLICATION, VERSION, migrate, version_of

BUSY_SECONDS = 10.0


class Database:
    """The store at `path`, made if it is not there. A reader (`write=False`) cannot change anything.

    StoreError if the file is locked, damaged, not ours, of a newer version, or cannot be written.
    """

    def __init__(self, path: Path, *, write: bool = True, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._depth = 0
        with self._sentences():
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                # A reader of a store that is not there yet sees an empty one.
                Database(path, clock=clock).close()
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            with self._sentences():
                self._prepare(write)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, write: bool) -> None:
        self._connection.row_factory = sqlite3.Row
        self._check_ours()
        if version_of(self._connection) < VERSION:
            self._write_ahead()
            with self.transaction():
                migrate(self._connection)
        self._connection.execute("PRAGMA foreign_keys = ON")
        # FULL: what a commit says survives a power cut; the file is written a few times a second at most.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA fullfsync = ON")
        if not write:
            self._connection.execute("PRAGMA query_only = ON")

    def _write_ahead(self) -> None:
        """Turn to WAL. SQLite does not wait here for others who do the same, so this does."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _check_ours(self) -> None:
        # Whose it is comes last: another process may be making the store between two of these reads.
        version, tables = version_of(self._connection), self._value("SELECT count(*) FROM sqlite_master")
        found = self._value("PRAGMA application_id")
        if found != APPLICATION and (version or tables):
            raise StoreError(f"{self.path} is another program's database.", hint="Move it away, or set STYLIZER_HOME.")
        if version > VERSION:
            raise StoreError(
                f"The job store {self.path} was written by a newer stylizer (schema {version}, this one knows {VERSION}).",
                hint="Update stylizer, or set STYLIZER_HOME to another folder.",
            )

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside happen, or none does. Inside another one, it is a part of that."""
        if self._depth:
            yield
            return
        self._change("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self._change("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All reads inside see the store at one instant."""
        self._change("BEGIN")
        try:
            yield
        finally:
            self._change("COMMIT")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """What SQLite or the disk complain of, as a sentence."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.DatabaseError, OSError) as error:
            raise complaint(self.path, error) from error

    def _query(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        with self._sentences():
            return self._connection.execute(sql, values).fetchall()

    def _value(self, sql: str, values: Sequence[object] = ()) -> Any:
        found = self._query(sql, values)
        return found[0][0] if found else None

    def _change(self, sql: str, values: Sequence[object] = ()) -> int:
        with self._sentences():
            return self._connection.execute(sql, values).rowcount

    def data_version(self) -> int:
        """A number that changes when another connection has changed the store."""
        return int(self._value("PRAGMA data_version"))

    def check(self) -> list[str]:
        """What is wrong with the file: integrity and references; empty if nothing is. Reads all of it."""
        found = [str(row[0]) for row in self._query("PRAGMA integrity_check") if row[0] != "ok"]
        return found + [f"{row[0]} refers to a missing {row[2]}" for row in self._query("PRAGMA foreign_key_check")]

    def runner_lock(self) -> FileLock:
        """The lock that the one runner of this store holds; the system releases it whatever ends the process."""
        return FileLock(self.path.with_name(self.path.name + ".runner"), timeout=0)

    def has_runner(self) -> bool:
        """Whether some process runs the jobs of this store now."""
        with self.without_runner() as alone:
            return not alone

    @contextmanager
    def without_runner(self) -> Iterator[bool]:
        """True if no runner is at work, and none begins inside; False if one is."""
        lock = self.runner_lock()
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def complaint(path: Path, error: Exception) -> StoreError:
    """What SQLite or the disk said of the store at `path`, as a sentence and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"The job store {path} is locked by another program.", hint="Close that program and try again.")
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC:
        return StoreError(f"The disk of the job store {path} is full.", hint="Free some space; the same command carries on.")
    if code == sqlite3.SQLITE_IOERR:
        hint = "Free some space there, or see whether the disk is in order; the same command carries on."
        return StoreError(f"The disk of the job store {path} is not to be written ({error}); it may be full.", hint=hint)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT):
        hint = "Move the file away (a new one is made), or bring it back from a backup; painted files are not touched."
        return StoreError(f"The job store {path} is damaged: {error}.", hint=hint)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN) or isinstance(error, OSError):
        hint = "Check that its folder exists and is yours, or set STYLIZER_HOME to one that is."
        return StoreError(f"The job store {path} cannot be opened or written: {error}.", hint=hint)
    return StoreError(f"The job store {path} cannot be used: {error}.", hint="stylizer doctor says more.")
