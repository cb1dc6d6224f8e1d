"""What is known of the files of one inbox: the rows of the store's `inbox` table, and the jobs that they got.

Giving a file its jobs and noting that it has them is one transaction, so that nothing is painted twice or missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from stylizer import commands
from stylizer.inbox.examine import Painting, Ready
from stylizer.inbox.outbox import Outbox
from stylizer.inbox.watch import Thing
from stylizer.jobs import FINISHED, Clip, Desired, Encoding, Job, JobState, Look
from stylizer.ledger import Arrival, Found
from stylizer.rows import clean
from stylizer.store import Store


class Arrivals:
    """For the thread that owns the store. Paths may be as they are on disk or as the store keeps them."""

    def __init__(
        self, store: Store, inbox: str, outbox: Outbox, work: Path, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._inbox, self._outbox, self._work, self._clock = store, inbox, outbox, work, clock
        self._rows: dict[str, Found] = {}
        self._made: dict[str, list[tuple[int, ...]]] = {}
        """Content to the jobs that files of it got, also files that are gone by now."""
        self._owner: dict[int, str] = {}
        """Job to the path that it was made for."""
        self._taken: list[float] = []
        """When files were taken, the last hour's at least."""
        for row in store.found(inbox):
            self._rows[row.path] = row
            if row.state is Arrival.TAKEN:
                self._remember(row)

    def known(self) -> dict[str, str]:
        """The files that were there, with their marks; empty for those that have no jobs yet."""
        return {path: _mark(row) if row.state is Arrival.TAKEN else "" for path, row in self._rows.items()}

    def taken(self) -> list[Found]:
        return [row for row in self._rows.values() if row.state is Arrival.TAKEN]

    def put(
        self, thing: Thing, state: Arrival, reason: str = "", jobs: tuple[int, ...] | None = None, content: str = ""
    ) -> bool:
        """Note how far a file is; whether that is news. `jobs` None: it keeps those of its earlier version, until it gets
        its own.
        """
        path = clean(thing.path)
        old = self._rows.get(path)
        kept = old.jobs if old and jobs is None else jobs or ()
        row = Found(self._inbox, path, f"{thing.mark} {content}".strip(), state, reason, kept, self._clock())
        if old and replace(old, at=row.at) == row:
            return False
        if old and state is Arrival.SETTLING and old.state is not state and _mark(old) == thing.mark:
            # Seen anew after a restart; what was said of it holds until something else is.
            return False
        self._rows[path] = row
        self._store.put_found(row)
        if state is Arrival.TAKEN:
            self._remember(row)
        return True

    def drop(self, path: str) -> None:
        """The file is gone; its jobs stay."""
        if self._rows.pop(clean(path), None):
            self._store.drop_found(self._inbox, path)

    def _remember(self, row: Found) -> None:
        if content := _content(row):
            known = self._made.setdefault(content, [])
            if row.jobs not in known:
                known.append(row.jobs)
        for job in row.jobs:
            self._owner.setdefault(job, row.path)
        self._taken.append(row.at)

    # ---- taking ----

    def has_room(self, most: int) -> bool:
        """Whether fewer than `most` files were taken within the hour; 0: any number."""
        now = self._clock()
        self._taken = [at for at in self._taken if now - 3600 < at <= now]
        return not most or len(self._taken) < most

    def cancel_earlier(self, path: str) -> bool:
        """End the jobs of an earlier version of a file; whether some have not ended yet."""
        row = self._rows.get(clean(path))
        left = [n for n in row.jobs if self._owner.get(n) == row.path and self._store.is_unfinished(n)] if row else []
        for job in left:
            commands.cancel(self._store, job, self._work)
        return bool(left)

    def is_ours(self, path: Path) -> bool:
        """Whether some job painted that file."""
        return any(self._store.writing_to(spelled) for spelled in {path, path.resolve()})

    def take(self, ready: Ready) -> tuple[int, ...]:
        """Give a file its jobs, one for each painting; returns them. ConfigError or OSError where that is not possible."""
        with self._store.transaction():
            jobs = []
            for painting in ready.paintings:
                output = self._output(ready, painting)
                output.parent.mkdir(parents=True, exist_ok=True)
                job = self._job(ready, painting, output)
                self._owner[job.id] = clean(ready.thing.path)
                self._store.drop_deliveries(self._outbox.target(output) or str(output), job.id)
                if target := self._outbox.target(output):
                    self._store.deliver(job.id, target)
                jobs.append(job.id)
            self.put(ready.thing, Arrival.TAKEN, "", tuple(jobs), ready.content)
        return tuple(jobs)

    def _job(self, ready: Ready, painting: Painting, output: Path) -> Job:
        asked = ready.asked
        known = self._store.find(commands.key_of(ready.clip, painting.look, painting.encoding, output, asked.precision))
        others = self._store.writing_to(output) if known else []
        # The file is as it was before, but what lies in its place was painted from another one since.
        since = known is not None and any(
            (o.finished_at or 0) > (known.finished_at or 0) for o in others if o.id != known.id
        )
        job = commands.add(
            self._store,
            ready.clip,
            painting.look,
            painting.encoding,
            output,
            backend=asked.backend,
            device=asked.device,
            precision=asked.precision,
            again=since,
            priority=asked.priority,
            max_cost=asked.max_cost,
            deadline=self._clock() + asked.deadline_hours * 3600 if asked.deadline_hours else None,
        )
        for note in () if known else ready.clip.notes:
            self._store.note(job.id, None, "note", f"{ready.clip.path.name}: {note}")
        return job

    def _output(self, ready: Ready, painting: Painting) -> Path:
        """A name for a painting that is no other's."""
        names = self._outbox.outputs(ready.thing, ready.clip, ready.suffix, painting.names)
        return next(name for name in names if self._is_free(name, clean(ready.thing.path)))

    def _is_free(self, output: Path, path: str) -> bool:
        jobs = self._store.writing_to(output)
        if any(self._owner.get(job.id, path) != path for job in jobs):
            return False
        if jobs or not output.exists():
            return True
        # No job wrote it: a stranger's, or the copy that was made for this very file.
        mine = self._rows[path].jobs if path in self._rows else ()
        return any(d.target == clean(str(output)) for job in mine for d in self._store.deliveries(job))

    # ---- the same content twice ----

    def twin(self, ready: Ready) -> tuple[int, ...]:
        """The jobs of another file that perhaps had the same content, in the same looks; none if there is no such file."""
        path = clean(ready.thing.path)
        for jobs in self._made.get(ready.content, ()) if ready.content else ():
            if all(self._owner.get(job) != path for job in jobs) and self._alike(ready, jobs):
                return jobs
        return ()

    def clip_of(self, jobs: tuple[int, ...]) -> Clip:
        """What these jobs paint."""
        return self._store.job(jobs[0]).clip

    def copy(self, ready: Ready, twin: tuple[int, ...]) -> bool | None:
        """Let what the twin became be brought to this file's name too. None: it is not painted yet; False: it won't be."""
        jobs = self._alike(ready, twin)
        if not jobs:
            return False
        if any(job.state is not JobState.DONE for job in jobs):
            return None
        with self._store.transaction():
            for painting, job in zip(ready.paintings, jobs, strict=True):
                output = self._output(ready, painting)
                target = self._outbox.target(output) or str(output)
                self._store.drop_deliveries(target, job.id)
                self._store.deliver(job.id, target)
            reason = f"It is the same as {jobs[0].clip.path.name}: painted once, and copied."
            self.put(ready.thing, Arrival.TAKEN, reason, tuple(job.id for job in jobs), ready.content)
        return True

    def _alike(self, ready: Ready, twin: tuple[int, ...]) -> Sequence[Job]:
        """The twin's job for each of the paintings; none unless there is one for each that may still become something."""
        jobs = [self._store.job(job) for job in twin if self._store.has_job(job)]
        found = []
        for painting in ready.paintings:
            wanted = _essence(painting.look, painting.encoding, ready.asked.precision, ready.suffix)
            for job in jobs:
                same = _essence(job.look, job.encoding, job.precision, job.output.suffix) == wanted
                if same and self._holds(job):
                    found.append(job)
                    break
        return found if len(found) == len(ready.paintings) else ()

    def _holds(self, job: Job) -> bool:
        """Whether a job's output is, or will be, what it painted."""
        if job.state in (JobState.FAILED, JobState.CANCELLED) or job.desired is Desired.CANCEL:
            return False
        for other in self._store.writing_to(job.output):
            later = other.state is JobState.DONE and (other.finished_at or 0) > (job.finished_at or 0)
            if other.id != job.id and (later or other.state not in FINISHED):
                return False
        return job.state is not JobState.DONE or job.output.exists()


def _essence(look: Look, encoding: Encoding, precision: str, suffix: str) -> object:
    """All that makes a painting what it is, but for the clip: the bytes of its styles count, not their names."""
    styles = tuple((style.digest, style.weight) for style in look.styles)
    return styles, replace(look, styles=()), encoding, precision, suffix


def _mark(row: Found) -> str:
    return row.fingerprint.partition(" ")[0]


def _content(row: Found) -> str:
    return row.fingerprint.partition(" ")[2]
