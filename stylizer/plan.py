"""Cut a clip into chunks, and place work on free capacity. Pure arithmetic, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stylizer.jobs import Clip, FrameRange, MediaKind

LEAST_FRAMES = 24
"""Fewer are not worth starting an encoder for."""
MOST_FRAMES = 1200
"""More would be too much to lose."""
PICTURES = 24
"""Of a sequence, in a chunk: it has no seconds."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that may be submitted: the fit of a job (index None) or one of its chunks."""

    job: int
    index: int | None
    priority: int
    position: float
    backend: str
    """Which backend is to have it."""


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


def place(waiting: Sequence[Waiting], free: Mapping[str, int]) -> list[Waiting]:
    """What to submit now, in that order: never more than a backend has free.

    Jobs of a higher priority go first, then those that are earlier in the queue: a clip that is done is worth more than
    two that are half done. Whatever one job leaves free, the next one gets.
    """
    left = dict(free)
    chosen = []
    for item in sorted(waiting, key=lambda w: (-w.priority, w.position, w.job, -1 if w.index is None else w.index)):
        if left.get(item.backend, 0) > 0:
            left[item.backend] -= 1
            chosen.append(item)
    return chosen
