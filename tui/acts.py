"""What a person does to jobs: each verb of `commands` for all that are chosen, what to say of it, and how to undo it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylizer import commands
from stylizer.errors import ConfigError
from stylizer.jobs import Desired, Job, RunnerDesired
from stylizer.store import Store

Do = Callable[[Store], None]


@dataclass(frozen=True, slots=True)
class Act:
    """Something to be done to the store, in a thread."""

    said: str
    """What to tell when it is done."""
    do: Do
    undo: Do | None = None


class PartlyDone(ConfigError):
    """Some of several jobs could not be changed."""


def pause(jobs: Sequence[Job]) -> Act:
    numbers = [job.id for job in jobs]
    return Act(f"Paused {named(jobs)}.", _each(numbers, commands.pause), _each(numbers, commands.resume))


def resume(jobs: Sequence[Job]) -> Act:
    numbers = [job.id for job in jobs]
    return Act(f"{named(jobs)} {_go(jobs)} on.", _each(numbers, commands.resume), _each(numbers, commands.pause))


def cancel(jobs: Sequence[Job], work: Path) -> Act:
    return Act(f"Cancelled {named(jobs)}.", _each([job.id for job in jobs], lambda s, job: commands.cancel(s, job, work)))


def retry(jobs: Sequence[Job]) -> Act:
    return Act(f"{named(jobs)} {_is(jobs)} tried again.", _each([job.id for job in jobs], commands.retry))


def redo(jobs: Sequence[Job]) -> Act:
    return Act(f"{named(jobs)} {_is(jobs)} painted anew.", _each([job.id for job in jobs], commands.redo))


def redo_chunk(job: Job, index: int) -> Act:
    return Act(f"Chunk {index} is painted anew.", lambda store: _ignore(commands.redo(store, job.id, index)))


def remove(jobs: Sequence[Job], work: Path) -> Act:
    return Act(f"Forgot {named(jobs)}.", _each([job.id for job in jobs], lambda s, job: commands.remove(s, job, work)))


def move(job: Job, place: int, before: int) -> Act:
    """To another place in the queue, from the place that it had before."""

    def undo(store: Store) -> None:
        commands.move(store, job.id, before)
        commands.move(store, job.id, priority=job.priority)

    return Act("", lambda store: _ignore(commands.move(store, job.id, place)), undo)


def prioritize(jobs: Sequence[Job], step: int) -> Act:
    levels = {job.id: job.priority for job in jobs}
    said = f"Priority of {named(jobs)}: {jobs[0].priority + step}." if len(jobs) == 1 else f"{named(jobs)}: {step:+d}."
    return Act(
        said,
        _each(list(levels), lambda store, job: commands.move(store, job, priority=levels[job] + step)),
        _each(list(levels), lambda store, job: commands.move(store, job, priority=levels[job])),
    )


def send_to(jobs: Sequence[Job], backend: str) -> Act:
    """What is left of them is painted by that backend."""
    before = {job.id: job.backend for job in jobs}
    return Act(
        f"{named(jobs)}: to {backend}.",
        _each(list(before), lambda store, job: commands.send_to(store, job, backend)),
        _each(list(before), lambda store, job: commands.send_to(store, job, before[job])),
    )


def hold(held: bool) -> Act:
    said = "The queue is paused." if held else "The queue goes on."
    return Act(said, lambda store: commands.hold(store, held), lambda store: commands.hold(store, not held))


def end_runner(desired: RunnerDesired) -> Act:
    return Act("", lambda store: store.want_runner(desired))


def is_paused(job: Job) -> bool:
    return job.desired is Desired.PAUSE


def named(jobs: Sequence[Job]) -> str:
    """One by its clip, several by their number."""
    return jobs[0].clip.path.name if len(jobs) == 1 else f"{len(jobs)} jobs"


def _each(numbers: Sequence[int], verb: Callable[[Store, int], object]) -> Do:
    """The verb on each; those that refuse it do not keep it from the others, and are told of at the end."""

    def do(store: Store) -> None:
        refused = []
        for number in numbers:
            try:
                verb(store, number)
            except ConfigError as error:
                refused.append(error)
        if refused and len(numbers) == 1:
            raise refused[0]
        if refused:
            raise PartlyDone(f"{len(refused)} of {len(numbers)} jobs stay as they are. {refused[0].message}")

    return do


def _ignore(_: object) -> None:
    return None


def _is(jobs: Sequence[Job]) -> str:
    return "is" if len(jobs) == 1 else "are"


def _go(jobs: Sequence[Job]) -> str:
    return "goes" if len(jobs) == 1 else "go"
