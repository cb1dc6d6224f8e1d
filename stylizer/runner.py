"""The one loop that carries out the jobs of a store. Kill it at any moment: the next one carries on.

    adopt → plan → collect → reconcile → submit → meter → assemble → release

    (steps.py, collect.py, give.py, money.py)

One runner a store, held by a lock of the operating system; any other looks on and takes over when that one ends.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from stylizer import steps
from stylizer.backend import Backend, load
from stylizer.collect import collect
from stylizer.config import Config, Places
from stylizer.errors import ConfigError
from stylizer.give import recall, submit
from stylizer.jobs import FINISHED, ChunkState, Clip, Desired, Job, JobState, RunnerDesired
from stylizer.money import is_counting, meter
from stylizer.store import Store
from stylizer.work import ACTIVE, UNDER_WAY, Media, Run, take_back

UNFINISHED = tuple(state for state in JobState if state not in FINISHED)
LOG_DAYS = 30.0
TICK = 0.1
"""Seconds between two turns of the loop."""


class Runner:
    """Runs the jobs of `store`. `drain` and `stop` only set a flag: a signal may call them."""

    def __init__(
        self,
        store: Store,
        config: Config,
        places: Places,
        *,
        media: Media | None = None,
        backends: Callable[[str], Backend] | None = None,
        adopt: Callable[[], None] = lambda: None,
        inbox: str = "",
        cloud: str | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._config, self._places = store, config, places
        self._media = media or media_here(places)
        self._backends = backends or (lambda name: load(name, config))
        self._adopt, self._inbox, self._clock, self._sleep = adopt, inbox, clock, sleep
        self._cloud = ("azure" if config.azure.batch else "") if cloud is None else cloud
        self._draining = self._stopping = False
        self._left: list[int] = []
        self.looking_on = False
        """Whether another runner has this store just now."""
        self.is_counting = False
        """Whether all is done but that rented machines leave."""

    def drain(self) -> None:
        """Submit nothing more, let what is running finish, then end."""
        self._draining = True

    def stop(self) -> None:
        """End now; what is running is cancelled and starts anew the next time."""
        self._draining = self._stopping = True

    def run(
        self, jobs: Collection[int] | None = None, *, stay: bool = False, each: Callable[[], None] = lambda: None
    ) -> None:
        """Carry out these jobs (None: all) until they are finished; with `stay`, until `drain` or `stop`.

        `each` is called at every turn, some ten times a second. Jobs that are paused are waited for where they are
        named. While another process runs the store this one looks on, and takes over when that ends.
        """
        self._left = list(jobs or ())
        lock = self._store.runner_lock()
        while True:
            try:
                lock.acquire()
                break
            except Timeout:
                self.looking_on = True
                each()
                if self._draining or (not stay and self._is_finished(jobs)):
                    return
                self._sleep(TICK)
        self.looking_on = False
        try:
            self._carry_out(jobs, stay, each)
        finally:
            lock.release()

    def _carry_out(self, jobs: Collection[int] | None, stay: bool, each: Callable[[], None]) -> None:
        focus = None if jobs is None else frozenset(jobs)
        run = Run(self._store, self._config, self._places.work, self._media, self._backends, self._clock, focus)
        run.cloud = self._cloud
        try:
            self._store.begin_runner(os.getpid(), self._inbox)
            begin(run)
            prune(self._places.logs, time.time())
            prune_styles(run.work / "styles", self._store.styles())
            while not self._stopping:
                row = self._store.runner()
                if row.desired is RunnerDesired.STOP:
                    self.stop()
                elif row.desired is RunnerDesired.DRAIN:
                    self.drain()
                run.draining, run.held = self._draining, row.held
                self._turn(run)
                each()
                if self._draining and not _is_busy(run):
                    break
                if not stay and not _is_busy(run) and self._is_finished(jobs):
                    self.is_counting = is_counting(run)
                    if not self.is_counting:
                        break
                self._sleep(TICK)
        finally:
            end(run)

    def _turn(self, run: Run) -> None:
        self._adopt()
        steps.plan(run)
        collect(run)
        steps.reconcile(run)
        recall(run)
        submit(run)
        meter(run)
        steps.assemble(run)
        steps.release(run)

    def _is_finished(self, jobs: Collection[int] | None) -> bool:
        if jobs is None:
            return not self._store.count(UNFINISHED, (Desired.RUN, Desired.CANCEL))
        # Each that is finished is looked at once, not at every turn.
        while self._left and not self._store.is_unfinished(self._left[-1]):
            self._left.pop()
        return not self._left


def begin(run: Run) -> None:
    """Pick up after a runner that ended anyhow: its jobs are queued again, its leftovers go."""
    for job in run.store.jobs(ACTIVE):
        run.store.move(job.id, JobState.QUEUED, "The last run was interrupted; this one carries on.")
    for one in run.store.money():
        if not one.meter.final:
            # Something is rented still: it is counted, and let go of when nobody needs it.
            run.backend(one.backend)
    if not run.work.is_dir():
        return
    for folder in run.work.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            job = run.store.job(int(folder.name))
        except ConfigError:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if job.state in (JobState.DONE, JobState.CANCELLED):
            shutil.rmtree(folder, ignore_errors=True)
            continue
        kept = {chunk.output for chunk in run.store.chunks(job.id, (ChunkState.DONE,))}
        for path in folder.iterdir():
            if path not in kept:
                _clear(path)


def prune(logs: Path, now: float) -> None:
    """Delete logs of chunks that nobody has asked for in a long while."""
    with suppress(OSError):
        for path in logs.glob("*.log"):
            if path.stat().st_mtime < now - LOG_DAYS * 86400:
                path.unlink(missing_ok=True)


def prune_styles(kept: Path, needed: Collection[Path]) -> None:
    """Delete the copies of style pictures that no job was made with. Only before anything is taken from an inbox: what is
    just being looked at has no job yet.
    """
    # By name, a hash of the picture: the folder may be spelled differently by now.
    homes = {path.parent.name for path in needed}
    with suppress(OSError):
        for folder in kept.iterdir():
            if folder.name not in homes:
                _clear(folder)


def end(run: Run) -> None:
    """Leave the store so that the next start carries on."""
    try:
        # Joining packets cannot be interrupted without leaving half a file, and takes seconds.
        run.aside.shutdown(wait=True, cancel_futures=True)
        steps.publish(run)
        for job in run.store.jobs(ACTIVE):
            take_back(run, job, UNDER_WAY)
            run.store.move(job.id, JobState.QUEUED, "Stopped; the next run carries on.")
        meter(run, now=True)
    finally:
        for backend in run.backends.values():
            backend.close()


def _is_busy(run: Run) -> bool:
    return bool(run.under_way() or run.assembling)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def media_here(places: Places) -> Media:
    """The real media functions; their libraries are imported when the first job needs them."""

    def check(clip: Clip) -> None:
        from stylizer.source import check_unchanged  # noqa: PLC0415

        check_unchanged(clip)

    def size(job: Job) -> tuple[int, int]:
        from stylizer.video import output_size  # noqa: PLC0415

        return output_size(job.clip, job.look.size)

    def checkpoint(job: Job) -> Path:
        from stylizer.styles import checkpoint_path, weights_digest  # noqa: PLC0415

        return checkpoint_path(job.clip, job.look, weights_digest(), places.cache)

    def assemble(job: Job, chunks: Sequence[Path], frames: int) -> Sequence[str]:
        from stylizer.assemble import assemble as join  # noqa: PLC0415

        return join(job.clip, chunks, job.output, job.encoding, frames).notes

    return Media(check, size, checkpoint, is_whole, assemble)


def is_whole(checkpoint: Path) -> bool:
    """Whether a safetensors file is there and as long as its header says."""
    try:
        size = checkpoint.stat().st_size
        with checkpoint.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, 1 << 20)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return False
    return bool(ends) and 8 + length + max(ends) == size
