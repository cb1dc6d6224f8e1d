"""Measure pictures with the true teacher: python -m stylizer.training.evaluate --data DIR --pictures DIR [--out sheet.png]

Rows are ways of painting (the photograph itself, MicroAST, ours at each quality), columns distances at 512 pixels, means
over content x style pairs that no training saw. A contact sheet goes beside the table: look at it, every time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylizer.fit import fit
from stylizer.jobs import Quality
from stylizer.losses import gram, relative, spread
from stylizer.stylize import Stylizer
from stylizer.training.peers import MicroAST
from stylizer.training.teacher import Teacher

CONTENTS = ("00_nst_chicago", "03_nst_golden_gate", "09_nst_lion", "01_nst_cornell")
STYLES = ("starry_night_vangogh", "la_muse_picasso", "mosaic", "great_wave_hokusai", "rain_princess_afremov")
SIDE = 512

Painter = Callable[[Tensor, Tensor], Tensor]
"""(content, style), both (1, 3, H, W) RGB 0..1, to the painted picture."""


def load(path: Path, side: int = SIDE) -> Tensor:
    """A picture with its short side at `side`, cropped to multiples of 8: (1, 3, H, W) float RGB 0..1."""
    picture = Image.open(path).convert("RGB")
    scale = side / min(picture.size)
    width, height = (round(n * scale) // 8 * 8 for n in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def ours(quality: Quality) -> Painter:
    """Fit to this one picture and paint it."""

    def paint(content: Tensor, style: Tensor) -> Tensor:
        samples = (content * 255 + 0.5).to(torch.uint8)
        checkpoint = fit([style[0]], [1.0], samples, quality=quality)
        return Stylizer(checkpoint.network).paint(content)

    return paint


@torch.no_grad()
def distances(teacher: Teacher, painted: Tensor, content: Tensor, style: Tensor) -> tuple[float, float, float, float]:
    """(style, mean and spread, content, detail) of a painted picture; the first three relative, smaller is nearer."""
    seen, wanted, kept = teacher(painted), teacher(style), teacher(content)
    of_style = sum(relative(gram(a), gram(b)).item() for a, b in zip(seen, wanted, strict=True))
    moments = zip((spread(f) for f in seen), (spread(f) for f in wanted), strict=True)
    of_spread = sum(relative(m, n).item() + relative(s, t).item() for (m, s), (n, t) in moments)
    detail = (painted[..., 1:] - painted[..., :-1]).abs().mean().item()
    return of_style, of_spread, relative(seen[2], kept[2]).item(), detail


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stylizer.training.evaluate")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="folder with content/ and style/")
    parser.add_argument("--out", type=Path, default=Path("evaluation.png"))
    parser.add_argument("--qualities", default="draft,standard")
    parser.add_argument("--contents", type=int, default=len(CONTENTS))
    parser.add_argument("--styles", type=int, default=len(STYLES))
    arguments = parser.parse_args()
    teacher = Teacher(arguments.data / "teacher/vgg16_to_relu4_3_fp16.pt")
    painters: dict[str, Painter] = {
        "photograph": lambda content, style: content,
        "MicroAST": MicroAST(arguments.data / "peers/microast_fp32.pt", torch.device("cpu")),
        **{q: ours(Quality(q)) for q in arguments.qualities.split(",") if q},
    }
    measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in painters}
    rows = []
    for style_name in STYLES[: arguments.styles]:
        style = load(arguments.pictures / f"style/{style_name}.jpg")
        for content_name in CONTENTS[: arguments.contents]:
            content = load(arguments.pictures / f"content/{content_name}.jpg")
            row = [_thumbnail(style)]
            for name, painter in painters.items():
                started = time.perf_counter()
                painted = painter(content, style).clamp(0, 1)
                seconds = time.perf_counter() - started
                measured[name].append((*distances(teacher, painted, content, style), seconds))
                row.append(_thumbnail(painted))
            rows.append(np.concatenate(row, axis=1))
    Image.fromarray(np.concatenate(rows)).save(arguments.out)
    print(f"{'':12} {'style':>8} {'spread':>8} {'content':>8} {'detail':>8} {'seconds':>8}")
    for name, values in measured.items():
        print(f"{name:12} " + " ".join(f"{v:8.3f}" for v in np.mean(values, axis=0)))
    print(arguments.out)


def _thumbnail(picture: Tensor, side: int = 256) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    height, width = picture.shape[2:]
    edge = min(height, width)
    y, x = (height - edge) // 2, (width - edge) // 2
    square = picture[:, :, y : y + edge, x : x + edge]
    small = torch.nn.functional.interpolate(square, size=(side, side), mode="area")
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (small[0].permute(1, 2, 0) * 255 + 0.5).byte().numpy()
    return pixels


if __name__ == "__main__":
    main()
