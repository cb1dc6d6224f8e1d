"""The fields of a look: how a clip is painted, apart from the style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Select, Static

from stylizer.config import CHOICES, Limits, LookDefaults
from stylizer.errors import ConfigError
from stylizer.jobs import Look, Quality

HINTS = {
    "strength": "0 clip, 1 painting",
    "brush": "strokes, 0.25 to 4",
    "size": "long side, pixels",
}


class LookForm(Vertical):
    """Quality, strength, brush, size and colours; `defaults` fill it in."""

    DEFAULT_CSS = """
    LookForm > Horizontal { height: 1; }
    LookForm .name { width: 10; color: $foreground-muted; }
    LookForm Input, LookForm Select { width: 15; margin-right: 1; }
    LookForm .hint { width: 1fr; color: $foreground-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    LookForm .hint.-wrong { color: $text-error; }
    """

    def __init__(self, defaults: LookDefaults, *, id: str) -> None:  # as Textual calls it
        super().__init__(id=id)
        self._defaults = defaults

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("quality", classes="name")
            yield Select[str](
                [(name, name) for name in CHOICES["quality"]],
                value=self._defaults.quality if self._defaults.quality in CHOICES["quality"] else Quality.STANDARD,
                allow_blank=False,
                compact=True,
                id="quality",
            )
            yield Static("draft is quickest", classes="hint")
        values = {"strength": f"{self._defaults.strength:g}", "brush": f"{self._defaults.brush:g}"}
        values["size"] = str(self._defaults.size or "")
        for key, value in values.items():
            with Horizontal():
                yield Static(key, classes="name")
                yield Input(value, compact=True, id=key)
                yield Static(HINTS[key], classes="hint", id=f"{key}-hint", markup=False)
        with Horizontal():
            yield Static("colours", classes="name")
            yield Select[str](
                [("the style's", "style"), ("the clip's", "clip")],
                value="clip" if self._defaults.keep_color else "style",
                allow_blank=False,
                compact=True,
                id="colours",
            )
            yield Static("in the painting", classes="hint")

    def numbers(self) -> dict[str, float] | None:
        """Strength, brush and size as numbers; None where one is none, which is then said beside it."""
        found: dict[str, float] = {}
        for key in HINTS:
            text = self.query_one(f"#{key}", Input).value.strip()
            try:
                found[key] = float(text) if key != "size" else int(text or 0)
            except ValueError:
                self.say(key, f"{'a whole number' if key == 'size' else 'a number'}, not {text!r}")
                return None
            self.say(key)
        return found

    @property
    def quality(self) -> str:
        return str(self.query_one("#quality", Select).value)

    @property
    def keep_color(self) -> bool:
        return self.query_one("#colours", Select).value == "clip"

    def say(self, key: str, wrong: str = "") -> None:
        """What is wrong with a field, beside it; nothing: its hint."""
        hint = self.query_one(f"#{key}-hint", Static)
        hint.set_class(bool(wrong), "-wrong")
        hint.update(wrong or HINTS[key])

    def blame(self, error: ConfigError) -> bool:
        """Say it beside the field that it is about; False if it is about none."""
        for key in HINTS:
            if error.message.startswith(f"--{key}"):
                self.say(key, error.message.removeprefix("--"))
                return True
        return False


def make_look(
    styles: Sequence[Path], numbers: dict[str, float], quality: str, keep: bool, seed: int, limits: Limits
) -> Look:
    """A checked look; ConfigError or StyleError otherwise. Decodes the pictures: not for the thread of the screen."""
    from stylizer.styles import look_from  # noqa: PLC0415  # numpy and Pillow

    return look_from(
        styles,
        LookDefaults(seed=seed),
        limits,
        strength=numbers["strength"],
        brush=numbers["brush"],
        size=int(numbers["size"]),
        quality=quality,
        keep_color=keep,
    )
