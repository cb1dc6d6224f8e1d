"""What a painted picture is judged by while networks are trained and fitted.

Distances are relative (squared error over the target's squared size), so that depths and pictures weigh alike. Pictures
are (N, 3, H, W), RGB, 0..1; features (N, C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.network import STRIDE

DEPTH_WEIGHTS = (1.0, 1.0, 1.5, 2.0)
"""Of the four depths in the style loss: the deepest moves last and needs a weight of its own."""
BENT = 1.5
"""Weight of what is unsteady when bent, beside what is so when shifted: means of pixels are apart by less."""


def gram(features: Tensor) -> Tensor:
    """Second moments of the channels over the picture: (N, C, H, W) -> (N, C, C), in float32 (Gatys et al. 2016)."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def spread(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel: two of (N, C), in float32."""
    var, mean = torch.var_mean(features.float(), dim=(2, 3), correction=0)
    return mean, (var + 1e-6).sqrt()


def relative(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of each pair in a batch, relative to the size of `b`: (N, …) twice -> (N,)."""
    return (a - b).square().flatten(1).sum(1) / b.square().flatten(1).sum(1).clamp_min(1e-12)


@dataclass(frozen=True, slots=True)
class StyleTarget:
    """A style at one depth: what the painted picture's features should have. (N or 1, C, C) and (N or 1, C)."""

    gram: Tensor
    mean: Tensor
    std: Tensor


def moments(features: Tensor, styles: int) -> StyleTarget:
    """What the features (styles * n, C, H, W) have, those of each style's n pictures taken together, as of one picture.

    A crop of the sky need not hold all that the style picture holds.
    """
    pixels = features.permute(0, 2, 3, 1).reshape(styles, -1, features.shape[1]).float()
    square, mean = pixels.transpose(1, 2) @ pixels / pixels.shape[1], pixels.mean(1)
    var = square.diagonal(dim1=1, dim2=2) - mean.square()
    return StyleTarget(square, mean, (var.clamp_min(0) + 1e-6).sqrt())


def style_targets(features: Sequence[Tensor]) -> list[StyleTarget]:
    """The targets that style pictures' features set, one a depth."""
    return [moments(f, len(f)) for f in features]


def _mix(tensors: Iterable[Tensor], weights: Sequence[float]) -> Tensor:
    return torch.stack([w * t for w, t in zip(weights, tensors, strict=True)]).sum(0)


def blend_targets(targets: Sequence[Sequence[StyleTarget]], weights: Sequence[float]) -> list[StyleTarget]:
    """Several styles as one: every moment is the weighted mean of theirs."""
    return [
        StyleTarget(
            _mix((t.gram for t in depth), weights),
            _mix((t.mean for t in depth), weights),
            _mix((t.std for t in depth), weights),
        )
        for depth in zip(*targets, strict=True)
    ]


def style_loss(features: Sequence[Tensor], targets: Sequence[StyleTarget], *, cap: float = math.inf) -> Tensor:
    """Gram, mean and spread distances over the depths, weighted by DEPTH_WEIGHTS; a scalar.

    The features are those of as many pictures for every target, in its order, and judged together (`moments`). A style's
    distance at one depth counts up to `cap`, so that a hopeless pair does not drown a batch of others.
    """
    total = torch.zeros((), device=features[0].device)
    for weight, seen, target in zip(DEPTH_WEIGHTS, features, targets, strict=True):
        found = moments(seen, len(target.gram))
        for ours, theirs in ((found.gram, target.gram), (found.mean, target.mean), (found.std, target.std)):
            total = total + weight * relative(ours, theirs).clamp_max(cap).mean()
    return total


@dataclass(frozen=True, slots=True)
class Colours:
    """Mean and covariance of a picture's colours: (N, 3, 1) and (N, 3, 3)."""

    mean: Tensor
    covariance: Tensor


def colours(pictures: Tensor) -> Colours:
    flat = pictures.float().flatten(2)
    mean = flat.mean(2, keepdim=True)
    return Colours(mean, (flat - mean) @ (flat - mean).transpose(1, 2) / flat.shape[2])


def blend_colours(styles: Sequence[Colours], weights: Sequence[float]) -> Colours:
    return Colours(_mix((s.mean for s in styles), weights), _mix((s.covariance for s in styles), weights))


def colour_loss(seen: Colours, wanted: Colours) -> Tensor:
    """How far the colours are apart, relative to how far those of the wanted picture spread; a scalar.

    Gram matrices alone take brightness for contrast: a painter short of strokes then pales.
    """
    size = wanted.covariance.diagonal(dim1=1, dim2=2).sum(1) + 0.01
    mean = (seen.mean - wanted.mean).square().sum((1, 2)) / size
    return (mean + (seen.covariance - wanted.covariance).square().sum((1, 2)) / size.square()).mean()


def pooled(x: Tensor, styles: int = 1) -> Tensor:
    """The crops of each style as one picture, for statistics over all of it: (S * N, C, H, W) -> (S, C, N * H, W)."""
    return x.reshape(styles, -1, *x.shape[1:]).transpose(1, 2).flatten(2, 3)


def slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences between neighbours, across and down."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def outside(x: Tensor) -> Tensor:
    """How far the picture leaves 0..1, on average: the network's output is not clamped."""
    x = x.float()
    return (x - x.clamp(0, 1)).abs().mean()


Move = Callable[[Tensor], Tensor]
"""A movement of space, the same for a picture and its painting: (N, C, H, W) to (N, C, H', W')."""


def shift(random: np.random.Generator) -> Move:
    """By 0 to 7 whole pixels each way: all phases of the network's strides, and nothing is interpolated."""
    y, x = (int(by) for by in random.integers(0, STRIDE, 2))
    return lambda frames: frames[..., y : y + frames.shape[2] - STRIDE, x : x + frames.shape[3] - STRIDE]


def bend(shape: torch.Size, random: np.random.Generator) -> Move:
    """As film moves: shifts of up to 12 pixels, mostly broken ones, zoom of 3%, turn of 2 degrees, a soft bend."""
    n, _, height, width = shape
    angle = torch.from_numpy(random.uniform(-0.035, 0.035, n)).float()
    zoom = torch.from_numpy(random.uniform(0.97, 1.03, n)).float()
    size = torch.tensor([width, height])
    by = torch.from_numpy(random.uniform(-24.0, 24.0, (n, 2))).float() / size
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    rows = [torch.stack([cos, -sin, by[:, 0]], 1), torch.stack([sin, cos, by[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 1, height, width], align_corners=False)
    soft = torch.from_numpy(random.normal(0, 2.0, (n, 2, 4, 4))).float() / size[:, None, None]
    grid = grid + F.interpolate(soft, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return lambda frames: F.grid_sample(
        frames, grid.to(frames.device), mode="bicubic", padding_mode="reflection", align_corners=False
    )


def unsteadiness(paint: Move, pictures: Tensor, painted: Tensor, random: np.random.Generator) -> Tensor:
    """RMSE between the painting of a picture, moved, and the painting of the moved, noisy picture: what the painter adds.

    The compound regularisation of ReReVST (Wang et al. 2020), half of the time by whole pixels. To bend is to interpolate,
    which blurs, so that blur would be rewarded: bent pictures are compared by means of 4x4 pixels.
    """
    bent = random.random() < 0.5
    move = bend(pictures.shape, random) if bent else shift(random)
    moved = move(pictures)
    sigma = float(np.exp(random.uniform(np.log(0.004), np.log(0.03))))
    noise = torch.from_numpy(random.standard_normal(moved.shape, dtype=np.float32)).to(moved)
    apart = paint((moved + sigma * noise).clamp(0, 1)).float() - move(painted.float())
    edge = min(apart.shape[2:]) // 8  # beyond it, what lies outside of the frame is felt
    apart = apart[..., edge:-edge, edge:-edge]
    if bent:
        apart = BENT * F.avg_pool2d(apart, 4, 2)
    return (apart.square().mean() + 1e-6).sqrt()
