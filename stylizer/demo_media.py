"""The demo's media: small clips of imagined scenes, and frames of them as an imagined worker paints them."""

from __future__ import annotations

import zlib
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from stylizer.demo_pictures import HANDS, painted, scene
from stylizer.jobs import Clip, Look
from stylizer.source import fingerprint

SIZE = (192, 108)
LOOP = 24
"""Frames after which a scene begins anew: a clip of any length is these, again and again."""
MOST = 8
"""Scenes that differ."""


def write_clip(clip: Clip) -> Clip:
    """The source of a clip, and the clip with its fingerprint: as many frames as it says, smaller than it says. The ending
    of its path decides the container.
    """
    part = clip.path.with_name(f".{clip.path.name}.part")
    rate = round(clip.rate)
    with av.open(str(part), "w", format={".mkv": "matroska", ".mov": "mov"}.get(clip.path.suffix, "mp4")) as out:
        options = {"preset": "ultrafast", "g": str(LOOP), "bf": "0", "crf": "30", "threads": "1"}
        stream = out.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        frames = [_frame(frame_of(clip, n)) for n in range(min(LOOP, clip.frames))]
        kept = [packet for frame in [*frames, None] for packet in stream.encode(frame)]
        for number in range(clip.frames):
            like = kept[number % len(kept)]
            packet = av.Packet(bytes(like))
            packet.stream, packet.is_keyframe = stream, like.is_keyframe
            packet.pts = packet.dts = number
            packet.time_base = Fraction(1, rate)
            out.mux(packet)
    part.replace(clip.path)
    return replace(clip, fingerprint=fingerprint(clip.path))


def write_painted(clip: Clip, number: int, look: Look, path: Path, container: str) -> None:
    """A file with one frame of the clip, painted."""
    shown = _painted(clip, number, look)
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream("libx264", rate=24, options={"preset": "ultrafast", "crf": "16", "threads": "1"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame in (_frame(shown), None):
            for packet in stream.encode(frame):
                out.mux(packet)


def write_shape(clip: Clip, look: Look, share: float, path: Path) -> None:
    """How a frame of the clip looks when `share` of a fit is done, as the real fit leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, number = path.with_name(f"{path.name}.part"), clip.frames // 2
    _painted(clip, number, look, share).save(part, "JPEG", quality=90, comment=str(number).encode())
    part.replace(path)


def _painted(clip: Clip, number: int, look: Look, share: float = 1.0) -> Image.Image:
    style = look.styles[0].path.name
    # A visitor's own style is painted in one of the hands too.
    hand = next((hand for hand in HANDS if hand.name == style), HANDS[zlib.crc32(style.encode()) % len(HANDS)])
    before = frame_of(clip, number)
    return Image.blend(before, painted(before, hand, number, share), look.strength)


def frame_of(clip: Clip, number: int) -> Image.Image:
    """A frame of an imagined clip."""
    name = clip.path.stem.partition(", take")[0]
    return _scene(zlib.crc32(name.encode()) % MOST, number % LOOP)


@cache
def _scene(seed: int, number: int) -> Image.Image:
    return scene(seed, *SIZE, number / 24 + 7 * seed)


def _frame(picture: Image.Image) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
