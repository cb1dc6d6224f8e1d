"""How a painting takes shape: a small painted frame of the clip while its look is fitted, beside the checkpoint to come."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stylizer.colour import LUMA
from stylizer.jobs import Look
from stylizer.network import TransformNetwork

LONGEST = 512
"""Pixels of the long side."""
MULTIPLE = 16
"""Of which both sides are, as the network needs them."""
COST = 0.015
"""Share of a fit's time that its pictures may take."""


class Glimpse:
    """Paints `frame` ((3, H, W) uint8, number `number` of the clip) in the look, as often as costs little, into `path`.

    A JPEG whose comment is the frame's number; it is replaced whole. One that cannot be written is let go: a fit is not
    for its pictures.
    """

    def __init__(self, frame: Tensor, number: int, look: Look, path: Path) -> None:
        self._look, self._path, self._comment = look, path, str(number)
        scale = min(1.0, LONGEST / max(frame.shape[1:]))
        sides = [max(4, round(side * scale / MULTIPLE)) * MULTIPLE for side in frame.shape[1:]]
        small = F.interpolate(frame[None].float() / 255, size=sides, mode="bilinear", antialias=True)
        self._frame = small.contiguous(memory_format=torch.channels_last)
        self._due = 0.0

    @property
    def begun(self) -> bool:
        """Whether there was anything to be seen."""
        return self._due > 0

    def __call__(self, network: TransformNetwork) -> None:
        """The network as it is now; painted with when that is due."""
        began = time.perf_counter()
        if began >= self._due:
            self.paint(network)
            now = time.perf_counter()
            self._due = now + (now - began) / COST

    @torch.no_grad()
    def paint(self, network: TransformNetwork) -> None:
        """Paint at once."""
        frame = self._frame.to(next(network.parameters()).device)
        change = network(frame) - frame
        if self._look.keep_color:
            red, blue = LUMA["bt709"]
            luma = torch.tensor([red, 1 - red - blue, blue], device=frame.device)[:, None, None]
            change = (change * luma).sum(1, keepdim=True)
        painted = ((frame + self._look.strength * change).clamp(0, 1) * 255).round().byte()[0]
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(painted.permute(1, 2, 0).cpu().numpy())
            picture.save(part, "JPEG", quality=90, comment=self._comment.encode())
            part.replace(self._path)
        with suppress(OSError):
            part.unlink(missing_ok=True)
