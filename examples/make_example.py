"""Draws the example: a clip of a lake at dusk with sound, and two style pictures. All of it is made here, from nothing.

    python examples/make_example.py [FOLDER]

writes clip.mp4, art.jpg and mosaic.jpg to FOLDER (examples/out). The same machine draws the same pixels every time.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from noise import Field
from paintings import mosaic, oil
from scene import FRAMES, HEIGHT, RATE, SECONDS, WIDTH, Scene

RATE_OF_SOUND = 48_000
CHORD = [(110.0, 0.5), (164.81, 0.42), (220.0, 0.4), (261.63, 0.3), (329.63, 0.24), (493.88, 0.12)]
"""Frequency in Hz and loudness of the voices of the pad: A minor with a ninth."""
BELLS = [(0.6, 880.0, -0.5), (2.1, 659.26, 0.4), (3.3, 987.77, 0.1), (4.6, 783.99, -0.3)]
"""When, how high and how far to the right (-1..1) the bells are."""


def sound(seed: int = 5) -> Field:
    """(2, samples) stereo, -1..1: a soft chord, waves that come and go, four bells."""
    random = np.random.default_rng(seed)
    count = SECONDS * RATE_OF_SOUND
    t = np.arange(count) / RATE_OF_SOUND
    stereo = np.zeros((2, count))
    for side in (0, 1):
        for n, (pitch, loud) in enumerate(CHORD):
            slow = 1 + 0.25 * np.sin(2 * np.pi * (0.11 + 0.05 * n) * t + 2 * n + side)
            stereo[side] += 0.10 * loud * slow * np.sin(2 * np.pi * pitch * (1 + (0.0009 if side else -0.0009)) * t + n)
        hiss = np.convolve(random.standard_normal(count), np.ones(48) / 48, "same")
        stereo[side] += 0.16 * hiss * (0.35 + 0.65 * np.sin(2 * np.pi * 0.21 * t + 0.9 * side) ** 2)
    for when, pitch, right in BELLS:
        since = np.maximum(t - when, 0)
        ring = np.exp(-2.2 * since) * (t >= when) * (1 - np.exp(-400 * since))
        tone = np.sin(2 * np.pi * pitch * since) + 0.35 * np.sin(2 * np.pi * 2.76 * pitch * since) * np.exp(-4 * since)
        stereo += 0.07 * ring * tone * np.array([[1 - right], [1 + right]]) / 2
    fade = np.clip(np.minimum(t / 0.8, (SECONDS - t) / 1.0), 0, 1)
    return (stereo * fade).astype(np.float32)


def clip(path: Path) -> None:
    """H.264 and stereo AAC in an MP4."""
    scene = Scene()
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("h264", rate=RATE, options={"crf": "16", "preset": "medium"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=RATE_OF_SOUND, layout="stereo")
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(scene.frame(number), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        samples = sound()
        for start in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "stereo")
            block.sample_rate, block.pts, block.time_base = RATE_OF_SOUND, start, Fraction(1, RATE_OF_SOUND)
            container.mux(audio.encode(block))
        container.mux(audio.encode())


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"
    folder.mkdir(parents=True, exist_ok=True)
    oil().save(folder / "art.jpg", quality=93)
    mosaic().save(folder / "mosaic.jpg", quality=93)
    # Last, and whole or not at all: make takes its presence for everything being there.
    part = folder / "clip.part.mp4"
    clip(part)
    part.replace(folder / "clip.mp4")


if __name__ == "__main__":
    main()
