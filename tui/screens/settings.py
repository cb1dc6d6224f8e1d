"""Settings: what is in force and what each key means; a change goes to config.toml and leaves its comments alone."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from stylizer import edit_config
from stylizer.config import Config, load_config
from stylizer.edit_config import Setting
from stylizer.errors import ConfigError
from stylizer.screen import near
from tui.columns import row
from tui.screens.lines import Heading, Lines
from tui.widgets.keys import Keys

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: 'a list as ["one", "two"]'}


class Settings(Screen[None]):
    """The keys of the config at `path`."""

    TITLE = "Settings"
    DEFAULT_CSS = """
    Settings > Horizontal { padding-top: 1; }
    Settings #sections { width: 14; height: 1fr; margin-left: 1; }
    Settings #keys { width: 1fr; height: 1fr; margin: 0 1; }
    Settings #edit { height: auto; padding: 0 2 1 2; background: $surface; }
    Settings #about { height: auto; min-height: 1; margin-top: 1; }
    Settings #value { background: $panel; padding: 0 1; }
    Settings #value.-idle { display: none; }
    Settings #error { height: auto; color: $text-error; }
    Settings #error.-none { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "Change"),
        Binding("d", "forget", "Default"),
        Binding("left,h", "sections", "Sections", show=False),
        Binding("right,l", "keys", "Keys", show=False),
        Binding("j", "cursor(1)", "Down", show=False),
        Binding("k", "cursor(-1)", "Up", show=False),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._all: list[Setting] = []
        self._shown: list[Setting] = []

    def compose(self) -> ComposeResult:
        yield Heading("Settings", self._where())
        with Horizontal():
            yield Lines(id="sections")
            yield Lines(id="keys")
        with Vertical(id="edit"):
            yield Static(id="about")
            yield Input(id="value", compact=True, classes="-idle")
            yield Static(id="error", classes="-none", markup=False)
        yield Keys()

    def on_mount(self) -> None:
        try:
            self._take(load_config(self._path))
        except ConfigError as error:
            # What is wrong is said; the defaults are shown, and nothing can be changed until it is mended.
            self._take(Config())
            self._say(error)
        sections = self.query_one("#sections", OptionList)
        sections.add_options([Option(name, id=name) for name in dict.fromkeys(one.section for one in self._all)])
        sections.highlighted = 0
        self._keys.focus()

    # ---- what is shown ----

    def on_resize(self) -> None:
        if self._shown:
            self._show(self._shown[0].section, self._keys.highlighted or 0)

    @on(OptionList.OptionHighlighted, "#sections")
    def _section_looked_at(self, event: OptionList.OptionHighlighted) -> None:
        self._show(event.option_id or "")

    @on(OptionList.OptionSelected, "#sections")
    def _section_taken(self) -> None:
        self._keys.focus()

    @on(OptionList.OptionHighlighted, "#keys")
    def _key_looked_at(self) -> None:
        self._describe()

    @on(OptionList.OptionSelected, "#keys")
    def _key_taken(self) -> None:
        self.action_edit()

    def _take(self, config: Config) -> None:
        self._all = edit_config.settings(config)

    def _show(self, section: str, at: int = 0) -> None:
        self._shown = [one for one in self._all if one.section == section]
        self._keys.set_options([Option(_line(one, self.size.width)) for one in self._shown])
        self._keys.highlighted = at

    def _describe(self) -> None:
        one = self._chosen
        if one is None:
            return
        kind = " · ".join(one.choices) or KINDS[type(one.default)]
        default = edit_config.written(one.default) or "empty"
        name, about = (one.name, "bold"), (one.about, "")
        words = Content.assemble(name, "  ", about, "\n", (f"{kind}; by default {default}", "$foreground-muted"))
        self.query_one("#about", Static).update(words)

    def _where(self) -> str:
        return f"{near(self._path)}{'' if self._path.exists() else ' (made with the first change)'}"

    @property
    def _keys(self) -> OptionList:
        return self.query_one("#keys", OptionList)

    @property
    def _chosen(self) -> Setting | None:
        at = self._keys.highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    # ---- what is changed ----

    def action_edit(self) -> None:
        """Turn a switch or take the next word at once; type everything else."""
        one = self._chosen
        if one is None:
            return
        if isinstance(one.default, bool):
            self._change(one, "false" if one.value else "true")
        elif one.choices:
            after = (one.choices.index(one.value) + 1) % len(one.choices) if one.value in one.choices else 0
            self._change(one, one.choices[after])
        else:
            field = self.query_one("#value", Input)
            field.remove_class("-idle")
            field.value = edit_config.written(one.value)
            field.focus()

    def action_forget(self) -> None:
        one = self._chosen
        if one and not one.is_default:
            try:
                self._changed(edit_config.forget(self._path, one))
            except ConfigError as error:
                self._say(error)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._chosen:
            self._change(self._chosen, event.value)

    def _change(self, one: Setting, text: str) -> None:
        try:
            self._changed(edit_config.change(self._path, one, text))
        except ConfigError as error:
            self._say(error)

    def _changed(self, config: Config) -> None:
        self._take(config)
        self._say(None)
        self._show(self._shown[0].section, self._keys.highlighted or 0)
        self.query_one(Heading).update(Heading.words("Settings", self._where()))
        self._close()
        self.notify("Written. The runner reads it when it starts the next time.")

    def _close(self) -> None:
        self.query_one("#value", Input).add_class("-idle")
        self._keys.focus()

    def _say(self, error: ConfigError | None) -> None:
        field = self.query_one("#error", Static)
        field.set_class(error is None, "-none")
        field.update(f"{error.message} {error.hint}".strip() if error else "")

    # ---- keys ----

    def action_sections(self) -> None:
        self.query_one("#sections", OptionList).focus()

    def action_keys(self) -> None:
        self._keys.focus()

    def action_cursor(self, lines: int) -> None:
        shown = self.focused
        if isinstance(shown, OptionList):
            (shown.action_cursor_down if lines > 0 else shown.action_cursor_up)()

    def action_back(self) -> None:
        if self.focused and self.focused.id == "value":
            self._say(None)
            self._close()
        else:
            self.dismiss()


def _line(one: Setting, width: int) -> Content:
    value, tone = edit_config.written(one.value) or "—", "$foreground-muted" if one.is_default else "$accent"
    return row((one.key, 18, ""), (value, 24, tone), (one.about, max(0, width - 67), "$foreground-muted"))
