"""Train the base: transform network and style encoder, for any style at once.

First by regressing a published network's pictures, which gives clean colours in minutes (`regress`); then towards the
styles themselves, as the perceptual encoder sees them, with the terms that keep the picture steady (`paint`).
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stylizer.losses import (
    colour_loss,
    colours,
    outside,
    pooled,
    relative,
    slopes,
    style_loss,
    style_targets,
    unsteadiness,
)
from stylizer.network import InstanceNorm, Modulation, PerceptualEncoder, StyleEncoder, TransformNetwork
from stylizer.training.loop import Losses, train
from stylizer.training.peers import MicroAST
from stylizer.training.pictures import Pictures, jitter
from stylizer.training.teacher import Teacher

UNSTEADY = 5.0
"""Weight of the steadiness in the base's training."""


class Base(nn.Module):
    """What is trained together: how to paint, and how a style picture says what."""

    def __init__(self) -> None:
        super().__init__()
        self.transform = TransformNetwork()
        self.style = StyleEncoder(self.transform.dims)

    def forward(self, contents: Tensor, statistics: Tensor) -> Tensor:
        code = self.style(statistics)
        painted: Tensor = self.transform(contents, InstanceNorm(Modulation(code, self.style.layers)))
        return painted


class Samples:
    """Batches of photographs and styles, with the styles' statistics as the perceptual encoder sees them."""

    def __init__(self, root: Path, encoder: PerceptualEncoder, device: torch.device, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.contents = Pictures(root / "train/content_train.tar", seed + 1)
        self.styles = Pictures(root / "train/style_train.tar", seed + 2)
        self.encoder, self.device = encoder.eval().requires_grad_(False), device

    def statistics(self, styles: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            features = self.encoder(styles)
        return StyleEncoder.describe(features)

    def batch(self, count: int, size: int, style_size: int, *, styles: int = 0) -> tuple[Tensor, Tensor]:
        """`count` photographs and as many style pictures, or `styles` of them."""
        contents = jitter(self.contents.batch(count, size, 0.25), self.random, 0.15)
        pictures = self.styles.batch(styles or count, style_size, 0.4)
        if self.random.random() < 0.5:
            pictures = jitter(pictures, self.random, 0.4)
        return contents.to(self.device), pictures.to(self.device)


def centre(style: StyleEncoder, samples: Samples, style_size: int) -> None:
    """Give the style encoder the mean and spread of its inputs over many styles."""
    seen = torch.cat([samples.statistics(samples.batch(16, 32, style_size)[1]) for _ in range(25)])
    style.centre.copy_(seen.mean(0))
    style.spread.copy_(seen.std(0) + 1e-4)


def regress(
    root: Path, encoder: PerceptualEncoder, state: Path, *, steps: int, device: torch.device, size: int = 160, count: int = 6
) -> Base:
    """Regress MicroAST's pictures (L1 and L1 of slopes) on `root`/train; resumable through `state`."""
    samples = Samples(root, encoder, device, seed=11 + state.exists() * 7919)
    peer = MicroAST(root / "peers/microast_fp32.pt", device)
    base = Base().to(device)
    centre(base.style, samples, size)
    base.transform = base.transform.to(memory_format=torch.channels_last)

    def step_losses(_: int) -> Losses:
        contents, styles = samples.batch(count, size, size)
        with torch.autocast(device.type, torch.bfloat16):
            target = peer(contents, styles)
            painted = base(contents, samples.statistics(styles))
        target, painted = target.float().clamp(-0.1, 1.1), painted.float()
        return {"total": apart(painted, target)}

    averaged = train(base, step_losses, steps=steps, rate=2e-3, state=state, slow=base.style)
    assert isinstance(averaged, Base)
    return averaged


def paint(
    root: Path,
    encoder: PerceptualEncoder,
    start: Base,
    state: Path,
    *,
    eye: PerceptualEncoder | Teacher,
    steps: int,
    rate: float,
    device: torch.device,
    size: int = 160,
    styles: int = 2,
    crops: int = 2,
) -> Base:
    """Train on the styles themselves: style (Gram, mean and spread), colour, content, steadiness; resumable through `state`.

    What a picture is like `eye` says: first the encoder, which is quick, at last the teacher, for a network this long in
    training finds what a small eye misses.
    """
    samples = Samples(root, encoder, device, seed=23 + state.exists() * int(time.time()))
    base = start.train()
    base.transform = base.transform.to(memory_format=torch.channels_last)

    def step_losses(_: int) -> Losses:
        contents, pictures = samples.batch(styles * crops, size, 256, styles=styles)
        contents = contents.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                looked, kept = eye(pictures), eye(contents, depths=3)[2]
            norm = InstanceNorm(Modulation(base.style(samples.statistics(pictures)), base.style.layers))
            painted = base.transform(contents, norm)
            peaks = norm.peaks
            seen = eye(painted)
            unsteady = unsteadiness(lambda x: base.transform(x, norm), contents, painted, samples.random)
        terms = {
            "style": 0.3 * style_loss(seen, style_targets(looked), cap=8.0),
            "colour": 0.6 * colour_loss(colours(pooled(painted, styles)), colours(pictures)),
            "content": 0.15 * relative(seen[2].float(), kept.float()).mean(),
            "outside": 2 * outside(painted),
            "peaks": 0.5 * peaks,
            "unsteady": UNSTEADY * unsteady,
        }
        return {"total": sum(terms.values(), unsteady * 0), **{name: value.detach() for name, value in terms.items()}}

    averaged = train(base, step_losses, steps=steps, rate=rate, state=state, slow=base.style)
    assert isinstance(averaged, Base)
    return averaged


def apart(a: Tensor, b: Tensor) -> Tensor:
    """L1 of two batches of pictures and of their slopes."""
    sharp = [(x - y).abs().mean() for x, y in zip(slopes(a), slopes(b), strict=True)]
    return (a - b).abs().mean() + sharp[0] + sharp[1]
