"""The demo's pictures, painted by rule in milliseconds: styles in strokes, dabs or stones, and scenes for its clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Field = NDArray[np.float32]
WIDTH, HEIGHT = 240, 180
STROKES = 1800
"""Of a painted frame."""

LIGHTS = (
    "f0a35e 43315f 5b3a4e ffe3ae",
    "dfe9ee 6f9cc0 3f5a4a ffffff",
    "f4c9a8 7fa6c9 6b7f52 fff3d6",
    "2a3550 0d1226 1c2c34 dfe6ff",
)
"""Low sky, high sky, hills and lamp of a scene: dusk, noon, morning, night."""


@dataclass(frozen=True, slots=True)
class Hand:
    """How a style picture is painted."""

    name: str
    palette: str
    """Colours from dark to light, as hexadecimal numbers."""
    swirl: float
    """How much the direction of the strokes turns over the picture; radians."""
    length: float
    thick: float
    """Of a stroke, in pixels."""
    count: int
    ground: str = "15130f"


HANDS = (
    Hand("night over the valley.png", "0b1440 173a8c 2f6fc4 7fb6d9 e8d98a ffc22e", 7.0, 22, 3.4, 2200),
    Hand("poppies in june.png", "1d3a1c 3f6b2a 8aa53e d8452e ef6a3c f7d9a8", 2.0, 5, 5.0, 4200),
    Hand("harbour in fog.png", "2b3440 566473 8496a1 b5c0c2 d9dcd6 efe9dc", 0.7, 34, 5.5, 700, "c9cfcd"),
    Hand("gold mosaic.png", "3a1f14 7a3b1a b8752a e0a93b f2d67a fff2c4", 0.4, 1, 9.0, 1600, "22160f"),
    Hand("ink on rice paper.png", "16151a 2d2c33 6d6a6a b7b1a6 e6dfd0 f3eee2", 3.0, 26, 1.6, 420, "f1ebdd"),
    Hand("fauve terrace.png", "1f2a6b 0f7a7a 2fae66 f2a11f f25c3b f7c6d0", 3.4, 13, 6.2, 1700),
    Hand("blue tiles.png", "12265c 1f4aa8 4d86d6 a9cbea e8f1f6 ffffff", 0.0, 1, 12.0, 900, "f4f6f6"),
    Hand("last light, pastel.png", "3b2a4a 7a3f5e c2626a f0997a f8c99a fdebd0", 1.2, 40, 7.0, 560, "5a3a52"),
)


def style(hand: Hand, seed: int) -> Image.Image:
    """A style picture of WIDTH x HEIGHT; the same one for the same seed."""
    random = np.random.default_rng([seed, len(hand.name), ord(hand.name[0])])
    tone = _clouds(random, WIDTH, HEIGHT)
    angle = _clouds(random, WIDTH, HEIGHT) * hand.swirl
    picture = Image.new("RGB", (WIDTH, HEIGHT), f"#{hand.ground}")
    draw = ImageDraw.Draw(picture)
    colours = [_rgb(word) for word in hand.palette.split()]
    for x, y, touch in zip(
        random.uniform(-4, WIDTH, hand.count),
        random.uniform(-4, HEIGHT, hand.count),
        random.normal(0, 0.07, hand.count),
        strict=True,
    ):
        at = min(HEIGHT - 1, max(0, int(y))), min(WIDTH - 1, max(0, int(x)))
        colour = _mix(colours, float(tone[at]) + float(touch))
        if hand.length <= 1:
            # Stones and tiles lie in rows.
            left, top = x // hand.thick * hand.thick, y // hand.thick * hand.thick
            draw.rectangle((left, top, left + hand.thick - 2, top + hand.thick - 2), fill=colour)
        else:
            draw.line(_path(angle, float(x), float(y), hand.length), fill=colour, width=round(hand.thick), joint="curve")
    return picture


def scene(seed: int, width: int, height: int, when: float) -> Image.Image:
    """A frame of an imagined clip at `when` seconds: a sky, hills that drift past, a light that wanders."""
    low, high, hill, lamp = (np.array(_rgb(word)) for word in LIGHTS[seed % len(LIGHTS)].split())
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    picture = low + (high - low) * (1 - y[..., None])
    for layer in range(3):
        ridge = 0.55 + 0.14 * layer + 0.08 * np.sin(x * (5 + 3 * layer) + when * (0.2 + 0.2 * layer) + seed)
        picture = np.where((y > ridge)[..., None], hill * (0.85 - 0.25 * layer), picture)
    far = np.hypot(x - 0.5 - 0.35 * math.sin(when * 0.31 + seed), (y - 0.28 - 0.1 * math.cos(when * 0.23)) * height / width)
    glow = np.exp(-((far / 0.11) ** 2))[..., None]
    return Image.fromarray((picture * (1 - glow) + lamp * glow).clip(0, 255).astype(np.uint8))


def painted(frame: Image.Image, hand: Hand, seed: int, share: float = 1.0) -> Image.Image:
    """A frame as that hand would paint it, more or less: its light in the style's colours, in strokes; `share` of them."""
    random = np.random.default_rng([seed, 7])
    light = np.asarray(frame.convert("L"), np.float32) / 255
    spread = (light - light.min()) / max(0.05, float(light.max() - light.min()))
    colours = [_rgb(word) for word in hand.palette.split()]
    picture = Image.blend(frame, Image.new("RGB", frame.size, f"#{hand.ground}"), share)
    draw = ImageDraw.Draw(picture)
    turn = _clouds(random, *frame.size) * hand.swirl + np.gradient(light, axis=0) * 6
    size = frame.width / WIDTH
    strokes = zip(random.uniform(0, frame.width, STROKES), random.uniform(0, frame.height, STROKES), strict=True)
    for x, y in islice(strokes, round(share * STROKES)):
        at = min(frame.height - 1, int(y)), min(frame.width - 1, int(x))
        path = _path(turn, float(x), float(y), max(3.0, hand.length * size))
        draw.line(path, fill=_mix(colours, float(spread[at])), width=max(1, round(hand.thick * size)), joint="curve")
    return picture


def draw_styles(folder: Path, seed: int) -> list[Path]:
    """All style pictures as PNGs in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for hand in HANDS:
        style(hand, seed).save(folder / hand.name, optimize=False)
    return [folder / hand.name for hand in HANDS]


def _clouds(random: np.random.Generator, width: int, height: int) -> Field:
    """Smooth noise, 0..1."""
    total = np.zeros((height, width), np.float32)
    for cells, weight in ((3, 0.6), (6, 0.3), (13, 0.1)):
        coarse = Image.fromarray(random.random((cells, cells), np.float32))
        total += weight * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    low, high = float(total.min()), float(total.max())
    spread: Field = (total - low) / (high - low)
    return spread


def _path(angle: Field, x: float, y: float, length: float) -> list[tuple[float, float]]:
    path = [(x, y)]
    for _ in range(max(1, round(length / 4))):
        turn = float(angle[min(angle.shape[0] - 1, max(0, int(y))), min(angle.shape[1] - 1, max(0, int(x)))])
        x, y = x + 4 * math.cos(turn), y + 4 * math.sin(turn)
        path.append((x, y))
    return path


def _rgb(word: str) -> tuple[int, int, int]:
    return int(word[:2], 16), int(word[2:4], 16), int(word[4:], 16)


def _mix(colours: Sequence[tuple[int, int, int]], tone: float) -> tuple[int, int, int]:
    """The colour at `tone` (0..1) of a palette."""
    place = min(max(tone, 0.0), 1.0) * (len(colours) - 1)
    first = min(int(place), len(colours) - 2)
    part = place - first
    one, other = colours[first], colours[first + 1]
    return (
        round(one[0] + part * (other[0] - one[0])),
        round(one[1] + part * (other[1] - one[1])),
        round(one[2] + part * (other[2] - one[2])),
    )
