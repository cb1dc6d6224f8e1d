"""A runner in the foreground of a terminal: Ctrl-C finishes what is being painted, a second one stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

from stylizer import console, views
from stylizer.runner import Runner
from stylizer.store import Store


def work_off(
    runner: Runner, store: Store, progress: console.Progress, jobs: Collection[int] | None, *, stay: bool = False
) -> bool:
    """Run these jobs (None: all) to their end, or look on while another process does; with `stay`, until told to end.
    True if a person stopped it.
    """
    asked: list[int] = []
    ours = None if jobs is None else frozenset(jobs)
    seen = max((event.seq for event in store.events(most=1)), default=0)
    was_looking_on = was_counting = False

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if number == signal.SIGINT and len(asked) == 1:
            runner.drain()
            progress.remark("Finishing what is being painted. Ctrl-C again stops at once; nothing finished is lost.")
        else:
            runner.stop()

    def each() -> None:
        nonlocal seen, was_looking_on, was_counting
        events = [event for event in store.events(after=seen) if ours is None or event.job in ours]
        seen = max((event.seq for event in events), default=seen)
        if runner.looking_on and not was_looking_on:
            progress.remark("Another stylizer is painting; this one looks on, and takes over if that one ends.")
        elif was_looking_on and not runner.looking_on:
            progress.remark("")
        was_looking_on = runner.looking_on
        if runner.is_counting and not was_counting:
            progress.remark("All is done; what the machines cost until they are gone is counted. Ctrl-C ends that.")
        was_counting = runner.is_counting
        for event in events:
            if event.kind == "machine":
                progress.say(event.text)
        progress.update(views.at_work(store, ours), events)

    with _signals(stop):
        each()
        runner.run(jobs, stay=stay, each=each)
        each()
    return bool(asked)


@contextmanager
def _signals(act: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C and the system's wish that we end go to `act` while inside."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    old = [signal.signal(number, act) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)
