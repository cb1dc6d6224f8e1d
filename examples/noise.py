"""Fractal noise, the raw material of clouds, hills and brush strokes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def fractal(
    random: np.random.Generator, height: int, width: int, cell: float, octaves: int = 5, stretch: float = 1.0
) -> Field:
    """(height, width) noise, roughly 0..1 around 0.5: `octaves` layers, the coarsest with cells of `cell` pixels,
    `stretch` times as wide as they are high.
    """
    total = np.zeros((height, width), np.float32)
    share, weight = 1.0, 0.0
    for _ in range(octaves):
        rows = max(2, int(height / cell) + 2)
        columns = max(2, int(width / (cell * stretch)) + 2)
        total += share * _grown(random.random((rows, columns), np.float32), height, width, cell, cell * stretch)
        weight += share
        share, cell = share * 0.5, max(1.0, cell * 0.5)
    total /= weight
    return (total - total.mean()) / (5 * total.std()) + np.float32(0.5)


def _grown(coarse: Field, height: int, width: int, down: float, across: float) -> Field:
    y, x = np.arange(height, dtype=np.float32) / down, np.arange(width, dtype=np.float32) / across
    iy, ix = np.minimum(y.astype(int), coarse.shape[0] - 2), np.minimum(x.astype(int), coarse.shape[1] - 2)
    fy, fx = _eased(y - iy)[:, None], _eased(x - ix)[None, :]
    top = coarse[iy][:, ix] * (1 - fx) + coarse[iy][:, ix + 1] * fx
    bottom = coarse[iy + 1][:, ix] * (1 - fx) + coarse[iy + 1][:, ix + 1] * fx
    return (top * (1 - fy) + bottom * fy).astype(np.float32)


def _eased(t: Field) -> Field:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def smooth(low: float, high: float, x: Field) -> Field:
    """0 below `low`, 1 above `high`, eased between."""
    return _eased((x - np.float32(low)) / np.float32(high - low))
