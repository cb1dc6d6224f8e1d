"""Frames that stand for a clip: a few, spread over all of it, at output size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stylizer.colour import planes_to_rgb
from stylizer.errors import InputError
from stylizer.jobs import Clip, FrameRange
from stylizer.stylize import scaled
from stylizer.video import Reader, output_size, starts_of


def sample_frames(clip: Clip, long_side: int | None, count: int) -> tuple[Tensor, tuple[int, ...]]:
    """Up to `count` frames as (n, 3, H, W) uint8 RGB and their positions in the clip. InputError if none decodes.

    One of each of so many equal parts: that in which decoding can start, where there is one, else the middle (the first and
    last frames of a clip are often black). So an hour of film costs a few frames, and a short clip one pass over it.
    """
    size = output_size(clip, long_side)
    starts = starts_of(clip)
    pictures, found = [], []
    for wanted in _passes(_spread(clip.frames, min(count, clip.frames), starts), starts):
        reader = Reader(clip, FrameRange(wanted[0], wanted[-1] + 1))
        for number, frame in enumerate(reader):
            position = wanted[0] + number + reader.skipped
            if position in wanted:
                rgb = scaled(planes_to_rgb(frame.planes, reader.layout, torch.device("cpu")), size)
                pictures.append((rgb[0] * 255 + 0.5).to(torch.uint8))
                found.append(position)
    if not pictures:
        raise InputError(f"No frame of {clip.path} can be decoded.", hint="Check that the file plays.")
    return torch.stack(pictures), tuple(found)


def _spread(frames: int, count: int, starts: Sequence[int]) -> Iterator[int]:
    """Positions, rising: one in each of `count` parts of the clip."""
    for n in range(count):
        first, last = n * frames // count, (n + 1) * frames // count
        middle = (2 * n + 1) * frames // (2 * count)
        after = bisect_right(starts, middle)
        near = min(starts[max(0, after - 1) : after + 1], key=lambda start: abs(start - middle), default=-1)
        yield near if first < near < last else middle


def _passes(positions: Iterator[int], starts: Sequence[int]) -> list[list[int]]:
    """The positions that are decoded from the same start, together."""
    passes: list[list[int]] = []
    begun = -1
    for position in positions:
        begin = bisect_right(starts, position)
        if begin != begun:
            passes.append([])
            begun = begin
        passes[-1].append(position)
    return passes
