"""16-bit RGB pictures as PNG and TIFF files, with their profile and EXIF: Pillow writes neither."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write(path: Path, rows: NDArray[Any], kind: str, exif: bytes, profile: bytes) -> None:
    """Write (rows, columns, 3 or 4) uint16 as a PNG or TIFF (`kind`); `exif` may start with its JPEG marker."""
    exif = exif.removeprefix(b"Exif\0\0")
    content = _png(rows, exif, profile) if kind == "PNG" else _tiff(rows, profile)
    path.write_bytes(content)


def _png(rows: NDArray[Any], exif: bytes, profile: bytes) -> bytes:
    height, width, channels = rows.shape
    out = io.BytesIO()
    out.write(b"\x89PNG\r\n\x1a\n")

    def chunk(name: bytes, content: bytes) -> None:
        out.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))

    chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0))
    if profile:
        chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if exif:
        chunk(b"eXIf", exif)
    samples = rows.astype(">u2").view(np.uint8).reshape(height, width * channels * 2)
    # Filter 2 (up): each row minus the one above it, which compresses far better than the samples themselves.
    above = np.zeros_like(samples)
    above[1:] = samples[:-1]
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), samples - above], axis=1)
    chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6))
    chunk(b"IEND", b"")
    return out.getvalue()


def _tiff(rows: NDArray[Any], profile: bytes) -> bytes:
    height, width, channels = rows.shape
    strip = zlib.compress(rows.astype("<u2").tobytes(), 6)
    short, long, undefined = 3, 4, 7
    entries: list[tuple[int, int, int, bytes]] = [
        (256, long, 1, struct.pack("<I", width)),
        (257, long, 1, struct.pack("<I", height)),
        (258, short, channels, struct.pack(f"<{channels}H", *[16] * channels)),
        (259, short, 1, struct.pack("<H", 8)),  # deflate
        (262, short, 1, struct.pack("<H", 2)),  # RGB
        (273, long, 1, struct.pack("<I", 8)),
        (277, short, 1, struct.pack("<H", channels)),
        (278, long, 1, struct.pack("<I", height)),
        (279, long, 1, struct.pack("<I", len(strip))),
    ]
    if channels == 4:
        entries.append((338, short, 1, struct.pack("<H", 2)))  # alpha, not premultiplied
    if profile:
        entries.append((34675, undefined, len(profile), profile))
    strip += b"\0" * (len(strip) % 2)
    start = 8 + len(strip)
    after = start + 2 + 12 * len(entries) + 4
    directory, beyond = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in entries:
        if len(value) <= 4:
            place = value.ljust(4, b"\0")
        else:
            place = struct.pack("<I", after + len(beyond))
            beyond += value + b"\0" * (len(value) % 2)
        directory += struct.pack("<HHI", tag, kind, count) + place
    return struct.pack("<2sHI", b"II", 42, start) + strip + directory + b"\0\0\0\0" + beyond
