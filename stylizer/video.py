"""Sources to typed frames: probe, read frames. Writing is in encode.py, single pictures in pictures.py.

clip = probe(path)
for frame in Reader(clip, FrameRange(0, 100)): ...
"""

from __future__ import annotations

import bisect
import math
import stat
import typing
from collections.abc import Iterator, Sequence
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from stylizer import pictures, source
from stylizer.config import Limits
from stylizer.encode import VideoWriter, check_encoding, output_size
from stylizer.errors import InputError
from stylizer.frames import Frame, Layout, Plane
from stylizer.jobs import Clip, FrameRange, MediaKind
from stylizer.output import output_path
from stylizer.pixels import SUPPORTED
from stylizer.source import fingerprint

__all__ = [
    "Reader",
    "VideoWriter",
    "check_encoding",
    "fingerprint",
    "layout_of",
    "output_path",
    "output_size",
    "probe",
    "read_frames",
    "starts_of",
]


def probe(path: Path, limits: Limits = Limits()) -> Clip:  # noqa: B008
    """What is at `path`: a video, a still picture or a folder of pictures.

    A video's packets are all looked at, but only its first frame is decoded. InputError, in one sentence, for whatever
    is missing, empty, broken, no media, not supported or beyond `limits`.
    """
    path = path.absolute()
    try:
        facts = path.stat()
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened: {(error.strerror or str(error)).lower()}.", hint="Check the path."
        ) from None
    if stat.S_ISDIR(facts.st_mode):
        return pictures.probe_sequence(path, limits)
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(f"{path} is neither a file nor a folder.", hint=SUPPORTED)
    if facts.st_size == 0:
        raise InputError(f"{path} is empty (0 bytes).", hint="Copy or download it again.")
    if facts.st_size > limits.file_gigabytes * 1e9:
        raise InputError(
            f"{path} is {facts.st_size / 1e9:.3g} GB; the limit is {limits.file_gigabytes:g} GB.",
            hint="Raise limits.file_gigabytes in the config.",
        )
    try:
        mark = fingerprint(path)
        if pictures.is_picture(path):
            return pictures.probe_still(path, mark, limits)
        return _probe_video(path, mark, limits)
    except PermissionError:
        raise InputError(f"{path} may not be read.", hint="Check its permissions.") from None
    except source.BROKEN as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} is not a video or picture that can be read ({reason}).", hint=SUPPORTED) from None


def _probe_video(path: Path, mark: str, limits: Limits) -> Clip:
    with source.open_source(path, limits) as container:
        if len(container.streams) > limits.tracks:
            raise InputError(
                f"{path} has {len(container.streams)} tracks; the limit is {limits.tracks}.",
                hint="Raise limits.tracks in the config if you trust the file.",
            )
        stream = source.video_stream(container, path)
        said = (container.duration or 0) / 1e6
        if said > limits.seconds:
            raise _too_long(path, said, limits)
        rate = stream.average_rate
        audio_tracks, videos = len(container.streams.audio), len(container.streams.video)
    picture = source.picture(path, mark, limits)
    plan = source.plan(path, mark, limits)
    duration = float((plan.end - plan.times[0]) * picture.time_base)
    if duration > limits.seconds:
        raise _too_long(path, duration, limits)
    count = len(plan.times)
    if count > 1 and plan.times[-1] > plan.times[0]:
        mean = (count - 1) / ((plan.times[-1] - plan.times[0]) * picture.time_base)
        rate = rate if rate and abs(rate / mean - 1) < 0.001 else mean.limit_denominator(1001)
    turned = picture.quarters % 2
    return Clip(
        path=path,
        kind=MediaKind.VIDEO,
        width=picture.height if turned else picture.width,
        height=picture.width if turned else picture.height,
        frames=count,
        rate=rate or Fraction(25),
        duration=duration,
        codec=picture.codec,
        pixel_format=picture.coded_format,
        rotation=picture.quarters * 90,
        audio_tracks=audio_tracks,
        fingerprint=mark,
        notes=tuple(_notes(picture, plan, videos)),
    )


def _too_long(path: Path, seconds: float, limits: Limits) -> InputError:
    lasts, limit = timedelta(seconds=math.ceil(seconds)), timedelta(seconds=math.floor(limits.seconds))
    return InputError(
        f"{path} lasts {lasts} (hours, minutes, seconds); the limit is {limit}.",
        hint="Raise limits.seconds in the config, or cut the clip.",
    )


def _notes(picture: source.Picture, plan: source.Plan, videos: int) -> Iterator[str]:
    steps = np.diff(np.frombuffer(plan.times, dtype=np.int64))
    if steps.size and int(steps.max()) > 2 + 1.2 * int(steps.min()):
        yield "Its frame rate varies; every frame keeps its time."
    if picture.interlaced:
        yield "It is interlaced; its frames are painted as they are, both fields together."
    if picture.transfer in (16, 18):
        yield "It is HDR; it stays so, but mastering metadata (brightness of the reference display) is not carried."
    if videos > 1:
        yield "It has more than one video track; the main one is painted."
    if not plan.timed:
        yield "It carries no timestamps; the decoder's are used."


def layout_of(clip: Clip) -> Layout:
    """The layout of the frames that a Reader of this clip delivers."""
    if clip.kind is MediaKind.VIDEO:
        return source.picture(clip.path, clip.fingerprint, source.within(clip)).layout
    return pictures.layout_of(clip)


def starts_of(clip: Clip) -> Sequence[int]:
    """Positions of the frames that decoding can start at, rising; empty if it has to start at the beginning."""
    if clip.kind is not MediaKind.VIDEO:
        return range(clip.frames)
    plan = source.plan(clip.path, clip.fingerprint, source.within(clip))
    return [bisect.bisect_left(plan.times, time) for time in plan.key_times]


def read_frames(clip: Clip, frames: FrameRange) -> Iterator[Frame]:
    """The frames of that range, upright, in presentation order; one that cannot be decoded is left out."""
    return iter(Reader(clip, frames))


class Reader:
    """Frames of a range of a clip: upright, planes as decoded, times in the source's time base.

    `layout` says what the planes mean. `skipped` counts the frames that could not be decoded, as they are passed by.
    """

    def __init__(self, clip: Clip, frames: FrameRange) -> None:
        self.clip = clip
        self.frames = frames
        self.layout = layout_of(clip)
        self.skipped = 0

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        source.check_unchanged(self.clip)
        if self.clip.kind is not MediaKind.VIDEO:
            yield from pictures.read_pictures(self.clip, self.frames)
            return
        plan = source.plan(self.clip.path, self.clip.fingerprint, source.within(self.clip))
        wanted = plan.times[self.frames.start : self.frames.stop]
        passed = 0
        for time, frame in self._decoded(plan, wanted[0]):
            at = bisect.bisect_left(wanted, time, passed)
            self.skipped += at - passed
            passed = at
            if at < len(wanted) and wanted[at] == time:
                passed += 1
                yield Frame(self._planes(frame), time, frame.duration or 0)
            if passed == len(wanted):
                return
        self.skipped += len(wanted) - passed

    def _decoded(self, plan: source.Plan, first: int) -> Iterator[tuple[int, VideoFrame]]:
        """Decoded frames with their times, from `first` or earlier on."""
        if not plan.timed:
            with source.open_source(self.clip.path, source.within(self.clip)) as container:
                stream = source.video_stream(container, self.clip.path)
                source.decoding(stream, source.within(self.clip))
                yield from zip(plan.times, source.decoded(container, stream), strict=False)
            return
        last = bisect.bisect_right(plan.key_times, first) - 1
        # Decoding may need more than the nearest keyframe (not every frame marked as one is): if the first frame
        # does not come out, start earlier, and at last from the beginning.
        for key in (last, last - 1, None):
            if key is not None and key < 0:
                continue
            with source.open_source(self.clip.path, source.within(self.clip)) as container:
                stream = source.video_stream(container, self.clip.path)
                source.decoding(stream, source.within(self.clip))
                if key is not None and not source.seek(container, stream, plan, key):
                    continue
                frames = (
                    (frame.pts, frame)
                    for frame in source.decoded(container, stream)
                    if frame.pts is not None and frame.pts >= first
                )
                start = next(frames, None)
                if key is not None and (start is None or start[0] != first):
                    continue
                if start is not None:
                    yield start
                    yield from frames
                return

    def _planes(self, frame: VideoFrame) -> tuple[Plane, ...]:
        picture = source.picture(self.clip.path, self.clip.fingerprint, source.within(self.clip))
        if (frame.format.name, frame.width, frame.height) != (picture.format, picture.width, picture.height):
            frame = frame.reformat(picture.width, picture.height, picture.format)
        depth = np.dtype("<u2") if self.layout.depth > 8 else np.dtype(np.uint8)
        planes = []
        for plane in frame.planes:
            rows = np.frombuffer(plane, depth)  # type: ignore[call-overload]
            rows = rows.reshape(-1, abs(plane.line_size) // depth.itemsize)[: plane.height, : plane.width]
            if plane.line_size < 0:
                rows = rows[::-1]
            if picture.flip:
                rows = rows[:, ::-1]
            upright = np.array(np.rot90(rows, -picture.quarters), order="C", dtype=depth.newbyteorder("="))
            planes.append(upright)
        if self.layout.model == "rgb":
            planes[:3] = planes[2], planes[0], planes[1]  # libav keeps them as G, B, R
        return typing.cast(tuple[Plane, ...], tuple(planes))
