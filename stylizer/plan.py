"""Cut a clip into chunks. Pure arithmetic, no I/O."""

from __future__ import annotations

from itertools import pairwise

from stylizer.jobs import Clip, FrameRange, MediaKind

LEAST_FRAMES = 24
"""Fewer are not worth starting an encoder for."""
MOST_FRAMES = 1200
"""More would be too much to lose."""
PICTURES = 24
"""Of a sequence, in a chunk: it has no seconds."""


def cut_to(clip: Clip, frames: int) -> list[FrameRange]:
    """The clip's frames as ranges of at most so many, as equal as can be."""
    count = max(1, -(-clip.frames // max(1, frames)))
    bounds = [n * clip.frames // count for n in range(count + 1)]
    return [FrameRange(start, stop) for start, stop in pairwise(bounds)]


def cut(clip: Clip, seconds: float) -> list[FrameRange]:
    """The clip's frames 0..frames-1 as ranges that follow each other without a gap, about `seconds` long and as equal as
    can be; one range for a still.
    """
    if clip.kind is MediaKind.STILL:
        wanted = clip.frames
    elif clip.kind is MediaKind.SEQUENCE or clip.rate <= 0:
        wanted = PICTURES
    else:
        wanted = round(min(max(seconds * float(clip.rate), LEAST_FRAMES), MOST_FRAMES))
    count = max(1, round(clip.frames / wanted))
    bounds = [n * clip.frames // count for n in range(count + 1)]
    return [FrameRange(start, stop) for start, stop in pairwise(bounds)]
