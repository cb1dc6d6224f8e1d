"""Small pictures of styles, for a line or two of a table and for the job beside it: read once, in a thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from stylizer.errors import StylizerError
from stylizer.jobs import Look, StyleImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Large = NDArray[np.uint8]

COLUMNS = 6
Pixels = tuple[tuple[tuple[int, int, int], ...], ...]
"""Rows of COLUMNS RGB pixels."""
LARGE = 192
"""Pixels of the long side of the large ones."""
MOST_LARGE = 64


class Swatches:
    """Gives the pixels of a look's styles; `ready` is called, in a thread, when more of them are there."""

    def __init__(self, ready: Callable[[], object]) -> None:
        self._ready = ready
        self._known: dict[str, Pixels | None] = {}
        self._large: OrderedDict[str, Large] = OrderedDict()
        self._drawn: OrderedDict[object, list[Strip]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "swatches")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def of(self, look: Look) -> Pixels | None:
        """3 rows of the look's styles side by side by their weights; None while they are not there, or not readable."""
        parts: list[Pixels] = []
        for style in look.styles[:3]:
            if style.digest not in self._known:
                self._known[style.digest] = None
                self._pool.submit(self._read, style)
            if (found := self._known[style.digest]) is None:
                return None
            parts.append(found)
        if len(parts) == 1:
            return parts[0]
        edges = _edges([style.weight for style in look.styles[:3]], COLUMNS)
        return tuple(
            tuple(parts[n][row][column] for n, (a, b) in enumerate(edges) for column in range(a, b)) for row in range(3)
        )

    def picture(self, look: Look, columns: int, lines: int) -> list[Strip] | None:
        """The look's styles side by side in so many cells; None while they are not there, or not readable."""
        key = (tuple((style.digest, style.weight) for style in look.styles), columns, lines)
        if key not in self._drawn and (found := self._draw(look, columns, lines)):
            self._drawn[key] = found
            while len(self._drawn) > MOST_LARGE:
                self._drawn.popitem(last=False)
        return self._drawn.get(key)

    def _draw(self, look: Look, columns: int, lines: int) -> list[Strip] | None:
        styles = look.styles[:3]
        if self.of(look) is None or any(style.digest not in self._large for style in styles):
            return None
        from tui.halfblocks import fitted  # noqa: PLC0415  # Pillow

        parts = []
        for style, (a, b) in zip(styles, _edges([style.weight for style in styles], columns), strict=True):
            self._large.move_to_end(style.digest)
            parts.append(fitted(self._large[style.digest], b - a, lines).tolist())
        rows = [[tuple(pixel) for part in parts for pixel in part[y]] for y in range(2 * lines)]
        pairs = zip(rows[::2], rows[1::2], strict=True)
        return [Strip(Segment("▀", _pair(*pair)) for pair in zip(*both, strict=True)) for both in pairs]

    def _read(self, style: StyleImage) -> None:
        from PIL import Image, ImageOps  # noqa: PLC0415  # in the thread that needs it

        from stylizer.styles import load_style  # noqa: PLC0415

        try:
            large = load_style(style.path, LARGE)
        except StylizerError:
            return
        small = ImageOps.fit(Image.fromarray(large), (COLUMNS, 3), Image.Resampling.BOX)
        self._large[style.digest] = large
        while len(self._large) > MOST_LARGE:
            self._large.popitem(last=False)
        pixels = tuple(tuple(small.getpixel((x, y)) for x in range(COLUMNS)) for y in range(3))
        self._known[style.digest] = pixels  # type: ignore[assignment]
        self._ready()


def _edges(weights: list[float], columns: int) -> list[tuple[int, int]]:
    """Where each of them begins and ends among so many columns."""
    total, edges, at = sum(weights) or 1.0, [], 0
    for n, weight in enumerate(weights):
        most = columns - (len(weights) - 1 - n)
        to = columns if n == len(weights) - 1 else min(most, max(at + 1, at + round(columns * weight / total)))
        edges.append((at, to))
        at = to
    return edges


def drawn(pixels: Pixels | None, lines: int, base: Style) -> list[list[Segment]]:
    """In `lines` (1 or 2) lines. A part of the last stays free, so that pictures below one another stand apart."""
    if pixels is None:
        return [[Segment(" " * COLUMNS, base)] for _ in range(lines)]
    if lines == 1:
        return [[Segment("▆", base + _single(pixel)) for pixel in pixels[1]]]
    upper = [Segment("▀", _pair(top, bottom)) for top, bottom in zip(pixels[0], pixels[1], strict=True)]
    return [upper, [Segment("▀", base + _single(pixel)) for pixel in pixels[2]]]


class Art(Widget):
    """Shows strips as they are."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] = []

    def show(self, strips: list[Strip]) -> None:
        self._strips = strips
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        return self._strips[y].adjust_cell_length(width) if y < len(self._strips) else Strip.blank(width, self.rich_style)


@lru_cache(8192)
def _pair(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Style:
    return Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom))


@lru_cache(4096)
def _single(pixel: tuple[int, int, int]) -> Style:
    return Style(color=Color.from_rgb(*pixel))
