"""A clip's chunks as a strip: a cell a chunk, its colour the state, its fill the progress. Where there are more chunks than
cells, each cell stands for as many, and shows the worst that is in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.content import Content

from stylizer.jobs import Chunk, ChunkState
from tui.theme import CHUNKS

FILLS = "▁▂▃▄▅▆▇"
WIDEST = 9
"""Columns of a cell, with the gap after it, where there are few chunks."""
WORST = (ChunkState.FAILED, ChunkState.RUNNING, ChunkState.SUBMITTED)
"""What is said of a cell if any of its chunks is in that state."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One character of a strip."""

    first: int
    """Index of its first chunk."""
    stop: int
    state: ChunkState
    fill: float
    """Painted part of its frames, 0..1."""

    @property
    def glyph(self) -> str:
        if self.state is ChunkState.RUNNING or (self.state is ChunkState.READY and self.fill > 0):
            return FILLS[min(6, int(self.fill * 7))]
        return CHUNKS[self.state].glyph

    def wide(self, columns: int) -> str:
        """As wide as so many columns: progress goes from left to right."""
        if self.state is ChunkState.RUNNING or (self.state is ChunkState.READY and self.fill > 0):
            done = int(self.fill * columns)
            return CHUNKS[ChunkState.DONE].glyph * done + CHUNKS[ChunkState.RUNNING].glyph * (columns - done)
        return CHUNKS[self.state].glyph * columns

    @property
    def tone(self) -> str:
        if self.state is ChunkState.READY and self.fill > 0:
            return CHUNKS[ChunkState.DONE].tone
        return CHUNKS[self.state].tone


def cells(chunks: Mapping[int, Chunk], most: int) -> list[Cell]:
    """At most `most` cells, each of the same number of chunks (the last one of fewer)."""
    indexes = sorted(chunks)
    each = max(1, math.ceil(len(indexes) / max(1, most)))
    return [_cell([chunks[index] for index in indexes[at : at + each]]) for at in range(0, len(indexes), each)]


def _cell(chunks: Sequence[Chunk]) -> Cell:
    states = {chunk.state for chunk in chunks}
    state = next((one for one in WORST if one in states), None)
    if state is None:
        state = ChunkState.DONE if states == {ChunkState.DONE} else ChunkState.READY
    total = sum(len(chunk.frames) for chunk in chunks)
    done = sum(painted(chunk) for chunk in chunks)
    return Cell(chunks[0].index, chunks[-1].index + 1, state, done / total)


def painted(chunk: Chunk) -> int:
    """Frames of a chunk that are painted."""
    if chunk.state is ChunkState.DONE:
        return len(chunk.frames)
    return min(chunk.frames_done, len(chunk.frames)) if chunk.state is ChunkState.RUNNING else 0


def columns(count: int, width: int) -> int:
    """Columns that each of `count` cells takes in a line of `width`: with room for it some and a gap, else one."""
    each = min(WIDEST, width // max(1, count))
    return each if each >= 3 else 1


def drawn(found: Sequence[Cell], width: int, selected: int | None = None) -> Content:
    """Lines of `width` columns; the selected chunk's cell stands out."""
    lines, each = [], columns(len(found), width)
    for at in range(0, len(found), width):
        parts: list[str | tuple[str, str]] = []
        for cell in found[at : at + width]:
            here = selected is not None and cell.first <= selected < cell.stop
            glyphs = cell.glyph if each == 1 else cell.wide(each - 1)
            parts.append((glyphs, f"${cell.tone} on $border bold" if here else f"${cell.tone}"))
            parts += [" "] * (each > 1)
        lines.append(Content.assemble(*parts))
    return Content("\n").join(lines)


def legend(found: Sequence[Cell]) -> str:
    """How many chunks a cell stands for, where it is more than one."""
    each = found[0].stop - found[0].first if found else 1
    return f"a cell is {each} chunks" if each > 1 else ""
