"""A contact sheet: frames of a clip in each of several styles, painted at output size, drawn as one picture."""

# ruff: noqa: PLC0415 - torch waits until something is painted

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from stylizer.errors import OutputError
from stylizer.estimate import Estimate, Measurement, measured_words, rate_here
from stylizer.jobs import Clip, Look

Pixels = NDArray[np.uint8]
"""(rows, columns, 3) RGB."""

PAPER, INK, PALE = (248, 246, 242), (32, 30, 28), (128, 122, 114)
CELL, GAP, EDGE = 320, 12, 28
"""Long side of a cell, space between cells, margin of the sheet, in pixels."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a contact sheet shows."""

    places: tuple[float, ...]
    """Where in the clip each frame is: seconds, or its number for pictures."""
    frames: tuple[Pixels, ...]
    """The clip's own."""
    rows: tuple[tuple[Look, tuple[Pixels, ...]], ...]
    """One look each, its frames painted."""
    seconds_a_frame: float
    """Painting alone, as measured here."""


def preview(
    clip: Clip,
    looks: Sequence[Look],
    count: int,
    *,
    device: str,
    precision: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Preview:
    """Paint `count` frames spread over the clip in each look's first guess (no fit); InputError if none decodes."""
    import torch

    from stylizer.fit import fit
    from stylizer.jobs import Quality
    from stylizer.samples import sample_frames
    from stylizer.styles import load_style
    from stylizer.stylize import Stylizer

    total = len(looks) * (count + 1)
    rows, seconds, done = [], [], 0
    for look in looks:
        samples, positions = sample_frames(clip, look.size, count)
        styles = [torch.from_numpy(load_style(s.path, 2048)).permute(2, 0, 1).float() / 255 for s in look.styles]
        found = fit(
            styles,
            [s.weight for s in look.styles],
            samples,
            quality=Quality.DRAFT,
            brush=look.brush,
            keep_color=look.keep_color,
            seed=look.seed,
            device=device,
            precision=precision,
        )
        painter = Stylizer(
            found.network, device=device, precision=precision, strength=look.strength, keep_color=look.keep_color
        )
        done += 1
        progress(done, total)
        painted = []
        for sample in samples:
            started = time.perf_counter()
            rgb = painter.paint(sample[None].to(painter.device).float() / 255).cpu()
            seconds.append(time.perf_counter() - started)
            painted.append((rgb[0].permute(1, 2, 0) * 255 + 0.5).byte().numpy())
            done += 1
            progress(min(done, total), total)
        rows.append((look, tuple(painted)))
    rate = float(clip.rate)
    places = tuple(position / rate if rate else float(position + 1) for position in positions)
    frames = tuple(sample.permute(1, 2, 0).numpy() for sample in samples)
    # The first frame pays for what the libraries set up once.
    return Preview(places, frames, tuple(rows), float(np.median(seconds[1:] or seconds)))


def sheet(shown: Preview, title: str, footing: str) -> Image.Image:
    """The contact sheet: a row of the clip's own frames, then a row for each look with its style picture before it."""
    height, width = shown.frames[0].shape[:2]
    scale = CELL / max(height, width)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    label, columns, rows = 22, len(shown.frames) + 1, len(shown.rows) + 1
    head, foot = 58, 40
    paper = Image.new(
        "RGB",
        (2 * EDGE + columns * cell[0] + (columns - 1) * GAP, head + rows * (cell[1] + label + GAP) - GAP + foot + EDGE),
        PAPER,
    )
    draw = ImageDraw.Draw(paper)
    large, small = ImageFont.load_default(22), ImageFont.load_default(14)
    draw.text((EDGE, EDGE - 4), _printable(title), INK, font=large)

    def put(column: int, row: int, picture: Image.Image, text: str) -> None:
        x, y = EDGE + column * (cell[0] + GAP), head + row * (cell[1] + label + GAP)
        picture = ImageOps.contain(picture, cell, Image.Resampling.LANCZOS)
        paper.paste(picture, (x, y + (cell[1] - picture.height) // 2))
        draw.text((x, y + cell[1] + 3), _shortened(text, cell[0], small), PALE, font=small)

    timed = shown.places != tuple(float(n + 1) for n in range(len(shown.places)))
    for n, (frame, place) in enumerate(zip(shown.frames, shown.places, strict=True), 1):
        put(n, 0, Image.fromarray(frame), f"{place:.1f} s" if timed else f"{place:.0f}")
    for row, (look, painted) in enumerate(shown.rows, 1):
        names = " + ".join(style.path.stem for style in look.styles)
        put(0, row, style_picture([style.path for style in look.styles], cell), names)
        for n, frame in enumerate(painted, 1):
            put(n, row, Image.fromarray(frame), "")
    draw.text((EDGE, paper.height - EDGE - 16), _printable(footing), INK, font=small)
    return paper


def estimate(clip: Clip, shown: Preview, known: Iterable[Measurement]) -> Estimate:
    """Time for the whole clip in one look: as measured in earlier jobs, else from the painting of the preview alone."""
    height, width = shown.frames[0].shape[:2]
    found = rate_here(known, width=width, height=height)
    if found is None:
        return Estimate(clip.frames, clip.frames * shown.seconds_a_frame, None, 0, "painting alone, as measured just now")
    rate, measured = found
    return Estimate(clip.frames, clip.frames / rate, None, 0, f"without the fit, {measured_words(measured)}")


def write(picture: Image.Image, target: Path) -> None:
    """Write a PNG whole or not at all; OutputError if it cannot be written."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        picture.save(part, "PNG")
        part.replace(target)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}.", hint="Choose another --output."
        ) from None
    finally:
        part.unlink(missing_ok=True)


def style_picture(paths: Sequence[Path], size: tuple[int, int]) -> Image.Image:
    """The style pictures side by side within `size` (width, height)."""
    from stylizer.styles import load_style

    pictures = [Image.fromarray(load_style(path, 2 * max(size))) for path in paths]
    height = min(size[1], *(p.height for p in pictures))
    scaled = [p.resize((max(1, round(p.width * height / p.height)), height), Image.Resampling.LANCZOS) for p in pictures]
    row = Image.new("RGB", (sum(p.width for p in scaled), height), PAPER)
    at = 0
    for picture in scaled:
        row.paste(picture, (at, 0))
        at += picture.width
    row.thumbnail(size, Image.Resampling.LANCZOS)
    return row


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _shortened(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    text = _printable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
