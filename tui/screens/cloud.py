"""Cloud: rented machines by state, what each costs, what jobs have cost, and the way to end it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from stylizer import edit_config
from stylizer.backend import Node
from stylizer.config import Config
from stylizer.errors import StylizerError
from stylizer.jobs import Chunk
from stylizer.ledger import Money
from tui.app import Studio
from tui.columns import bar, row
from tui.now import Now
from tui.screens.ask import Ask, Command
from tui.screens.lines import Heading
from tui.widgets.keys import Keys
from tui.words import span

EVERY = 1.0
"""Seconds until the times that are shown are too old."""
WIDE = 90
"""Columns from which on there is room for bars."""
WIDEST = 120
"""Columns that a line takes at most: in a wider one the eye loses which money is whose."""
MOST_ENDED = 40
"""Clips that cost nothing any more and are shown; older ones are summed up."""
MARKS = {
    "running": ("●", "$success"),
    "idle": ("●", "$warning"),
    "starting": ("◌", "$primary"),
    "preempted": ("✕", "$error"),
    "unusable": ("✕", "$error"),
}
OTHER = ("○", "$foreground-muted")


@dataclass(frozen=True, slots=True)
class Rented:
    """What is rented now and what it costs, as the store knows it."""

    money: Sequence[Money]
    """What still costs first, then the newest."""
    names: dict[int, str]
    """Of the clips, by job."""
    limits: dict[int, float]
    """What each job may cost; 0: no limit."""
    chunks: dict[str, Chunk]
    """What each node paints, by the worker's name."""
    today: Decimal
    """What was spent today."""
    a_day: float
    """What may be spent in a day; 0: no limit."""
    at: float
    """When (Unix time)."""

    @property
    def nodes(self) -> list[tuple[str, Node]]:
        """With the backend that rents each; those at work first."""
        found = [(one.backend, node) for one in self.money if not one.meter.final for node in one.meter.nodes]
        order = list(MARKS)
        return sorted(found, key=lambda pair: (order.index(pair[1].state) if pair[1].state in MARKS else 9, pair[1].id))

    @property
    def per_hour(self) -> Decimal:
        return sum((one.meter.per_hour for one in self.money if not one.meter.final), Decimal(0))

    @property
    def currency(self) -> str:
        return self.money[0].meter.currency if self.money else ""


def rented(now: Now, config: Config, at: float) -> Rented:
    """What is rented at that time (Unix time)."""
    money = [one for of_job in now.money.values() for one in of_job if one.meter.job in now.jobs]
    money.sort(key=lambda one: (one.meter.final, -one.meter.job))
    shown = money[: len([one for one in money if not one.meter.final]) + MOST_ENDED]
    chunks = {chunk.worker: chunk for of_job in now.under_way.values() for chunk in of_job.values() if chunk.worker}
    numbers = {one.meter.job for one in shown} | now.under_way.keys()
    names = {number: now.jobs[number].clip.path.name for number in numbers}
    limits = {one.meter.job: now.jobs[one.meter.job].max_cost for one in shown}
    return Rented(money, names, limits, chunks, now.spent(at), config.place.max_cost_day, at)


class Cloud(Screen[None]):
    """What is rented and what it costs."""

    TITLE = "Cloud"
    DEFAULT_CSS = """
    Cloud VerticalScroll { padding: 1 2; height: 1fr; scrollbar-size-vertical: 1; }
    Cloud .title { color: $foreground-muted; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("d", "down", "Shut all down"),
        ("c", "clean", "Clean up"),
        ("m", "most", "How many"),
        ("escape", "dismiss", "Back"),
    ]

    def compose(self) -> ComposeResult:
        yield Heading(self.TITLE or "")
        with VerticalScroll():
            yield Static(id="total")
            yield Static("Nodes", classes="title")
            yield Static(id="nodes")
            yield Static("Clips", classes="title")
            yield Static(id="money")
        yield Keys()

    def on_mount(self) -> None:
        self._studio.changed.subscribe(self, lambda _: self._show())
        self.set_interval(EVERY, self._show)

    def on_resize(self) -> None:
        self._show()

    @property
    def _studio(self) -> Studio:
        return cast(Studio, self.app)

    def _show(self) -> None:
        studio = self._studio
        if not self.is_active:
            return
        found = rented(studio.now, studio.config, studio.clock())
        width = max(40, min(WIDEST, self.size.width - 5))
        self.query_one("#total", Static).update(total(found, width))
        self.query_one("#nodes", Static).update(nodes(found, width))
        self.query_one("#money", Static).update(money(found, width))

    # ---- what spends or ends ----

    def action_down(self) -> None:
        asked = Ask(
            "Shut down everything that is rented?",
            "All of stylizer's machines in this Azure account are given back, those that other computers rented too. "
            "What is painted is kept; what is being painted there starts anew.",
            yes="Shut down",
        )
        self.app.push_screen(asked, lambda yes: self._run("azure", "down", "--yes") if yes else None)

    def action_clean(self) -> None:
        asked = Ask(
            "Clean up in Azure?",
            "Runs that are over and their uploaded files are deleted there. Painted files here stay.",
            yes="Clean up",
        )
        self.app.push_screen(asked, lambda yes: self._run("azure", "clean") if yes else None)

    def action_most(self) -> None:
        setting = next(one for one in edit_config.settings(self._studio.config) if one.name == "azure.nodes")
        asked = Ask(
            "How many machines may be rented at once?",
            f"Each {self._studio.config.azure.vm_size} costs money while it is there. New runs keep to it.",
            yes="Keep to it",
            value=str(setting.value),
        )

        def answered(text: str | None) -> None:
            if text:
                try:
                    edit_config.change(self._studio.here.config, setting, text)
                except StylizerError as error:
                    self._studio.say(error)
                else:
                    self.notify(f"At most {text} from the next run on.")

        self.app.push_screen(asked, answered)

    def _run(self, *arguments: str) -> None:
        if self._studio.passing:
            self.notify("These machines are imagined: they go when the studio is left.")
            return
        self.app.push_screen(Command([sys.executable, "-m", "stylizer", *arguments], f"stylizer {' '.join(arguments)}"))


def total(found: Rented, width: int) -> Content:
    """Money of today against what may be spent, what an hour costs now, and how many machines there are."""
    if not found.money:
        return Content.styled("Nothing is rented, and nothing has been. This machine costs nothing.", "$foreground-muted")
    spent, limit = found.today, found.a_day
    share = min(1.0, float(spent) / limit) if limit else 0.0
    done, left = bar(share, min(24, width // 4))
    amount = f"{spent:.2f} of {limit:.2f} {found.currency}" if limit else f"{spent:.2f} {found.currency}, no limit is set"
    first = [("today   ", "$foreground-muted"), (done, tone_of(share)), (left, "$foreground-disabled")] if limit else []
    first = first or [("today   ", "$foreground-muted")]
    words = Content.assemble(
        *first, f"  {amount}", "      ", (f"{found.per_hour:.2f}", "bold"), f" {found.currency} an hour now"
    )
    counts = Counter(node.state for _, node in found.nodes)
    states = [f"{count} {state}" for state, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    basis = f"        {' · '.join(states) or 'no machine is rented now'} · prices: {found.money[0].meter.basis}"
    lines = (words, Content.styled(basis, "$foreground-muted"))
    return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)


def nodes(found: Rented, width: int) -> Content:
    """A line for each rented machine: state, since when, what it paints, what it costs."""
    if not found.nodes:
        words = "None. They are rented when a clip is given to the cloud, and given back after it."
        return Content.styled(words, "$foreground-muted")
    names = max(10, min(24, max(len(node.id) for _, node in found.nodes), width - 59))
    room = max(4, width - names - 55)
    lines = []
    for backend, node in found.nodes:
        mark, tone = MARKS.get(node.state, OTHER)
        chunk = found.chunks.get(f"{backend} {node.id}") or found.chunks.get(node.id)
        price = f"{node.price_per_hour:.2f}/h" if node.price_per_hour else "—"
        lines.append(
            row(
                (mark, 1, tone),
                (node.id, names, ""),
                (node.state, 9, "$foreground-muted"),
                (span(max(0.0, found.at - node.since)), -7, "$foreground-muted"),
                (f"{chunk.frames_done / len(chunk.frames):.0%}" if chunk else "", -4, "$primary"),
                (f"{found.names.get(chunk.job, '')} · chunk {chunk.index}" if chunk else "", room, ""),
                (f"{chunk.fps:.0f} fps" if chunk else "", -7, "$primary"),
                (price, -7, ""),
                ("spot" if node.spot else "", 4, "$foreground-muted"),
            )
        )
    return Content("\n").join(lines)


def money(found: Rented, width: int) -> Content:
    """A line for each job that cost anything, the newest first."""
    if not found.money:
        return Content.styled("None.", "$foreground-muted")
    bars = 8 if width >= WIDE else 0
    room = max(12, width - 4 - 17 - bars - 12 - 2 * (4 if bars else 3))
    lines = []
    for one in [one for one in found.money if one.meter.job in found.limits]:
        meter, limit = one.meter, found.limits[one.meter.job]
        share = min(1.0, float(meter.spent) / limit) if limit else 0.0
        done, left = bar(share, bars) if limit else ("", " " * bars)
        amount = f"{meter.spent:.2f} of {limit:.2f}" if limit else f"{meter.spent:.2f}"
        now = "ended" if meter.final else f"{meter.per_hour:.2f}/h now"
        faint = "$foreground-muted" if meter.final else ""
        parts = [
            row((str(meter.job), -4, "$foreground-muted"), (found.names[meter.job], room, faint)),
            row((f"{amount} {meter.currency}", -17, faint)),
            *([Content.assemble((done, tone_of(share)), (left, "$foreground-disabled"))] if bars else []),
            row((now, -12, "$foreground-muted")),
        ]
        lines.append(Content("  ").join(parts))
    if older := [one.meter.spent for one in found.money if one.meter.job not in found.limits]:
        words = f"      and {len(older)} older ones, {sum(older, Decimal(0)):.2f} {found.currency} in all"
        lines.append(Content.styled(words, "$foreground-muted"))
    return Content("\n").join(lines)


def tone_of(share: float) -> str:
    """The colour of so much of a limit."""
    share = round(share, 6)
    return "$error" if share >= 1 else "$warning" if share >= 0.8 else "$success"
