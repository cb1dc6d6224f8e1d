"""A look and sample frames of a clip to a checkpoint: the style encoder's guess, calibrated, folded, then fitted.

The fit descends on what a small perceptual encoder sees, with the steadiness that the base was trained for, and a guard:
crops that it never saw must say that the picture became better, else the guess is kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.checkpoint import Checkpoint, shipped
from stylizer.colour import LUMA
from stylizer.estimate import FIT_STEPS
from stylizer.jobs import Quality
from stylizer.losses import (
    Colours,
    StyleTarget,
    blend_colours,
    blend_targets,
    colour_loss,
    colours,
    outside,
    pooled,
    relative,
    style_loss,
    style_targets,
    unsteadiness,
)
from stylizer.muon import Descent
from stylizer.network import Calibration, Modulation, PerceptualEncoder, StyleEncoder, TransformNetwork, fold
from stylizer.stylize import best_precision

FLAT = 0.02
"""Standard deviation of samples below which they tell the network nothing."""

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

BOLDNESS = 1.4
"""How far a draft's style is taken from the mean style, where the encoder's own is at one."""
SEEN, MOST_CROPS = 6, 128
"""How often a fit sees each crop, and how many different ones at most: 170 MB."""
COLOUR, CONTENT, OUTSIDE, UNSTEADY = 2.0, 0.5, 5.0, 28.0
"""Weights of the terms beside the style loss (whose own depths are weighted in losses.py)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How hard a quality tries: steps of `crops` squares of `side` pixels, learning rate `rate` falling to zero."""

    steps: int
    crops: int = 2
    side: int = 224
    rate: float = 0.015


RECIPES = {quality: Recipe(steps) for quality, steps in FIT_STEPS.items()}


@dataclass(frozen=True, slots=True)
class Style:
    """A blend of style pictures as the networks see it."""

    code: Tensor
    """(1, code)"""
    targets: list[StyleTarget]
    colours: Colours


def fit(
    styles: Sequence[Tensor],
    weights: Sequence[float],
    samples: Tensor,
    *,
    quality: Quality,
    brush: float = 1.0,
    keep_color: bool = False,
    seed: int = 0,
    device: str = "cpu",
    precision: str = "auto",
    progress: Progress = lambda done, total: None,
    watch: Callable[[TransformNetwork], None] = lambda network: None,
) -> Checkpoint:
    """Fit to `styles` ((3, H, W) float RGB 0..1 each, weights summing to 1) on `samples` ((n, 3, H, W) uint8, output size).

    Deterministic for a seed on one device and precision. The facts say what was gained and how long it took. `watch` is
    shown the network as it is, the guess first, then after each step.
    """
    started = time.perf_counter()
    where = torch.device(device)
    recipe = RECIPES[quality]
    random = np.random.default_rng(seed)
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[
        best_precision(device) if precision == "auto" else precision
    ]
    # float16 gradients underflow without loss scaling; what paints in it is fitted in bfloat16.
    dtype = torch.bfloat16 if dtype is torch.float16 and where.type == "cuda" else dtype
    autocast = torch.autocast(where.type, dtype, enabled=dtype in (torch.bfloat16,))
    base = shipped()
    perceptual = PerceptualEncoder().to(where)
    perceptual.load_state_dict(base.perceptual.state_dict())
    perceptual = perceptual.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    with autocast:
        style = look_at(styles, weights, samples, perceptual, base.style, brush=brush, keep_color=keep_color, device=where)
        style = style if recipe.steps else bolder(style, base.style)
        guess = calibrated(base.transform, base.style, style, samples, random, device=where)
    if not recipe.steps:
        return Checkpoint(guess.cpu(), {"steps": "0", "seconds": f"{time.perf_counter() - started:.1f}"})

    network = TransformNetwork(guess.dims).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.load_state_dict(guess.state_dict())
    shown = _in_lightness if keep_color else (lambda frames, painted: painted)

    def content_of(frames: Tensor) -> Tensor:
        with torch.no_grad(), autocast:
            return torch.cat([perceptual(some.to(where), depths=3)[2] for some in torch.split(frames, 4)])

    def loss(net: TransformNetwork, frames: Tensor, kept: Tensor, steady: bool) -> Tensor:
        with autocast:
            painted = net(frames)
            result = shown(frames, painted)
            seen = perceptual(result)
            total = style_loss(seen, style.targets)
            total = total + COLOUR * colour_loss(colours(pooled(result)), style.colours)
            total = total + CONTENT * relative(seen[2].float(), kept.float()).mean() + OUTSIDE * outside(painted)
            if steady:
                total = total + UNSTEADY * unsteadiness(net, frames[:1], painted[:1], random)
        return total

    held_back = crops(samples, 4, recipe.side, np.random.default_rng(seed + 1)).to(where)
    held_content = content_of(held_back)

    def judge(net: TransformNetwork) -> float:
        with torch.no_grad():
            return loss(net, held_back, held_content, steady=False).item()

    before = judge(network)
    # What is kept of a crop is found once for the few times that it is seen: a tenth of the fit's time.
    pool = crops(samples, min(MOST_CROPS, recipe.steps * recipe.crops // SEEN), recipe.side, random)
    contents = content_of(pool)
    descent = Descent(network, recipe.rate)
    watch(network)
    for step in range(recipe.steps):
        share = min(1.0, (step + 1) / 10) * (0.5 + 0.5 * math.cos(math.pi * step / recipe.steps))
        some = torch.from_numpy(random.choice(len(pool), recipe.crops, replace=False))
        frames = pool[some].to(where, memory_format=torch.channels_last)
        descent.step(loss(network, frames, contents[some.to(where)], steady=True), share)
        progress(step + 1, recipe.steps)
        watch(network)
    after = judge(network)
    better = math.isfinite(after) and after < before
    facts = {
        "steps": str(recipe.steps),
        "loss_before": f"{before:.4f}",
        "loss_after": f"{after:.4f}",
        "kept": "fit" if better else "guess",
        "seconds": f"{time.perf_counter() - started:.1f}",
    }
    return Checkpoint((network if better else guess).cpu().eval().requires_grad_(False), facts)


@torch.no_grad()
def look_at(
    styles: Sequence[Tensor],
    weights: Sequence[float],
    samples: Tensor,
    perceptual: PerceptualEncoder,
    encoder: StyleEncoder,
    *,
    brush: float,
    keep_color: bool,
    device: torch.device,
) -> Style:
    """Code and targets of the blend. Each picture is scaled so that its strokes are `brush` times as large, relative to
    the frame, as they are in the picture; with `keep_color` it takes the colours of the samples first.
    """
    short = min(samples.shape[2:])
    codes, targets, seen = [], [], []
    for picture in styles:
        coloured = recoloured(picture, samples) if keep_color else picture
        sized = _sized(coloured[None], max(96, min(1024, round(short * brush))))
        features = perceptual(sized.to(device))
        targets.append(style_targets(features))
        seen.append(colours(sized.to(device)))
        if min(sized.shape[2:]) > 512:
            features = perceptual(_sized(sized, 512).to(device))
        codes.append(encoder.cpu()(StyleEncoder.describe(features).cpu()))
    code = sum((w * c for w, c in zip(weights, codes, strict=True)), torch.zeros_like(codes[0]))
    return Style(code.to(device), blend_targets(targets, weights), blend_colours(seen, weights))


@torch.no_grad()
def bolder(style: Style, encoder: StyleEncoder) -> Style:
    """The style with its code taken away from the mean style's: an encoder that has learned from many errs towards it."""
    plain = encoder(encoder.centre[None]).to(style.code.device)
    return replace(style, code=plain + BOLDNESS * (style.code - plain))


@torch.no_grad()
def calibrated(
    transform: TransformNetwork,
    encoder: StyleEncoder,
    style: Style,
    samples: Tensor,
    random: np.random.Generator,
    *,
    device: torch.device,
) -> TransformNetwork:
    """The base, its statistics taken on the samples (at output scale), folded with the style code to a plain network."""
    seen = crops(samples, min(12, max(4, len(samples))), 384, random)
    live = TransformNetwork(transform.dims).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    live.load_state_dict(transform.state_dict())
    norm = Calibration(Modulation(style.code.float(), encoder.layers))
    live.eval()((seen if seen.std() > FLAT else seen + clouds(seen, random)).to(device), norm)
    return fold(live, norm).eval().requires_grad_(False)


def clouds(like: Tensor, random: np.random.Generator) -> Tensor:
    """Smooth noise of three scales and a tenth in size, of the shape of `like`.

    Frames all of one colour have no statistics: a network normed by theirs takes rounding errors for structure.
    """
    sides = [torch.from_numpy(random.standard_normal((*like.shape[:2], side, side))).float() for side in (5, 20, 80)]
    return 0.06 * sum((F.interpolate(noise, size=like.shape[2:], mode="bicubic") for noise in sides), torch.zeros(()))


def crops(samples: Tensor, count: int, side: int, random: np.random.Generator) -> Tensor:
    """`count` random squares of `side` pixels (smaller frames are mirrored up), float RGB 0..1."""
    height, width = samples.shape[2:]
    rows, columns = min(side, height), min(side, width)
    cuts = []
    for n in random.permutation(max(count, len(samples)))[:count] % len(samples):
        y, x = random.integers(height - rows + 1), random.integers(width - columns + 1)
        cuts.append(samples[n, :, y : y + rows, x : x + columns])
    batch = torch.stack(cuts).float() / 255
    while batch.shape[2] < side or batch.shape[3] < side:
        down, across = (min(side - n, n - 1) if n > 1 else 0 for n in batch.shape[2:])
        if down == across == 0:
            return F.interpolate(batch, size=(side, side), mode="nearest")
        batch = F.pad(batch, (0, across, 0, down), mode="reflect")
    return batch.contiguous(memory_format=torch.channels_last)


def recoloured(style: Tensor, samples: Tensor) -> Tensor:
    """The style picture with the mean and covariance of the samples' colours (Gatys et al. 2016, "Preserving color")."""

    def moments(colours: Tensor) -> tuple[Tensor, Tensor]:
        mean = colours.mean(1, keepdim=True)
        return mean, (colours - mean) @ (colours - mean).T / colours.shape[1] + 1e-5 * torch.eye(3)

    def root(matrix: Tensor, power: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        powered: Tensor = vectors @ torch.diag(values.clamp_min(1e-6) ** power) @ vectors.T
        return powered

    seen = samples[:, :, ::7, ::7].permute(1, 0, 2, 3).flatten(1).float() / 255
    mean, covariance = moments(seen)
    style_mean, style_covariance = moments(style.flatten(1))
    turn = root(covariance, 0.5) @ root(style_covariance, -0.5)
    matched: Tensor = (turn @ (style.flatten(1) - style_mean) + mean).clamp(0, 1).reshape(style.shape)
    return matched


def _in_lightness(frames: Tensor, painted: Tensor) -> Tensor:
    """The frames with only their lightness moved to the painting's: what keep_color shows."""
    red, blue = LUMA["bt709"]
    share = torch.tensor([red, 1 - red - blue, blue], device=frames.device)[:, None, None]
    return frames + ((painted - frames) * share).sum(1, keepdim=True)


def _sized(picture: Tensor, short: int) -> Tensor:
    """(1, 3, H, W) with its short side at `short` pixels and its long side at most four times that."""
    height, width = picture.shape[2:]
    scale = short / min(height, width)
    size = (min(4 * short, max(16, round(height * scale))), min(4 * short, max(16, round(width * scale))))
    sized: Tensor = F.interpolate(picture, size=size, mode="bicubic", antialias=True)
    return sized.clamp(0, 1)
