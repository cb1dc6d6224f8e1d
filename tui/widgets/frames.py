"""A frame before and after: the newest that is painted, decoded in a thread, with the source's frame of the same number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylizer.errors import StylizerError
from stylizer.jobs import Chunk, ChunkState, Clip, FrameRange, Job, JobState
from stylizer.views import picture_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stylizer.frames import Frame, Layout

    Pixels = NDArray[np.uint8]

# ruff: noqa: PLC0415 - numpy, Pillow and PyAV wait for the thread that needs them

LONGEST = 640
"""Pixels of the long side that are kept."""
SHAPING = "taking shape"
MATRIX = {"bt601": (1.402, 0.344136, 0.714136, 1.772), "bt709": (1.5748, 0.187324, 0.468124, 1.8556)}
MATRIX["bt2020"] = (1.4746, 0.164553, 0.571353, 1.8814)
"""Red of Cr, green of Cb and Cr, blue of Cb."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which frame is to be shown."""

    job: Job
    path: Path
    """The file with the painted frame."""
    inside: int
    """Number of the frame in that file."""
    frame: int
    """Number of it in the clip."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The small painting of a look that is being fitted, as it was at a time."""

    clip: Clip
    path: Path
    at: int


@dataclass(frozen=True, slots=True)
class Pair:
    """(height, width, 3) RGB; None where it cannot be read."""

    frame: int
    before: Pixels | None
    after: Pixels | None
    said: str
    """What `after` is."""


def wanted(job: Job, chunks: Iterable[Chunk], chosen: Chunk | None = None) -> Wanted | Shape | None:
    """The first frame of the chosen chunk if that is painted, else of the newest that is, else how it takes shape; None
    where there is nothing yet.
    """
    if job.state is JobState.DONE:
        frame = chosen.frames.start if chosen else job.clip.frames // 2
        return Wanted(job, job.output, frame, frame)
    done = [chunk for chunk in chunks if chunk.state is ChunkState.DONE and chunk.output]
    newest = max(done, key=lambda chunk: (chunk.finished_at or 0.0, chunk.index), default=None)
    chunk = chosen if chosen and chosen.state is ChunkState.DONE and chosen.output else newest
    if chunk and chunk.output:
        return Wanted(job, chunk.output, 0, chunk.frames.start)
    try:
        path = picture_of(job)
        return Shape(job.clip, path, path.stat().st_mtime_ns) if path else None
    except OSError:
        return None


def load(what: Wanted | Shape, shown: Pair | None = None) -> Pair:
    """Decode both, the source's frame only if it is not the one that is shown; what cannot be read is None."""
    if isinstance(what, Shape):
        clip, (number, after), said = what.clip, _shape(what.path), SHAPING
    else:
        clip, number, after, said = what.job.clip, what.frame, _painted(what), "after"
    known = shown.before if shown and shown.frame == number else None
    return Pair(number, known if known is not None else _frame(clip, number), after, said)


def load_style(job: Job) -> Pair:
    """The middle of the clip, and the first style of the look."""
    from stylizer.styles import load_style as picture

    middle = job.clip.frames // 2
    try:
        style = picture(job.look.styles[0].path, LONGEST)
    except StylizerError:
        style = None
    return Pair(middle, _frame(job.clip, middle), style, "the style")


def _shape(path: Path) -> tuple[int, Pixels | None]:
    """Which frame it is, and the painting."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return int(picture.info.get("comment", b"0")), np.array(picture.convert("RGB"))
    except (OSError, ValueError):
        return 0, None


def _painted(what: Wanted) -> Pixels | None:
    from stylizer.video import probe

    try:
        return _frame(probe(what.path), what.inside)
    except (StylizerError, OSError):
        return None


def _frame(clip: Clip, number: int) -> Pixels | None:
    from stylizer.video import layout_of, read_frames

    number = min(number, clip.frames - 1)
    try:
        frame = next(iter(read_frames(clip, FrameRange(number, number + 1))), None)
        return None if frame is None else pixels(frame, layout_of(clip))
    except (StylizerError, OSError, ValueError):
        return None


def pixels(frame: Frame, layout: Layout) -> Pixels:
    """A frame as RGB, every n-th pixel of it."""
    import numpy as np

    height, width = frame.planes[0].shape
    step = max(1, -(-max(height, width) // LONGEST))
    rows, columns = np.arange(0, height, step), np.arange(0, width, step)
    top = float((1 << layout.depth) - 1)
    full = frame.planes[0][np.ix_(rows, columns)].astype(np.float32) / top
    if layout.model == "rgb":
        rest = [plane[np.ix_(rows, columns)].astype(np.float32) / top for plane in frame.planes[1:3]]
        rgb = np.stack([full, *rest], -1)
    else:
        luma = full if layout.full_range else (full * 255 - 16) / 219
        rgb = np.stack([luma] * 3, -1)
        if layout.model == "yuv":
            red, green_b, green_r, blue = MATRIX[layout.matrix]
            at = np.ix_(rows // layout.down, columns // layout.across)
            cb, cr = (plane[at].astype(np.float32) / top - 0.5 for plane in frame.planes[1:3])
            if not layout.full_range:
                cb, cr = cb * 255 / 224, cr * 255 / 224
            rgb += np.stack([red * cr, -green_b * cb - green_r * cr, blue * cb], -1)
    return (rgb.clip(0, 1) * 255 + 0.5).astype(np.uint8)
