"""Small dialogs: a question before something is destroyed or spent, and a command with what it says."""

from __future__ import annotations

from asyncio.subprocess import DEVNULL, PIPE, STDOUT, create_subprocess_exec
from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from stylizer.screen import plain
from tui.screens.asking import still_open
from tui.screens.lines import Lines


class Ask(ModalScreen[str | None]):
    """A question; the answer is what was typed (or "yes" where nothing is to be typed), None for no."""

    DEFAULT_CSS = """
    Ask { align: center middle; }
    Ask > Vertical { width: 66; max-width: 94%; height: auto; max-height: 94%; background: $surface; padding: 1 1; }
    Ask Static { padding: 0 1; }
    Ask .title { text-style: bold; }
    Ask .about { color: $foreground-muted; margin-bottom: 1; }
    Ask Input { margin: 0 1; padding: 0 1; background: $panel; }
    Ask Lines { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "No"), ("y", "yes", "Yes"), ("n", "dismiss", "No")]

    def __init__(self, title: str, about: str, *, yes: str, value: str | None = None) -> None:
        super().__init__()
        self._title, self._about, self._yes, self._value = title, about, yes, value

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._title, classes="title", markup=False)
            yield Static(self._about, classes="about", markup=False)
            if self._value is not None:
                yield Input(self._value, compact=True)
            else:
                # What destroys or spends is never what one gets by Enter alone.
                yield Lines(_option("n", "No, leave it as it is"), _option("y", self._yes))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss("yes" if event.option_id == "y" else None)

    def action_yes(self) -> None:
        self.dismiss("yes" if self._value is None else self.query_one(Input).value.strip() or None)


def _option(key: str, words: str) -> Option:
    return Option(Content.assemble((f"{key}   ", "$accent bold"), words), id=key)


class Command(ModalScreen[int | None]):
    """Runs a command as a process of its own and shows what it says; the answer is its exit code."""

    DEFAULT_CSS = """
    Command { align: center middle; }
    Command > Vertical { width: 90; max-width: 94%; height: 16; max-height: 94%; background: $surface; padding: 1 2; }
    Command .title { text-style: bold; }
    Command VerticalScroll { height: 1fr; margin: 1 0; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape,enter,q", "close", "Close")]

    def __init__(self, command: Sequence[str], title: str) -> None:
        super().__init__()
        self._command, self._title = command, title
        self._code: int | None = None

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._title, classes="title", markup=False)
            with VerticalScroll():
                yield Static(id="spoken", markup=False)
            yield Static("It is at work. esc leaves it alone; it goes on.", id="end")

    def on_mount(self) -> None:
        self._run()

    @work
    async def _run(self) -> None:
        process = await create_subprocess_exec(*self._command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
        assert process.stdout
        said: list[str] = []
        async for line in process.stdout:
            if not still_open(self):
                return
            said.append(plain(line.decode("utf-8", "replace").rstrip()))
            self.query_one("#spoken", Static).update("\n".join(said))
            self.query_one(VerticalScroll).scroll_end(animate=False)
        self._code = await process.wait()
        end = ("Done.", "$text-success") if self._code == 0 else (f"It ended with exit code {self._code}.", "$text-error")
        if still_open(self):
            self.query_one("#end", Static).update(Content.assemble(end, ("  esc closes.", "$foreground-muted")))

    def action_close(self) -> None:
        self.dismiss(self._code)
