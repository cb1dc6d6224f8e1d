"""The keys that do something now, in one line; a click is the key. Textual's Footer is a widget for each of them, which is
too much to make anew whenever the cursor moves to a job in another state.
"""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

GAP = 2


class Keys(Widget):
    """What the screen's bindings say; of those that are to be shown, as many as there is room for."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[tuple[str, str, str]] = []
        """Key, how it is called, what it does."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        found: dict[str, tuple[str, str, str]] = {}
        for _, binding, enabled, _ in screen.active_bindings.values():
            if binding.show and enabled and binding.action not in found:
                found[binding.action] = binding.key, self.app.get_key_display(binding), binding.description
        shown = list(found.values())
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def render(self) -> Content:
        parts: list[str | tuple[str, str]] = []
        left = self.content_size.width
        for _, key, words in self._shown:
            if (left := left - cell_len(f"{key} {words}")) < 0:
                break
            parts += [(key, "$footer-key-foreground"), (f" {words}", "$footer-description-foreground"), " " * GAP]
            left -= GAP
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        x = at.x if at else -1
        for name, key, words in self._shown:
            if 0 <= x < cell_len(f"{key} {words}"):
                self.app.simulate_key(name)
                return
            x -= cell_len(f"{key} {words}") + GAP
