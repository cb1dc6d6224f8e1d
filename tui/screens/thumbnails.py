"""Style pictures to choose from: those used lately, then those that lie beside them or in the folder at hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from textual.content import Content

from stylizer.errors import StylizerError
from stylizer.screen import plain
from stylizer.store import Store
from stylizer.styles import load_style
from tui.halfblocks import fitted, halfblocks
from tui.screens.paths import PICTURES

COLUMNS, LINES = 12, 3
MOST = 40
RECENT = 200
"""Jobs whose styles are looked at."""


@dataclass(frozen=True, slots=True)
class Known:
    """A style picture with its thumbnail."""

    path: Path
    lines: tuple[Content, ...]
    """LINES lines of COLUMNS half blocks."""

    def option(self, share: float) -> Content:
        """The thumbnail with the name beside it; with its share of the blend where it is chosen (else 0)."""
        chosen = f"{share:.0%}" if 0 < share < 1 else "✓" if share else ""
        words = [Content(""), Content(plain(self.path.stem)), Content.styled(chosen, "$accent bold")]
        beside = zip(self.lines, words, strict=True)
        lines = [Content.assemble(picture, "  ", name) for picture, name in beside]
        return Content("\n").join([*lines, Content("")])


def known_styles(store: Path, chosen: Iterable[Path], folders: Iterable[Path], before: Iterable[Known]) -> list[Known]:
    """Usable style pictures: the chosen ones, those used before, then those in the folders. Thumbnails that are known
    `before` are not made again.
    """
    made = {known.path: known for known in before}
    found = []
    for path in _paths(store, chosen, folders):
        try:
            found.append(made.get(path) or thumbnail(path))
        except StylizerError:
            # Not every picture in a folder can be read; only a chosen one is worth a sentence.
            continue
        if len(found) == MOST:
            break
    return found


def thumbnail(path: Path) -> Known:
    """StyleError if the picture is not usable."""
    return Known(path, tuple(halfblocks(fitted(load_style(path, 8 * COLUMNS), COLUMNS, LINES))))


def _paths(store: Path, chosen: Iterable[Path], folders: Iterable[Path]) -> list[Path]:
    paths = {path.absolute(): None for path in chosen}
    if store.exists():
        with Store(store, write=False) as reader:
            recent = sorted(reader.jobs(), key=lambda job: -job.id)[:RECENT]
        paths |= dict.fromkeys(style.path for job in recent for style in job.look.styles if style.path.is_file())
    for folder in [*folders, *dict.fromkeys(path.parent for path in paths)]:
        try:
            inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file())
        except OSError:
            continue
        paths |= dict.fromkeys(inside[:MOST])
    return list(paths)
