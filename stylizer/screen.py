"""Values as things that rich can show. Nothing is printed here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.color import Color
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from stylizer.config import Config
from stylizer.jobs import FINISHED, ChunkState, Desired, JobState, Look
from stylizer.views import UNFINISHED, Detail, JobView, Status, picture_of

if TYPE_CHECKING:
    # Only named here: numpy and Pillow would cost `status` a tenth of a second.
    import numpy as np
    from numpy.typing import NDArray

    from stylizer.check import Check
    from stylizer.styles import Fitted

TONES = {
    JobState.QUEUED: "dim",
    JobState.FITTING: "cyan",
    JobState.RENDERING: "cyan",
    JobState.ASSEMBLING: "cyan",
    JobState.DONE: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}
CELLS = {
    ChunkState.READY: ("·", "dim"),
    ChunkState.SUBMITTED: ("▫", "dim"),
    ChunkState.RUNNING: ("▪", "cyan"),
    ChunkState.DONE: ("■", "green"),
    ChunkState.FAILED: ("x", "red"),
}
"""A chunk in a strip."""
MOST_SHOWN = 20
"""Of the jobs that wait, and of those that are finished."""
STAGES = (JobState.FITTING, JobState.RENDERING, JobState.ASSEMBLING)


def duration(seconds: float) -> str:
    """As a person says it: 4 s, 2 min 5 s, 3 h 20 min; rounded to what matters."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes as 812 B, 4.3 MB, 78 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def plain(text: str) -> str:
    """Text that a terminal shows and does not obey: a file name can hold escape sequences and line breaks."""
    return "".join(c if c.isprintable() else "?" for c in text)


def near(path: Path) -> str:
    """A path as short as it can be said from here."""
    here = os.path.relpath(path) if path.drive == Path.cwd().drive else str(path)
    return plain(str(path) if here.startswith(os.pardir) else here)


def look_words(look: Look) -> str:
    """A look in a few words: starry.jpg 70% + waves.jpg 30% · strength 0.5."""
    blend = len(look.styles) > 1
    words = [" + ".join(plain(s.path.name) + (f" {s.weight:.0%}" if blend else "") for s in look.styles)]
    words += [f"strength {look.strength:g}"] if look.strength != 1 else []
    words += [f"brush {look.brush:g}"] if look.brush != 1 else []
    words += ["own colours"] if look.keep_color else []
    words += [str(look.quality)] if look.quality != "standard" else []
    return " · ".join(words)


def state_of(view: JobView) -> Text:
    job = view.job
    if job.state not in FINISHED and job.desired is not Desired.RUN:
        return Text("paused" if job.desired is Desired.PAUSE else "stopping", "yellow")
    return Text(str(job.state), TONES[job.state])


def status(found: Status) -> RenderableType:
    """The table of `stylizer status`: finished jobs, then what is at work, then what waits; what `found` leaves out is
    counted.
    """
    if not found.jobs:
        return Text("No jobs yet. Paint something: stylizer run clip.mp4 --style art.jpg", "dim")
    done = sorted((v for v in found.jobs if v.job.state in FINISHED), key=lambda v: v.job.finished_at or 0.0)
    waits = [view for view in found.jobs if view.job.state is JobState.QUEUED]
    shown = [*done, *(view for view in found.jobs if view.job.state in STAGES), *waits]
    waiting = found.count((JobState.QUEUED,)) - len(waits)
    finished = found.count(tuple(FINISHED)) - len(done)
    costs = any(view.money for view in shown)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    for name, justify in (("job", "right"), ("state", "left"), ("clip", "left"), ("look", "left"), ("frames", "right")):
        table.add_column(name, justify=justify, overflow="ellipsis", no_wrap=True)  # type: ignore[arg-type]
    for name in ("fps", "left", *(("cost",) if costs else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for view in shown:
        job, tally = view.job, view.tally
        frames = f"{tally.frames_done} / {tally.frames_total}"
        if job.state is JobState.FITTING:
            frames = f"step {job.fit_done} / {job.fit_total}" if job.fit_total else ""
        elif job.state is JobState.DONE:
            frames = str(tally.frames_total)
        table.add_row(
            str(job.id),
            state_of(view),
            Text(plain(job.clip.path.name)),
            Text(look_words(job.look), "dim"),
            Text(frames),
            f"{tally.fps:.1f}" if tally.fps and job.state is JobState.RENDERING else "",
            Text("" if view.eta is None else duration(view.eta), "cyan"),
            *((Text(cost_words(view)),) if costs else ()),
        )
    lines: list[RenderableType] = [Fitting(table, ("job", "state", "frames", "fps", "left", "cost"))]
    if waiting or finished:
        words = [f"{waiting} more wait"] * bool(waiting) + [f"{finished} more are finished"] * bool(finished)
        lines.append(Text(f"  {', '.join(words)}; all of them: stylizer status --all", "dim"))
    for view in shown:
        if view.job.error:
            lines.append(
                Text.assemble((f"  {view.job.id} ", "red"), plain(view.job.error), (f"  {plain(view.job.hint)}", "dim"))
            )
    lines += [Text(f"  {words}", "yellow") for words in _remarks(found)]
    return Group(*lines)


def _remarks(found: Status) -> list[str]:
    said = []
    if found.today:
        said.append(f"Rented machines have cost {found.today:.2f} today.")
    if found.runner.held:
        said.append("The queue is paused. To go on: stylizer resume --all")
    if found.count(UNFINISHED, (Desired.RUN,)) and not found.running:
        said.append("Nobody is painting. To carry on: stylizer work")
    return said


def cost_words(view: JobView) -> str:
    """What a job has cost so far, and its limit: 1.24 of 5.00 USD."""
    if not view.money:
        return ""
    spent = sum(float(one.meter.spent) for one in view.money)
    limit = f" of {view.job.max_cost:.2f}" if view.job.max_cost else ""
    return f"{spent:.2f}{limit} {view.money[0].meter.currency}"


def meter_words(view: JobView) -> str:
    """What rented machines have cost a job, and what they cost now; empty where there are none."""
    if not view.money:
        return ""
    meters = [one.meter for one in view.money]
    words = f"{amount(sum((one.spent for one in meters), Decimal(0)))} {meters[0].currency} so far"
    per_hour = sum((one.per_hour for one in meters), Decimal(0))
    machines = sum(node.state != "preempted" for one in meters for node in one.nodes)
    if not per_hour:
        return words
    return f"{words}, {'1 machine' if machines == 1 else f'{machines} machines'} for {amount(per_hour)} an hour"


def bill_words(view: JobView) -> str:
    """What rented machines have cost a job that is done, and what that rests on."""
    meters = [one.meter for one in view.money]
    cost = f"{amount(sum((one.spent for one in meters), Decimal(0)))} {meters[0].currency}"
    known = "" if all(one.final for one in meters) else ", and they are not all gone yet"
    return f"Its rented machines have cost {cost}{known} ({meters[-1].basis})."


def amount(money: Decimal) -> str:
    """In units of its currency: cents, and of less than ten cents what can be told."""
    return f"{money:.2f}" if money >= Decimal("0.1") or not money else f"{money:.4f}"


def detail(found: Detail) -> RenderableType:
    """One job: its facts, its chunks as a strip, the end of its history."""
    job, tally = found.view.job, found.view.tally
    pairs = [
        ("job", f"{job.id}, {state_of(found.view).plain}"),
        ("clip", str(job.clip.path)),
        ("look", look_words(job.look)),
        ("output", str(job.output)),
        ("frames", f"{tally.frames_done} of {tally.frames_total}"),
    ]
    picture = picture_of(job) if job.state not in FINISHED else None
    pairs += [("so far", str(picture))] if picture else []
    pairs += [("left", f"{duration(found.view.eta)}, {found.view.basis}")] if found.view.eta is not None else []
    pairs += [("cost", cost_words(found.view))] if found.view.money else []
    pairs += [("error", f"{job.error} {job.hint}")] if job.error else []
    lines: list[RenderableType] = [facts(pairs), Text("")]
    lines.append(Text.assemble("  ", *((CELLS[chunk.state]) for chunk in found.chunks)))
    for chunk in found.chunks:
        if chunk.state in (ChunkState.RUNNING, ChunkState.FAILED) or chunk.failures:
            words = (
                f"  chunk {chunk.index}: {chunk.state}, attempt {chunk.attempt}, {chunk.frames_done} of {len(chunk.frames)}"
            )
            words += f" frames on {chunk.worker or chunk.backend}" if chunk.backend else " frames"
            lines.append(Text(plain(words + (f": {chunk.error}" if chunk.error else "")), "dim"))
    lines.append(Text(""))
    for event in found.events:
        when = time.strftime("%m-%d %H:%M:%S", time.localtime(event.at))
        lines.append(Text.assemble((f"  {when}  ", "dim"), plain(event.text)))
    return Group(*lines)


def progress(views: Sequence[JobView], more: int = 0, note: str = "") -> RenderableType:
    """What `stylizer run` shows while it works: bars for what is being painted, a line for what waits."""
    lines: list[RenderableType] = []
    waiting = [view for view in views if view.job.state is JobState.QUEUED]
    for view in views:
        if view.job.state in STAGES:
            lines += [
                Text.assemble("  ", (plain(view.job.clip.path.name), "bold"), (f"  {look_words(view.job.look)}", "dim"))
            ]
            lines += [_bars(view)]
            if meter := meter_words(view):
                lines.append(Text(f"  {meter}", "dim"))
    for view in waiting:
        lines.append(Text.assemble("  ", plain(view.job.clip.path.name), (f"  {state_of(view).plain}", "dim")))
    if more:
        lines.append(Text(f"  and {more} more", "dim"))
    if note:
        lines.append(Text(f"  {note}", "yellow"))
    return Group(*lines)


def bar(title: str, done: int, total: int, words: str = "") -> RenderableType:
    """One bar; a pulse where the total is not known (0)."""
    grid = _grid()
    grid.add_row(*_bar(title, done, total, words or (f"{done} of {total}" if total else ""), 0, pulse=not total))
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=10)
    grid.add_column(width=32)
    grid.add_column(no_wrap=True)
    return grid


def _bars(view: JobView) -> Table:
    job, tally = view.job, view.tally
    at = STAGES.index(job.state)
    grid = _grid()
    fit_total = job.fit_total or 1
    fitted = fit_total if at > 0 else job.fit_done
    steps = [f"{job.fit_done} of {job.fit_total} steps"] if at == 0 and job.fit_total else []
    steps += [f"{duration(view.eta)} left in all"] if at == 0 and view.eta is not None else []
    grid.add_row(*_bar("fit", fitted, fit_total, " · ".join(steps), 0 - at, pulse=at == 0 and not job.fit_total))
    words = [f"{tally.frames_done} of {tally.frames_total} {'frame' if tally.frames_total == 1 else 'frames'}"]
    if at == 1:
        words += [f"{tally.fps:.1f} fps"] if tally.fps else []
        words += [f"{duration(view.eta)} left"] if view.eta is not None else []
    shown = " · ".join(words) if at else ""
    grid.add_row(*_bar("render", tally.frames_done, tally.frames_total, shown, 1 - at, pulse=False))
    grid.add_row(*_bar("assemble", 0, 1, "joining, with the sound" if at == 2 else "", 2 - at, pulse=at == 2))
    return grid


def _bar(name: str, done: int, total: int, words: str, when: int, *, pulse: bool) -> tuple[Text, ProgressBar, Text]:
    tone = ("dim", "default", "dim")[(when > 0) - (when < 0) + 1]
    bar = ProgressBar(
        total=max(1, total), completed=done, width=32, pulse=pulse, complete_style="cyan", finished_style="green"
    )
    return Text(f"  {name}", tone), bar, Text(words, tone)


def picture(pixels: NDArray[np.uint8]) -> Segments:
    """(height, width, 3) RGB as half blocks: a character is two pixels, one above the other; an odd last row is left out."""
    segments = []
    for top, bottom in zip(pixels[: len(pixels) // 2 * 2 : 2].tolist(), pixels[1::2].tolist(), strict=True):
        for over, under in zip(top, bottom, strict=True):
            segments.append(Segment("▀", Style(color=Color.from_rgb(*over), bgcolor=Color.from_rgb(*under))))
        segments.append(Segment.line())
    return Segments(segments)


def styles(found: Sequence[Fitted]) -> RenderableType:
    """The table of `stylizer styles`."""
    if not found:
        return Text(
            "No fitted styles yet. They come with the first run, or: stylizer styles fit clip.mp4 --style art.jpg", "dim"
        )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 2, 0, 0))
    for name in ("name", "style", "clip", "look", "made", "size"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="ellipsis", no_wrap=True)
    for one in found:
        facts = one.facts
        words = [facts.get("quality", "")]
        words += [f"brush {facts['brush']}"] if facts.get("brush", "1") != "1" else []
        words += ["own colours"] if facts.get("keep_color") == "yes" else []
        about = Text(" · ".join(words), "dim") if not one.problem else Text(one.problem, "red")
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.modified))
        table.add_row(
            Text(one.name, "cyan"),
            Text(plain(one.title)),
            Text(plain(facts.get("clip", ""))),
            about,
            Text(made),
            size(one.size),
        )
    return Fitting(table, ("name", "made", "size"))


@dataclass(frozen=True, slots=True)
class Fitting:
    """A table whose columns `whole` stay whole in a narrow terminal; the others give way."""

    table: Table
    whole: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if Measurement.get(console, options.update(width=10_000), self.table).maximum > options.max_width:
            self.table.expand = True
            for column in self.table.columns:
                column.ratio = None if column.header in self.whole else 1
        yield self.table


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Names and values in two columns."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(Text(f"  {name}", "dim"), Text(plain(value)))
    return grid


def check(found: Check) -> Table:
    """A line of `stylizer doctor`: a mark, what it is, what was found, and what to do."""
    mark, tone = {"good": ("✓", "green"), "poor": ("!", "yellow"), "bad": ("✗", "red")}[found.verdict]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=3)
    grid.add_column(width=9)
    grid.add_column()
    words = Text(found.found)
    if found.advice:
        words.append(f"\n{found.advice}", "dim")
    grid.add_row(Text(f"  {mark}", tone), Text(found.name), words)
    return grid


def progress_line(view: JobView) -> str:
    """How a job gets on in one plain line, where there is no terminal."""
    job, tally = view.job, view.tally
    words = {
        JobState.FITTING: f"fitting the style, step {job.fit_done} of {job.fit_total}"
        if job.fit_total
        else "fitting the style",
        JobState.RENDERING: f"{tally.frames_done} of {tally.frames_total} frames",
        JobState.ASSEMBLING: "joining the chunks",
    }[job.state]
    if job.state is JobState.RENDERING and tally.fps:
        words += f", {tally.fps:.1f} fps"
    if job.state is not JobState.ASSEMBLING and view.eta is not None:
        words += f", {duration(view.eta)} left" + (f" as {view.basis}" if view.basis.startswith("measured") else "")
    meter = meter_words(view)
    return f"{plain(job.clip.path.name)}: {words}{'; ' if meter else ''}{meter}"


def toml(config: Config) -> str:
    """A config as TOML, all keys."""
    lines = []
    for section in fields(config):
        lines += ["", f"[{section.name}]"]
        values = getattr(config, section.name)
        lines += [f"{key.name} = {json.dumps(getattr(values, key.name))}" for key in fields(values)]
    return "\n".join(lines[1:])
