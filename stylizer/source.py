"""A video file as we read it: opened with care, its frames planned in presentation order, its pixels described."""

from __future__ import annotations

import functools
import hashlib
import io
import re
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stylizer import sequence
from stylizer.config import Limits
from stylizer.errors import InputError
from stylizer.frames import Layout
from stylizer.jobs import Clip
from stylizer.pixels import SUPPORTED, layout_of_format, matrix_of, planar_format

FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,gif,apng,nut,ogg,mxf,h264,hevc,m4v,obu,ivf,mjpeg,dv,rm,"
    "yuv4mpegpipe,vc1,wtv"
)
"""Containers that are opened. Playlists (hls, dash, concat) are not: they make a clip read other files and addresses."""
BROKEN = (av.error.FFmpegError, UnicodeDecodeError, ValueError)
"""What opening a file that is no video raises."""


ENDS = 64 * 1024
"""Bytes at either end of a file that its fingerprint covers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which frames a clip has, from its packets alone."""

    times: array[int]
    """Presentation timestamps of the frames in rising order, in the stream's time base."""
    end: int
    """When the last frame ends."""
    key_times: array[int]
    """Timestamps of frames that decoding can start at, rising."""
    key_seeks: array[int]
    """What to seek to for each of these: its decoding timestamp."""
    timed: bool
    """Whether the packets carry timestamps; if not, the times were found by decoding and seeking is no use."""


@dataclass(frozen=True, slots=True)
class Picture:
    """How the frames of a clip are coded and how they become upright planes."""

    width: int
    """As coded, before rotation."""
    height: int
    codec: str
    coded_format: str
    format: str
    """The planar pixel format that frames are turned into: the coded one, or the nearest that loses nothing."""
    layout: Layout
    """Of the upright planes."""
    quarters: int
    """Quarter turns clockwise that make the frame upright, after the flip."""
    flip: bool
    """Whether the frame is mirrored left to right first."""
    time_base: Fraction
    aspect: Fraction | None
    """Sample aspect ratio of the upright frame; None where the source does not say."""
    primaries: int
    transfer: int
    matrix: int
    color_range: int
    """Colour tags as libav numbers them; 2 (range: 0) where the source does not say."""
    interlaced: bool


def fingerprint(path: Path) -> str:
    """Changes when the bytes of a file do (size, modification time, a hash of both ends) or the pictures of a folder."""
    if path.is_dir():
        return sequence.listed(path)[1]
    facts = path.stat()
    whole = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns} ".encode())
    with path.open("rb") as stream:
        whole.update(stream.read(ENDS))
        stream.seek(max(0, facts.st_size - ENDS))
        whole.update(stream.read(ENDS))
    return whole.hexdigest()[:32]


def check_unchanged(clip: Clip) -> None:
    """InputError if the source is gone or is no longer what was probed: half of each would be worse than nothing."""
    try:
        same = fingerprint(clip.path) == clip.fingerprint
    except OSError as error:
        raise InputError(
            f"{clip.path} cannot be read any more: {(error.strerror or str(error)).lower()}.",
            hint="Put it back, then retry.",
        ) from None
    if not same:
        raise InputError(f"{clip.path} has changed since the job was added.", hint="Add it again.")


def within(clip: Clip) -> Limits:
    """The limits to read a clip under: it was probed under its own, so that what it had then is allowed now."""
    usual = Limits()
    return replace(usual, pixels=max(usual.pixels, clip.width * clip.height), frames=max(usual.frames, clip.frames))


def open_source(path: Path, limits: Limits | None = None) -> InputContainer:
    """Open a video file. Nothing but that file is read, whatever it contains. Raises what BROKEN lists, or OSError."""
    pixels = (limits or Limits()).pixels
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS, "max_pixels": str(pixels)}
    container = av.open(f"file:{path}", metadata_errors="ignore", options=options)
    empty = any(s.frames and not len(s.index_entries) for s in container.streams.video)
    if empty and container.format.name.startswith("mov"):
        # An edit list that hides every frame is a broken one: players ignore it, and so do we.
        container.close()
        container = av.open(f"file:{path}", metadata_errors="ignore", options=options | {"ignore_editlist": "1"})
    return container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The track that is painted; InputError if there is none. Cover art is not a video."""
    tracks = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic and s.codec_context]
    if not tracks:
        kinds = " and ".join(sorted({str(s.type) for s in container.streams if s.type != "video"}))
        raise InputError(f"{path} has no video in it{f', only {kinds}' if kinds else ''}.", hint=SUPPORTED)
    return next((s for s in tracks if s.disposition & Disposition.default), tracks[0])


def decoding(stream: VideoStream, limits: Limits) -> None:
    """Make the decoder of the stream use all cores and refuse frames beyond the limit of pixels."""
    context = stream.codec_context
    context.thread_type, context.thread_count = ThreadType.AUTO, 0
    context.options = {"max_pixels": str(limits.pixels)}


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of one track; a file that breaks off ends early instead of raising."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        return


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames of one track from where the container stands; what cannot be decoded is left out."""
    for packet in packets(container, stream):
        try:
            yield from stream.decode(packet)
        except av.error.FFmpegError:
            continue
    # A file that broke off has not flushed the decoder; after a clean end this yields nothing.
    try:
        yield from stream.decode(None)
    except av.error.FFmpegError:
        return


def seek(container: InputContainer, stream: VideoStream, plan: Plan, key: int) -> bool:
    """Stand at a keyframe of the plan, or before it; False if the container does not go there."""
    target = plan.key_seeks[key]
    try:
        container.seek(target, stream=stream)
        packet = next(packets(container, stream), None)
        if packet is None or not packet.size or (packet.pts if packet.dts is None else packet.dts) > target:  # type: ignore[operator]
            return False
        container.seek(target, stream=stream)
    except av.error.FFmpegError:
        return False
    return True


@functools.lru_cache(maxsize=4)
def plan(path: Path, fingerprint: str, limits: Limits) -> Plan:  # noqa: ARG001 - the fingerprint is for the cache
    """Plan the frames of a video from one pass over its packets; InputError if it has none or too many."""
    with open_source(path, limits) as container:
        stream = video_stream(container, path)
        codec = stream.codec_context.name if stream.codec_context else "unknown codec"
        # avi has no presentation times: with frames out of order, what libav says of them is a guess.
        timed = container.format.name != "avi" or not (stream.codec_context and stream.codec_context.has_b_frames)
        times, keys, end = array("q"), [], 0
        for packet in packets(container, stream) if timed else ():
            if not packet.size:
                continue
            if packet.pts is None:
                timed = False
                break
            if packet.is_keyframe:
                keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
            # Packets before the start of an edit list are there to be decoded, not to be shown.
            if packet.is_discard or not _shown(packet, codec):
                continue
            times.append(packet.pts)
            end = max(end, packet.pts + (packet.duration or 0)) if len(times) > 1 else packet.pts + (packet.duration or 0)
            _check_count(len(times), limits.frames, path)
    if not timed:
        return _plan_by_decoding(path, limits)
    keys.sort()
    first = keys[0][0] if keys else None
    kept = array("q", (t for t in sorted(set(times)) if first is None or t >= first))
    return _checked(Plan(kept, end, array("q", (k[0] for k in keys)), array("q", (k[1] for k in keys)), True), codec, path)


def _plan_by_decoding(path: Path, limits: Limits) -> Plan:
    """For sources without presentation times (raw streams, some avi): the decoding times in turn, or the mean rate."""
    with open_source(path, limits) as container:
        stream = video_stream(container, path)
        decoding(stream, limits)
        rate, tick = stream.average_rate or Fraction(25), stream.time_base or Fraction(1, 25)
        times, duration = array("q"), max(1, round(1 / (rate * tick)))
        for frame in decoded(container, stream):
            follow = times[-1] + duration if times else 0
            rising = frame.dts is not None and bool(times) and frame.dts > times[-1]
            times.append(frame.dts if rising else follow)  # type: ignore[arg-type]
            _check_count(len(times), limits.frames, path)
        end = times[-1] + duration if times else 0
        return _checked(Plan(times, end, array("q"), array("q"), False), stream.codec_context.name, path)


def _checked(found: Plan, codec: str, path: Path) -> Plan:
    if not found.times:
        raise InputError(f"{path} has a video track ({codec}) but not one frame in it.", hint="Check that it plays.")
    return found


def _check_count(count: int, most: int, path: Path) -> None:
    if count > most:
        raise InputError(
            f"{path} has more than {most:,} frames, the limit.", hint="Raise limits.frames in the config, or cut the clip."
        )


def _shown(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet shows a frame: VP8 and VP9 have hidden ones that others are predicted from."""
    if codec not in ("vp8", "vp9", "libvpx", "libvpx-vp9"):
        return True
    head, tail = memoryview(packet)[0], memoryview(packet)[-1]
    if codec in ("vp8", "libvpx"):
        return bool(head & 0x10)
    if tail & 0xE0 == 0xC0:
        return True  # a superframe: hidden frames and the one that is shown
    bits = f"{head:08b}"
    if bits[2:4] == "11":
        bits = bits[:4] + bits[5:]
    return bits[4] == "1" or bits[6] == "1"


@functools.lru_cache(maxsize=16)
def picture(path: Path, fingerprint: str, limits: Limits) -> Picture:  # noqa: ARG001
    """Describe the frames of a video by decoding the first that can be; InputError if none can or it is too large."""
    with open_source(path, limits) as container:
        stream = video_stream(container, path)
        context = stream.codec_context
        check_pixels(context.width, context.height, limits, path)
        decoding(stream, limits)
        frame = next(decoded(container, stream), None)
        if frame is None:
            raise InputError(f"No frame of {path} can be decoded ({context.name}).", hint="Check that the file plays.")
        check_pixels(frame.width, frame.height, limits, path)
        quarters, flip = _orientation(frame)
        primaries = _said(frame.color_primaries, context.color_primaries, 2)
        transfer = _said(frame.color_trc, context.color_trc, 2)
        matrix = _said(frame.colorspace, context.colorspace, 2)
        color_range = _said(frame.color_range, context.color_range, 0)
        form = planar_format(frame.format.name, path)
        if quarters % 2 and re.match(r"yuva?41[01]p", form):
            form = form.replace("411", "444").replace("410", "444")
        full = frame.format.name.startswith("yuvj") or color_range == 2
        size = frame.width, frame.height
        layout = layout_of_format(form, matrix_of(matrix, primaries, size, context.name, path), full)
        if layout is None:
            raise InputError(f"{path} has pixels in the form {frame.format.name}, which is not supported.", hint=SUPPORTED)
        if quarters % 2:
            layout = replace(layout, across=layout.down, down=layout.across)
        aspect = stream.sample_aspect_ratio
        if aspect is not None and quarters % 2 and aspect > 0:
            aspect = 1 / aspect
        return Picture(
            frame.width,
            frame.height,
            context.name,
            frame.format.name,
            form,
            layout,
            quarters,
            flip,
            stream.time_base or Fraction(1, 1000),
            aspect if aspect and aspect > 0 else None,
            primaries,
            transfer,
            matrix,
            2 if full and layout.model != "rgb" else color_range,
            frame.interlaced_frame,
        )


def _said(frame: int, context: int, nothing: int) -> int:
    """A colour tag of the frame, or else of the container."""
    return int(frame) if int(frame) != nothing else int(context)


def check_pixels(width: int, height: int, limits: Limits, path: Path) -> None:
    """InputError if a picture of that size is beyond the limit."""
    if width * height > limits.pixels:
        raise InputError(
            f"{path} is {width} x {height} pixels; the limit is {limits.pixels:,} pixels.",
            hint="Raise limits.pixels in the config if you trust the file, or scale it down first.",
        )


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Quarter turns clockwise and a mirroring before them, from the display matrix."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))  # type: ignore[call-overload]
    if a * d - b * c < 0:
        a, b = -a, -b  # undo the mirroring; what is left is a rotation
        flip = True
    else:
        flip = False
    if abs(a) >= abs(b):
        return (0 if a >= 0 else 2), flip
    return (1 if b > 0 else 3), flip


def holds(muxer: str, stream: Stream) -> bool:
    """Whether a container can carry a copy of that track; found out by writing its header to memory."""
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
