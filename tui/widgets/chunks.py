"""The chunk strip of the job screen: arrow keys choose a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from stylizer.jobs import Chunk
from tui.widgets import strip
from tui.widgets.strip import Cell

MOST_LINES = 6


class Chunks(Widget, can_focus=True):
    """A job's chunks; `selected` is the index of one, None until one is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Chunk before", show=False),
        Binding("right", "move(1)", "Next chunk", show=False),
        Binding("up,k", "line(-1)", "Line up", show=False),
        Binding("down,j", "line(1)", "Line down", show=False),
        Binding("home,g", "jump(0)", "First chunk", show=False),
        Binding("end,G", "jump(-1)", "Last chunk", show=False),
        Binding("e", "failed", "Next failed", show=False),
    ]
    selected: reactive[int | None] = reactive(None)

    class Selected(Message):
        """Another chunk is chosen."""

        def __init__(self, index: int | None) -> None:
            super().__init__()
            self.index = index

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._chunks: Mapping[int, Chunk] = {}
        self._cells: list[Cell] = []

    def show(self, chunks: Mapping[int, Chunk]) -> None:
        """These chunks, as they are now."""
        before, self._chunks = len(self._cells), chunks
        self._cut()
        self.refresh(layout=len(self._cells) != before)

    @property
    def legend(self) -> str:
        return strip.legend(self._cells)

    def _cut(self) -> None:
        width = self.content_size.width or self.app.size.width
        self._cells = strip.cells(self._chunks, max(1, width) * MOST_LINES)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        return max(1, -(-min(len(self._chunks), MOST_LINES * width) // max(1, width)))

    def render(self) -> Content:
        if not self._cells:
            return Content.styled("It is not cut into chunks yet.", "$foreground-muted")
        return strip.drawn(self._cells, max(1, self.content_size.width), self.selected if self._chunks else None)

    def on_resize(self) -> None:
        self._cut()
        self.refresh(layout=True)

    def watch_selected(self, index: int | None) -> None:
        self.post_message(self.Selected(index))

    def _at(self) -> int:
        """Which cell is chosen; the first that is not done where none is."""
        for n, cell in enumerate(self._cells):
            if (cell.first <= self.selected < cell.stop) if self.selected is not None else cell.fill < 1:
                return n
        return 0

    def _go(self, n: int) -> None:
        if self._cells:
            self.selected = self._cells[min(max(0, n), len(self._cells) - 1)].first

    def action_move(self, cells: int) -> None:
        self._go(self._at() + (cells if self.selected is not None else 0))

    def action_line(self, lines: int) -> None:
        width, to = max(1, self.content_size.width), self._at() + lines * max(1, self.content_size.width)
        if 0 <= to < len(self._cells):
            self._go(to)
        elif len(self._cells) <= width:
            # One line: there is nothing above or below but the rest of the screen.
            (self.screen.focus_next if lines > 0 else self.screen.focus_previous)()

    def action_jump(self, to: int) -> None:
        self._go(len(self._cells) - 1 if to < 0 else to)

    def action_failed(self) -> None:
        """The next chunk that failed or had to be tried again."""
        indexes = [index for index in sorted(self._chunks) if self._chunks[index].failures]
        later = [index for index in indexes if self.selected is None or index > self.selected]
        if indexes:
            self.selected = (later or indexes)[0]

    def on_click(self, event: events.Click) -> None:
        width = max(1, self.content_size.width)
        self._go(event.y * width + event.x // strip.columns(len(self._cells), width))
