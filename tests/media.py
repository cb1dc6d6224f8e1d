"""Small clips and pictures for tests, made with PyAV and Pillow, and an identity painting of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from stylizer.assemble import AssembleResult, assemble
from stylizer.encode import VideoWriter
from stylizer.frames import Frame, Layout, Plane
from stylizer.jobs import Clip, Encoding, FrameRange, MediaKind
from stylizer.pictures import PictureWriter
from stylizer.video import Reader, output_size

SHARED = Path(os.environ.get("STYLIZER_SHARED", Path(__file__).parents[2] / "shared"))
"""Media that are not part of the project; tests that use them skip without."""


def scene(width: int, height: int, position: int, channels: int = 3) -> np.ndarray[Any, Any]:
    """A smooth moving picture (rows, columns, channels) uint8: no two positions are alike."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin((x * (1 + n) + y * 2 + position * 9) / 17 + n) for n in range(channels)]
    return np.stack(waves, axis=2).astype(np.uint8)


def make_clip(
    path: Path,
    *,
    times: Sequence[int] = range(12),
    time_base: Fraction = Fraction(1, 25),
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    flip: bool = False,
    sounds: Sequence[str] = (),
    subtitles: Sequence[tuple[int, int, str]] = (),
    chapters: Sequence[tuple[int, int, str]] = (),
    metadata: dict[str, str] | None = None,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    attachment: bytes = b"",
    container: str | None = None,
) -> Path:
    """Encode a moving scene. `times` are presentation times; `rotation` is clockwise; chapters and subtitles are in ms."""
    with av.open(f"file:{path}", "w", format=container) as out:
        video = out.add_stream(codec, rate=25, options=options or {})
        video.width, video.height = size
        video.pix_fmt = pixel_format
        context = video.codec_context
        context.time_base = time_base
        if aspect:
            context.sample_aspect_ratio = aspect
        if tags:
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if rotation or flip:
            video.set_display_rotation(-rotation, hflip=flip)
        tones = [out.add_stream(name, rate=48000, layout="stereo") for name in sounds]
        for number, tone in enumerate(tones):
            tone.metadata["language"] = ("eng", "deu", "fra")[number % 3]
        text = out.add_mux_stream("subrip") if subtitles else None
        if attachment:
            out.add_attachment("font.ttf", "application/x-truetype-font", attachment)
        if text is not None:
            text.time_base = Fraction(1, 1000)
        if chapters:
            out.set_chapters(
                [
                    {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                    for n, (a, b, title) in enumerate(chapters)
                ]
            )
        out.metadata.update(metadata or {})
        for position, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(scene(*size, position), format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = time, time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        length = float((max(times) + 1) * time_base)
        for number, tone in enumerate(tones):
            sing(out, tone, length, 220.0 * (number + 1))
        for start, end, words in subtitles:
            packet = av.Packet(words.encode())
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration = end - start
            out.mux(packet)
    return path


def sing(out: Any, tone: Any, length: float, pitch: float) -> None:
    """A tone of `length` seconds into an audio track."""
    context = tone.codec_context
    planar = context.format.is_planar
    count = 1024
    for n in range(max(1, round(length * 48000 / count))):
        wave = np.sin(2 * np.pi * pitch * (np.arange(count) + n * count) / 48000).astype(np.float32) * 0.3
        both = np.stack([wave, wave]) if planar else np.repeat(wave, 2)[None]
        if context.format.name.startswith("s16"):
            both = (both * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(both), format=context.format.name, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, n * count, Fraction(1, 48000)
        out.mux(tone.encode(frame))
    out.mux(tone.encode(None))


def adapted(planes: tuple[Plane, ...], given: Layout, wanted: Layout, size: tuple[int, int]) -> tuple[Plane, ...]:
    """Planes of another layout, nearest sample by nearest sample: enough to carry frames through, not to look right."""
    if given == wanted and planes[0].shape == (size[1], size[0]):
        return planes
    made: list[Plane] = []
    for number, (rows, columns) in enumerate(wanted.shapes(*size)):
        plane = planes[min(number, len(planes) - 1)]
        ys, xs = np.arange(rows) * plane.shape[0] // rows, np.arange(columns) * plane.shape[1] // columns
        shift = wanted.depth - given.depth
        values = plane[ys][:, xs].astype(np.int64)
        values = values << shift if shift >= 0 else values >> -shift
        made.append(values.astype(np.uint16 if wanted.depth > 8 else np.uint8))
    return tuple(made)


def paint(
    clip: Clip,
    target: Path,
    work: Path,
    *,
    encoding: Encoding = Encoding(),  # noqa: B008
    pieces: int = 3,
    most: int | None = None,
    size: tuple[int, int] | None = None,
) -> AssembleResult:
    """Read the clip in pieces (only its first `most` frames), write each as a chunk as it is, and assemble."""
    work.mkdir(parents=True, exist_ok=True)
    size = size or output_size(clip, None)
    total = min(clip.frames, most or clip.frames)
    cuts = sorted({total * n // pieces for n in range(pieces + 1)})
    chunks, done = [], 0
    make = VideoWriter if clip.kind is MediaKind.VIDEO else PictureWriter
    for number, (start, stop) in enumerate(pairwise(cuts)):
        chunks.append(work / f"{number}.part")
        reader = Reader(clip, FrameRange(start, stop))
        with make(chunks[-1], clip, target, encoding, size) as writer:
            for frame in reader:
                planes = adapted(frame.planes, reader.layout, writer.layout, size)
                writer.write(Frame(planes, frame.time, frame.duration))
        done += writer.frames
    return assemble(clip, chunks, target, encoding, done)


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """(time in seconds, bytes) of every packet of every track of that kind."""
    with av.open(f"file:{path}", metadata_errors="ignore") as container:
        tracks = [s for s in container.streams if s.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {s.index: [] for s in tracks}
        if tracks:
            for packet in container.demux(tracks):
                if packet.size:
                    found[packet.stream_index].append((packet.pts * packet.time_base, bytes(packet)))
        return list(found.values())
