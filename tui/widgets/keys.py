"""The keys that do something now, in one line: those of the room from the left, those that hold everywhere at the right end;
a click is the key. Textual's Footer is a widget for each of them, which is too much to make anew whenever the cursor moves
to a job in another state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich.cells import cell_len
from textual import events
from textual.app import App
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

GAP = 2


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    shown: str
    words: str
    """What it does."""
    is_room: bool = False

    @property
    def width(self) -> int:
        return cell_len(f"{self.shown} {self.words}".rstrip())


class Keys(Widget):
    """What the screen's bindings say; of the room's own as many as there is room for."""

    def __init__(self) -> None:
        super().__init__()
        self._here: list[Key] = []
        self._everywhere: list[Key] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        here: dict[str, Key] = {}
        everywhere: dict[str, Key] = {}
        for node, binding, enabled, _ in screen.active_bindings.values():
            if binding.show and enabled and binding.action not in here:
                key = Key(
                    binding.key,
                    self.app.get_key_display(binding),
                    binding.description,
                    is_room=binding.action.startswith("show("),
                )
                (everywhere if isinstance(node, App) else here).setdefault(binding.action, key)
        shown = list(here.values()), list(everywhere.values())
        if shown != (self._here, self._everywhere):
            self._here, self._everywhere = shown
            self.refresh()

    def _placed(self) -> list[tuple[int, Key]]:
        """Keys and the column where each begins."""
        width, end = self.content_size.width, self._everywhere
        if _width(self._here) + GAP + _width(end) > width:
            rooms = [key for key in end if key.is_room]
            end = [key for key in end if not key.is_room]
            end += [replace(key, words="Rooms" if key is rooms[-1] else "") for key in rooms]
        last = max(0, width - _width(end))
        found, x = [], 0
        for keys, room in ((self._here, last - GAP), (end, width)):
            for key in keys:
                if x + key.width > room:
                    break
                found.append((x, key))
                x += key.width + GAP
            x = last
        return found

    def render(self) -> Content:
        parts: list[str | tuple[str, str]] = []
        at = 0
        for x, key in self._placed():
            parts += [" " * (x - at), (key.shown, "$footer-key-foreground")]
            parts += [(f" {key.words}", "$footer-description-foreground")] if key.words else []
            at = x + key.width
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        for x, key in self._placed() if at else ():
            if at and x <= at.x < x + key.width:
                self.app.simulate_key(key.name)
                return


def _width(keys: list[Key]) -> int:
    return sum(key.width for key in keys) + GAP * max(0, len(keys) - 1)
