"""Many pictures as one file, and back: what comes from another machine may hold anything."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from stylizer.errors import InputError


def plain(name: str) -> str:
    """A name that is no path. InputError if it is one."""
    if not name or name.startswith(".") or any(letter in name for letter in "/\\:\0"):
        raise InputError(f"{name!r} is no plain file name.")
    return name


def pack_pictures(pictures: Iterable[Path], archive: Path) -> None:
    """Put pictures, uncompressed, into one file."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for picture in sorted(pictures):
            # The same pictures make the same archive, whenever it is made.
            entry = zipfile.ZipInfo(picture.name)
            entry.file_size = picture.stat().st_size
            with picture.open("rb") as source, file.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def unpack_pictures(archive: Path, folder: Path, *, most: int, most_bytes: int = 1 << 40) -> None:
    """The inverse: at most so many plain files in a new folder. InputError for anything else in the archive."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as file:
            entries = file.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if len(entries) > most or sum(entry.file_size for entry in entries) > most_bytes or not stored:
                raise InputError(f"{archive.name} holds more than it should.")
            for entry in entries:
                path = folder / plain(entry.filename)
                with file.open(entry) as source, path.open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, FileExistsError, NotImplementedError) as error:
        raise InputError(f"{archive.name} is not as it was packed: {error}.") from None
