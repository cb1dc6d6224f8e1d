"""Says things to a person or, as JSON, to a program. The only module that prints: data to stdout, talk to stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from stylizer import screen
from stylizer.errors import StylizerError
from stylizer.jobs import FINISHED, Desired, Event, JobState, Look
from stylizer.views import UNFINISHED, AtWork, Detail, JobView, Status, picture_of
from stylizer.wire import pack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REFRESH = 8
"""Times a second that the progress display is drawn."""
PLAIN_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""
JSON_SECONDS = 0.5
"""Between two lines of progress in JSON."""


def out() -> Console:
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    return Console(stderr=True, highlight=False)


def show(what: RenderableType) -> None:
    """Data for a person."""
    out().print(what)


def line(text: str) -> None:
    """A line of data, exactly as it is."""
    print(text, flush=True)  # noqa: T201


def talk(text: str, tone: str = "") -> None:
    """A remark beside the data."""
    err().print(Text("\n".join(map(screen.plain, text.split("\n"))), tone), soft_wrap=True)


def answer(**values: object) -> None:
    """The result of a command as one line of JSON."""
    object_line({"ok": True, **values})


def failure(error: StylizerError, *, as_json: bool) -> int:
    """Say what went wrong and what to do; returns the exit code."""
    if as_json:
        said = {"code": error.code, "message": error.message, "hint": error.hint}
        object_line({"ok": False, "error": said})
    else:
        talk_error(error.message, error.hint)
    return error.exit_code


def talk_error(message: str, hint: str = "") -> None:
    console = err()
    console.print(Text.assemble(("✗ ", "bold red"), screen.plain(message)), soft_wrap=True)
    if hint:
        console.print(Text(f"  {screen.plain(hint)}", "dim"), soft_wrap=True)


def hung_up() -> int:
    """Whoever read our output went away, as `head` does; nothing more can be said, and Python shall not try."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def follow(look: Callable[[], Status], version: Callable[[], object], *, as_json: bool) -> None:
    """Show the status until nothing that should move is left; as JSON whenever `version` changes."""
    seen: object = None
    live = None if as_json else Live(console=out(), refresh_per_second=REFRESH)
    with live or nullcontext():
        while True:
            now = version()
            if live or now != seen:
                seen, found = now, look()
                if live:
                    live.update(screen.status(found), refresh=True)
                else:
                    object_line(status_values(found))
                if not found.count(UNFINISHED, (Desired.RUN, Desired.CANCEL)):
                    return
            time.sleep(0.25)


def picture(pixels: NDArray[np.uint8]) -> None:
    """A picture of one column a pixel, in the terminal."""
    out().print(screen.picture(pixels), end="")


def is_terminal() -> bool:
    """Whether a person sees what is said, and can press keys."""
    return sys.stdout.isatty() and sys.stdin.isatty()


def can_show_pictures() -> bool:
    return (
        sys.stdout.isatty() and out().color_system in ("truecolor", "256") and "UTF" in (sys.stdout.encoding or "").upper()
    )


def _moving_values(view: JobView) -> dict[str, Any]:
    """What changes of a job while it is painted, as JSON values."""
    return {
        "state": str(view.job.state),
        "frames_done": view.tally.frames_done,
        "frames_total": view.tally.frames_total,
        "fps": round(view.tally.fps, 2),
        "fit_done": view.job.fit_done,
        "fit_total": view.job.fit_total,
        "eta": None if view.eta is None else round(view.eta, 1),
        "basis": view.basis,
    }


@lru_cache(maxsize=64)
def _look_values(look: Look) -> Any:
    # Thousands of jobs share a few looks.
    return pack(look)


def job_values(view: JobView) -> dict[str, Any]:
    """A job as JSON values."""
    job, tally, picture = view.job, view.tally, picture_of(view.job)
    return {
        "id": job.id,
        "desired": str(job.desired),
        **_moving_values(view),
        "clip": str(job.clip.path),
        "output": str(job.output),
        "look": _look_values(job.look),
        "picture": str(picture) if picture else None,
        "place": view.place,
        "elapsed": round(view.elapsed, 2),
        "chunks": {name: getattr(tally, name) for name in ("ready", "submitted", "running", "done", "failed")},
        "backend": job.backend,
        "device": job.device,
        "priority": job.priority,
        "position": job.position,
        "kind": str(job.clip.kind),
        "size": [job.clip.width, job.clip.height],
        "added_at": job.added_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "deadline": job.deadline,
        "max_cost": job.max_cost,
        "cost": [
            {
                "backend": one.backend,
                "spent": str(one.meter.spent),
                "today": str(one.today),
                "per_hour": str(one.meter.per_hour),
                "currency": one.meter.currency,
                "basis": one.meter.basis,
                "final": one.meter.final,
                "nodes": pack(one.meter.nodes),
            }
            for one in view.money
        ],
        "error": job.error,
        "hint": job.hint,
    }


def status_values(found: Status) -> dict[str, Any]:
    eta = None if found.eta is None else round(found.eta, 1)
    runner = {"pid": found.runner.pid, "started_at": found.runner.started_at, "inbox": found.runner.inbox}
    return {
        "running": found.running,
        "held": found.runner.held,
        "runner": runner if found.running else None,
        "cost_today": str(found.today),
        "eta": eta,
        "counts": {state.value: found.count((state,)) for state in JobState},
        "jobs": [job_values(view) for view in found.jobs],
    }


def detail_values(found: Detail) -> dict[str, Any]:
    chunks = [
        {"id": chunk.id, **{key: value for key, value in pack(chunk).items() if key not in ("job", "output")}}
        for chunk in found.chunks
    ]
    return {"job": job_values(found.view), "chunks": chunks, "events": [pack(event) for event in found.events]}


class Progress:
    """Shows how jobs get on: bars in a terminal, JSON lines, plain lines now and then, or nothing."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._live: Live | None = None
        self._told: dict[int, tuple[JobState, float, int]] = {}
        self.note = ""
        """A remark under the bars."""
        if not as_json and not quiet and sys.stdout.isatty():
            self._live = Live(console=out(), refresh_per_second=REFRESH, transient=True)

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            # Nothing to be left behind where the bars were.
            self._live.update(Text(), refresh=True)
            self._live.stop()

    def remark(self, text: str) -> None:
        """Something that a person should know now."""
        if self._live:
            self.note = text
        elif not self._as_json:
            talk(text)

    def say(self, text: str) -> None:
        """Something that stays to be read, above the bars."""
        if self._live:
            self._live.console.print(Text(text, "dim"))
        elif not self._as_json and not self._quiet:
            talk(text)

    def update(self, found: AtWork, events: Iterable[Event] = ()) -> None:
        """Show what is being worked on, and what has happened since the last time."""
        if self._live:
            self._live.update(screen.progress(found.views, found.more, self.note))
        elif self._as_json:
            for event in events:
                object_line(
                    {"event": event.kind, "at": event.at, "job": event.job, "chunk": event.chunk, "text": event.text}
                )
            self._tell(found.views, JSON_SECONDS)
        elif not self._quiet:
            self._tell(found.views, PLAIN_SECONDS)

    def _tell(self, views: Sequence[JobView], pause: float) -> None:
        """A line for each job that is being painted, when its state changes and every so often where it moved."""
        now = time.monotonic()
        for view in views:
            state, when, done = self._told.get(view.job.id, (None, 0.0, -1))
            here = view.tally.frames_done + view.job.fit_done
            moved = here != done and now - when >= pause
            if view.job.state in FINISHED or not (view.job.state is not state or moved):
                continue
            self._told[view.job.id] = (view.job.state, now, here)
            if self._as_json:
                object_line({"event": "progress", "at": time.time(), "job": view.job.id, **_moving_values(view)})
            elif view.job.state in screen.STAGES:
                talk(screen.progress_line(view))


class Bar:
    """A bar for one thing that takes a few seconds; nothing where there is no terminal."""

    def __init__(self, title: str, *, shown: bool) -> None:
        self._title = title
        self._live = (
            Live(console=err(), refresh_per_second=REFRESH, transient=True) if shown and sys.stderr.isatty() else None
        )

    def __enter__(self) -> Bar:
        if self._live:
            self._live.start()
            self.update(0, 0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, done: int, total: int, words: str = "") -> None:
        """`total` 0: nobody knows yet. The words stand beside the bar; so many of so many by default."""
        if self._live:
            self._live.update(screen.bar(self._title, done, total, words))


def columns() -> int:
    """Width of the terminal in characters."""
    return out().width


def painted(view: JobView, *, before: bool) -> None:
    """The end of a job that is done: its path, and for a person how long it took. `before`: it was done already."""
    if not sys.stdout.isatty():
        line(str(view.job.output))
        return
    frames, seconds = view.tally.frames_total, view.elapsed
    words = f"{frames} {'frame' if frames == 1 else 'frames'} in {screen.duration(seconds)}"
    words += f" · {frames / seconds:.1f} fps" if seconds > 0 and frames > 1 else ""
    if before:
        words = "painted already; --again paints it anew"
    show(Text.assemble(("✓ ", "bold green"), (screen.near(view.job.output), "bold"), (f"  {words}", "dim")))


def object_line(value: dict[str, Any]) -> None:
    """Any value as one line of JSON."""
    # ASCII, so that file names which are no Unicode can be said too.
    line(json.dumps(value, ensure_ascii=True))
