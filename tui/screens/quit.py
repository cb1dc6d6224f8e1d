"""Quit: what is to become of the runner, and of what it paints."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from stylizer.screen import plain
from tui.screens.lines import Lines
from tui.words import plural


class Leaving(StrEnum):
    """How a person leaves while a runner is at work."""

    FINISH = "finish"
    STOP = "stop"
    BACKGROUND = "background"


KEYS = {"f": Leaving.FINISH, "s": Leaving.STOP, "b": Leaving.BACKGROUND}


class Quit(ModalScreen[Leaving | None]):
    """Asks; the answer is None for staying. `chunks` are being painted, of so many `clips`; `inbox` is what is watched."""

    DEFAULT_CSS = """
    Quit { align: center middle; }
    Quit > Vertical { width: 66; max-width: 94%; height: auto; max-height: 94%; background: $surface; padding: 1 1; }
    Quit .title { text-style: bold; }
    Quit .about { color: $foreground-muted; margin-bottom: 1; }
    Quit Lines { height: auto; }
    Quit Lines:focus > .option-list--option-highlighted { background: $panel; }
    Quit .title, Quit .about { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("f", "leave('f')", "Finish, then end"),
        ("s", "leave('s')", "Stop now"),
        ("b", "leave('b')", "Leave it running"),
        ("escape,q,ctrl+c,ctrl+q", "dismiss", "Stay"),
        ("j", "move(1)", "Down"),
        ("k", "move(-1)", "Up"),
    ]

    def __init__(self, chunks: int, clips: int, inbox: str = "") -> None:
        super().__init__()
        self._chunks, self._clips, self._inbox = chunks, clips, inbox

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Leave the studio?", classes="title")
            yield Static(self._about(), classes="about", markup=False)
            yield Lines(
                _option("b", "Leave it running", "stylizer tui comes back to it"),
                _option("f", "Finish what has begun", "then end"),
                _option("s", "Stop now", "what is half painted starts anew"),
                _option("esc", "Stay", ""),
            )

    def _about(self) -> str:
        if self._chunks:
            of = f"{plural(self._chunks, 'chunk')} of {plural(self._clips, 'clip')}"
            return f"{of} {'is' if self._chunks == 1 else 'are'} being painted."
        waits = f"watches {plain(self._inbox)}" if self._inbox else "waits for clips"
        return f"No chunk is being painted now; the runner {waits}."

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(KEYS.get(event.option_id or ""))

    def action_leave(self, key: str) -> None:
        self.dismiss(KEYS[key])

    def action_move(self, lines: int) -> None:
        options = self.query_one(OptionList)
        if lines > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()


def _option(key: str, name: str, about: str) -> Option:
    words = Content.assemble((f"{key:<4}", "$accent bold"), f"{name:<24}", (about, "$foreground-muted"))
    return Option(words, id=key)
