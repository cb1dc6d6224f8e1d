"""The teacher as the training data have it. It is the ruler for training and for measuring; it never ships."""

from __future__ import annotations

from pathlib import Path

import torch

from stylizer import reference

TEACHER = "teacher/vgg16_to_relu4_3_fp16.pt"
"""Where the weights lie in the folder of training data."""

LAYOUT = reference.LAYOUT


class Teacher(reference.Teacher):
    """VGG-16 to relu4_3 from a file of tensors."""

    def __init__(self, weights: Path) -> None:
        super().__init__(torch.load(weights, weights_only=True))
