"""Help: the keys that do something now, first those of the screen one came from, as its bindings themselves tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

FOCUS, EVERYWHERE = "In what has the focus", "Everywhere"
SCROLLS = ("scroll_", "page_left", "page_right")
"""Actions that nobody looks for."""
KEYS = 16
"""Columns for the names of keys."""

Entry = tuple[str, str]
"""Keys and what they do."""


class Help(ModalScreen[None]):
    """The keys of `screen`, which lies below, and of the app."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > Vertical {
        width: 76; max-width: 94%; height: auto; max-height: 90%;
        background: $surface; padding: 1 2;
    }
    Help.-wide > Vertical { width: 112; }
    Help Horizontal { height: auto; layout: vertical; }
    Help.-wide Horizontal { layout: horizontal; }
    Help .part { width: 1fr; height: auto; }
    Help .title { text-style: bold; }
    Help VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    Help .hint { color: $foreground-muted; margin-top: 1; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (118, "-wide")]  # noqa: RUF012  # as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,question_mark,q", "dismiss", "Close"),
        ("j,down", "scroll(1)", "Down"),
        ("k,up", "scroll(-1)", "Up"),
    ]

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__()
        self._of = screen
        self._parts = entries(screen.active_bindings.values(), screen.app)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"Keys · {self._of.title}" if self._of.title else "Keys", classes="title", markup=False)
            with VerticalScroll(can_focus=False), Horizontal():
                # The room's own keys from the left, the others beside them.
                for parts in (self._parts[:1], self._parts[1:]):
                    with Vertical(classes="part"):
                        yield from (Static(_table(title, found)) for title, found in parts)
            yield Static("ctrl+p finds every command by its name.   esc closes.", classes="hint")

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def entries(active: Iterable[ActiveBinding], app: App[object]) -> list[tuple[str, list[Entry]]]:
    """Keys and what they do, by where they hold: the screen, what has the focus in it, everywhere. Keys that do the same
    are one entry, told where it comes first.
    """
    parts: dict[str, dict[str, list[str]]] = {"Here": {}, FOCUS: {}, EVERYWHERE: {}}
    for node, binding, enabled, _ in active:
        if enabled and binding.description and not (binding.system or binding.action.startswith(SCROLLS)):
            # What Textual itself gives every screen names whom it is for.
            is_general = isinstance(node, App) or binding.action.startswith(("app.", "screen."))
            where = EVERYWHERE if is_general else "Here" if isinstance(node, Screen) else FOCUS
            keys = parts[where].setdefault(binding.description, [])
            shown = app.get_key_display(binding)
            keys += [shown] if shown not in keys else []
    told: set[str] = set()
    found = []
    for where, entries_there in parts.items():
        new = [(" ".join(keys), what) for what, keys in entries_there.items() if what not in told]
        told |= entries_there.keys()
        found += [(where, new)] if new else []
    return found


def _table(title: str, found: list[Entry]) -> Content:
    lines = [Content.assemble("\n", (title, "$foreground-muted"))]
    for keys, what in found:
        # More keys than fit go to a line of their own.
        gap = " " * (KEYS - len(keys)) if len(keys) < KEYS else "\n" + " " * KEYS
        lines.append(Content.assemble((keys, "$accent bold"), gap, what))
    return Content("\n").join(lines)
