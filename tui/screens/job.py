"""One job: its chunks, how it looks before and after, speed and cost, what has happened, what workers say."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from stylizer.errors import StylizerError
from stylizer.jobs import Chunk, ChunkState, Event, Job, JobState
from stylizer.rows import Tally
from stylizer.screen import plain
from stylizer.store import Store
from tui import acts, words
from tui.now import Changes
from tui.screens.asking import still_open
from tui.screens.verbs import JobVerbs
from tui.theme import mark_of
from tui.widgets import detail, frames, meters
from tui.widgets.chunks import Chunks
from tui.widgets.frames import Pair, Shape, Wanted
from tui.widgets.keys import Keys
from tui.widgets.log import Line, Lines, LogFile
from tui.widgets.picture import Picture

MOST_EVENTS = 2000
EVERY = 0.25
"""Seconds between two paints of what has changed."""
PICTURE_EVERY = 4.0
"""Seconds between two newer pictures."""
CAPTION, LOWEST = 1, 8
"""Lines below a picture; of the pictures at least."""
TONES = {"failed": "error", "chunk failed": "error", "done": "success", "money": "warning", "log": "muted"}


class JobScreen(JobVerbs):
    """The job of that number."""

    TITLE = "Job"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  # as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("l", "log", "Log"),
        Binding("i", "enlarge", "Pictures"),
        Binding("slash", "seek", "Search", key_display="/"),
    ]

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._events: list[Event] = []
        self._stale, self._drawn_width = True, 0
        self._shows_log = False
        self._log_file: LogFile | None = None
        self._pair: Pair | None = None
        self._loaded: Wanted | Shape | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with Horizontal(id="upper"):
            with Vertical(id="numbers"):
                yield Chunks(id="chunks")
                yield Static(id="chunk")
                yield Static(id="meters")
            with Horizontal(id="pictures"):
                yield Picture(self.studio.sharp, id="before")
                yield Picture(self.studio.sharp, id="after")
        yield Static(id="heading")
        yield Lines(id="lines")
        yield Input(placeholder="text to find", id="seek", compact=True)
        yield Keys()

    def on_mount(self) -> None:
        self.studio.changed.subscribe(self, self._changed)
        self.set_interval(EVERY, self._refresh)
        self.set_interval(PICTURE_EVERY, self._look)
        self.query_one(Chunks).focus()
        self._read_history()
        self._refresh()
        self.call_after_refresh(self._look)

    def on_screen_resume(self) -> None:
        self._stale = True

    def on_resize(self) -> None:
        self._stale = True
        self.call_after_refresh(self._refresh)

    # ---- what is shown ----

    @property
    def job(self) -> Job | None:
        """None once it is forgotten."""
        return self.studio.now.jobs.get(self._number)

    @property
    def chosen(self) -> Chunk | None:
        """The chunk under the cursor of the strip."""
        index = self.query_one(Chunks).selected
        return None if index is None else self.studio.now.chunks.get(self._number, {}).get(index)

    def _changed(self, changes: Changes) -> None:
        new = [event for event in changes.events if event.job == self._number]
        self._events = [*self._events, *new][-MOST_EVENTS:] if new else self._events
        if self.job is None and self.is_current:
            self.dismiss()
        elif new or self._number in changes.jobs:
            self._stale = True

    @work(thread=True, exclusive=True, group="history")
    def _read_history(self) -> None:
        try:
            with Store(self.studio.here.store, write=False) as store:
                found = store.events(job=self._number, most=MOST_EVENTS)
        except StylizerError:
            return
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._take_history, found)

    def _take_history(self, found: list[Event]) -> None:
        seen = {event.seq for event in found}
        self._events = found + [event for event in self._events if event.seq not in seen]
        self._stale = True

    def _refresh(self) -> None:
        """Paint what has changed; a log grows without the store's knowing."""
        if not self.is_current or self.job is None:
            return
        if self._shows_log:
            self._show_lines()
        self._make_room()
        size = self.query_one("#meters", Static).content_size
        if not self._stale and size.width == self._drawn_width:
            return
        self._stale, self._drawn_width = False, size.width
        now, at = self.studio.now, self.studio.clock()
        view, chunks = now.view(self._number, at), now.chunks.get(self._number, {})
        strip, said = self.query_one(Chunks), self.query_one("#meters", Static)
        strip.show(chunks)
        head, width = self.query_one("#head", Static), self.query_one("#head").content_size.width
        done, left = words.bar(words.share_of(view), max(1, width))
        tone = mark_of(view.job).tone
        title = [detail.title(view, width), Content.assemble((done, f"${tone}"), (left, "$border"))]
        head.update(Content("\n").join(title), layout=False)
        width = said.content_size.width
        lines = [
            *meters.fit(view, width),
            *meters.speed(view, chunks.values(), at, width),
            *meters.money(view, width),
            *detail.facts(view, width, short=False),
        ]
        lines += [_counts(view.tally, chunks, strip.legend)] if chunks else []
        # Only another height is laid out anew: that paints all of the screen, pictures too.
        said.update(Content("\n").join(lines), layout=len(lines) != said.content_size.height)
        self._show_chunk()
        self.verbs_changed()
        if not self._shows_log:
            self._show_lines()

    def _show_chunk(self) -> None:
        chosen = self.chosen
        hint = Content.styled("← → choose a chunk, e the next that failed", "$foreground-muted")
        shown, words_of = self.query_one("#chunk", Static), meters.chunk(chosen) if chosen else hint
        if words_of != shown.content:
            shown.update(words_of)

    def _show_lines(self) -> None:
        lines, heading = self.query_one(Lines), self.query_one("#heading", Static)
        if self._shows_log:
            path = self.studio.here.logs / f"{self._log_name()}.log"
            if self._log_file is None or self._log_file.path != path:
                self._log_file = LogFile(path)
            found = self._log_file.read()
            none = "No log of it is here: nothing was said, or it is where it is painted."
            lines.show([("", text, "") for text in found] if found else [("", none, "muted")])
            what = f"Log of {path.stem}"
        else:
            lines.show([line for event in detail.folded(self._events) for line in _told(event)])
            what = "History"
        other = "history" if self._shows_log else "log"
        follow = "follows, f ends it" if lines.following else "f follows the end"
        keys = f"   l {other} · / search · {follow}"
        heading.update(Content.assemble((what, "bold"), (keys, "$foreground-muted")), layout=False)

    def _log_name(self) -> str:
        """The chosen chunk's, else that of one being painted, else of the fit."""
        if self.chosen:
            return self.chosen.id
        under_way = self.studio.now.under_way.get(self._number, {})
        chunks = list(under_way.values()) or list(self.studio.now.chunks.get(self._number, {}).values())
        return chunks[-1].id if chunks else f"{self._number}-fit-1"

    # ---- pictures ----

    def _look(self) -> None:
        """Show a newer pair of frames, or that of the chosen chunk."""
        if not self.is_current or self.job is None:
            return
        chunks = self.studio.now.chunks.get(self._number, {})
        what = frames.wanted(self.job, chunks.values(), self.chosen)
        if what is None and self._loaded is None and self._pair is None:
            self._load_style(self.job)
        elif what and what != self._loaded:
            self._loaded = what
            self._load(what)

    @work(thread=True, exclusive=True, group="picture")
    def _load(self, what: Wanted | Shape) -> None:
        pair = frames.load(what, self._pair)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._show_pair, pair)

    @work(thread=True, exclusive=True, group="picture")
    def _load_style(self, job: Job) -> None:
        pair = frames.load_style(job)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._show_pair, pair)

    def _show_pair(self, pair: Pair) -> None:
        if not still_open(self):
            return
        self._pair = pair
        self.query_one("#before", Picture).show(pair.before, f"before · frame {pair.frame}", "The clip cannot be read.")
        missing = "Nothing is painted yet." if self._loaded is None else "It is not readable just now."
        self.query_one("#after", Picture).show(pair.after, pair.said, missing)
        self._make_room()

    def _make_room(self) -> None:
        """The pictures as high as they are where they are as wide as there is room, and no higher."""
        if self._pair is None or not still_open(self):
            return
        known = [pixels for pixels in (self._pair.before, self._pair.after) if pixels is not None]
        width = self.query_one("#before").content_size.width
        heights = [round(width * pixels.shape[0] / pixels.shape[1] / 2) + CAPTION for pixels in known]
        if heights and width:
            self.query_one("#pictures").styles.height = max(LOWEST, min(max(heights), self.size.height // 2 - CAPTION))

    def action_enlarge(self) -> None:
        """The pictures over the whole screen."""
        from tui.screens.sheet import Large  # noqa: PLC0415  # Pillow

        pair = self._pair
        if pair is None:
            self.notify("There is no picture yet.", timeout=2)
            return
        named = ((pair.said, pair.after), ("before", pair.before))
        shown = [(name, pixels) for name, pixels in named if pixels is not None]
        if shown:
            self.app.push_screen(Large(shown))

    # ---- keys ----

    def subjects(self) -> list[Job]:
        return [self.job] if self.job else []

    @on(Chunks.Selected)
    def _selected(self) -> None:
        self._show_chunk()
        if self._shows_log:
            self._show_lines()
        if self.chosen and self.chosen.state is ChunkState.DONE:
            self._look()

    def action_redo(self) -> None:
        """The chosen chunk where one is chosen, else all of it."""
        chosen, job = self.chosen, self.job
        if chosen is None or job is None or job.state is JobState.DONE:
            super().action_redo()
            return
        about = "What is there of it is thrown away, and the clip is put together again."
        self._ask(f"Paint chunk {chosen.index} anew?", about, "Paint anew", acts.redo_chunk(job, chosen.index))

    def action_log(self) -> None:
        """The log instead of the history, and back."""
        self._shows_log = not self._shows_log
        self.query_one(Lines).following = True
        self._show_lines()

    def action_seek(self) -> None:
        field = self.query_one("#seek", Input)
        field.add_class("-open")
        field.focus()

    @on(Input.Submitted, "#seek")
    def _sought(self, event: Input.Submitted) -> None:
        found = self.query_one(Lines).seek(event.value)
        event.input.remove_class("-open")
        self.query_one(Lines).focus()
        if event.value:
            words_of = f"{words.plural(found, 'line')} with “{event.value}”.  n N go through them."
            self.notify(plain(words_of if found else f"“{event.value}” does not occur."), timeout=3, markup=False)

    def action_back(self) -> None:
        field = self.query_one("#seek", Input)
        if field.has_class("-open"):
            field.remove_class("-open")
            self.query_one(Chunks).focus()
        elif self.chosen is not None:
            self.query_one(Chunks).selected = None
        else:
            self.dismiss()


def _counts(tally: Tally, chunks: dict[int, Chunk], legend: str) -> Content:
    failed = sum(1 for chunk in chunks.values() if chunk.failures)
    said = f"{tally.done} of {tally.chunks} painted"
    said += f", {tally.running} being painted" if tally.running else ""
    said += f", {failed} had to be tried again" if failed else ""
    said += f"; {legend}" if legend else ""
    return Content.assemble(("chunks ", "$foreground-muted"), said)


def _told(event: Event) -> list[Line]:
    """An event as lines; what workers said comes with it."""
    first, *rest = event.text.splitlines() or [""]
    tone = TONES.get(event.kind, "")
    return [(f"{words.clock(event.at)}  ", plain(first), tone), *((" " * 10, plain(line), tone) for line in rest)]
