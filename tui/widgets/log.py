"""Text that grows: history or a log, with search, and following its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.columns import pieces

MOST_BYTES = 1_000_000
"""Of the end of a log that are shown."""
NARROWEST = 16
"""Cells that a text is given however narrow the room is."""
Line = tuple[str, str, str]
"""What stands before it, its text, and the tone of that: "", muted, success, warning or error."""


class Lines(ScrollView, can_focus=True):
    """Lines of text; what is longer than the room goes on in the row below. While it follows, its end is seen; scrolling up
    ends that.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"lines--{name}" for name in ("text", "muted", "success", "warning", "error", "found", "here")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow", show=False),
        Binding("n", "again(1)", "Next found", show=False),
        Binding("N", "again(-1)", "Found before", show=False),
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("g", "scroll_home", "Start", show=False),
        Binding("G", "scroll_end", "End", show=False),
    ]
    following: reactive[bool] = reactive(True)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._rows: list[tuple[int, int, int]] = []
        """Of each row: its line, and which part of that line's text it shows."""
        self._sought, self._at = "", -1

    def show(self, lines: Sequence[Line]) -> None:
        """These lines, all of them."""
        if lines == self._lines:
            return
        self._lines = list(lines)
        self._lay()

    def on_resize(self) -> None:
        self._lay()

    def _lay(self) -> None:
        """The lines in rows as wide as the room."""
        width = self.size.width
        self._rows = [
            (n, start, stop)
            for n, (head, text, _) in enumerate(self._lines)
            for start, stop in pieces(text, max(NARROWEST, width - cell_len(head)))
        ]
        self.virtual_size = Size(width, len(self._rows))
        if self.following:
            self.scroll_end(animate=False, x_axis=False)
        self.refresh()

    def seek(self, text: str) -> int:
        """Show where the text occurs, the last place first; returns how many lines have it."""
        self._sought, self._at = text.casefold(), len(self._lines)
        found = sum(self._has(line) for line in self._lines) if text else 0
        if found:
            self.action_again(-1)
        self.refresh()
        return found

    def action_again(self, step: int) -> None:
        """The next line that has what is sought; from the end to the start and on."""
        count = len(self._lines)
        for n in range(1, count + 1):
            at = (self._at + step * n) % count
            if self._sought and self._has(self._lines[at]):
                self._at, self.following = at, False
                row = next(row for row, (line, *_) in enumerate(self._rows) if line == at)
                self.scroll_to(y=max(0, row - self.size.height // 2), animate=False)
                self.refresh()
                return

    def action_follow(self) -> None:
        self.following = not self.following

    def watch_following(self, following: bool) -> None:
        if following:
            self.scroll_end(animate=False, x_axis=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value and new_value < self.max_scroll_y:
            self.following = False
        elif new_value >= self.max_scroll_y and self._at < 0:
            self.following = True

    def _has(self, line: Line) -> bool:
        return self._sought in line[1].casefold()

    def render_line(self, y: int) -> Strip:
        row, width, ground = y + self.scroll_offset.y, self.size.width, self.rich_style
        if row >= len(self._rows):
            return Strip.blank(width, ground)
        n, start, stop = self._rows[row]
        head, text, tone = self._lines[n]
        style = ground + self._tone(tone or "text")
        segments = [Segment(head if start == 0 else " " * cell_len(head), ground + self._tone("muted"))]
        if self._sought and self._has(self._lines[n]):
            at = text.casefold().index(self._sought)
            mark = ground + self._tone("here" if n == self._at else "found")
            # What is found may be broken too.
            a, b = (min(max(start, edge), stop) for edge in (at, at + len(self._sought)))
            segments += [Segment(text[start:a], style), Segment(text[a:b], mark), Segment(text[b:stop], style)]
        else:
            segments.append(Segment(text[start:stop], style))
        return Strip(segments).crop_extend(0, width, ground)

    def _tone(self, name: str) -> Style:
        return self.get_component_rich_style(f"lines--{name}", partial=True)


class LogFile:
    """A log that grows, read a piece at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._rest = b""
        self._lines: list[str] = []

    def read(self) -> list[str] | None:
        """All lines of its end; None where there is no such file."""
        try:
            size = self.path.stat().st_size
            if size < self._at:
                self._at, self._rest, self._lines = 0, b"", []
            with self.path.open("rb") as stream:
                stream.seek(max(self._at, size - MOST_BYTES))
                data = self._rest + stream.read(MOST_BYTES)
                self._at = stream.tell()
        except OSError:
            return None
        *whole, self._rest = data.split(b"\n")
        self._lines += [line.decode("utf-8", "replace") for line in whole]
        shown = [*self._lines, self._rest.decode("utf-8", "replace")] if self._rest else list(self._lines)
        # A progress bar of a library writes over its line; what it wrote last is what counts.
        return [_plain(line.rstrip("\r").rpartition("\r")[2]) for line in shown]


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " if c == "\t" else "?" for c in text)
