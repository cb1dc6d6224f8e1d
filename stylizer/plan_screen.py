"""A plan as a person sees it in a terminal: time against money, and how a painting goes along its time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, groupby

from rich.text import Text

from stylizer import screen
from stylizer.simulate import Course

WIDTH, HEIGHT = 60, 9
"""Cells of a drawing."""
TONES = {"●": "bold green", "○": "cyan", "┊": "yellow", "┈": "yellow", "┼": "yellow"}
HEIGHTS = " ▁▂▃▄▅▆▇█"
NICE = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800, 1209600)
"""Seconds between two marks of a time line."""


def course(one: Course, width: int = WIDTH) -> Text:
    """Rows of a course along its time: the fit, machines that boot, chunks that are painted, the join."""
    steps = one.seconds / width
    boots = _heights([(at, booting) for at, booting, _ in one.changes], steps, width)
    paints = _heights([(at, painting) for at, _, painting in one.changes], steps, width)
    # What is painted before the look is fitted is the fit, by a machine that booted for it.
    paints = [height if (n + 0.5) * steps > one.fitted else 0.0 for n, height in enumerate(paints)]
    begun = min((at for at, _, painting in one.changes if painting > 0), default=0.0)
    fit_begins = begun if begun < one.fitted else 0.0
    rows = [
        ("fit", _span(fit_begins, one.fitted, steps, width), "cyan"),
        ("boot", _blocks(boots), "yellow"),
        ("paint", _blocks(paints), "green"),
        ("join", _span(one.painted, one.seconds, steps, width), "cyan"),
    ]
    drawn = Text()
    for name, cells, tone in rows:
        if cells.strip():
            drawn.append(f"  {name:<6}", "dim").append(cells.rstrip() + "\n", tone)
    return drawn.append(_axis(one.seconds, width), "dim")


def _heights(changes: Iterable[tuple[float, int]], step: float, width: int) -> list[float]:
    """The mean of a count in each cell of the time line, of its greatest value: 0..1."""
    ordered = sorted(changes)
    counts = list(accumulate(change for _, change in ordered))
    sums = [0.0] * width
    for n, (at, _) in enumerate(ordered):
        until = ordered[n + 1][0] if n + 1 < len(ordered) else at
        cell = int(at / step)
        while at < until and cell < width:
            end = min(until, (cell + 1) * step)
            sums[cell] += counts[n] * (end - at)
            at, cell = max(end, at), cell + 1
    most = max(counts, default=0)
    return [total / step / most if most else 0.0 for total in sums]


def _blocks(heights: Sequence[float]) -> str:
    """A character for each height, at least a low one where there is something."""
    return "".join(HEIGHTS[min(8, math.ceil(height * 8 - 1e-9))] for height in heights)


def _span(begin: float, end: float, step: float, width: int) -> str:
    """A bar over the cells of a time span; none for a span that takes no time."""
    if end <= begin:
        return ""
    first = min(width - 1, int(begin / step))
    return " " * first + "━" * max(1, min(width, round(end / step)) - first)


def _axis(seconds: float, width: int) -> str:
    """A line of times below the drawing, at round ones."""
    apart = next((one for one in NICE if one * 5 >= seconds), NICE[-1])
    line = [" "] * (width + 16)
    for n in range(int(seconds / apart) + 1):
        at, words = round(n * apart / seconds * width), short(n * apart) if n else "0"
        line[at : at + len(words)] = words
    return " " * 8 + "".join(line).rstrip()


def rough(seconds: float) -> str:
    """A time that is only foretold: 42 s, 9 min, 1 h 11 min, 2 d 3 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def short(seconds: float) -> str:
    """A round time: 30 s, 10 min, 1.5 h, 2 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def curve(
    points: Sequence[tuple[float, float, str]],
    currency: str,
    *,
    deadline: float | None = None,
    budget: float | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Text:
    """Money over time, each twice as much at the same distance: points (seconds, money, mark), the later over the earlier,
    and lines for a deadline and a budget. What costs nothing lies on the ground.
    """
    times = [seconds for seconds, _, _ in points] + ([deadline] if deadline else [])
    costs = [cost for _, cost, _ in points if cost > 0] + ([budget] if budget else [])
    slow, quick = max(times), min(times)
    dear, cheap = max(costs, default=1.0), min(costs, default=1.0)
    grid = [[" "] * width for _ in range(height)]

    def column(seconds: float) -> int:
        return _place(seconds, quick, slow, width)

    def row(cost: float) -> int:
        return height - 1 if cost <= 0 else height - 2 - _place(cost, cheap, dear, height - 1)

    if deadline:
        for line in grid:
            line[column(deadline)] = "┊"
    if budget:
        grid[row(budget)] = ["┈" if cell == " " else "┼" for cell in grid[row(budget)]]
    for seconds, cost, mark in points:
        grid[row(cost)][column(seconds)] = mark
    drawn = Text()
    labels = {row(cost): screen.amount(Decimal(cost)) for cost in (cheap, dear)} if costs else {}
    for n, cells in enumerate(grid):
        if n == height - 1 and not any(cost <= 0 for _, cost, _ in points):
            break
        label = "0" if n == height - 1 else labels.get(n, "")
        drawn.append(f"{label:>8} │", "dim")
        for cell, run in groupby(cells):
            drawn.append("".join(run), TONES.get(cell, "dim"))
        drawn.append("\n")
    left, right = rough(quick), rough(slow)
    drawn.append(f"{currency:>8} └{'─' * width}\n{'':10}{left}{right:>{max(1, width - len(left))}}", "dim")
    return drawn


def _place(value: float, least: float, most: float, cells: int) -> int:
    """Which of the cells, 0..cells-1, on a scale of ratios."""
    if most <= least:
        return 0
    return round(math.log(value / least) / math.log(most / least) * (cells - 1))
