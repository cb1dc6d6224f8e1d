"""The studio: the queue, totals above it, the job under the cursor beside or below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Input, Static

from stylizer.jobs import FINISHED, Job
from stylizer.screen import plain
from tui import acts, words
from tui.now import Changes, Now
from tui.screens.verbs import JobVerbs
from tui.theme import mark_of
from tui.widgets import detail, summary
from tui.widgets.keys import Keys
from tui.widgets.queue import Heads, Queue
from tui.widgets.row import Shown
from tui.widgets.swatch import Art, Swatches

Key = Callable[[Job], object]
SORTS: dict[str, Key | None] = {
    "queue": None,
    "newest": lambda job: -job.id,
    "name": lambda job: job.clip.path.name.casefold(),
    "state": lambda job: (mark_of(job).word, job.id),
}
"""Ways to sort by name; "queue" is what is painted first, then what is over, the newest first."""
ROWS_EVERY = 0.2
"""Seconds between two paints of rows that go on; what a key does is painted at once."""
TOTALS_EVERY = 0.5
TIMES_EVERY = 5.0
"""Seconds between two looks at what changes by itself: how long ago things were."""


class StudioScreen(JobVerbs):
    """Home."""

    TITLE = "Studio"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (150, "-wide")]  # noqa: RUF012  # as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-short"), (30, "-high"), (60, "-huge")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort", "Sort", show=False),
        Binding("shift+up,K", "earlier(-1)", "Move up", show=False),
        Binding("shift+down,J", "earlier(1)", "Move down", show=False),
        Binding("v", "tall", "Height of rows", show=False),
        Binding("escape", "plain", "Show all", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._filter, self._sort = "", "queue"
        self._stale = True
        self._starting = False
        self._wrong = Content("")
        self._styled: object = None
        self._touched: set[int] = set()
        self._detail_size = Size(0, 0)

    def compose(self) -> ComposeResult:
        queue = Queue(self._shown, id="queue")
        yield Static(id="totals")
        yield Static(id="trouble")
        with Container(id="rooms"):
            with Vertical(id="list"):
                yield Heads(queue)
                yield Static(id="empty")
                yield queue
                yield Static(id="said")
                yield Input(placeholder="name, style, state or backend", id="filter", compact=True)
            with Vertical(id="side"):
                yield Art(id="style")
                yield Static(id="detail")
        yield Keys()

    def on_mount(self) -> None:
        queue = self.query_one(Queue)
        self._swatches = Swatches(lambda: self.app.call_later(self._swatches_came))
        self.studio.changed.subscribe(self, self._changed)
        self.set_interval(ROWS_EVERY, self._paint_rows)
        self.set_interval(TOTALS_EVERY, self._refresh)
        self.set_interval(TIMES_EVERY, self._times_pass)
        queue.focus()
        self._changed(Changes(order=True))

    def on_unmount(self) -> None:
        self._swatches.close()

    def on_screen_resume(self) -> None:
        self._changed(Changes(order=True))

    def on_resize(self) -> None:
        self.query_one(Queue).tall = 3 if self.size.height >= 60 else 2 if self.size.height >= 30 else 1
        self._stale = True
        self.call_after_refresh(self._refresh)

    # ---- what is shown ----

    def _shown(self, job: int) -> Shown:
        now, at = self.studio.now, self.studio.clock()
        found = now.view(job, at)
        under_way = tuple(now.under_way.get(job, {}).values())
        return Shown(found, under_way, self._swatches.of(found.job.look), at, cursor=False, chosen=False)

    def _changed(self, changes: Changes) -> None:
        self._stale = True
        if not self.is_current:
            return
        if changes.order:
            self._show()
        self._touched |= changes.jobs
        if changes.order:
            self._paint_rows()
            self._refresh()

    def _paint_rows(self) -> None:
        if self._touched and self.is_current:
            self.query_one(Queue).update(self._touched)
            self._touched = set()

    def _show(self) -> None:
        """The rows anew: other jobs, or in another order."""
        now = self.studio.now
        jobs = [now.jobs[number] for number in now.queue if fits(now, now.jobs[number], self._filter)]
        key = SORTS[self._sort]
        if key:
            jobs.sort(key=key)  # type: ignore[arg-type]
        else:
            over = sorted((job for job in jobs if job.state in FINISHED), key=lambda job: -(job.finished_at or 0.0))
            jobs = [job for job in jobs if job.state not in FINISHED] + over
        self.query_one(Queue).show([job.id for job in jobs], costs=_costs(now))
        if self.studio.wanted_job in now.jobs:
            self.query_one(Queue).go_to(self.studio.wanted_job or 0)
            self.studio.wanted_job = None
        self.query_one(Heads).refresh()
        empty = self.query_one("#empty", Static)
        empty.display = not jobs and now.is_open
        if empty.display:
            empty.update(self._why_empty())

    def _why_empty(self) -> Content:
        if self._filter:
            return Content(f"No job fits “{plain(self._filter)}”.  esc shows all of them.")
        ways = (
            ("n", "makes a job: a clip, a style, a look"),
            ("", "stylizer run clip.mp4 --style art.jpg   in another terminal does the same"),
            ("", "stylizer watch ./inbox   paints whatever is put into a folder"),
            ("?", "all keys of this room"),
        )
        lines = [Content.assemble((f"{key:<4}", "$accent bold"), (about, "$foreground-muted")) for key, about in ways]
        return Content("\n").join([Content.styled("Nothing to paint yet.", "$foreground bold"), Content(""), *lines])

    def _refresh(self) -> None:
        """Totals and the detail, where something has changed."""
        size = self.query_one("#detail", Static).content_size
        if not self.is_current or (not self._stale and size == self._detail_size):
            return
        self._stale, self._detail_size = False, size
        studio, now = self.studio, self.studio.now
        self._starting = self._starting and not now.alive
        totals = summary.totals(now, studio.config, studio.clock(), self.size.width)
        self.query_one("#totals", Static).update(totals, layout=False)
        wrong = summary.trouble(now, self._starting)
        if wrong != self._wrong:
            self._wrong = wrong
            line = self.query_one("#trouble", Static)
            line.display = bool(wrong.plain)
            line.update(wrong)
        self._say()
        self._show_detail()
        self.verbs_changed()

    def _say(self) -> None:
        """How many are chosen, and what is left out."""
        queue, now = self.query_one(Queue), self.studio.now
        said = [f"{len(queue.jobs)} of {len(now.jobs)}, that fit “{plain(self._filter)}”"] * bool(self._filter)
        said += [f"{len(queue.chosen)} chosen"] * bool(queue.chosen)
        said += [f"sorted by {self._sort}"] * (self._sort != "queue")
        line = self.query_one("#said", Static)
        line.display = bool(said)
        line.update(Content(f" {' · '.join(said)}"), layout=False)

    def _show_detail(self) -> None:
        pane, job = self.query_one("#detail", Static), self.query_one(Queue).job
        size = pane.content_size
        self._show_style(job)
        if pane.display and size.width > 10:
            now, at = self.studio.now, self.studio.clock()
            found = detail.detail(now, job, at, size.width, size.height) if job in now.jobs and job else ""
            pane.update(found, layout=False)

    def _show_style(self, job: int | None) -> None:
        """The picture of the style, where there is room for it beside the queue."""
        pane, now = self.query_one(Art), self.studio.now
        size = pane.content_size
        look = now.jobs[job].look if job in now.jobs and job else None
        key = (look, size)
        if size.height < 2 or key == self._styled:
            return
        found = self._swatches.picture(look, size.width, size.height) if look else []
        if found is not None:
            self._styled = key
            pane.show(found)

    def _swatches_came(self) -> None:
        self.query_one(Queue).update_seen()
        self._show_style(self.query_one(Queue).job)

    def _times_pass(self) -> None:
        if self.is_current:
            self.query_one(Queue).update_seen()
            self._stale = True

    # ---- keys ----

    def subjects(self) -> list[Job]:
        """The chosen ones, else the one under the cursor."""
        queue, jobs = self.query_one(Queue), self.studio.now.jobs
        numbers = [job for job in queue.jobs if job in queue.chosen] if queue.chosen else [queue.job or 0]
        return [jobs[number] for number in numbers if number in jobs]

    def done_with(self) -> None:
        queue = self.query_one(Queue)
        queue.chosen.clear()
        queue.update_seen()
        self._stale = True

    @on(Queue.Moved)
    def _looked_at(self) -> None:
        self._say()
        self._show_detail()
        self.verbs_changed()

    @on(Queue.Laid)
    def _laid(self) -> None:
        self.query_one(Heads).refresh()

    @on(Queue.Opened)
    def _opened(self, event: Queue.Opened) -> None:
        from tui.screens.job import JobScreen  # noqa: PLC0415  # pictures

        self.app.push_screen(JobScreen(event.job))

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        field.focus()

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        self._filter = event.value.strip()
        self._show()
        self._say()

    @on(Input.Submitted, "#filter")
    def _take_filter(self) -> None:
        self.query_one("#filter").remove_class("-open")
        self.query_one(Queue).focus()

    def action_plain(self) -> None:
        """No filter, nothing chosen."""
        field = self.query_one("#filter", Input)
        field.value = ""
        self._take_filter()
        self.done_with()
        self._say()

    def action_sort(self) -> None:
        ways = list(SORTS)
        self._sort = ways[(ways.index(self._sort) + 1) % len(ways)]
        self._show()
        self._say()

    def action_tall(self) -> None:
        queue = self.query_one(Queue)
        queue.tall = queue.tall % 3 + 1

    def action_earlier(self, places: int) -> None:
        """Move the job under the cursor before the one above it, or after the one below."""
        queue, now = self.query_one(Queue), self.studio.now
        if self._sort != "queue" or self._filter:
            self.notify("The queue is moved in its own order: esc and s bring it back.", timeout=3)
            return
        if queue.job is None or not (place := now.place(queue.job)):
            return
        if 1 <= place + places <= sum(job.state not in FINISHED for job in now.jobs.values()):
            self.studio.act(acts.move(now.jobs[queue.job], place + places, place))

    def action_work(self) -> None:
        self._starting = True
        super().action_work()
        self._stale = True


def fits(now: Now, job: Job, text: str) -> bool:
    """Whether all words of the text occur in what is said of a job."""
    said = f"{job.clip.path.name} {words.style_words(job.look)} {mark_of(job).word} {job.backend}".casefold()
    workers = " ".join(chunk.worker for chunk in now.under_way.get(job.id, {}).values()).casefold()
    return all(word in said or word in workers for word in text.casefold().split())


def _costs(now: Now) -> bool:
    return bool(now.money) or any(job.max_cost for job in now.jobs.values())
