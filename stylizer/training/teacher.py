"""The teacher, VGG-16 to relu4_3 (Simonyan and Zisserman 2015, torchvision's ImageNet weights), frozen.

It is the ruler for training and for measuring; it never ships.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEACHER = "teacher/vgg16_to_relu4_3_fp16.pt"
"""Where the weights lie in the folder of training data."""

LAYOUT = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21))
"""torchvision's numbers of the convolutions in `features`, one tuple a resolution; a tap follows each tuple's last."""


class Teacher(nn.Module):
    """Pictures (N, 3, H, W) RGB 0..1 -> activations at relu1_2, relu2_2, relu3_3, relu4_3 (64, 128, 256, 512 channels)."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = torch.load(weights, weights_only=True)
        self.kernels = nn.ParameterDict()
        for stage in LAYOUT:
            for n in stage:
                for part in ("weight", "bias"):
                    tensor = state[f"features.{n}.{part}" if f"features.{n}.{part}" in state else f"{n}.{part}"]
                    self.kernels[f"{n}_{part}"] = nn.Parameter(tensor.float(), requires_grad=False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.mean: Tensor
        self.std: Tensor

    def forward(self, x: Tensor, depths: int = 4) -> list[Tensor]:
        """Activations at the first `depths` depths."""
        x = (x - self.mean) / self.std
        features = []
        for depth, stage in enumerate(LAYOUT[:depths]):
            if depth:
                x = F.max_pool2d(x, 2)
            for n in stage:
                x = F.relu(F.conv2d(x, self.kernels[f"{n}_weight"], self.kernels[f"{n}_bias"], padding=1))
            features.append(x)
        return features
