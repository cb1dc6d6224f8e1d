"""The job store: one SQLite file that the runner and every front end share. Every method is one transaction.

A change of state and the event that tells of it are one transaction. Several methods become one by
`with store.transaction():`. A Store belongs to the thread that opened it; each thread or process opens its own.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from pathlib import Path

from stylizer import rows
from stylizer.errors import ConfigError
from stylizer.estimate import Measurement
from stylizer.jobs import (
    Chunk,
    ChunkState,
    Clip,
    Desired,
    Encoding,
    Event,
    FrameRange,
    Job,
    JobState,
    Look,
    move_chunk,
    move_job,
)
from stylizer.ledger import Ledger
from stylizer.rows import Fit, Tally, move_fit

MOST_EVENTS = 50_000
"""Older ones are dropped."""
MOST_TEXT = 4_000
ORDER = "ORDER BY priority DESC, position, id"
SMOOTHING = 0.3
"""Share of the newest measurement in what is kept of a device."""


class Store(Ledger):
    """Jobs, chunks, fits, events and measurements. See Database for opening one, and Ledger for the rest of it."""

    # ---- reading ----

    def jobs(
        self,
        states: Collection[JobState] = tuple(JobState),
        desired: Collection[Desired] = tuple(Desired),
        *,
        backend: str | None = None,
        most: int = sys.maxsize,
    ) -> list[Job]:
        """The first `most` jobs in any of these states of which any of these is wanted (and that asked for this backend),
        first in the queue first: by priority (high first), position, id.
        """
        marks, wanted = ",".join("?" * len(states)), ",".join("?" * len(desired))
        sql = (
            f"SELECT * FROM jobs WHERE state IN ({marks}) AND desired IN ({wanted}) "  # noqa: S608
            f"AND (? IS NULL OR backend = ?) {ORDER} LIMIT ?"
        )
        values = [*(s.value for s in states), *(d.value for d in desired), backend, backend, most]
        return [rows.job(row) for row in self._query(sql, values)]

    def count(self, states: Collection[JobState] = tuple(JobState), desired: Collection[Desired] = tuple(Desired)) -> int:
        """How many such jobs there are."""
        marks, wanted = ",".join("?" * len(states)), ",".join("?" * len(desired))
        sql = f"SELECT count(*) FROM jobs WHERE state IN ({marks}) AND desired IN ({wanted})"  # noqa: S608
        return int(self._value(sql, [*(s.value for s in states), *(d.value for d in desired)]))

    def counts(self) -> dict[tuple[JobState, Desired], int]:
        """How many jobs there are in each state, by what is wanted of them."""
        found = self._query("SELECT state, desired, count(*) FROM jobs GROUP BY state, desired")
        return {(JobState(state), Desired(desired)): count for state, desired, count in found}

    def finished(self, most: int = sys.maxsize) -> list[Job]:
        """The `most` jobs that were finished last, the last one last."""
        sql = "SELECT * FROM jobs WHERE state IN ('done', 'failed', 'cancelled') ORDER BY finished_at DESC, id DESC LIMIT ?"
        return [rows.job(row) for row in reversed(self._query(sql, (most,)))]

    def untouched(self, but: Collection[int] = ()) -> list[tuple[int, int, int]]:
        """Queued jobs that are wanted and of which nothing is painted, `but` these, in groups of all that their pace depends
        on: the number of one job, the frames of all, and how many there are.
        """
        others = ",".join("?" * len(but))
        by = "json_extract(clip, '$.width'), json_extract(clip, '$.height'), json_extract(look, '$.size')"
        sql = (
            "SELECT min(id), sum(json_extract(clip, '$.frames')), count(*) FROM jobs "  # noqa: S608
            "WHERE state = 'queued' AND desired = 'run' "
            "AND NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.state IN ('done', 'running') AND chunks.job = jobs.id) "
            f"AND id NOT IN ({others}) GROUP BY {by}, json_extract(look, '$.quality'), device, precision"
        )
        return [(row[0], row[1], row[2]) for row in self._query(sql, list(but))]

    def begun(self) -> list[int]:
        """Jobs that are wanted, not finished, and not `untouched`."""
        sql = (
            "SELECT id FROM jobs WHERE desired = 'run' AND (state IN ('fitting', 'rendering', 'assembling') "
            "OR (state = 'queued' AND EXISTS "
            "(SELECT 1 FROM chunks WHERE chunks.state IN ('done', 'running') AND chunks.job = jobs.id)))"
        )
        return [row[0] for row in self._query(sql)]

    def ids(self, states: Collection[JobState]) -> list[int]:
        """Numbers of the jobs in any of these states, first in the queue first."""
        marks = ",".join("?" * len(states))
        return [row[0] for row in self._query(f"SELECT id FROM jobs WHERE state IN ({marks}) {ORDER}", list(states))]  # noqa: S608

    def changed_jobs(self, after: int = -1, most: int = sys.maxsize) -> tuple[list[Job], int]:
        """Jobs that have changed since the number `after`, and the number to go on from. Removed jobs are told by events."""
        found = self._query("SELECT * FROM jobs WHERE changed > ? ORDER BY changed, id LIMIT ?", (after, most))
        return [rows.job(row) for row in found], found[-1]["changed"] if found else after

    def changed_chunks(self, after: int = -1, most: int = sys.maxsize) -> tuple[list[Chunk], int]:
        """The same for chunks."""
        found = self._query("SELECT * FROM chunks WHERE changed > ? ORDER BY changed LIMIT ?", (after, most))
        return [rows.chunk(row) for row in found], found[-1]["changed"] if found else after

    def complete(self) -> list[int]:
        """Jobs that are rendering, are wanted, and have no chunk left that is not done."""
        sql = (
            "SELECT id FROM jobs WHERE state = 'rendering' AND desired = 'run' AND NOT EXISTS (SELECT 1 FROM chunks "
            "WHERE chunks.state IN ('ready', 'submitted', 'running', 'failed') AND chunks.job = jobs.id)"
        )
        return [row[0] for row in self._query(f"{sql} {ORDER}")]

    def job(self, job: int) -> Job:
        """The job with that number; ConfigError if there is none."""
        found = self._query("SELECT * FROM jobs WHERE id = ?", (job,))
        if not found:
            raise ConfigError(f"There is no job {job}.", hint="See stylizer status for those that there are.")
        return rows.job(found[0])

    def find(self, key: str) -> Job | None:
        """The job with that key."""
        found = self._query("SELECT * FROM jobs WHERE key = ?", (key,))
        return rows.job(found[0]) if found else None

    def styles(self) -> set[Path]:
        """Style pictures of all jobs, in any state: each may be painted anew."""
        looks = [rows.look(row[0]) for row in self._query("SELECT DISTINCT look FROM jobs")]
        return {style.path for look in looks for style in look.styles}

    def writing_to(self, output: Path) -> list[Job]:
        """Jobs with that output, in any state."""
        return [rows.job(row) for row in self._query("SELECT * FROM jobs WHERE output = ?", (rows.stored(output),))]

    def chunks(
        self,
        job: int,
        states: Collection[ChunkState] = tuple(ChunkState),
        *,
        most: int = sys.maxsize,
        from_end: bool = False,
    ) -> list[Chunk]:
        """The job's first `most` chunks that are in any of these states, in the order of the clip; or its last ones, the
        last first.
        """
        marks, order = ",".join("?" * len(states)), "DESC" if from_end else "ASC"
        sql = f"SELECT * FROM chunks WHERE job = ? AND state IN ({marks}) ORDER BY position {order} LIMIT ?"  # noqa: S608
        return [rows.chunk(row) for row in self._query(sql, [job, *(s.value for s in states), most])]

    def ready(self) -> dict[int, tuple[int, int]]:
        """How many chunks of each job are READY and their frames, of jobs that have any."""
        sql = "SELECT job, count(*), sum(stop - start) FROM chunks WHERE state = 'ready' GROUP BY job"
        return {row[0]: (row[1], row[2]) for row in self._query(sql)}

    def is_unfinished(self, job: int) -> bool:
        """Whether there is such a job and it is not done, failed or cancelled."""
        sql = "SELECT 1 FROM jobs WHERE id = ? AND state NOT IN ('done', 'failed', 'cancelled')"
        return bool(self._query(sql, (job,)))

    def has_job(self, job: int) -> bool:
        return bool(self._query("SELECT 1 FROM jobs WHERE id = ?", (job,)))

    def backends_wanted(self) -> list[str]:
        """Names of the backends that unfinished jobs asked for."""
        sql = "SELECT DISTINCT backend FROM jobs WHERE state IN ('queued', 'fitting', 'rendering', 'assembling') ORDER BY 1"
        return [row[0] for row in self._query(sql)]

    def chunk(self, job: int, index: int) -> Chunk:
        """ConfigError if there is no such chunk."""
        found = self._query("SELECT * FROM chunks WHERE job = ? AND position = ?", (job, index))
        if not found:
            raise ConfigError(f"Job {job} has no chunk {index}.", hint=f"See stylizer status for the chunks of job {job}.")
        return rows.chunk(found[0])

    def under_way(self) -> list[Chunk]:
        """Chunks of all jobs that some backend has been given."""
        sql = "SELECT * FROM chunks WHERE state IN ('submitted', 'running') ORDER BY job, position"
        return [rows.chunk(row) for row in self._query(sql)]

    def fit(self, job: int) -> Fit | None:
        """The job's fit, if it has one."""
        found = self._query("SELECT * FROM fits WHERE job = ?", (job,))
        return rows.fit(found[0]) if found else None

    def fits_under_way(self) -> list[Fit]:
        return [rows.fit(row) for row in self._query("SELECT * FROM fits WHERE state IN ('submitted', 'running')")]

    def tallies(self) -> dict[int, Tally]:
        """Sums over the chunks of each job that has any."""
        return {row["job"]: rows.tally(row) for row in self._query(f"{rows.TALLY} GROUP BY job")}

    def tally(self, job: int) -> Tally:
        """The same for one job; all 0 before it is cut."""
        found = self._query(f"{rows.TALLY} WHERE job = ? GROUP BY job", (job,))
        return rows.tally(found[0]) if found else Tally()

    def rates(self, job: int, most: int = 9) -> list[float]:
        """Frames a second of the job's finished chunks, each on its own device; newest first."""
        sql = "SELECT fps FROM chunks WHERE job = ? AND state = 'done' AND fps > 0 ORDER BY finished_at DESC LIMIT ?"
        return [row[0] for row in self._query(sql, (job, most))]

    def events(self, *, after: int = 0, job: int | None = None, most: int = 1000) -> list[Event]:
        """The newest `most` events with seq > `after`, oldest first; of one job, or of all."""
        sql = "SELECT * FROM events WHERE seq > ? AND (? IS NULL OR job = ?) ORDER BY seq DESC LIMIT ?"
        return [Event(**dict(row)) for row in reversed(self._query(sql, (after, job, job, most)))]

    def measurements(self) -> list[Measurement]:
        """Newest first."""
        return [Measurement(**dict(row)) for row in self._query("SELECT * FROM measurements ORDER BY at DESC")]

    # ---- changing ----

    def add(
        self,
        key: str,
        clip: Clip,
        look: Look,
        encoding: Encoding,
        output: Path,
        *,
        backend: str,
        device: str,
        precision: str,
        priority: int = 0,
        max_cost: float = 0.0,
        deadline: float | None = None,
    ) -> Job:
        """A new job at the end of the queue. The key must be new (sqlite3.IntegrityError)."""
        with self.transaction():
            position = self._value("SELECT coalesce(max(position), 0) + 1 FROM jobs")
            values = (
                key,
                rows.stored(clip),
                rows.stored(look),
                rows.stored(encoding),
                rows.stored(output),
                backend,
                device,
                precision,
                JobState.QUEUED.value,
                Desired.RUN.value,
                priority,
                position,
                max_cost,
                deadline,
                self._clock(),
            )
            names = (
                "key,clip,look,encoding,output,backend,device,precision,state,desired,priority,position,max_cost,deadline,"
                "added_at"
            )
            marks = ",".join("?" * len(values))
            self._change(f"INSERT INTO jobs ({names},changed) VALUES ({marks},?)", (*values, self._next()))  # noqa: S608
            job = self.job(self._value("SELECT last_insert_rowid()"))
            self.note(job.id, None, "added", f"{clip.path.name} is queued, to become {output.name}.")
        return job

    def move(self, job: int, state: JobState, text: str, **changes: object) -> Job:
        """Move a job to a state, with the event `text`; `changes` are other fields of Job. ValueError if not legal."""
        with self.transaction():
            moved = move_job(self.job(job), state, **changes)
            self._save("jobs", "id = ?", (job,), {"state": state, **changes})
            self.note(job, None, state.value, text)
        return moved

    def change(self, job: int, kind: str = "", text: str = "", **changes: object) -> Job:
        """Change fields of a job other than its state; with an event if there is a text."""
        with self.transaction():
            changed = replace(self.job(job), **changes)  # type: ignore[arg-type]
            self._save("jobs", "id = ?", (job,), changes)
            if text:
                self.note(job, None, kind, text)
        return changed

    def cut(self, job: int, ranges: Iterable[FrameRange]) -> None:
        """Give a job its chunks, all READY."""
        with self.transaction():
            change = self._next()
            for index, frames in enumerate(ranges):
                sql = "INSERT INTO chunks (job, position, start, stop, changed) VALUES (?, ?, ?, ?, ?)"
                self._change(sql, (job, index, frames.start, frames.stop, change))

    def move_chunk(self, job: int, index: int, state: ChunkState, text: str = "", **changes: object) -> Chunk:
        """Move a chunk; back to READY names a new attempt. With an event if there is a text. ValueError if not legal."""
        with self.transaction():
            chunk = self.chunk(job, index)
            if state is ChunkState.READY:
                changes = {**rows.FRESH, "attempt": chunk.attempt + 1, **changes}
            moved = move_chunk(chunk, state, **changes)
            self._save("chunks", "job = ? AND position = ?", (job, index), {"state": state, **changes})
            if text:
                self.note(job, index, f"chunk {state.value}", text)
        return moved

    def move_fit(self, job: int, state: ChunkState, text: str = "", **changes: object) -> Fit:
        """Move the job's fit, made READY if it has none; back to READY names a new attempt. ValueError if not legal."""
        with self.transaction():
            self._change("INSERT OR IGNORE INTO fits (job) VALUES (?)", (job,))
            fit = self.fit(job)
            assert fit
            if state is ChunkState.READY and fit.state is not state:
                changes = {"attempt": fit.attempt + 1, **changes}
            moved = move_fit(fit, state, **changes)
            self._save("fits", "job = ?", (job,), {"state": state, **changes})
            if text:
                self.note(job, None, f"fit {state.value}", text)
        return moved

    def progress(self, job: int, index: int, frames_done: int, fps: float, worker: str) -> None:
        """How far a RUNNING chunk is. No event; does nothing to a chunk in another state."""
        sql = (
            "UPDATE chunks SET frames_done = ?, fps = ?, worker = ?, changed = ? "
            "WHERE job = ? AND position = ? AND state = 'running'"
        )
        with self.transaction():
            self._change(sql, (frames_done, fps, worker, self._next(), job, index))

    def note(self, job: int | None, chunk: int | None, kind: str, text: str) -> None:
        """An event alone."""
        with self.transaction():
            sql = "INSERT INTO events (at, job, chunk, kind, text) VALUES (?, ?, ?, ?, ?)"
            self._change(sql, (self._clock(), job, chunk, kind, rows.clean(text)[:MOST_TEXT]))
            seq = self._value("SELECT last_insert_rowid()")
            if seq % 500 == 0:
                self._change("DELETE FROM events WHERE seq <= ?", (seq - MOST_EVENTS,))

    def measure(self, new: Measurement, share: float = SMOOTHING) -> None:
        """Take a measurement into what is known of that device at that size, with so large a share (1: instead of it); a
        figure of 0 says nothing.
        """
        names = [f.name for f in fields(Measurement)]
        mixed = ", ".join(
            f"{n} = CASE WHEN excluded.{n} <= 0 THEN {n} WHEN {n} <= 0 THEN excluded.{n} "
            f"ELSE {n} + {share} * (excluded.{n} - {n}) END"
            for n in names
            if n not in ("device", "precision", "width", "height", "at")
        )
        sql = (
            f"INSERT INTO measurements ({','.join(names)}) VALUES ({','.join('?' * len(names))}) "  # noqa: S608
            f"ON CONFLICT DO UPDATE SET {mixed}, at = excluded.at"
        )
        self._change(sql, [getattr(new, n) for n in names])

    def remove(self, job: int) -> None:
        """Forget a job, its chunks and its events."""
        with self.transaction():
            name = self.job(job).clip.path.name
            self._keep_cost(job)
            self._change("DELETE FROM jobs WHERE id = ?", (job,))
            self._change("DELETE FROM events WHERE job = ?", (job,))
            self.note(None, None, "removed", f"Job {job} ({name}) is forgotten.")

    def _save(self, table: str, which: str, key: tuple[int, ...], changes: dict[str, object]) -> None:
        if table != "fits":
            changes = {**changes, "changed": self._next()}
        columns = ", ".join(f"{name} = ?" for name in changes)
        values = [rows.column(value) for value in changes.values()]
        self._change(f"UPDATE {table} SET {columns} WHERE {which}", (*values, *key))  # noqa: S608

    def _next(self) -> int:
        """The number of a change; it only grows, also when rows go."""
        self._change("UPDATE runner SET changes = changes + 1")
        return int(self._value("SELECT changes FROM runner"))
