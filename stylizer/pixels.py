"""Pixel formats and colour tags of libav, and what they are among our layouts."""

from __future__ import annotations

import re
from pathlib import Path

import av

from stylizer.errors import InputError
from stylizer.frames import Layout

SUPPORTED = (
    "Supported are videos (mp4, mov, mkv, webm, avi, 3gp, ts, gif, …), jpg, png, webp and tiff pictures, "
    "and folders of pictures."
)
"""The hint of every error about a kind of file that is not."""


def planar_format(name: str, path: Path) -> str:
    """The planar pixel format that holds all that `name` does, in the byte order of numpy; InputError if there is none."""
    form = av.VideoFormat(name)
    if layout_of_format(name, "bt709", False) is not None:
        return name
    bits = max((c.bits for c in form.components), default=0)
    depth = next((d for d in (8, 9, 10, 12, 14, 16) if d >= bits), 0)
    if (
        not form.components
        or not depth
        or form.is_bayer
        or name.startswith(("xyz", "vaapi"))
        or "f16" in name
        or "f32" in name
    ):
        raise InputError(f"{path} has pixels in the form {name}, which is not supported.", hint=SUPPORTED)
    alpha = "a" if any(c.is_alpha for c in form.components) or form.has_palette else ""
    tail = "" if depth == 8 else f"{depth}le"
    if form.is_rgb or form.has_palette or (alpha and len(form.components) == 2):
        options = [f"gbr{alpha}p{tail}", f"gbr{alpha}p16le"]
    elif len(form.components) == 1:
        options = [f"gray{tail}"]
    else:
        across, down = -(-64 // form.chroma_width(64)), -(-64 // form.chroma_height(64))
        sampling = {(2, 2): "420", (2, 1): "422", (1, 2): "440", (4, 1): "411"}.get((across, down), "444")
        options = [f"yuv{alpha}{sampling}p{tail}", f"yuv{alpha}444p{tail}", f"yuv{alpha}444p16le"]
    for option in options:
        try:
            av.VideoFormat(option)
        except ValueError:
            continue
        return option
    raise InputError(f"{path} has pixels in the form {name}, which is not supported.", hint=SUPPORTED)


def layout_of_format(name: str, matrix: str, full_range: bool) -> Layout | None:
    """The layout of a planar pixel format of libav; None for packed, big-endian and unusual ones."""
    found = re.fullmatch(r"(?:(yuv|gbr)(j|a)?(420|422|444|440|411)?p|(gray))(?:(9|10|12|14|16)le)?", name)
    if not found or (found[1] == "yuv") != (found[3] is not None):
        return None
    depth = int(found[5] or 8)
    if found[4]:
        return Layout("grey", depth, full_range=full_range)
    if found[1] == "gbr":
        return Layout("rgb", depth, full_range=True, alpha=found[2] == "a")
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "440": (1, 2), "411": (4, 1)}[found[3]]
    return Layout("yuv", depth, across, down, matrix, full_range or found[2] == "j", found[2] == "a")


def matrix_of(tag: int, primaries: int, size: tuple[int, int], codec: str, path: Path) -> str:
    """The YUV matrix that a colour tag of libav means, guessed where it says nothing; InputError if it is not supported."""
    known = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}
    if tag in known:
        return known[tag]
    if tag not in (0, 2, 3):
        raise InputError(f"{path} codes its colours in a way that is not supported (libav matrix {tag}).", hint=SUPPORTED)
    return guessed_matrix(primaries, *size, codec)


def guessed_matrix(primaries: int, width: int, height: int, codec: str) -> str:
    """The matrix of a source that does not say, as players guess it: by its primaries and size."""
    if primaries == 9:
        return "bt2020"
    return "bt601" if codec == "mjpeg" or min(width, height) < 720 else "bt709"
