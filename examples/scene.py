"""A moving landscape at dusk, drawn frame by frame: clouds, hills, a lake that mirrors them, a boat, birds."""

from __future__ import annotations

import math

import numpy as np
from noise import Field, fractal, smooth
from PIL import Image, ImageDraw

WIDTH, HEIGHT, RATE, SECONDS = 640, 360, 24, 6
FRAMES = RATE * SECONDS
SHORE = 208
"""Row of the water line."""
PAN = 88.0
"""Pixels that the camera travels over the nearest hills."""
WIDE = WIDTH + 160
SUN = (282.0, 122.0)

Layer = tuple[Field, Field]
"""Colour (rows, columns, 3) and cover (rows, columns, 1), both 0..1."""


def colour(text: str) -> Field:
    return np.array([int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)


def gradient(stops: list[tuple[float, str]], at: Field) -> Field:
    """Colours of `stops` (place, colour) at the places `at`: (…, 3)."""
    places = [place for place, _ in stops]
    colours = np.array([colour(text) for _, text in stops])
    return np.stack([np.interp(at, places, colours[:, c]) for c in range(3)], -1).astype(np.float32)


class Scene:
    """Everything that stands still, made once; `frame(n)` puts it together as it is at frame n."""

    def __init__(self, seed: int = 7) -> None:
        random = np.random.default_rng(seed)
        self.sky = self._sky()
        self.high = fractal(random, SHORE, WIDE * 2, 34, 6, stretch=3.4)
        self.low = fractal(random, SHORE, WIDE * 2, 60, 6, stretch=2.2)
        self.hills = [
            self._range(random, 150, 34, 150, "6f6a9c", "c98a8f", 0.35),
            self._range(random, 172, 26, 110, "47517f", "b0716f", 0.55),
            self._range(random, 190, 20, 80, "26364f", "7d5a4c", 0.9, trees=9),
        ]
        self.ripples = fractal(random, 512, 512, 40, 4, stretch=3.0)
        self.glints = fractal(random, HEIGHT - SHORE, WIDE, 3, 2, stretch=5.0)
        self.reeds = [
            (x, random.uniform(34, 104), random.uniform(-0.2, 0.28), random.uniform(0, 6), random.uniform(1.0, 2.3))
            for x in np.concatenate([random.normal(70, 38, 74), random.normal(690, 30, 40)])
        ]
        self.birds = [(random.uniform(-40, 60), random.uniform(-18, 22), random.uniform(0, 6)) for _ in range(7)]

    def frame(self, number: int) -> np.ndarray:
        """Frame `number` as (HEIGHT, WIDTH, 3) uint8 RGB."""
        at = number / FRAMES
        seconds = number / RATE
        pan = PAN * (at * at * (3 - 2 * at))
        picture = self._clouded(seconds, pan)
        for layer, near in zip(self.hills, (0.35, 0.6, 1.0), strict=True):
            tint, cover = _moved(layer, pan * near)
            picture += (tint - picture) * cover
        whole = np.concatenate([self._with_birds(picture, seconds, pan), np.zeros((HEIGHT - SHORE, WIDTH, 3), np.float32)])
        boat, cover, waterline = self._boat(seconds, pan)
        whole[SHORE:] = self._water(picture, boat, cover, waterline, seconds, pan)
        whole += (boat - whole) * cover
        return self._with_reeds(whole, seconds, pan)

    def _sky(self) -> Field:
        y, x = np.mgrid[0:SHORE, 0:WIDE].astype(np.float32)
        stops = [(0, "1f2a5c"), (0.3, "4a4384"), (0.55, "a35c86"), (0.75, "ea8a5f"), (0.9, "fbc26b"), (1, "ffdf94")]
        sky = gradient(stops, y / SHORE)
        far = np.hypot(x - SUN[0], (y - SUN[1]) * 1.15)
        sky += (0.55 * np.exp(-far / 60) + 0.35 * np.exp(-far / 190))[..., None] * colour("ffb060")
        return sky

    def _clouded(self, seconds: float, pan: float) -> Field:
        sky, _ = _moved((self.sky, self.sky[..., :1]), pan * 0.12)
        sky = sky.copy()
        y, x = np.mgrid[0:SHORE, 0:WIDTH].astype(np.float32)
        far = np.hypot(x - SUN[0] + pan * 0.12, y - SUN[1])
        disc = smooth(20, 17, far)[..., None]
        sky += (colour("fff3c4") * 1.05 - sky) * disc
        height = (y / SHORE)[..., None]
        warm = np.exp(-far / 200)[..., None]
        for noise, speed, low, high, most in ((self.high, 7.0, 0.50, 0.82, 0.75), (self.low, 15.0, 0.53, 0.78, 0.92)):
            thick = _shifted(noise, pan * 0.2 + seconds * speed, WIDTH)
            lit = np.clip((thick - _shifted(noise, pan * 0.2 + seconds * speed + 3, WIDTH, 4)) * 6 + 0.45, 0, 1)[..., None]
            shade = gradient([(0, "3a3a6e"), (0.5, "7a5482"), (1, "b8657a")], height[..., 0])
            bright = gradient([(0, "9a7fae"), (0.45, "f0938a"), (1, "ffd59a")], height[..., 0])
            tint = shade + (bright - shade) * np.clip(lit * (0.55 + 0.7 * warm), 0, 1)
            cover = smooth(low, high, thick)[..., None] * most * (1 - 0.75 * smooth(0.72, 1.0, height))
            sky += (tint - sky) * cover
        return sky

    def _range(
        self,
        random: np.random.Generator,
        top: float,
        rise: float,
        cell: float,
        dark: str,
        light: str,
        bumps: float,
        trees: int = 0,
    ) -> Layer:
        """A range of hills whose ridge lies around row `top`, lit from the sun's side, with trees of `trees` pixels."""
        x = np.arange(WIDE, dtype=np.float32)
        ridge = top - rise * 3.2 * (fractal(random, 2, WIDE, cell, 5)[0] - 0.5)
        if trees:
            spikes = np.abs(((x * 0.19 + fractal(random, 2, WIDE, 9, 3)[0] * 3) % 1) - 0.5) * 2
            wood = smooth(0.42, 0.58, fractal(random, 2, WIDE, 70, 3)[0])
            ridge = ridge - trees * wood * (0.35 + spikes * fractal(random, 2, WIDE, 7, 2)[0] * 1.5)
        y = np.arange(SHORE, dtype=np.float32)[:, None]
        ground = fractal(random, SHORE, WIDE, 26, 6, stretch=1.7)
        slope = np.gradient(ground, axis=1) * 14 * bumps + np.gradient(ridge)[None] * 0.22
        facing = np.clip(0.42 - slope * np.sign(SUN[0] - x)[None] * -1, 0, 1)
        near = np.exp(-np.abs(x - SUN[0]) / 260)[None]
        glow = np.clip(facing * (0.35 + 0.75 * near), 0, 1)[..., None]
        tint = colour(dark) + (colour(light) - colour(dark)) * glow
        tint = tint * (0.82 + 0.36 * ground[..., None])
        mist = smooth(SHORE - 34, SHORE, y)[..., None] * (0.5 if not trees else 0.16)
        tint = tint + (colour("e8a27c") - tint) * mist
        return tint.astype(np.float32), np.clip(y - ridge[None] + 0.5, 0, 1)[..., None].astype(np.float32)

    def _water(self, land: Field, boat: Field, boat_cover: Field, waterline: int, seconds: float, pan: float) -> Field:
        """The lake: the land upside down, every row displaced by waves that grow towards the viewer."""
        depth = np.arange(HEIGHT - SHORE, dtype=np.float32)
        near = (depth + 3) / (HEIGHT - SHORE)
        x = np.arange(WIDTH, dtype=np.float32)[None]
        rows = (3600.0 / (depth + 9))[:, None]
        waves = 0.5 * np.sin(rows * 0.55 + seconds * 2.6 + x * 0.010) + 0.5 * np.sin(rows * 1.27 + seconds * 3.5 - x * 0.021)
        drift = ((rows * 9 + seconds * 22) % 511).astype(int)
        across = ((x + pan) / (0.35 + 1.5 * near[:, None]) + seconds * 9).astype(int) % 512
        waves = waves + 3.2 * (self.ripples[drift, across] - 0.5)
        lift = (waves * (1.0 + 10 * near[:, None])).astype(np.float32)
        source = np.clip(SHORE - 1 - depth[:, None] * 1.12 - lift, 0, SHORE - 1)
        aside = np.clip(x + waves * 3.0 * near[:, None], 0, WIDTH - 1).astype(int)
        row = source.astype(int)
        part = (source - row)[..., None]
        mirrored = land[row, aside] * (1 - part) + land[np.minimum(row + 1, SHORE - 1), aside] * part
        own = gradient([(0, "c98a78"), (0.35, "4b4a78"), (1, "141f42")], near)[:, None]
        water = mirrored * 0.80 + own * (0.10 + 0.28 * near[:, None, None])
        water *= (1.0 + 0.10 * waves * near[:, None])[..., None]
        below = np.clip(2 * waterline - (SHORE + depth[:, None] + lift * 0.7), 0, HEIGHT - 1).astype(int)
        behind = (SHORE + depth > waterline)[:, None]
        cover = boat_cover[below, aside] * behind[..., None] * 0.8
        water += (boat[below, aside] * 0.72 - water) * cover
        path = np.exp(-(((x - SUN[0] + pan * 0.12) / (12 + 62 * near[:, None])) ** 2))
        sparkle = smooth(0.55, 0.9, _shifted(self.glints, pan + seconds * 10, WIDTH) * 0.5 + 0.25 + 0.16 * waves)
        return water + (path * (0.12 + 1.0 * sparkle))[..., None] * colour("ffce7e") * 0.8

    def _boat(self, seconds: float, pan: float) -> tuple[Field, Field, int]:
        """Colour and cover of the sailing boat on a full frame, and the row where it meets the water."""
        scale = 3
        x, y = 148 + 26 * seconds - pan * 0.9, 246 + 1.2 * math.sin(seconds * 2.1)
        lean = 0.05 * math.sin(seconds * 1.7) + 0.07
        canvas = Image.new("RGBA", (WIDTH * scale, HEIGHT * scale), (40, 22, 30, 0))
        draw = ImageDraw.Draw(canvas)

        def points(*shape: tuple[float, float]) -> list[tuple[float, float]]:
            return [((x + px + lean * -py) * scale, (y + py) * scale) for px, py in shape]

        def sail(edge: list[tuple[float, float]], foot: tuple[float, float], tones: tuple[str, str]) -> None:
            first, last = colour(tones[0]) * 255, colour(tones[1]) * 255
            steps = 26
            for n in range(steps):
                a, b = n / steps, (n + 1.25) / steps
                tone = tuple(int(v) for v in first + (last - first) * a)
                (tx, ty), (bx, by) = edge
                left = (tx + (bx - tx) * a, ty + (by - ty) * a)
                right = (tx + (bx - tx) * b, ty + (by - ty) * b)
                draw.polygon(points(left, right, foot), fill=(*tone, 255))

        sail([(2, -66), (30, -9)], (2, -9), ("fff0cf", "e59a63"))
        sail([(-2, -60), (-24, -10)], (-2, -10), ("c8616a", "7a3557"))
        draw.line(points((0, -70), (0, 0)), fill=(52, 32, 34, 255), width=4)
        draw.polygon(points((-27, -5), (34, -7), (25, 6), (-19, 6)), fill=(74, 38, 40, 255))
        draw.line(points((-27, -5), (34, -7)), fill=(226, 160, 104, 255), width=4)
        small = np.asarray(canvas.resize((WIDTH, HEIGHT), Image.Resampling.BOX), np.float32) / 255
        return small[..., :3], small[..., 3:], round(y + 5)

    def _with_birds(self, picture: Field, seconds: float, pan: float) -> Field:
        scale = 3
        mask = Image.new("L", (WIDTH * scale, SHORE * scale), 0)
        draw = ImageDraw.Draw(mask)
        for dx, dy, phase in self.birds:
            x = (250 + dx * 1.7 + seconds * 24 - pan * 0.3) * scale
            y = (72 + dy * 1.2 + 3 * math.sin(seconds * 1.3 + phase) - seconds * 3) * scale
            flap = math.sin(seconds * 7 + phase) * 4 * scale
            for side in (-1, 1):
                bend = [
                    (x, y),
                    (x + side * 4 * scale, y - flap * 0.7 - scale),
                    (x + side * 9 * scale, y - flap * 0.25 + scale),
                ]
                draw.line(bend, fill=220, width=scale + 1, joint="curve")
        cover = np.asarray(mask.resize((WIDTH, SHORE), Image.Resampling.BOX), np.float32)[..., None] / 255
        return picture + (colour("1d1a33") - picture) * cover

    def _with_reeds(self, picture: Field, seconds: float, pan: float) -> np.ndarray:
        scale = 2
        image = Image.fromarray((picture.clip(0, 1) * 255 + 0.5).astype(np.uint8))
        mask = Image.new("L", (WIDTH * scale, HEIGHT * scale), 0)
        draw = ImageDraw.Draw(mask)
        for x, length, bend, phase, width in self.reeds:
            foot = (x - pan * 1.35) * scale
            sway = bend * length + 5 * math.sin(seconds * 1.6 + phase + x * 0.02)
            blade = [
                (foot + sway * t * t * scale, (HEIGHT + 6 - length * t * (1 - 0.12 * t * abs(bend))) * scale)
                for t in (0, 0.2, 0.4, 0.6, 0.8, 1.0)
            ]
            draw.line(blade[:4], fill=255, width=round(width * scale), joint="curve")
            draw.line(blade[3:], fill=235, width=max(1, round(width * scale * 0.6)), joint="curve")
        cover = mask.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        image.paste((18, 20, 34), mask=cover)
        return np.asarray(image)


def _shifted(noise: Field, by: float, width: int, down: int = 0) -> Field:
    """`width` columns from column `by` on (whole pixels and a fraction), `down` rows lower, edges repeated."""
    whole = math.floor(by)
    part = np.float32(by - whole)
    cut = noise[:, whole : whole + width] * (1 - part) + noise[:, whole + 1 : whole + 1 + width] * part
    return cut if not down else np.concatenate([cut[down:], np.repeat(cut[-1:], down, 0)])


def _moved(layer: Layer, by: float) -> Layer:
    tint, cover = layer
    whole = math.floor(by)
    part = np.float32(by - whole)

    def cut(what: Field) -> Field:
        return what[:, whole : whole + WIDTH] * (1 - part) + what[:, whole + 1 : whole + 1 + WIDTH] * part

    return cut(tint), cut(cover)
