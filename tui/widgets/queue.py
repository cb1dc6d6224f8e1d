"""The queue: a table that draws only the lines that are seen, and of them only what has changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.columns import fit
from tui.widgets import row
from tui.widgets.row import Columns, Shown

TONES = ("name", "muted", "cursor", "track", "primary", "success", "warning", "error", "ground", "here", "chosen")


class Queue(ScrollView, can_focus=True):
    """Jobs by number; `look` gives what a row says of one, without cursor and choice."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"queue--{tone}" for tone in TONES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("home,g", "jump(0)", "First", show=False),
        Binding("end,G", "jump(-1)", "Last", show=False),
        Binding("enter", "open", "Open"),
        Binding("right,l", "open", "Open", show=False),
        Binding("space", "choose", "Choose"),
        Binding("a", "choose_all", "Choose all", show=False),
    ]
    cursor: reactive[int] = reactive(0, repaint=False, init=False)

    class Moved(Message):
        """Another row is under the cursor; None where there are none."""

        def __init__(self, job: int | None) -> None:
            super().__init__()
            self.job = job

    class Laid(Message):
        """The columns have other widths."""

    class Opened(Message):
        def __init__(self, job: int) -> None:
            super().__init__()
            self.job = job

    def __init__(self, look: Callable[[int], Shown], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = look
        self.jobs: list[int] = []
        self._at: dict[int, int] = {}
        self.chosen: set[int] = set()
        self.costs = False
        self._tall = 2
        self._touched = False
        self._tones: dict[tuple[str, str], Style] = {}
        self._lines: dict[int, list[Strip]] = {}
        """Of jobs, as they were drawn last."""

    # ---- what is in it ----

    @property
    def job(self) -> int | None:
        """The one under the cursor."""
        return self.jobs[self.cursor] if self.jobs else None

    @property
    def tall(self) -> int:
        """Lines of a row, 1 to 3."""
        return self._tall

    @tall.setter
    def tall(self, count: int) -> None:
        if count != self._tall:
            self._tall = count
            self._all_anew()
            self.see_cursor()

    def show(self, jobs: Sequence[int], *, costs: bool) -> None:
        """These rows; the cursor stays with its job where that is still there, once a person has moved it."""
        before = self.job if self._touched else None
        self.jobs, self.costs = list(jobs), costs
        self._at = {job: n for n, job in enumerate(self.jobs)}
        self.chosen &= self._at.keys()
        self.set_reactive(Queue.cursor, self._at.get(before or 0, min(self.cursor, max(0, len(jobs) - 1))))
        self._all_anew()
        self.see_cursor()
        if self.job != before:
            self.post_message(self.Moved(self.job))

    def update(self, jobs: Collection[int]) -> None:
        """Draw these anew, where they are seen."""
        top, bottom = self._seen()
        for job in jobs:
            self._lines.pop(job, None)
            if top <= (at := self._at.get(job, -1)) < bottom:
                self.refresh_lines(at * self._tall, self._tall)

    def update_seen(self) -> None:
        """Draw anew all that is seen: times have passed, or pictures have come."""
        self._lines.clear()
        self.refresh()

    def go_to(self, job: int) -> None:
        """Put the cursor on that job, if it is there."""
        if job in self._at:
            self.cursor = self._at[job]

    def _all_anew(self) -> None:
        self._lines.clear()
        self.virtual_size = Size(self.size.width, len(self.jobs) * self._tall)
        self.refresh()

    def _seen(self) -> tuple[int, int]:
        top = self.scroll_offset.y // self._tall
        return top, top + self.size.height // self._tall + 2

    # ---- how it is drawn ----

    @property
    def columns(self) -> Columns:
        return row.columns(self.scrollable_content_region.width, costs=self.costs)

    def render_line(self, y: int) -> Strip:
        n, line = divmod(y + self.scroll_offset.y, self._tall)
        width = self.size.width
        if n >= len(self.jobs):
            return Strip.blank(width, self._tone("", "ground"))
        job = self.jobs[n]
        if (strips := self._lines.get(job)) is None or len(strips) != self._tall:
            self._lines[job] = strips = self._draw(job, cursor=n == self.cursor)
        return strips[line].adjust_cell_length(width, self._tone("", "ground"))

    def _draw(self, job: int, *, cursor: bool) -> list[Strip]:
        shown, at = self._look(job), self.columns
        chosen = job in self.chosen
        shown = Shown(shown.view, shown.under_way, shown.pixels, shown.now, cursor and self.has_focus, chosen)
        ground = "here" if cursor else "chosen" if chosen else "ground"
        drawn = row.lines(shown, at, self._tall, lambda tone: self._tone(tone, ground))
        end = [Segment(" " * at.width, self._tone("", ground))]
        return [Strip(line + end).crop(0, at.width) for line in drawn]

    def _tone(self, tone: str, ground: str) -> Style:
        """A tone of row.py on a ground; kept until the theme changes."""
        found = self._tones.get((tone, ground))
        if found is None:
            under = self.get_component_rich_style(f"queue--{ground}")
            name = {"foreground-muted": "muted", "secondary": "muted"}.get(tone, tone)
            found = under + self.get_component_rich_style(f"queue--{name}", partial=True) if name else under
            self._tones[tone, ground] = found
        return found

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._tones.clear()
        self._lines.clear()

    def on_resize(self) -> None:
        self._all_anew()
        self.post_message(self.Laid())
        self.see_cursor()

    def on_focus(self) -> None:
        self.update([self.job or 0])

    def on_blur(self) -> None:
        self.update([self.job or 0])

    # ---- keys and mouse ----

    def watch_cursor(self, before: int, after: int) -> None:
        self._touched = True
        for n in (before, after):
            if n < len(self.jobs):
                self._lines.pop(self.jobs[n], None)
                self.refresh_lines(n * self._tall, self._tall)
        self.see_cursor()
        self.post_message(self.Moved(self.job))

    def validate_cursor(self, cursor: int) -> int:
        return min(max(0, cursor), max(0, len(self.jobs) - 1))

    def see_cursor(self) -> None:
        """Scroll so that the cursor is seen."""
        height = self._tall
        self.scroll_to_region(Region(0, self.cursor * height, 1, height), animate=False, force=True)

    def action_move(self, rows: int) -> None:
        self.cursor += rows

    def action_page(self, pages: int) -> None:
        self.cursor += pages * max(1, self.size.height // self._tall - 1)

    def action_jump(self, to: int) -> None:
        self.cursor = len(self.jobs) - 1 if to < 0 else to

    def action_open(self) -> None:
        if self.job is not None:
            self.post_message(self.Opened(self.job))

    def action_choose(self) -> None:
        """Take the job into the choice, or out of it, and go on to the next."""
        if self.job is not None:
            self.chosen ^= {self.job}
            self.update([self.job])
            self.post_message(self.Moved(self.job))
            self.cursor += 1

    def action_choose_all(self) -> None:
        """All that are shown; none where all are chosen."""
        self.chosen = set() if len(self.chosen) == len(self.jobs) else set(self.jobs)
        self.update_seen()
        self.post_message(self.Moved(self.job))

    def on_click(self, event: events.Click) -> None:
        n = (event.y + self.scroll_offset.y) // self._tall
        if n >= len(self.jobs):
            return
        self.cursor = n
        if event.ctrl or event.shift or event.x < 2:
            self.chosen ^= {self.jobs[n]}
            self.update([self.jobs[n]])
            self.post_message(self.Moved(self.job))
        elif event.chain == 2:
            self.action_open()


class Heads(Widget):
    """The names of the queue's columns."""

    DEFAULT_CSS = "Heads { height: 1; }"

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self._queue = queue

    def render_line(self, y: int) -> Strip:  # noqa: ARG002  # there is only one
        at, style = self._queue.columns, self.rich_style
        cells = [Segment("     ", style)]
        cells += [Segment(fit(name, width) + "  ", style) for name, width in row.heads(at) if width]
        return Strip(cells).adjust_cell_length(self.size.width, style)
