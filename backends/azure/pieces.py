"""The part of a source that one chunk needs, copied without coding anything anew: what is cut away is never uploaded."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np

from stylizer import sequence, source
from stylizer.archive import pack_pictures
from stylizer.errors import InputError
from stylizer.jobs import Clip, FrameRange, MediaKind
from stylizer.video import Reader

FORMATS = ("mp4", "mov")
"""Containers that keep timestamps and the tags of the picture exactly, if their time scales are set; most codecs fit one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`file` holds, as `frames` of `clip`, exactly what was asked for; the clip's path is the name that it has on a node."""

    file: Path
    clip: Clip
    frames: FrameRange


def cut(clip: Clip, frames: FrameRange, folder: Path) -> Piece | None:
    """A file in `folder` with these frames; None if it cannot be cut so that they are the same to the last bit and tick."""
    if clip.kind is MediaKind.SEQUENCE:
        pictures = sequence.files_of(clip)[frames.start : frames.stop]
        archive = folder / "pictures.zip"
        pack_pictures(pictures, archive)
        return Piece(archive, replace(clip, frames=len(pictures)), FrameRange(0, len(pictures)))
    for name in FORMATS if clip.kind is MediaKind.VIDEO else ():
        path = folder / f"piece.{name}"
        try:
            lengths = _copy(clip, frames, path, name)
            found = _same(clip, frames, path, lengths)
        except (*source.BROKEN, InputError, OverflowError):
            continue
        if found:
            return Piece(path, replace(clip, path=Path(f"{clip.path.stem}.{name}"), frames=found[0]), found[1])
    return None


def _copy(clip: Clip, frames: FrameRange, path: Path, name: str) -> dict[int, int]:
    """The packets from the keyframe before the first frame on, until nothing before the last is missing. Returns how long
    each is shown, by its time.
    """
    lengths: dict[int, int] = {}
    limits = source.within(clip)
    plan = source.plan(clip.path, clip.fingerprint, limits)
    first, last = plan.times[frames.start], plan.times[frames.stop - 1]
    key = bisect.bisect_right(plan.key_times, first) - 1
    with source.open_source(clip.path, limits) as given:
        stream = source.video_stream(given, clip.path)
        if not plan.timed or key < 0 or not stream.time_base or not source.seek(given, stream, plan, key):
            raise InputError(f"{clip.path} cannot be cut.")
        scale = str(stream.time_base.denominator)
        # Both scales as the source's: what is rounded to another comes back a little off.
        options = {"movie_timescale": scale, "video_track_timescale": scale, "avoid_negative_ts": "disabled"}
        with av.open(str(path), "w", format=name, options=options) as made:
            copied = made.add_stream_from_template(stream, opaque=True)
            copied.time_base = stream.time_base
            for packet in source.packets(given, stream):
                # A frame is never shown before it is decoded.
                if packet.dts is not None and packet.dts > last:
                    break
                if packet.size and packet.pts is not None:
                    lengths[packet.pts] = packet.duration or 0
                    packet.stream = copied
                    made.mux(packet)
    return lengths


def _same(clip: Clip, frames: FrameRange, path: Path, lengths: dict[int, int]) -> tuple[int, FrameRange] | None:
    """How many frames the piece has and where those asked for are in it; None if they are not the same there."""
    mark, limits = source.fingerprint(path), source.within(clip)
    if source.picture(path, mark, limits) != source.picture(clip.path, clip.fingerprint, limits):
        return None
    wanted = source.plan(clip.path, clip.fingerprint, limits).times[frames.start : frames.stop]
    times = source.plan(path, mark, limits).times
    start = bisect.bisect_left(times, wanted[0])
    if times[start : start + len(wanted)] != wanted:
        return None
    with source.open_source(path, limits) as made:
        copied = {p.pts: p.duration or 0 for p in source.packets(made, source.video_stream(made, path)) if p.pts is not None}
    if any(copied.get(time) != lengths.get(time) for time in wanted):
        return None
    there = replace(clip, path=path, fingerprint=mark, frames=len(times))
    # Where the decoder needs more than the keyframe before, the first frame shows it.
    one = next(iter(Reader(there, FrameRange(start, start + 1))), None)
    other = next(iter(Reader(clip, FrameRange(frames.start, frames.start + 1))), None)
    if one is None or other is None or not all(map(np.array_equal, one.planes, other.planes)):
        return None
    return len(times), FrameRange(start, start + len(wanted))
