"""Frames as typed values between video, stylize and worker: planes and what they mean. Only numpy.

A frame's planes stay as the decoder made them; colour conversion happens on the device (stylize.py), once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the planes of a frame mean. All frames of a chunk share one.

    RGB layouts have three full planes R, G, B. YUV layouts have Y and two chroma planes, `across` and `down` times
    smaller (420: 2, 2; 422: 2, 1; 444: 1, 1; chroma sides round up). Grey has one plane. An alpha plane may follow.
    """

    model: str
    """rgb, yuv or grey."""
    depth: int
    """Bits a sample: 8 (uint8 planes) or 9..16 (uint16 planes, value in the low bits)."""
    across: int = 1
    down: int = 1
    matrix: str = "bt709"
    """YUV only: bt601, bt709 or bt2020 (non-constant luminance)."""
    full_range: bool = False
    """YUV and grey: 0..2^depth-1 instead of 16..235 / 16..240 scaled to the depth. RGB is always full."""
    alpha: bool = False

    def __post_init__(self) -> None:
        if self.model not in ("rgb", "yuv", "grey") or self.matrix not in ("bt601", "bt709", "bt2020"):
            raise ValueError(f"unknown layout: {self}")
        if not 8 <= self.depth <= 16 or self.across not in (1, 2, 4) or self.down not in (1, 2):
            raise ValueError(f"unknown layout: {self}")

    def shapes(self, width: int, height: int) -> list[tuple[int, int]]:
        """(rows, columns) of each plane of a frame of that size."""
        full = (height, width)
        small = (-(-height // self.down), -(-width // self.across))
        planes = {"rgb": [full] * 3, "yuv": [full, small, small], "grey": [full]}[self.model]
        return [*planes, full] if self.alpha else planes


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture: planes of shape (rows, columns), and when it is shown."""

    planes: tuple[Plane, ...]
    time: int
    """Presentation timestamp in the clip's own time base; the position for pictures."""
    duration: int = 0
    """In the same time base; 0 where the source does not say."""
