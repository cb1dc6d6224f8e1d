"""What the rooms are made of: a heading, and a list to choose from as quiet as the page it lies on."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import OptionList, Static


class Lines(OptionList):
    """An OptionList without a frame; the line under the cursor is on a panel, a shade stronger where it has the focus."""

    DEFAULT_CSS = """
    Lines, Lines:focus {
        background: transparent; background-tint: transparent; border: none; padding: 0; scrollbar-size-vertical: 1;
    }
    Lines > .option-list--option { padding: 0 1; }
    Lines > .option-list--option-highlighted { background: $surface; color: $foreground; text-style: none; }
    Lines:focus > .option-list--option-highlighted { background: $panel; color: $foreground; text-style: none; }
    """


class Heading(Static):
    """The name of a room, and a few words beside it."""

    DEFAULT_CSS = "Heading { height: 1; padding: 0 2; }"

    def __init__(self, name: str, about: str = "") -> None:
        super().__init__(self.words(name, about))

    @staticmethod
    def words(name: str, about: str) -> Content:
        return Content.assemble((name, "bold"), "   ", (about, "$foreground-muted"))
