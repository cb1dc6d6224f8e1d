"""Numbers and texts as the studio says them: short, each with its unit, to be put right-aligned in columns."""

from __future__ import annotations

import time
from collections.abc import Sequence

from stylizer.jobs import JobState, Look
from stylizer.screen import look_words
from stylizer.views import JobView

BLOCKS = "▁▂▃▄▅▆▇█"


def span(seconds: float | None) -> str:
    """At most 7 cells: 42s, 2m 05s, 3h 20m, 4d 02h; empty for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{min(99, whole // 86400)}d {whole % 86400 // 3600:02}h"


def ago(at: float | None, now: float) -> str:
    """How long ago, in one unit: now, 42 s ago, 12 min ago, 3 h ago, 5 d ago."""
    if at is None:
        return ""
    seconds = max(0.0, now - at)
    for unit, size, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48), ("d", 86400, 10**9)):
        if seconds < size * most:
            return "now" if unit == "s" and seconds < 1 else f"{seconds / size:.0f} {unit} ago"
    return ""


def clock(at: float) -> str:
    """Time of the day here."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def rate(fps: float) -> str:
    """At most 9 cells: 41.2 fps; empty for 0."""
    return f"{fps:.1f} fps" if 0 < fps < 1000 else f"{fps:.0f} fps" if fps else ""


def percent(share: float) -> str:
    """Never 100% before all is done."""
    return f"{min(99, round(100 * share)) if share < 1 else 100}%"


def amount(money: float) -> str:
    """With cents; what is less than one is not nothing."""
    return "<0.01" if 0 < money < 0.005 else f"{money:.2f}"


def spent(view: JobView) -> tuple[str, str]:
    """What a job has cost with the currency, and of how much it may; empty where it costs nothing."""
    if not view.money:
        return "", f"of {view.job.max_cost:.2f}" if view.job.max_cost else ""
    spent = sum(float(one.meter.spent) for one in view.money)
    return f"{amount(spent)} {view.money[0].meter.currency}", f"of {view.job.max_cost:.2f}" if view.job.max_cost else ""


def style_words(look: Look) -> str:
    """A look without the endings of file names."""
    words = look_words(look)
    for style in look.styles:
        words = words.replace(style.path.name, style.path.stem or style.path.name)
    return words


def share_of(view: JobView) -> float:
    """How far a job is, 0..1: steps of the fit while it is fitted, else frames."""
    job = view.job
    if job.state is JobState.DONE:
        return 1.0
    if job.state is JobState.FITTING:
        return job.fit_done / job.fit_total if job.fit_total else 0.0
    # All frames painted is not yet done.
    return min(0.999, view.share)


def bar(share: float, width: int) -> tuple[str, str]:
    """The done and the open part of a thin bar, in halves of a cell; what is begun shows, what is not done stays open, also
    where there are no colours.
    """
    halves = min(2 * width, max(round(2 * width * share), 1 if share > 0 else 0))
    if share < 1:
        halves = min(halves, 2 * width - 1)
    done = "━" * (halves // 2) + "╸" * (halves % 2)
    return done, "─" * (width - len(done))


def spark(values: Sequence[float], height: int = 1) -> list[str]:
    """Values as bars `height` lines high, the highest line first; scaled to the largest."""
    most = max(values, default=0.0)
    if most <= 0:
        return [" " * len(values)] * height
    levels = [round(value / most * 8 * height) for value in values]
    levels = [max(1, level) if value > 0 else 0 for level, value in zip(levels, values, strict=True)]
    lines = []
    for line in range(height - 1, -1, -1):
        parts = (min(8, max(0, level - 8 * line)) for level in levels)
        lines.append("".join(BLOCKS[part - 1] if part else " " for part in parts))
    return lines


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
