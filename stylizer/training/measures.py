"""What a table shows of a painted picture and of a painter.

Pictures are (N, 3, H, W) float RGB 0..1. A painter takes one picture to its painting of the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.losses import gram, relative, slopes, spread
from stylizer.training.teacher import Teacher

Paint = Callable[[Tensor], Tensor]

ALEX = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""AlexNet's convolutions: torchvision's number, stride, padding. 3x3 max-pools of stride 2 stand before 3 and 6."""


class Lpips:
    """Learned perceptual distance of two pictures (Zhang et al. 2018, AlexNet, version 0.1)."""

    def __init__(self, folder: Path) -> None:
        loaded = torch.load(folder / "alexnet_features_fp16.pt", weights_only=True)
        self.kernels = {name: tensor.float() for name, tensor in loaded.items()}
        self.heads = torch.load(folder / "lpips_alex_lin_fp32.pt", weights_only=True)

    def features(self, x: Tensor) -> list[Tensor]:
        x = (x * 2 - 1 - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
            :, None, None
        ]
        found = []
        for number, stride, padding in ALEX:
            if number in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            kernel, bias = self.kernels[f"features.{number}.weight"], self.kernels[f"features.{number}.bias"]
            x = F.relu(F.conv2d(x, kernel, bias, stride=stride, padding=padding))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> float:
        total = 0.0
        for n, (x, y) in enumerate(zip(self.features(a), self.features(b), strict=True)):
            total += ((x - y).square() * self.heads[f"lin{n}"][:, None, None]).sum(1).mean().item()
        return total


@torch.no_grad()
def distances(teacher: Teacher, painted: Tensor, content: Tensor, style: Tensor) -> dict[str, float]:
    """Style (Gram), mean and spread, content: relative distances by the teacher, smaller is nearer; and detail."""
    seen, wanted, kept = teacher(painted), teacher(style), teacher(content)
    moments = zip((spread(f) for f in seen), (spread(f) for f in wanted), strict=True)
    return {
        "style": sum(relative(gram(a), gram(b)).item() for a, b in zip(seen, wanted, strict=True)),
        "spread": sum(relative(m, n).item() + relative(s, t).item() for (m, s), (n, t) in moments),
        "content": relative(seen[2], kept[2]).item(),
        "detail": slopes(painted)[0].abs().mean().item(),
    }


@torch.no_grad()
def shift_error(paint: Paint, picture: Tensor) -> float:
    """RMSE between the painting of a shifted picture and the shifted painting, mean over shifts of 1, 2 and 3 pixels."""
    height, width = (n // 8 * 8 - 8 for n in picture.shape[2:])
    still = paint(picture[..., :height, :width].contiguous())
    errors = []
    for by in (1, 2, 3):
        moved = paint(picture[..., by : by + height, by : by + width].contiguous())
        same = still[..., 48 + by : height - 48 + by, 48 + by : width - 48 + by]
        apart = moved[..., 48 : height - 48, 48 : width - 48] - same
        errors.append(apart.square().mean().sqrt().item())
    return float(np.mean(errors))


@torch.no_grad()
def noise_gain(paint: Paint, picture: Tensor, sigma: float = 0.01) -> float:
    """RMSE that camera noise of `sigma` makes in the painting, in multiples of sigma."""
    noise = sigma * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return ((paint((picture + noise).clamp(0, 1)) - paint(picture)).square().mean().sqrt() / sigma).item()


@torch.no_grad()
def grid(paint: Paint) -> float:
    """Strength of grids of period 2, 4 and 8 in painted skies: the strongest, in levels of 255 above the noise beside it.

    The sky is a slope of blue with the noise of a camera, 256 pixels a side.
    """
    side = 256
    down = torch.linspace(0, 1, side + 64)[None, None, :, None]
    sky = torch.lerp(torch.tensor([0.35, 0.55, 0.85])[:, None, None], torch.tensor([0.75, 0.85, 0.95])[:, None, None], down)
    sky = sky.expand(1, 3, side + 64, side + 64)
    sky = (sky + 0.004 * torch.randn(sky.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    seen = paint(sky.contiguous())[0, :, 32:-32, 32:-32]
    window = torch.hann_window(side)
    flat = (seen - seen.mean((1, 2), keepdim=True)) * window[:, None] * window
    amplitude = 2 * torch.fft.fft2(flat).abs().amax(0) / window.sum() ** 2
    strongest = 0.0
    for period in (2, 4, 8):
        step = side // period
        for y, x in ((0, step), (step, 0), (step, step)):
            beside = amplitude.roll((12 - y, 12 - x), (0, 1))[:25, :25]
            strongest = max(strongest, (beside[12, 12] - beside.median()).item())
    return 255 * strongest


def flow(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel of `b` lies in `a`, as a sampling grid (1, H, W, 2), and where that can be trusted (1, 1, H, W)."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, second = (
        cv2.cvtColor((x[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8), cv2.COLOR_RGB2GRAY) for x in (a, b)
    )
    none = np.zeros((*first.shape, 2), np.float32)
    back, forth = finder.calc(second, first, none.copy()), finder.calc(first, second, none.copy())
    height, width = first.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    there = np.stack([x + back[..., 0], y + back[..., 1]], -1)
    returned = cv2.remap(forth, there[..., 0], there[..., 1], cv2.INTER_LINEAR)
    apart = np.square(back + returned).sum(-1)
    seen = apart < 0.01 * (np.square(back).sum(-1) + np.square(returned).sum(-1)) + 0.5
    seen &= (there[..., 0] >= 0) & (there[..., 0] <= width - 1) & (there[..., 1] >= 0) & (there[..., 1] <= height - 1)
    sampling = torch.from_numpy(2 * (there + 0.5) / np.array([width, height], np.float32) - 1).float()[None]
    return sampling, torch.from_numpy(seen)[None, None]


@torch.no_grad()
def warp_errors(frames: Sequence[Tensor], painted: Sequence[Tensor], gap: int, lpips: Lpips) -> tuple[float, float]:
    """RMSE and LPIPS between a painted frame and the painted frame `gap` before, moved along the source's flow."""
    errors, seen_apart = [], []
    for n in range(gap, len(frames), max(1, gap // 2)):
        sampling, seen = flow(frames[n - gap], frames[n])
        moved = F.grid_sample(painted[n - gap], sampling, mode="bilinear", padding_mode="border", align_corners=False)
        weight = seen.float()
        apart = ((moved - painted[n]).square() * weight).sum() / (3 * weight.sum()).clamp_min(1)
        errors.append(apart.sqrt().item())
        seen_apart.append(lpips(torch.lerp(painted[n], moved, weight), painted[n]))
    return float(np.mean(errors)), float(np.mean(seen_apart))
