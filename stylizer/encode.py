"""How a painted video is written: containers, codecs, pixel formats, and one chunk as a file (NUT, for ProRes mov).

Chunks are joined by copying packets, so every chunk of a job must come out of an encoder that was set up the same way:
nothing here depends on the machine (threads are fixed, no build or CPU is written into the stream). There are no
B-frames: the decoding time of each packet is its presentation time, which is what lets chunks of any frame rate, even a
varying one, be joined with the source's own timestamps and no edit list. That costs about a tenth in size.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.codec.codec import Codec, UnknownCodecError
from av.video.stream import VideoStream

from stylizer import source
from stylizer.errors import ConfigError, InputError, OutputError
from stylizer.frames import Frame, Layout
from stylizer.jobs import Clip, Encoding, MediaKind
from stylizer.pixels import guessed_matrix, layout_of_format
from stylizer.sequence import SUFFIXES

CONTAINERS = {
    ".mp4": ("mp4", ("h264", "hevc", "av1", "vp9")),
    ".m4v": ("mp4", ("h264", "hevc")),
    ".mov": ("mov", ("h264", "hevc", "prores")),
    ".mkv": ("matroska", ("h264", "hevc", "av1", "vp9", "ffv1", "prores")),
    ".webm": ("webm", ("vp9", "av1")),
}
"""Suffix to libav's muxer and the codecs that belong in it, the preferred first."""
THREADS = 4
"""Of every encoder, on every machine: what x264 writes depends on it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A codec that can be asked for."""

    encoders: tuple[str, ...]
    """libav's encoders, the preferred first."""
    crf: tuple[int, int] | None
    """The default and the highest rate factor; None where there is none."""
    options: dict[str, str]
    tag: str = ""
    """Four letters that name it in mp4 and mov, where the muxer's own choice is not the best."""
    chunk: str = "nut"
    """The container of its chunks."""
    delivered: bool = True
    """Made for players: RGB becomes 4:2:0, alpha is dropped. The others keep what they can."""


CODECS = {
    "h264": Recipe(("libx264",), (18, 51), {"preset": "fast", "bf": "0"}),
    "hevc": Recipe(
        ("libx265",),
        (20, 51),
        # info=0: its settings, as written into the stream, name the CPU.
        {"preset": "fast", "x265-params": "bframes=0:open-gop=0:frame-threads=2:info=0:log-level=error"},
        tag="hvc1",
    ),
    "av1": Recipe(("libsvtav1",), (24, 63), {"preset": "7", "svtav1-params": "lp=4:pred-struct=1"}),
    "vp9": Recipe(
        ("libvpx-vp9",),
        (22, 63),
        {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "0", "auto-alt-ref": "0", "lag-in-frames": "0"},
    ),
    "prores": Recipe(("prores_ks",), None, {"vendor": "apl0"}, chunk="mov", delivered=False),
    "ffv1": Recipe(("ffv1",), None, {"level": "3", "slices": "4", "slicecrc": "1"}, delivered=False),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """An encoder, set up for one job."""

    codec: str
    encoder: str
    pixel_format: str
    layout: Layout
    options: dict[str, str]
    tags: tuple[int, int, int, int]
    """Primaries, transfer, matrix, range, as libav numbers them."""


def available(name: str) -> str | None:
    """The encoder for that codec in this build of libav; None if it has none."""
    for encoder in CODECS[name].encoders:
        try:
            Codec(encoder, "w")
        except UnknownCodecError:
            continue
        return encoder
    return None


def check_encoding(target: Path, encoding: Encoding) -> None:
    """ConfigError, naming what can be done, unless `encoding` is possible in the container that `target` names."""
    suffix = target.suffix.lower()
    if suffix in tuple(SUFFIXES) or not suffix:
        if encoding.codec:
            raise ConfigError(f"A codec ({encoding.codec}) is for videos; {target.name} is none.", hint="Leave out --codec.")
        return
    if suffix not in CONTAINERS:
        raise ConfigError(
            f"Videos cannot be written as {suffix} ({target.name}).", hint=f"Choose one of: {', '.join(CONTAINERS)}."
        )
    possible = [name for name in CONTAINERS[suffix][1] if available(name)]
    if not possible:
        raise ConfigError(
            f"This build of libav has no encoder for {suffix}.", hint="Choose another container, such as .mp4."
        )
    if encoding.codec and encoding.codec not in possible:
        why = "is unknown" if encoding.codec not in CODECS else f"cannot be written into {suffix} here"
        raise ConfigError(f"The codec {encoding.codec!r} {why}.", hint=f"For {suffix} choose one of: {', '.join(possible)}.")
    if encoding.crf is not None and encoding.codec:
        _check_crf(encoding.codec, encoding.crf)


def _check_crf(name: str, crf: int) -> None:
    limits = CODECS[name].crf
    if limits is None:
        raise ConfigError(f"{name} has no quality setting (crf).", hint="Leave out --crf.")
    if not 0 <= crf <= limits[1]:
        raise ConfigError(f"A crf of {crf} is outside 0..{limits[1]} of {name}.", hint=f"The default is {limits[0]}.")


def output_size(clip: Clip, long_side: int | None) -> tuple[int, int]:
    """Width and height of the painting: the clip's own, odd or not, or scaled to `long_side`, then even."""
    if long_side is None or long_side == max(clip.width, clip.height):
        return clip.width, clip.height
    scale = Fraction(long_side, max(clip.width, clip.height))
    step = 1 if clip.kind is not MediaKind.VIDEO else 2
    return (max(step, step * round(clip.width * scale / step)), max(step, step * round(clip.height * scale / step)))


def choose(clip: Clip, target: Path, encoding: Encoding, size: tuple[int, int]) -> Choice:
    """Set up the encoder: the asked or usual codec, and the pixel format nearest to the source's.

    Chroma sampling and depth of the source stay where the codec can; odd sizes take 4:4:4 where 4:2:0 needs even ones.
    ConfigError where the container or codec cannot do it.
    """
    check_encoding(target, encoding)
    given = source.picture(clip.path, clip.fingerprint, source.within(clip))
    name = encoding.codec or _usual(clip, target, given.layout)
    if encoding.crf is not None:
        _check_crf(name, encoding.crf)
    codec, encoder = CODECS[name], available(name)
    if encoder is None:
        raise ConfigError(f"This build of libav has no encoder for {name}.", hint="Choose another --codec.")
    wanted = _wanted(given.layout, codec, size)
    form, layout = _nearest(name, encoder, wanted, size)
    options = dict(codec.options)
    if codec.crf:
        options["crf"] = str(codec.crf[0] if encoding.crf is None else encoding.crf)
    if name == "prores":
        options["profile"] = "4444" if "444" in form else "hq"
    return Choice(name, encoder, form, layout, options, _tags(given, layout, size))


def _usual(clip: Clip, target: Path, layout: Layout) -> str:
    possible = [name for name in CONTAINERS[target.suffix.lower()][1] if available(name)]
    if (layout.alpha or clip.codec == "prores") and "prores" in possible:
        return "prores"  # made for editing goes back to editing, with its alpha
    if layout.depth > 8 and "hevc" in possible:
        return "hevc"
    if layout.depth > 8 and "av1" in possible and "h264" not in possible:
        return "av1"
    return possible[0]


def _wanted(given: Layout, codec: Recipe, size: tuple[int, int]) -> Layout:
    if given.model == "yuv":
        wanted = given if not codec.delivered else replace(given, alpha=False)
    else:
        # A painting of a grey clip has colours. Players want 4:2:0.
        matrix = guessed_matrix(2, *size, "")
        fine = 2 if codec.delivered else 1
        wanted = Layout("yuv", given.depth, fine, fine, matrix, alpha=given.alpha and not codec.delivered)
    return wanted


def _nearest(name: str, encoder: str, wanted: Layout, size: tuple[int, int]) -> tuple[str, Layout]:
    full = wanted.full_range and name != "prores"
    options = []
    for form in Codec(encoder, "w").video_formats or ():
        layout = layout_of_format(form.name, wanted.matrix, full)
        if layout is None or layout.model != "yuv" or form.name.startswith("yuvj") or (layout.alpha and not wanted.alpha):
            continue
        even = name in ("h264", "hevc", "av1")
        if even and (size[0] % layout.across or size[1] % layout.down):
            continue
        loss = (
            max(0, layout.across - wanted.across) + max(0, layout.down - wanted.down),
            max(0, wanted.depth - layout.depth),
            wanted.alpha and not layout.alpha,
            max(0, layout.depth - wanted.depth),
            max(0, wanted.across - layout.across) + max(0, wanted.down - layout.down),
        )
        # Fewer bits than the source's are worse than coarser chroma.
        options.append(((loss[1], loss[0], *loss[2:]), form.name, layout))
    if not options:
        raise ConfigError(
            f"{name} here needs even sides; the picture is {size[0]} x {size[1]}.",
            hint="Choose another --codec, or a --size.",
        )
    _, best, layout = min(options, key=lambda option: (option[0], option[1]))
    return best, layout


def _tags(given: source.Picture, layout: Layout, size: tuple[int, int]) -> tuple[int, int, int, int]:
    numbers = {"bt709": 1, "bt601": 6, "bt2020": 9}
    matrix = given.matrix
    if given.layout.model != "yuv":
        matrix = numbers[layout.matrix]
    elif matrix in (0, 2, 3) and guessed_matrix(given.primaries, *size, "") != layout.matrix:
        matrix = numbers[layout.matrix]  # players would guess another one from the new size or codec
    span = 2 if layout.full_range else given.color_range if not given.layout.full_range else 1
    return given.primaries, given.transfer, matrix, span


def exact_times(time_base: Fraction, sample_rates: Sequence[int] = ()) -> dict[str, str]:
    """Options for the mp4 and mov muxers that keep the source's timestamps as they are.

    Start offsets are written in the movie's own scale: one that the scales of all tracks divide keeps them exact.
    """
    scale = time_base.denominator
    movie = lcm(scale, *sample_rates)
    return {"video_track_timescale": str(scale), "movie_timescale": str(movie if movie < 2**31 else scale)}


def frame_rate(clip: Clip) -> Fraction:
    """What encoders and timecodes are told; the timestamps themselves come from the source."""
    return clip.rate.limit_denominator(1_000_000) if 0 < clip.rate <= 1000 else Fraction(25)


class VideoWriter:
    """Writes one chunk as a file in the final codec. A context manager; what it wants is in `layout`.

    Frames go in with rising times in the clip's time base and come out with exactly these. The first is a keyframe and
    nothing refers to anything outside the chunk. `frames` counts what was written; closing makes the file durable.
    """

    def __init__(self, path: Path, clip: Clip, target: Path, encoding: Encoding, size: tuple[int, int]) -> None:
        self.path = path
        self.choice = choose(clip, target, encoding, size)
        self.layout = self.choice.layout
        self.frames = 0
        self._size = size
        given = source.picture(clip.path, clip.fingerprint, source.within(clip))
        self._time_base = given.time_base
        self._last: int | None = None
        try:
            kind = CODECS[self.choice.codec].chunk
            options = {"fflags": "bitexact"} | (exact_times(given.time_base) if kind == "mov" else {})
            self._container = av.open(f"file:{path}", "w", format=kind, container_options=options)
        except av.error.FFmpegError as error:
            raise OutputError(
                f"{path} cannot be written: {error.strerror}.", hint="Check the folder and the free space."
            ) from None
        rate = frame_rate(clip)
        os.environ.setdefault("SVT_LOG", "1")  # or SVT-AV1 tells its whole set-up on stderr
        stream = self._container.add_stream(self.choice.encoder, rate=rate, options=self.choice.options)
        assert isinstance(stream, VideoStream)
        self._stream = stream
        context = self._stream.codec_context
        context.width, context.height = size
        context.pix_fmt = self.choice.pixel_format
        context.time_base = self._time_base
        context.thread_count = THREADS
        if given.aspect:
            context.sample_aspect_ratio = given.aspect
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = self.choice.tags

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(failed=error is not None)

    def write(self, frame: Frame) -> None:
        """Encode one frame: planes of `layout` and the size given, a later time than the one before. OutputError if full."""
        if self._last is not None and frame.time <= self._last:
            raise InputError(f"Frame times must rise: {frame.time} follows {self._last}.")
        shapes = self.layout.shapes(*self._size)
        if [plane.shape for plane in frame.planes] != shapes:
            raise ValueError(f"planes {[plane.shape for plane in frame.planes]} are not {shapes}")
        picture = av.VideoFrame(*self._size, self.choice.pixel_format)
        depth = np.dtype("<u2") if self.layout.depth > 8 else np.dtype(np.uint8)
        for plane, into in zip(frame.planes, picture.planes, strict=True):
            rows = np.frombuffer(into, depth).reshape(-1, into.line_size // depth.itemsize)  # type: ignore[call-overload]
            rows[: plane.shape[0], : plane.shape[1]] = plane
        picture.pts, picture.time_base = frame.time, self._time_base
        picture.duration = frame.duration
        picture.color_primaries, picture.color_trc, picture.colorspace, picture.color_range = self.choice.tags
        self._mux(picture)
        self._last = frame.time
        self.frames += 1

    def _mux(self, picture: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(picture))
        except av.error.FFmpegError as error:
            raise OutputError(
                f"The chunk {self.path} cannot be written: {error.strerror}.",
                hint="Check the free space, then run it again.",
            ) from None

    def close(self, *, failed: bool = False) -> None:
        """Finish the file; with `failed`, only let go of it. OutputError if it cannot be written."""
        try:
            if not failed and self.frames:
                self._mux(None)
            self._container.close()
        except av.error.FFmpegError as error:
            if not failed:
                raise OutputError(
                    f"The chunk {self.path} cannot be written: {error.strerror}.",
                    hint="Check the free space, then run it again.",
                ) from None
        if not failed:
            with self.path.open("rb+") as stream:
                os.fsync(stream.fileno())
