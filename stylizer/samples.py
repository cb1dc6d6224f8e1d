"""Frames that stand for a clip: a few, spread over all of it, at output size."""

from __future__ import annotations

import torch
from torch import Tensor

from stylizer.colour import planes_to_rgb
from stylizer.errors import InputError
from stylizer.jobs import Clip, FrameRange
from stylizer.stylize import scaled
from stylizer.video import Reader, output_size


def sample_frames(clip: Clip, long_side: int | None, count: int) -> tuple[Tensor, tuple[int, ...]]:
    """Up to `count` frames as (n, 3, H, W) uint8 RGB and their positions in the clip. InputError if none decodes.

    From the middles of equal parts: the first and last frames of a clip are often black.
    """
    count = min(count, clip.frames)
    size = output_size(clip, long_side)
    pictures, positions = [], []
    for n in range(count):
        position = (2 * n + 1) * clip.frames // (2 * count)
        reader = Reader(clip, FrameRange(position, position + 1))
        for frame in reader:
            rgb = scaled(planes_to_rgb(frame.planes, reader.layout, torch.device("cpu")), size)
            pictures.append((rgb[0] * 255 + 0.5).to(torch.uint8))
            positions.append(position)
    if not pictures:
        raise InputError(f"No frame of {clip.path} can be decoded.", hint="Check that the file plays.")
    return torch.stack(pictures), tuple(positions)
