"""Paths typed with completion, and a tree of folders that shows only what can be painted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.suggester import Suggester
from textual.widgets import DirectoryTree, Input

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"))
CLIPS = PICTURES | frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".mxf", ".wmv", ".flv")
)
MOST = 2000
"""Entries of a folder that are looked at; completing must not wait for a huge one."""


def typed(text: str) -> Path:
    """The path that a person typed: ~ is home, quotes around it (as dragged files have) are not part of it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return Path(text).expanduser()


def completed(text: str, suffixes: frozenset[str]) -> str | None:
    """`text` with the name of the first folder or file that begins so; None if there is none, or nothing to add."""
    folder, start = os.path.split(text)
    found = sorted(_entries(Path(folder or ".").expanduser(), start, suffixes), key=lambda pair: (pair[0], pair[1].lower()))
    if not start or not found:
        return None
    is_file, name = found[0]
    return os.path.join(folder, name) + ("" if is_file else os.sep)  # noqa: PTH118  # the text stays as it was typed


def _entries(folder: Path, start: str, suffixes: frozenset[str]) -> Iterable[tuple[bool, str]]:
    try:
        with os.scandir(folder) as entries:
            for entry, _ in zip(entries, range(MOST), strict=False):
                name = entry.name
                hidden = name.startswith(".") and not start.startswith(".")
                if hidden or not name.lower().startswith(start.lower()):
                    continue
                if entry.is_dir():
                    yield False, name
                elif Path(name).suffix.lower() in suffixes:
                    yield True, name
    except OSError:
        return


class PathInput(Input):
    """A path; Tab completes it as far as there is something to complete, then goes on to the next field."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "Complete", show=False)]

    def __init__(self, value: str, placeholder: str, suffixes: frozenset[str], *, id: str) -> None:
        super().__init__(value, placeholder, id=id, compact=True, suggester=Completes(suffixes))
        self._suffixes = suffixes

    def action_complete(self) -> None:
        whole = completed(self.value, self._suffixes)
        if whole and whole != self.value:
            self.value = whole
            self.cursor_position = len(whole)
        else:
            self.screen.focus_next()


class Completes(Suggester):
    """Completes a path to a folder or to a file with one of these suffixes."""

    def __init__(self, suffixes: frozenset[str]) -> None:
        # Folders change while the studio is open.
        super().__init__(use_cache=False, case_sensitive=True)
        self._suffixes = suffixes

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(completed, value, self._suffixes)


class MediaTree(DirectoryTree):
    """Folders, and files with one of these suffixes."""

    ICON_NODE: str = "▸ "
    ICON_NODE_EXPANDED: str = "▾ "
    ICON_FILE: str = "  "
    show_root = False
    guide_depth = 2
    DEFAULT_CSS = """
    MediaTree { background: $background; padding: 0; scrollbar-size-vertical: 1; }
    MediaTree > .directory-tree--extension { text-style: none; }
    MediaTree > .directory-tree--folder { text-style: none; color: $foreground-muted; }
    """

    def __init__(self, path: Path, suffixes: frozenset[str], *, id: str) -> None:
        super().__init__(path, id=id)
        self._suffixes = suffixes

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [path for path in paths if not path.name.startswith(".") and self._is_shown(path)]

    def _is_shown(self, path: Path) -> bool:
        return path.suffix.lower() in self._suffixes or self._safe_is_dir(path)
