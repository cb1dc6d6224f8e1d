"""Devices: what each device of this machine paints now, how fast it was, and its gauges."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from stylizer import screen
from stylizer.estimate import Measurement
from stylizer.gauges import Gauge
from stylizer.jobs import Chunk
from tui.app import Studio
from tui.columns import bar, fit, row, spark
from tui.screens.lines import Heading
from tui.widgets.keys import Keys

WIDEST = 120
"""Columns that a line takes at most: in a wider one the eye loses which device a number is of."""
EVERY = 1.0
"""Seconds until the times that are shown are too old."""
KEPT = 120
"""Readings of a gauge."""
RENTED = "azure"


@dataclass(frozen=True, slots=True)
class Device:
    """A device with what it does now."""

    label: str
    gauge: Gauge | None
    chunks: tuple[Chunk, ...]
    measured: Measurement | None
    """The newest."""


class Devices(Screen[None]):
    """The devices of this machine and what they do."""

    TITLE = "Devices"
    DEFAULT_CSS = """
    Devices VerticalScroll { padding: 1 2; height: 1fr; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "Back")]

    def __init__(self) -> None:
        super().__init__()
        self._trails: dict[str, deque[Gauge]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._read: Sequence[Gauge] = ()
        self._read_at = 0.0

    def compose(self) -> ComposeResult:
        yield Heading(self.TITLE or "")
        with VerticalScroll():
            yield Static(id="devices")
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
        now = self._studio.now
        if now.gauges is not self._read and self._studio.clock() > self._read_at:
            self._read, self._read_at = now.gauges, self._studio.clock()
            for gauge in now.gauges:
                self._trails[gauge.label].append(gauge)
        if not self.is_active:
            return
        chunks = [chunk for of_job in now.under_way.values() for chunk in of_job.values() if chunk.worker]
        names = {number: now.jobs[number].clip.path.name for number in now.under_way}
        width, at = max(40, min(WIDEST, self.size.width - 5)), self._studio.clock()
        cards = [card(one, names, self._trails, width, at) for one in devices(now.gauges, chunks, now.known)]
        if away := {chunk.worker for chunk in chunks if chunk.backend == RENTED}:
            words = f"{len(away)} rented {'machine paints' if len(away) == 1 else 'machines paint'} too; see Cloud."
            cards.append(Content.styled(words, "$foreground-muted"))
        self.query_one("#devices", Static).update(Content("\n\n").join(cards))


def devices(gauges: Sequence[Gauge], chunks: Iterable[Chunk], known: Sequence[Measurement]) -> list[Device]:
    """All devices of this machine: those with gauges, those that paint, those that were measured here."""
    at_work: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        if chunk.backend != RENTED:
            at_work[chunk.worker].append(chunk)
    labels = [gauge.label for gauge in gauges]
    # A device that is gone since it was measured is not shown; one that paints is, gauges or not.
    labels += [label for label in sorted(at_work) if label not in labels]
    by_label = {gauge.label: gauge for gauge in gauges}
    newest = {label: next((m for m in known if m.device == label and m.fps > 0), None) for label in labels}
    return [Device(label, by_label.get(label), tuple(at_work.get(label, ())), newest[label]) for label in labels]


def card(device: Device, names: dict[int, str], trails: dict[str, deque[Gauge]], width: int, at: float) -> Content:
    """Three lines or more: what it is and how fast it was, what it paints, its gauges."""
    name, _, model = device.label.partition(" ")
    speed = _speed(device.measured, at)
    head = Content.assemble(
        (fit(name, 8), "bold"),
        fit(model.removeprefix("(").removesuffix(")"), max(10, width - 9 - len(speed))),
        " ",
        (speed, "$foreground-muted"),
    )
    lines = [head, *(_work(chunk, names, width) for chunk in device.chunks)]
    if not device.chunks:
        lines.append(Content.styled(fit("        paints nothing now", width), "$foreground-muted"))
    lines += [_gauges(device.gauge, trails[device.label], width)] if device.gauge else []
    return Content("\n").join(lines)


def _speed(measured: Measurement | None, now: float) -> str:
    if measured is None:
        return "not measured yet"
    ago = screen.duration(max(0.0, now - measured.at))
    return f"{measured.fps:.1f} fps at {measured.width} x {measured.height}, {ago} ago"


def _work(chunk: Chunk, names: dict[int, str], width: int) -> Content:
    share = min(1.0, chunk.frames_done / len(chunk.frames))
    done, left = bar(share, 20)
    tail = row((f"{share:.0%}", -4, ""), (f"{chunk.fps:.1f} fps", -9, "$primary"))
    room = max(8, width - 46)
    clip = fit(f"{names.get(chunk.job, '')} · chunk {chunk.index}", room)
    return Content.assemble(" " * 8, clip, "  ", (done, "$primary"), (left, "$foreground-disabled"), " ", tail)


def _gauges(gauge: Gauge, trail: deque[Gauge], width: int) -> Content:
    readings, long = list(trail), min(24, max(4, (width - 64) // 2))
    load = "unknown" if gauge.load is None else f"{gauge.load:.0%}"
    warm = [] if gauge.temperature is None else [f"{gauge.temperature:.0f} °C"]
    warm += [] if gauge.watts is None else [f"{gauge.watts:.0f} W"]
    return row(
        ("", 6, ""),
        ("load", 4, "$foreground-muted"),
        (load, -4, ""),
        (spark([one.load for one in readings], long), long, "$accent"),
        ("memory", 6, "$foreground-muted"),
        (_memory(gauge), -17, ""),
        (spark([_share(one) for one in readings], long), long, "$accent"),
        ("  ".join(warm), 13, ""),
    )


def _share(gauge: Gauge) -> float | None:
    if gauge.memory_used is None or not gauge.memory_total:
        return None
    return gauge.memory_used / gauge.memory_total


def _memory(gauge: Gauge) -> str:
    if gauge.memory_used is None or gauge.memory_total is None:
        return "unknown"
    return f"{screen.size(gauge.memory_used)} of {screen.size(gauge.memory_total)}"
