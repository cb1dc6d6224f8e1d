"""Text in columns of so many cells: wide characters count for two, what is too long ends in …"""

from __future__ import annotations

from rich.cells import cell_len, get_character_cell_size, set_cell_size
from textual.content import Content

BLOCKS = "▁▂▃▄▅▆▇█"

Cell = tuple[str, int, str]
"""Text, width (negative: to the right) and style."""


def fit(text: str, width: int) -> str:
    """The text in exactly |width| cells, to the right where it is negative; control characters are shown as ?."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    room = abs(width)
    if cell_len(text) > room:
        text = set_cell_size(text, max(0, room - 1)) + "…" if room else ""
    space = " " * (room - cell_len(text))
    return space + text if width < 0 else text + space


def pieces(text: str, width: int) -> list[tuple[int, int]]:
    """Where a text begins and ends in each of the rows of `width` (at least 2) cells that it takes: broken after a space
    where there is one.
    """
    found: list[tuple[int, int]] = []
    start = space = cells = 0
    for at, letter in enumerate(text):
        wide = get_character_cell_size(letter)
        if cells + wide > width and letter != " ":
            stop = space if space > start else at
            found.append((start, stop))
            start, cells = stop, cell_len(text[stop:at])
        cells += wide
        space = at + 1 if letter == " " else space
    return [*found, (start, len(text))]


def row(*cells: Cell, gap: int = 2) -> Content:
    """Cells side by side."""
    parts: list[str | tuple[str, str]] = []
    for text, width, style in cells:
        parts += [(fit(text, width), style) if style else fit(text, width), " " * gap]
    return Content.assemble(*parts[:-1])


def spark(values: list[float | None], width: int) -> str:
    """The last `width` values (0..1) as a line of bars, the newest last; a dot where nothing is known."""
    shown = values[-width:]
    bars = ["·" if v is None else BLOCKS[min(7, max(0, round(v * 7)))] for v in shown]
    return "".join(bars).ljust(width)


def bar(share: float, width: int) -> tuple[str, str]:
    """The done and the open part of a thin bar."""
    done = min(width, max(0, round(share * width)))
    return "━" * done, "─" * (width - done)
