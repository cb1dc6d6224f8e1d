"""The preview: a contact sheet that a process of its own paints, and its frames as pictures in the terminal."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import get_current_worker

from stylizer import screen
from stylizer.errors import StylizerError
from stylizer.jobs import Look, Quality
from stylizer.styles import load_style
from tui.halfblocks import halfblocks
from tui.screens.asking import asked, still_open, wrong_words

Pixels = NDArray[np.uint8]
"""(height, width, 3) RGB."""
FRAMES = 2
LONGEST = 512
"""Pixels of a style's long side that are looked at."""
CALM = 1.0
"""Seconds that nothing changes before frames are painted unasked."""
EDGE, GAP, LABEL, HEAD, FOOT = 28, 12, 22, 58, 40
"""Of the contact sheet, in pixels, as preview.py draws it."""


class Sheet(Vertical):
    """Paints frames of a clip in a look and shows them."""

    class Painted(Message):
        """There is a preview to be looked at."""

    DEFAULT_CSS = """
    Sheet .title { color: $foreground-muted; }
    Sheet #sheet-said { height: auto; max-height: 3; min-height: 1; color: $foreground-muted; margin-bottom: 1; }
    Sheet #sheet-said.-wrong { color: $text-error; }
    Sheet #picture { height: auto; }
    """

    def __init__(self, *, classes: str) -> None:
        super().__init__(classes=classes)
        self._folder = tempfile.TemporaryDirectory(prefix="stylizer-preview-")
        self._painted: list[tuple[str, Pixels]] = []
        self._of: tuple[Path | None, Look | None] = None, None
        self._soon: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static("Preview", classes="title")
        yield Static("Two frames of the clip, once it has a style.", id="sheet-said", markup=False)
        yield Static(id="picture")

    def on_unmount(self) -> None:
        self._folder.cleanup()

    def look_at(self, clip: Path | None, look: Look | None, *, idle: bool) -> None:
        """Another clip or look: the style itself is shown; soon two frames in it, unasked where the machine is `idle`."""
        # It is painted without its fit, whatever the quality.
        of = clip, replace(look, quality=Quality.DRAFT) if look else None
        if of == self._of:
            return
        self._of, self._painted = of, []
        self.workers.cancel_node(self)
        if self._soon:
            self._soon.stop()
        if look is None:
            return
        self._load_style(look.styles[0].path)
        if clip is None:
            self._say("The style.")
        elif idle:
            self._say("The style. Two frames of the clip in it are next.")
            self._soon = self.set_timer(CALM, partial(self.paint, clip, look))
        else:
            self._say("The style. ctrl+r paints two frames of the clip in it, though this machine is busy.")

    @work(thread=True, group="style")
    def _load_style(self, style: Path) -> None:
        try:
            pixels = load_style(style, LONGEST)
        except StylizerError:
            return
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._show_style, pixels)

    def _show_style(self, pixels: Pixels) -> None:
        if still_open(self) and not self._painted:
            self.query_one("#picture", Static).update(drawn(pixels, *self._room()))

    def enlarge(self) -> None:
        """Show what is painted over the whole screen."""
        if self._painted:
            self.app.push_screen(Large(self._painted))

    @work(exclusive=True, group="paint")
    async def paint(self, clip: Path, look: Look, *, wanted: bool = False) -> None:
        """Paint two frames and show them; if they are `wanted`, over the whole screen where there is no room beside the
        fields.
        """
        if self._soon:
            self._soon.stop()
        self._say("Painting two frames …")
        target = Path(self._folder.name) / "sheet.png"
        answer = await asked(command(clip, look, target))
        if not still_open(self):
            return
        if not answer.get("ok"):
            self._say(wrong_words(answer), wrong=True)
            return
        self._say(f"{screen.duration(answer['seconds'])} for all {answer['frames']} frames, {answer['basis']}")
        with Image.open(target) as image:
            found = cells(np.asarray(image.convert("RGB")), FRAMES)
        self._painted = [(name, found[row][n]) for n in range(FRAMES) for row, name in ((1, "painted"), (0, "as it is"))]
        if self.display:
            self.query_one("#picture", Static).update(self._arranged())
        elif wanted:
            self.enlarge()
        self.post_message(self.Painted())

    def _room(self) -> tuple[int, int]:
        return max(8, self.content_size.width), max(4, self.content_size.height - 5)

    def _arranged(self) -> Content:
        """The first painted frame as wide as there is room; below it how it was, and the second painted one."""
        width, height = self._room()
        (_, first), (_, before), (_, second), _ = self._painted
        large = drawn(first, width, height)
        left = height - len(large.plain.splitlines()) - 1
        if left < 4:
            return large
        half = (width - 2) // 2
        pair = [halfblocks(_scaled(pixels, half, left)) for pixels in (before, second)]
        below = [Content.assemble(one, "  ", other) for one, other in zip(*pair, strict=True)]
        return Content("\n").join([large, Content(""), *below])

    def _say(self, words: str, *, wrong: bool = False) -> None:
        said = self.query_one("#sheet-said", Static)
        said.set_class(wrong, "-wrong")
        said.update(words)


class Large(ModalScreen[None]):
    """Pictures over the whole screen, one after the other."""

    DEFAULT_CSS = """
    Large { align: center middle; background: $background; }
    Large #large { width: auto; height: auto; }
    Large #caption { width: auto; color: $foreground-muted; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,enter,q", "dismiss", "Close"),
        ("right,space,l", "turn(1)", "Next"),
        ("left,h", "turn(-1)", "Before"),
    ]

    def __init__(self, pictures: Sequence[tuple[str, Pixels]]) -> None:
        super().__init__()
        self._pictures, self._at = pictures, 0

    def compose(self) -> ComposeResult:
        with Center():
            yield Static(id="large")
        with Center():
            yield Static(id="caption")

    def on_mount(self) -> None:
        self._show()

    def on_resize(self) -> None:
        self._show()

    def action_turn(self, steps: int) -> None:
        self._at = (self._at + steps) % len(self._pictures)
        self._show()

    def _show(self) -> None:
        name, pixels = self._pictures[self._at]
        width, height = self.app.size
        self.query_one("#large", Static).update(drawn(pixels, width - 4, height - 4))
        self.query_one("#caption", Static).update(f"{self._at + 1} of {len(self._pictures)} · {name} · ← → esc")


def command(clip: Path, look: Look, target: Path) -> list[str]:
    """The command line that paints the sheet: a row in the look, its styles blended, without its fit."""
    arguments = [str(clip), "--output", str(target), "--frames", str(FRAMES), "--json"]
    arguments += [word for style in look.styles for word in ("--style", str(style.path))]
    arguments += ["--blend", ",".join(f"{style.weight:.6g}" for style in look.styles)]
    arguments += ["--strength", f"{look.strength:g}", "--brush", f"{look.brush:g}"]
    arguments += ["--keep-color" if look.keep_color else "--no-keep-color"]
    return [sys.executable, "-m", "stylizer", "preview", *arguments]


def cells(sheet: Pixels, frames: int) -> list[list[Pixels]]:
    """The pictures of a contact sheet of one look: the clip's own frames, then the painted ones."""
    height = (sheet.shape[0] - HEAD + GAP - FOOT - EDGE) // 2 - LABEL - GAP
    width = (sheet.shape[1] - 2 * EDGE - frames * GAP) // (frames + 1)
    tops = [HEAD + row * (height + LABEL + GAP) for row in (0, 1)]
    lefts = [EDGE + (1 + n) * (width + GAP) for n in range(frames)]
    return [[sheet[top : top + height, left : left + width] for left in lefts] for top in tops]


def drawn(pixels: Pixels, columns: int, lines: int) -> Content:
    """A picture in half blocks, as large as fits into so many columns and lines."""
    return Content("\n").join(halfblocks(_scaled(pixels, columns, lines)))


def _scaled(pixels: Pixels, columns: int, lines: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = min(columns / width, 2 * lines / height)
    size = max(1, round(width * scale)), max(2, round(height * scale / 2) * 2)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
