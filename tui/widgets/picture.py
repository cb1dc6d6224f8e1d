"""A picture in the terminal, as large as there is room: in real pixels where the terminal is known for them, in half blocks
everywhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

if TYPE_CHECKING:
    from tui.widgets.frames import Pixels

TERMS = ("xterm-kitty", "xterm-ghostty", "foot", "mlterm", "contour")
PROGRAMS = ("WezTerm", "iTerm.app", "ghostty", "mintty")


def sharp(environment: Mapping[str, str] = os.environ) -> type[Widget] | None:
    """The widget of textual-image for this terminal's graphics; None without any. It asks the terminal, so only one that
    is known to answer is asked, and before the app reads its keys.
    """
    known = environment.get("TERM", "").startswith(TERMS) or environment.get("TERM_PROGRAM") in PROGRAMS
    if not (known or "WT_SESSION" in environment) or "TMUX" in environment:
        return None
    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.__stdout__ and sys.__stdout__.isatty()):
        return None
    try:
        from textual_image.renderable import Image, SixelImage, TGPImage  # noqa: PLC0415  # it asks when it is imported
        from textual_image.widget import Image as Drawn  # noqa: PLC0415
    except ImportError:
        return None
    return Drawn if Image in (SixelImage, TGPImage) else None


class Picture(Vertical):
    """Shows pixels, with a caption below."""

    def __init__(self, drawn: type[Widget] | None, *, id: str) -> None:
        super().__init__(id=id)
        self._drawn = drawn
        self._pixels: Pixels | None = None

    def compose(self) -> ComposeResult:
        yield self._drawn(classes="pixels") if self._drawn else Static(classes="pixels")
        yield Static(classes="caption", markup=False)

    def show(self, pixels: Pixels | None, caption: str, missing: str) -> None:
        """(height, width, 3) RGB; the word `missing` where there are none."""
        self._pixels = pixels
        self.query_one(".caption", Static).update(caption if pixels is not None else missing)
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        from PIL import Image  # noqa: PLC0415  # with the first picture

        from tui.screens.sheet import drawn  # noqa: PLC0415

        shown: Any = self.query_one(".pixels")
        width, height = self.content_size.width, self.content_size.height - 1
        shown.display = self._pixels is not None and width > 3 and height > 1
        if not shown.display or self._pixels is None:
            return
        if self._drawn:
            rows, columns = self._pixels.shape[:2]
            # As wide as the half blocks would be: a cell is about twice as high as wide.
            shown.styles.width = min(width, max(1, round(2 * height * columns / rows)))
            shown.styles.height = "auto"
            shown.image = Image.fromarray(self._pixels)
        else:
            shown.update(drawn(self._pixels, width, height))
