"""Training pictures: a tar of JPEGs held in memory, and the augmentations that make a few thousand of them go far."""

from __future__ import annotations

import io
import math
import tarfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


class Pictures:
    """Random crops of the pictures in one tar, as (N, 3, size, size) float32 RGB, 0..1."""

    def __init__(self, tar: Path, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.pictures: list[Tensor] = []
        with tarfile.open(tar) as archive:
            for member in archive:
                stream = archive.extractfile(member)
                if stream is None or not member.name.endswith((".jpg", ".png")):
                    continue
                pixels = np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))
                self.pictures.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1))

    def __len__(self) -> int:
        return len(self.pictures)

    def crop(self, size: int, smallest: float) -> Tensor:
        """One crop of a random picture whose side is `smallest`..1 of the picture's short side, flipped half of the time."""
        picture = self.pictures[self.random.integers(len(self.pictures))]
        height, width = picture.shape[1:]
        side = int(min(height, width) * self.random.uniform(smallest, 1))
        y, x = self.random.integers(height - side + 1), self.random.integers(width - side + 1)
        cut = picture[:, y : y + side, x : x + side]
        if self.random.random() < 0.5:
            cut = cut.flip(2)
        mode = "area" if side > size else "bicubic"
        sized: Tensor = F.interpolate(cut[None].float() / 255, size=(size, size), mode=mode)
        return sized[0].clamp(0, 1)

    def batch(self, count: int, size: int, smallest: float = 0.4) -> Tensor:
        return torch.stack([self.crop(size, smallest) for _ in range(count)])


def jitter(pictures: Tensor, random: np.random.Generator, amount: float = 0.4) -> Tensor:
    """Change hue, saturation, contrast and brightness of each picture by a random colour matrix."""
    n = len(pictures)
    angle = torch.from_numpy(random.normal(0, amount * 1.5, n)).float()
    turn = _hue_rotation(angle)
    gain = torch.from_numpy(np.exp(random.normal(0, amount * 0.4, (n, 1, 1)))).float()
    grey = torch.from_numpy(random.uniform(0, amount * 0.6, (n, 1, 1))).float()
    luma = torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    matrix = gain * ((1 - grey) * turn + grey * luma)
    shift = torch.from_numpy(random.normal(0, amount * 0.15, (n, 3, 1))).float()
    flat = pictures.flatten(2) - 0.5
    return (matrix @ flat + 0.5 + shift).clamp(0, 1).reshape(pictures.shape)


def _hue_rotation(angle: Tensor) -> Tensor:
    """Rotations (N, 3, 3) about the grey axis (Rodrigues)."""
    axis = torch.full((3,), 1 / math.sqrt(3))
    cross = torch.linalg.cross(torch.eye(3), axis.expand(3, 3))
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    turn: Tensor = cos * torch.eye(3) + sin * cross + (1 - cos) * torch.outer(axis, axis)
    return turn


def adversarial(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """What an optimiser would exploit in a loss network: grids of period 2, 4 and 8, noise, over-sharpening, flat patches.

    A small distilled encoder that never saw these is blind to them, and a fit against it then fills the picture with them.
    """
    out = pictures.clone()
    size = pictures.shape[-1]
    ramp = torch.arange(size)
    for i in range(len(out)):
        kind = random.integers(6)
        strength = float(random.uniform(0.02, 0.4))
        if kind == 0:
            period = int(random.choice([2, 4, 8]))
            phase = random.integers(period, size=2)
            line = ((ramp + phase[0]) % period < period // 2).float() - 0.5
            other = ((ramp + phase[1]) % period < period // 2).float() - 0.5
            grid = line[:, None] * other[None] * 2 if random.random() < 0.5 else (line[:, None] + other[None])
            out[i] += strength * grid * torch.from_numpy(random.normal(0, 1, (3, 1, 1))).float()
        elif kind == 1:
            coarse = int(random.choice([1, 2, 4]))
            noise = torch.from_numpy(random.normal(0, strength, (1, 3, size // coarse, size // coarse))).float()
            out[i] += F.interpolate(noise, size=(size, size), mode="nearest")[0]
        elif kind == 2:
            blurred = F.avg_pool2d(F.pad(out[i][None], (2, 2, 2, 2), mode="reflect"), 5, 1)[0]
            out[i] += float(random.uniform(-1, 4)) * (out[i] - blurred)
        elif kind == 3:
            colour = torch.from_numpy(random.uniform(0, 1, (3, 1, 1))).float()
            out[i] = torch.lerp(out[i], colour.expand_as(out[i]), float(random.uniform(0.3, 1)))
        elif kind == 4:
            out[i] = (out[i] * int(random.integers(2, 8))).round() / int(random.integers(2, 8))
    return out.clamp(-0.1, 1.1)
