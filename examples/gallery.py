"""Paints the gallery of the README: photographs down the side, styles along the top, a painting where they meet.

    python examples/gallery.py [--quality standard] [--side 384] [--output docs/pictures/gallery.jpg]

Everything in it may be shown: the lake is the bundled example's, the styles are drawn here and in paintings.py, and the
photographs come with scikit-image (a portrait by NASA, public domain; Chelsea the cat and a coffee, CC0), where that is
installed. Paintings are kept in examples/out/gallery, by photograph, style, quality and weights, so that a run goes on
where an earlier one has stopped; remove that folder after changes to the fit itself.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from noise import Field, fractal
from paintings import mosaic, oil
from PIL import Image, ImageDraw
from scene import FRAMES, Scene, gradient

from stylizer.fit import fit
from stylizer.jobs import Quality
from stylizer.styles import weights_digest
from stylizer.stylize import Stylizer

HERE = Path(__file__).parent
PAPER = (248, 246, 242)
GAP, EDGE = 10, 16
"""Pixels between the pictures and around them."""
SUNSET = [(0, "2b1d52"), (0.3, "7a2f6b"), (0.5, "d9534f"), (0.7, "f3a447"), (0.85, "f9dd8c"), (1, "fff6d8")]


def points(seed: int = 5, width: int = 640, height: int = 512) -> Image.Image:
    """A harbour at sunset in dabs of pure colour, each beside its opposite."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    far = np.hypot(x - width * 0.62, (y - height * 0.42) * 1.2) / height
    tone = np.clip(1.05 - 1.3 * far + 0.35 * (fractal(random, height, width, 120, 3) - 0.5), 0, 1)
    water = y > height * 0.58
    tone = np.where(water, np.clip(0.8 * tone + 0.18 * np.sin(y / 5.5 + 3 * np.sin(x / 60)), 0, 1), tone)
    plan = gradient(SUNSET, tone.astype(np.float32))
    canvas = Image.new("RGB", (2 * width, 2 * height), (238, 228, 205))
    draw = ImageDraw.Draw(canvas)
    for count, radius in ((9000, 5.0), (16000, 3.6)):
        for px, py in zip(random.uniform(0, width, count), random.uniform(0, height, count), strict=True):
            own = plan[min(height - 1, int(py)), min(width - 1, int(px))]
            dab = 1 - own if random.random() < 0.12 else own * random.uniform(0.75, 1.25) + random.normal(0, 0.07, 3)
            r = radius * random.uniform(0.7, 1.2)
            fill = tuple(int(v) for v in (255 * np.clip(dab, 0, 1)))
            draw.ellipse([2 * (px - r), 2 * (py - 0.8 * r), 2 * (px + r), 2 * (py + 0.8 * r)], fill=fill)
    return canvas.resize((width, height), Image.Resampling.LANCZOS)


def pen(seed: int = 8, width: int = 640, height: int = 512) -> Image.Image:
    """Hills in pen and ink on cream paper: the darker, the more hatching lies across the other."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dark = np.zeros((height, width), np.float32)
    canvas = Image.new("RGB", (2 * width, 2 * height), (244, 236, 216))
    draw = ImageDraw.Draw(canvas)
    for n in range(6):
        ridge = height * (0.25 + 0.13 * n) + 60 * (fractal(random, 2, width, 130, 4)[0] - 0.5) + 18 * np.sin(x[0] / 70 + n)
        below = y > ridge[None]
        shade = np.clip(0.95 - (y - ridge[None]) / 110, 0.05, 1) * (0.55 + 0.08 * n)
        dark = np.where(below, shade + 0.35 * (fractal(random, height, width, 40, 3) - 0.5), dark)
        outline = [(2 * float(px), 2 * float(ridge[px])) for px in range(0, width, 3)]
        draw.line(outline, fill=(40, 30, 28), width=4)
    for level, angle in ((0.25, 0.7), (0.42, -0.6), (0.58, 1.25), (0.75, 0.05)):
        _hatch(draw, dark, level, angle, random)
    return canvas.resize((width, height), Image.Resampling.LANCZOS)


def _hatch(draw: ImageDraw.ImageDraw, dark: Field, level: float, angle: float, random: np.random.Generator) -> None:
    """Short lines at an angle wherever it is darker than the level."""
    height, width = dark.shape
    for _ in range(height * width // 60):
        px, py = random.uniform(0, width), random.uniform(0, height)
        if dark[min(height - 1, int(py)), min(width - 1, int(px))] > level:
            turn, long = angle + random.normal(0, 0.06), random.uniform(5, 11)
            dx, dy = long * math.cos(turn), long * math.sin(turn)
            draw.line([2 * (px - dx), 2 * (py - dy), 2 * (px + dx), 2 * (py + dy)], fill=(46, 36, 34), width=2)


def photographs() -> dict[str, Image.Image]:
    """The lake of the example at dusk, and what scikit-image has."""
    found = {"lake": Image.fromarray(Scene().frame(FRAMES // 2))}
    try:
        from skimage import data  # noqa: PLC0415  # optional
    except ImportError:
        return found
    return {
        "portrait": Image.fromarray(data.astronaut()),
        "cat": Image.fromarray(data.chelsea()),
        **found,
        "coffee": Image.fromarray(data.coffee()),
    }


def square(picture: Image.Image, side: int) -> Image.Image:
    """The middle of it."""
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    return picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)


def tensor(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) RGB 0..1."""
    return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None].float() / 255


def painted(photograph: Image.Image, style: Image.Image, quality: Quality) -> Image.Image:
    """Fitted to that photograph alone, painted at its size."""
    seen = tensor(photograph)
    network = fit([tensor(style)[0]], [1.0], (seen * 255 + 0.5).to(torch.uint8), quality=quality).network
    return Image.fromarray((Stylizer(network).paint(seen)[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python examples/gallery.py")
    parser.add_argument("--quality", type=Quality, default=Quality.STANDARD, choices=list(Quality)[:3])
    parser.add_argument("--side", type=int, default=512, help="of each painting in pixels; it is shown at 320")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs/pictures/gallery.jpg")
    asked = parser.parse_args()
    shown = 320
    styles = {"oil": oil(), "points": points(), "mosaic": mosaic(), "pen": pen()}
    rows = photographs()
    kept = HERE / "out" / "gallery"
    kept.mkdir(parents=True, exist_ok=True)
    step = shown + GAP
    size = 2 * EDGE + (len(styles) + 1) * step - GAP, 2 * EDGE + (len(rows) + 1) * step - GAP
    sheet = Image.new("RGB", size, PAPER)
    for column, style in enumerate(styles.values(), 1):
        sheet.paste(square(style, shown), (EDGE + column * step, EDGE))
    for row, (name, photograph) in enumerate(rows.items(), 1):
        whole = square(photograph, asked.side)
        sheet.paste(whole.resize((shown, shown), Image.Resampling.LANCZOS), (EDGE, EDGE + row * step))
        for column, (style_name, style) in enumerate(styles.items(), 1):
            path = kept / f"{name}-{style_name}-{asked.quality}-{asked.side}-{weights_digest()[:8]}.png"
            if not path.is_file():
                painted(whole, style, asked.quality).save(path)
                print(path, flush=True)  # noqa: T201
            with Image.open(path) as painting:
                small = painting.resize((shown, shown), Image.Resampling.LANCZOS)
            sheet.paste(small, (EDGE + column * step, EDGE + row * step))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(asked.output, quality=88, optimize=True)
    print(asked.output)  # noqa: T201


if __name__ == "__main__":
    main()
