"""The job under the cursor in some lines: its chunks, what it is, what has happened last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rich.cells import cell_len
from textual.content import Content

from stylizer.jobs import Event, JobState
from stylizer.screen import plain
from stylizer.views import JobView
from tui import words
from tui.columns import fit
from tui.now import Now
from tui.theme import mark_of
from tui.widgets import strip

MUTED = "$foreground-muted"
PAINTED = "chunk done"


def detail(now: Now, job: int, at: float, width: int, height: int) -> Content:
    """At most `height` lines of `width` cells."""
    view = now.view(job, at)
    wide = width >= 100
    lines = [title(view, width), *facts(view, width, short=wide)]
    chunks = now.chunks.get(job)
    if chunks:
        found = strip.cells(chunks, width * (2 if height >= 9 else 1))
        lines += [Content(""), *strip.drawn(found, width).split("\n")]
    rest = height - len(lines) - 1
    if rest > 0:
        events = folded(event for event in now.events if event.job == job and event.text)
        lines += [Content(""), *(told(event, width) for event in events[-rest:])]
    return Content("\n").join(lines[:height])


def title(view: JobView, width: int) -> Content:
    """Its mark, its name and its state."""
    mark = mark_of(view.job)
    share = words.share_of(view)
    said = f"{mark.word} {words.percent(share)}" if share else mark.word
    name = fit(plain(view.job.clip.path.name), max(8, width - cell_len(said) - 4))
    return Content.assemble((f"{mark.glyph} ", f"${mark.tone}"), (name, "bold"), "  ", (said, f"${mark.tone}"))


def facts(view: JobView, width: int, *, short: bool) -> list[Content]:
    """Names and values; side by side where there is room."""
    job, clip = view.job, view.job.clip
    size = f"{clip.width} x {clip.height} · {words.plural(clip.frames, 'frame')}"
    size += f" · {float(clip.rate):.4g} fps" if clip.rate else ""
    pairs = [("look", words.style_words(job.look)), ("clip", size), ("output", str(job.output))]
    if job.state is JobState.FAILED:
        pairs.insert(0, ("error", job.error))
    if view.eta is not None:
        pairs.insert(1, ("left", f"{words.span(view.eta)}, {view.basis}"))
    if short:
        half = width // 2 - 2
        rows = [pairs[n : n + 2] for n in range(0, len(pairs), 2)]
        return [Content("    ").join([_fact(name, value, half) for name, value in row]) for row in rows]
    return [_fact(name, value, width) for name, value in pairs]


def _fact(name: str, value: str, width: int) -> Content:
    tone = "$error" if name == "error" else ""
    return Content.assemble((f"{name:<7}", MUTED), (fit(plain(value), width - 7), tone))


def told(event: Event, width: int) -> Content:
    """A line of history."""
    tone = {"failed": "$error", "chunk failed": "$error", "done": "$success", "money": "$warning"}.get(event.kind, "")
    text = " ".join(event.text.split())
    return Content.assemble((words.clock(event.at), MUTED), "  ", (fit(plain(text), width - 10), tone))


def folded(events: Iterable[Event]) -> list[Event]:
    """History without the tale of every chunk: those painted one after the other are one line."""
    found: list[Event] = []
    count = 0
    for event in events:
        count = count + 1 if event.kind == PAINTED else 0
        if count > 1:
            found[-1] = replace(event, text=f"{count} chunks are painted, the last one is {event.chunk}.")
        else:
            found.append(event)
    return found
