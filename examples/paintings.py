"""Two style pictures, painted by rule: oil strokes that follow a swirling night wind, and a mosaic of a warm day."""

from __future__ import annotations

import math

import numpy as np
from noise import Field, fractal, smooth
from PIL import Image, ImageDraw
from scene import colour, gradient

NIGHT = [(0, "0b1440"), (0.25, "173a8c"), (0.5, "2f6fc4"), (0.7, "7fb6d9"), (0.85, "e8d98a"), (1, "ffc22e")]
EARTH = [(0, "0a1f2e"), (0.35, "14483f"), (0.6, "2f7a4f"), (0.8, "a3a83f"), (1, "e9b13b")]
LIGHTS = [(118, 104, 52), (330, 66, 28), (470, 170, 34), (628, 112, 78), (248, 196, 24), (728, 258, 22), (60, 262, 20)]
"""Centre and radius of the lights in the sky."""
STONE = 11.0
"""Pixels from one row of stones to the next."""
SWIRLS = [(248, 168, 120, 1.0), (452, 190, 110, -1.0), (628, 112, 130, 1.0), (118, 104, 100, -1.0)]


def oil(seed: int = 3, width: int = 768, height: int = 608) -> Image.Image:
    """A night sky over a valley in thick strokes, long ones first, small ones on top, lit as if the paint stood up."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, tone = _wind(random, x, y)
    ridge = height * 0.66 + 44 * np.sin(x[0] / 120 + 0.6) + 60 * (fractal(random, 2, width, 150, 3)[0] - 0.5)
    ground = (y > ridge[None]).astype(np.float32)
    plan = gradient(NIGHT, tone) * (1 - ground[..., None])
    furrow = np.clip(
        0.32 + 0.9 * (fractal(random, height, width, 46, 4, 2.5) - 0.5) + 0.25 * np.sin((y - ridge) / 11 + x / 90), 0, 1
    )
    plan += gradient(EARTH, furrow) * ground[..., None]
    rolling = np.arctan2(np.gradient(ridge), 1.0)[None] * smooth(0, 160, ridge[None] + 160 - y) + 0.5 * np.sin(
        x / 85 + y / 60
    )
    angle = np.where(ground > 0, rolling, angle)

    scale = 2
    canvas = Image.fromarray((plan * 0.75 * 255).clip(0, 255).astype(np.uint8)).resize((width * scale, height * scale))
    relief = Image.new("L", canvas.size, 90)
    paint, bumps = ImageDraw.Draw(canvas), ImageDraw.Draw(relief)
    for count, length, thick in ((2600, 46, 11.0), (5200, 30, 7.0), (5200, 19, 4.2)):
        for px, py in zip(random.uniform(-8, width + 8, count), random.uniform(-8, height + 8, count), strict=True):
            path = _stroke(angle, px, py, length * random.uniform(0.6, 1.3))
            middle = path[len(path) // 2]
            own = plan[_row(middle[1], height), _row(middle[0], width)]
            tint = own * random.uniform(0.82, 1.2) + random.normal(0, 0.035, 3)
            _brush(paint, bumps, path, tint, thick * random.uniform(0.7, 1.25), scale, random)
    small = canvas.resize((width, height), Image.Resampling.LANCZOS)
    thickness = np.asarray(relief.resize((width, height), Image.Resampling.LANCZOS), np.float32) / 255
    light = 1 + 1.5 * (np.roll(thickness, 1, (0, 1)) - np.roll(thickness, -1, (0, 1))) * -1
    weave = 1 + 0.05 * (np.random.default_rng(seed).random((height, width), np.float32) - 0.5)
    lit = np.asarray(small, np.float32) * np.clip(light, 0.72, 1.3)[..., None] * weave[..., None]
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def _wind(random: np.random.Generator, x: Field, y: Field) -> tuple[Field, Field]:
    """Direction of the strokes in the sky, radians, and where their colour lies in the palette."""
    height, width = x.shape
    across = 1.0 + 0.25 * np.sin(y / 70)
    down = 0.55 * np.sin(x / 96 + 0.4) + 1.3 * (fractal(random, height, width, 170, 3) - 0.5)
    turned = np.zeros_like(x)
    for cx, cy, reach, turn in SWIRLS:
        dx, dy = x - cx, y - cy
        far = np.hypot(dx, dy) + 1e-3
        pull = 3.2 * np.exp(-((far / reach) ** 2))
        across = across + pull * turn * -dy / far
        down = down + pull * turn * dx / far
        turned += np.exp(-((far / reach) ** 2)) * np.sin(far / 8.5 + np.arctan2(dy, dx) * turn)
    tone = 0.30 + 0.16 * turned + 0.75 * (fractal(random, height, width, 90, 4, 2.4) - 0.5) + 0.12 * (y / height)
    for cx, cy, radius in LIGHTS:
        far = np.hypot(x - cx, y - cy) / radius
        rings = 0.09 * np.sin(far * 9)
        tone = np.maximum(tone, (1.04 - 0.52 * far + rings) * (far < 1.35))
    return np.arctan2(down, across).astype(np.float32), np.clip(tone, 0, 1).astype(np.float32)


def _row(at: float, size: int) -> int:
    return min(size - 1, max(0, int(at)))


def _stroke(angle: Field, x: float, y: float, length: float) -> list[tuple[float, float]]:
    """A path of about `length` pixels along the field, from its beginning at (x, y)."""
    path = [(x, y)]
    for _ in range(max(3, round(length / 5))):
        turn = float(angle[_row(y, angle.shape[0]), _row(x, angle.shape[1])])
        x, y = x + 5 * math.cos(turn), y + 5 * math.sin(turn)
        path.append((x, y))
    return path


def _brush(
    paint: ImageDraw.ImageDraw,
    bumps: ImageDraw.ImageDraw,
    path: list[tuple[float, float]],
    tint: Field,
    thick: float,
    scale: int,
    random: np.random.Generator,
) -> None:
    """Lay down one stroke: its body, then the trails of some bristles, lighter and darker, beside one another."""
    height = random.uniform(110, 190)
    body = [(px * scale, py * scale) for px, py in path]
    wide = max(2, round(thick * scale))
    _line(paint, body, tint, wide)
    bumps.line(body, fill=int(height), width=wide, joint="curve")
    (ax, ay), (bx, by) = path[0], path[-1]
    long = math.hypot(bx - ax, by - ay) + 1e-6
    nx, ny = -(by - ay) / long, (bx - ax) / long
    for _ in range(3):
        off = random.uniform(-0.42, 0.42) * thick
        first = int(random.integers(0, max(1, len(path) // 3)))
        trail = [((px + nx * off) * scale, (py + ny * off) * scale) for px, py in path[first:]]
        _line(paint, trail, tint * random.uniform(0.78, 1.26), max(1, round(wide * 0.16)))
        bumps.line(trail, fill=int(height + random.uniform(-45, 60)), width=max(1, round(wide * 0.2)), joint="curve")


def _line(paint: ImageDraw.ImageDraw, path: list[tuple[float, float]], tint: Field, wide: int) -> None:
    fill = tuple(int(v) for v in (tint * 255).clip(0, 255))
    paint.line(path, fill=fill, width=wide, joint="curve")


def mosaic(seed: int = 11, width: int = 720, height: int = 600) -> Image.Image:
    """A sun over terraced hills and the sea, in small glazed stones set along its lines, with dark joints."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    plan, along = _design(random, x, y)
    # Stones in rows: one axis follows the lines of the design, so that the rows curve with it.
    rows = along[0] / STONE
    row = np.floor(rows)
    columns = along[1] / (STONE * 1.25) + (row * 0.618) % 1.0
    column = np.floor(columns)
    fy, fx = rows - row, columns - column
    wobble = 0.10 + 0.10 * _hash(row, column, 5)
    edge = np.minimum(np.minimum(fy, 1 - fy), np.minimum(fx, 1 - fx) * 1.25)
    stone = smooth(0.03, 0.14, edge - wobble * 0.35)
    # One colour a stone: that of the design at its middle, found by averaging over its pixels.
    _, number = np.unique((row * 4096 + column + 1e6).astype(np.int64), return_inverse=True)
    number = number.reshape(height, width)
    counts = np.bincount(number.ravel())
    flat = np.stack([np.bincount(number.ravel(), plan[..., c].ravel()) / counts for c in range(3)], -1)
    shade = 0.80 + 0.42 * _hash(row, column, 1)
    tint = flat[number] * shade[..., None] + 0.07 * (np.stack([_hash(row, column, n) for n in (2, 3, 4)], -1) - 0.5)
    bevel = 1 + 0.34 * (0.5 - fy) * 0.8 + 0.22 * (0.5 - fx)
    glaze = 1 + 0.16 * (fractal(random, height, width, 9, 3) - 0.5)
    tint = tint * (bevel * glaze)[..., None]
    joint = colour("3a2a22") * (0.8 + 0.5 * fractal(random, height, width, 5, 2))[..., None]
    picture = joint + (tint - joint) * stone[..., None]
    return Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))


def _hash(row: Field, column: Field, salt: int) -> Field:
    """A number 0..1 for each stone that looks random and is always the same."""
    value = np.sin(row * 127.1 + column * 311.7 + salt * 74.7) * 43758.5453
    return (value - np.floor(value)).astype(np.float32)


def _design(random: np.random.Generator, x: Field, y: Field) -> tuple[Field, tuple[Field, Field]]:
    """Colours of the design, and two coordinates in pixels: across its rows of stones, and along them."""
    height, width = x.shape
    cx, cy = width * 0.63, height * 0.30
    far, around = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    rays = 0.5 + 0.5 * np.sin(around * 14 + 0.35 * np.sin(far / 21))
    sky = gradient(
        [(0, "fff0b8"), (0.17, "ffd34f"), (0.30, "f79a2e"), (0.55, "e2603a"), (0.8, "b33b4e"), (1, "6d2a55")], far / 560
    )
    sky = sky * (0.80 + 0.30 * rays * smooth(60, 110, far))[..., None]
    # Around the sun a whole number of stones a ring, the same size near it and far from it.
    ring = np.maximum(1, np.round(2 * np.pi * (np.floor(far / STONE) + 0.5) / 1.25))
    plan, rows, along = sky, far, (around / (2 * np.pi) + 0.5) * ring * STONE * 1.25
    bands = [
        (0.50, 46, 170, ("c8553d", "f2b04a")),
        (0.61, 36, 120, ("8a9a3b", "e6c65a")),
        (0.73, 24, 150, ("1f6f6b", "58b09c")),
        (0.84, 16, 70, ("12405e", "3d8fb0")),
    ]
    for level, rise, length, (dark, light) in bands:
        line = height * level + rise * np.sin(x / length + level * 31) + 0.4 * rise * np.sin(x / (length * 0.43) + level * 9)
        inside = y > line
        stripe = 0.5 + 0.5 * np.sin((y - line) / 13 + 1.5 * fractal(random, height, width, 120, 2))
        tint = colour(dark) + (colour(light) - colour(dark)) * stripe[..., None]
        plan = np.where(inside[..., None], tint, plan)
        rows = np.where(inside, y - line + 9000 * level, rows)
        along = np.where(inside, x, along)
    return plan.astype(np.float32), (rows.astype(np.float32), along.astype(np.float32))
