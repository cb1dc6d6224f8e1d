"""Pictures as text: a character is two pixels, one above the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from textual.content import Content


def fitted(pixels: NDArray[np.uint8], columns: int, lines: int) -> NDArray[np.uint8]:
    """(height, width, 3) RGB made to fill columns x 2·lines pixels, cut in the middle, not stretched."""
    height, width = pixels.shape[:2]
    scale = max(columns / width, 2 * lines / height)
    size = (max(columns, round(width * scale)), max(2 * lines, round(height * scale)))
    scaled = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    top, left = (size[1] - 2 * lines) // 2, (size[0] - columns) // 2
    return scaled[top : top + 2 * lines, left : left + columns]


def halfblocks(pixels: NDArray[np.uint8]) -> list[Content]:
    """A line for each two rows of (height, width, 3) RGB."""
    lines = []
    for top, bottom in zip(pixels[: len(pixels) // 2 * 2 : 2].tolist(), pixels[1::2].tolist(), strict=True):
        pairs = zip(top, bottom, strict=True)
        lines.append(Content.assemble(*(("▀", f"{_hex(over)} on {_hex(under)}") for over, under in pairs)))
    return lines


def _hex(rgb: list[int]) -> str:
    return f"#{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}"
