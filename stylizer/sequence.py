"""Folders of pictures: their files in order, and painted ones published whole."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from stylizer.errors import InputError, OutputError
from stylizer.files import settle
from stylizer.jobs import Clip, MediaKind

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""File name ending to Pillow's name of the format."""
MARK = ".stylizer"
"""A file in every folder of painted pictures, by which we know it as ours to replace."""


def files_of(clip: Clip) -> list[Path]:
    """The files of a still or sequence in order. InputError if a sequence is no longer what was probed."""
    if clip.kind is MediaKind.STILL:
        return [clip.path]
    files, mark = _cached_list(clip.path, clip.fingerprint)
    if mark != clip.fingerprint or len(files) != clip.frames:
        raise InputError(f"The pictures in {clip.path} have changed since the job was added.", hint="Add it again.")
    return files


@functools.lru_cache(maxsize=4)
def _cached_list(folder: Path, fingerprint: str) -> tuple[list[Path], str]:  # noqa: ARG001 - the fingerprint is for the cache
    return listed(folder)


def listed(folder: Path) -> tuple[list[Path], str]:
    """The pictures in a folder in order, and a fingerprint of them. OSError if it cannot be read."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()]
    files = [p for p in files if not is_style(p.name)]
    files.sort(key=natural)
    whole = hashlib.sha256()
    for path in files:
        facts = path.stat()
        whole.update(f"{path.name}\0{facts.st_size} {facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return files, whole.hexdigest()[:32]


def is_style(name: str) -> bool:
    """Whether a picture says by its name that it is a style and not to be painted: style.jpg, style-2.png, …"""
    return bool(re.fullmatch(r"style([-_ ].*)?\.(jpe?g|png|webp|tiff?|bmp|gif)", name, re.IGNORECASE))


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key: digits count as numbers, so that frame2 comes before frame10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in parts]


def publish(
    clip: Clip,
    chunks: Sequence[Path],
    output: Path,
    part: Path,
    expected: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Gather the pictures of all chunk folders in the folder `part` and give it the name `output`, whole or not at all.

    OutputError if they are not `expected` many, or if `output` holds what is not ours.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; painted pictures go into a folder.", hint="Give another -o.")
    if output.is_dir() and any(output.iterdir()) and not (output / MARK).exists():
        raise OutputError(
            f"The folder {output} is not empty and was not made by stylizer.", hint="Give a new folder with -o."
        )
    if output.resolve() == clip.path.resolve():
        raise OutputError(f"{output} is the source itself; sources are never changed.", hint="Give another folder with -o.")
    part.mkdir()
    done = 0
    for picture in (p for chunk in chunks for p in sorted(chunk.iterdir())):
        if (part / picture.name).exists():
            raise OutputError(f"{picture.name} is in more than one chunk.", hint="Run the job again from the start.")
        try:
            os.link(picture, part / picture.name)
        except OSError:
            shutil.copyfile(picture, part / picture.name)
        done += 1
        if progress:
            progress(done, expected)
    if done != expected:
        raise OutputError(
            f"The chunks of {output.name} have {done} pictures instead of {expected}.",
            hint="Run the job again from the start.",
        )
    (part / MARK).write_text(clip.fingerprint, encoding="utf-8")
    if output.exists():
        old = output.with_name(output.name + ".old.part")
        remove(old)
        output.rename(old)
        settle(part, output)
        remove(old)
    else:
        settle(part, output)


def remove(path: Path) -> None:
    """Delete a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
