"""A job as a line of the queue, or two, or two and a space. Columns give way one by one where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from stylizer.jobs import FINISHED, Chunk, Desired, JobState
from stylizer.views import JobView
from tui import words
from tui.columns import fit
from tui.theme import Mark, mark_of
from tui.widgets.swatch import COLUMNS as SWATCH
from tui.widgets.swatch import Pixels, drawn

GAP = 2
MOST_NAME = 72
ACTIVE = (JobState.FITTING, JobState.RENDERING, JobState.ASSEMBLING)
AGAIN = "⏎ shows what happened, r tries it again"
Tones = Callable[[str], Style]
"""The style of a tone of the theme, on the row's own ground."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths in cells; 0: not shown."""

    width: int
    swatch: int
    name: int
    bar: int
    share: int
    fps: int
    left: int
    where: int
    cost: int

    @property
    def after_name(self) -> int:
        """From the bar on, without the cost."""
        widths = [one for one in (self.bar, self.share, self.fps, self.left, self.where) if one]
        return sum(widths) + GAP * (len(widths) - 1)


def columns(width: int, *, costs: bool) -> Columns:
    """What fits into so many cells: first the name and the bar, then what is left, fps, cost, the swatch, where."""
    share, left = 4, 7
    fps = 9 if width >= 64 else 0
    cost = 9 if costs and width >= 76 else 0
    swatch = SWATCH if width >= 70 else 0
    where = 18 if width >= 132 else 13 if width >= 110 else 9 if width >= 104 else 0
    fixed = 5 + sum(one + GAP for one in (share, fps, left, cost, swatch, where) if one) + GAP
    room = max(16, width - fixed)
    bar = max(6, min(60, room * 2 // 5, room - 20))
    name = min(MOST_NAME, room - bar)
    # A wide terminal gives what is over to who paints it.
    where += room - bar - name if where else 0
    return Columns(width, swatch, name, bar, share, fps, left, where, cost)


def heads(at: Columns) -> list[tuple[str, int]]:
    """Names of the columns, with their widths; negative: to the right."""
    shown = [("clip", at.name), ("", at.bar), ("", -at.share), ("speed", -at.fps), ("left", -at.left)]
    shown += [("where", at.where), ("cost", -at.cost)]
    return [("", at.swatch), *((name, width) for name, width in shown)]


@dataclass(frozen=True, slots=True)
class Shown:
    """A job with all that its row says."""

    view: JobView
    under_way: Sequence[Chunk]
    pixels: Pixels | None
    now: float
    cursor: bool
    chosen: bool


def lines(shown: Shown, at: Columns, count: int, tone: Tones) -> list[list[Segment]]:
    """`count` (1 to 3) lines of segments, each as wide as the columns say; the third is a space."""
    mark, base = mark_of(shown.view.job), tone("")
    swatch = drawn(shown.pixels, min(2, count), base) if at.swatch else [[] for _ in range(count)]
    name = fit(shown.view.job.clip.path.name, at.name)
    gutter = [Segment("▌" if shown.cursor else " ", tone("cursor")), Segment("◆" if shown.chosen else " ", tone("cursor"))]
    gap = Segment(" " * GAP, base)
    first = [*gutter, Segment(f" {mark.glyph} ", tone(mark.tone)), *swatch[0]]
    first += [gap] * bool(swatch[0])
    first += [Segment(name, tone("name" if shown.view.job.state is not JobState.CANCELLED else "muted")), gap]
    first += _first(shown, at, mark, tone)
    cost, most = words.spent(shown.view)
    if at.cost:
        first += [gap, Segment(fit(cost, -at.cost), tone("name" if cost else "muted"))]
    if count == 1:
        return [first]
    second = [gutter[0], Segment("    ", base), *swatch[1], *[gap] * bool(swatch[1])]
    second += [Segment(fit(words.style_words(shown.view.job.look), at.name), tone("muted")), gap]
    second += _second(shown, at, mark, tone)
    if at.cost:
        second += [gap, Segment(fit(most, -at.cost), tone("muted"))]
    return [first, second, [gutter[0], Segment(" " * (at.width - 1), base)]][:count]


def _first(shown: Shown, at: Columns, mark: Mark, tone: Tones) -> list[Segment]:
    view, base = shown.view, tone("")
    job, share = view.job, words.share_of(view)
    if job.state in FINISHED or (job.state is JobState.QUEUED and not share):
        return _without_bar(shown, at, mark, tone)
    filled, left = words.bar(share, at.bar)
    bar = [Segment(filled, tone(mark.tone)), Segment(left, tone("track"))]
    cells = [(words.percent(share), -at.share, "name")]
    cells += [(words.rate(view.fps) if job.state is JobState.RENDERING else "", -at.fps, "name")] if at.fps else []
    cells += [(words.span(view.eta) if job.desired is Desired.RUN else "", -at.left, "name")]
    cells += [(where_words(shown), at.where, "muted")] if at.where else []
    found = list(bar)
    for text, width, name in cells:
        found += [Segment(" " * GAP, base), Segment(fit(text, width), tone(name))]
    return found


def _without_bar(shown: Shown, at: Columns, mark: Mark, tone: Tones) -> list[Segment]:
    """Of what waits or is over: its state as a word, then what matters of it."""
    view, job = shown.view, shown.view.job
    if job.state is JobState.QUEUED and job.desired is Desired.RUN:
        rest, tail = "", words.span(view.eta)
    elif job.state is JobState.QUEUED:
        rest, tail = "", ""
    else:
        rest, tail = words.ago(job.finished_at, shown.now), ""
        rest = job.error if job.state is JobState.FAILED and job.error else rest
    where = fit(where_words(shown), at.where) if at.where else ""
    room = at.after_name - len(mark.word) - 2 - (at.left + GAP if tail else 0) - (len(where) + GAP if where else 0)
    said = "error" if job.state is JobState.FAILED else "muted"
    found = [Segment(mark.word, tone(mark.tone)), Segment("  " + fit(rest, room), tone(said))]
    found += [Segment("  " + fit(tail, -at.left), tone("muted"))] if tail else []
    return found + ([Segment("  " + where, tone("muted"))] if where else [])


def _second(shown: Shown, at: Columns, mark: Mark, tone: Tones) -> list[Segment]:
    return [Segment(fit(about(shown.view, mark), at.after_name), tone("muted"))]


def about(view: JobView, mark: Mark) -> str:
    """A job's state in some words: what it does just now, and how far."""
    job, tally = view.job, view.tally
    if job.state is JobState.FAILED:
        # A hint that names a command is for those who type commands.
        return AGAIN if "stylizer " in job.hint else job.hint
    if job.state is JobState.DONE:
        rate = tally.frames_total / view.elapsed if view.elapsed else 0.0
        return f"{words.plural(tally.frames_total, 'frame')} in {words.span(view.elapsed)}, {words.rate(rate)}"
    if job.state in (JobState.QUEUED, JobState.CANCELLED) and not tally.done:
        return words.plural(tally.frames_total, "frame")
    said = f"{mark.word} · {tally.done} of {words.plural(tally.chunks, 'chunk')}"
    if job.state is JobState.FITTING:
        said = f"{mark.word} the look · step {job.fit_done} of {job.fit_total}" if job.fit_total else "waits for its fit"
    elif job.state is JobState.ASSEMBLING:
        said = f"putting {words.plural(tally.chunks, 'chunk')} together"
    return said + (f" · {tally.failed} failed" if tally.failed else "")


def where_words(shown: Shown) -> str:
    """Who paints it: cuda:0 and one more, azure x 3; or who was asked for."""
    job = shown.view.job
    if job.state in FINISHED:
        return ""
    local = sorted(
        {chunk.worker.partition(" ")[0] for chunk in shown.under_way if chunk.backend == "local" and chunk.worker}
    )
    away = {chunk.backend: set[str]() for chunk in shown.under_way if chunk.backend != "local"}
    for chunk in shown.under_way:
        if chunk.backend in away:
            away[chunk.backend].add(chunk.worker)
    parts = local[:1] + ([f"+{len(local) - 1}"] if len(local) > 1 else [])
    parts += [f"{name} x{len(workers)}" for name, workers in sorted(away.items())]
    return " ".join(parts) or job.backend
