"""Brings outputs to their second places: another name for the same content, or a blob. Tried again until it works."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from stylizer.errors import StylizerError
from stylizer.files import settle
from stylizer.jobs import Job, JobState
from stylizer.sequence import remove
from stylizer.store import Store

LOOK_SECONDS = 1.0
"""Between two looks at what is due."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
"""Seconds until a delivery that failed is tried again; doubled each time."""
LANES = 2


class Deliveries:
    """Makes what is due in the store, aside. `carry` brings a file or folder to a target, whole or not at all; an output
    inside `staging` goes when it has been brought everywhere.
    """

    def __init__(
        self,
        store: Store,
        carry: Callable[[Path, str], None],
        *,
        staging: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._carry, self._staging, self._clock = store, carry, staging, clock
        self._lanes = ThreadPoolExecutor(LANES, thread_name_prefix="deliver")
        self._going: dict[tuple[int, str], Future[None]] = {}
        self._pauses: dict[tuple[int, str], tuple[float, float]] = {}
        self._looked_at = float("-inf")

    def turn(self) -> None:
        """See what has arrived, and start what is due."""
        for which in [which for which, future in self._going.items() if future.done()]:
            self._arrived(*which, self._going.pop(which))
        if self._clock() < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = self._clock()
        for delivery in self._store.deliveries(due=True):
            which = delivery.job, delivery.target
            if (
                which in self._going
                or self._pauses.get(which, (0.0, 0.0))[0] > self._clock()
                or len(self._going) >= 2 * LANES
            ):
                continue
            job = self._store.job(delivery.job)
            if self._is_replaced(job):
                text = f"{job.output.name} was painted anew from another file before it was brought to {delivery.target}."
                with self._store.transaction():
                    self._store.note(job.id, None, "delivery", text)
                    self._store.delivered(*which)
            else:
                self._going[which] = self._lanes.submit(self._carry, job.output, delivery.target)

    def close(self) -> None:
        """What is under way is finished; the rest is made after the next start."""
        self._lanes.shutdown(wait=True, cancel_futures=True)
        for which, future in self._going.items():
            if future.done() and not future.cancelled():
                self._arrived(*which, future)

    def _is_replaced(self, job: Job) -> bool:
        """Whether another job has painted into this one's output since."""
        others = [other for other in self._store.writing_to(job.output) if other.id != job.id]
        return any(o.state is JobState.DONE and (o.finished_at or 0) > (job.finished_at or 0) for o in others)

    def _arrived(self, job: int, target: str, future: Future[None]) -> None:
        if not self._store.has_job(job):
            return
        try:
            future.result()
        except (StylizerError, OSError) as error:
            said = error.message if isinstance(error, StylizerError) else f"{error.strerror or error}"
            pause = min(LONGEST_PAUSE, 2 * self._pauses.get((job, target), (0.0, FIRST_PAUSE / 2))[1])
            first = (job, target) not in self._pauses
            self._pauses[job, target] = self._clock() + pause, pause
            with self._store.transaction():
                self._store.delivered(job, target, said)
                if first:
                    self._store.note(job, None, "delivery", f"{target} could not be written: {said} It is tried again.")
            return
        self._pauses.pop((job, target), None)
        with self._store.transaction():
            self._store.delivered(job, target)
            self._store.note(job, None, "delivered", f"It is at {target} now.")
        output = self._store.job(job).output
        if self._staging and output.is_relative_to(self._staging):
            due = self._store.deliveries(due=True)
            if not any(delivery.job == job for delivery in due):
                remove(output)


def copy_here(output: Path, target: Path) -> None:
    """Copy a painted file or folder to another name, whole or not at all. OSError if it cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        if output.is_dir():
            shutil.copytree(output, part)
            old = target.with_name(target.name + ".old.part")
            remove(old)
            if target.exists():
                target.rename(old)
            settle(part, target)
            remove(old)
        else:
            shutil.copyfile(output, part)
            settle(part, target)
    finally:
        remove(part)
