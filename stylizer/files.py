"""Files that exist whole or not at all, and what they contain."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def settle(part: Path, final: Path) -> None:
    """Make `part` (a file or a folder of files) durable and give it its final name, atomically."""
    if part.is_dir():
        for path in part.iterdir():
            _sync(path)
    _sync(part)
    part.replace(final)
    _sync(final.parent)


def glimpse_of(checkpoint: Path) -> Path:
    """Where a small frame lies that was painted while this checkpoint was fitted (glimpse.py), if there was time for one."""
    return checkpoint.with_suffix(".jpg")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of a folder's files; hexadecimal."""
    if path.is_dir():
        whole = hashlib.sha256()
        for inner in sorted(path.iterdir()):
            whole.update(f"{inner.name}\0{digest_of(inner)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """fsync a file or, where the system can, a folder (Windows cannot)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
