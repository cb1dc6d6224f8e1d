"""The networks, smallest parts first, and nothing else.

`TransformNetwork` paints. It is a stack of convolutions whose every output pixel depends on a bounded neighbourhood of
one frame (`HALO` pixels) and on nothing else. While it is trained, each layer is normalised and modulated by a style
code (conditional instance norm, Dumoulin et al. 2017); before the first frame of a job the statistics are calibrated
once and folded with the modulation into weights and biases (`fold`), so what a worker runs is plain.

`PerceptualEncoder` sees: a half-width VGG-16 distilled to predict the teacher's activations in the basis of their
principal components. Its Gram matrices are therefore the teacher's own, seen through a projection that keeps most of
their energy. `StyleEncoder` turns its statistics of a style picture into the style code.

All pictures are float tensors (N, 3, H, W), RGB, 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 8
"""Input sides must be multiples of this: the trunk runs at one eighth."""

HALO = 120
"""How far, in pixels, an output pixel can see (a multiple of STRIDE; the sum over the layers is 116)."""

Norm = Callable[[int, Tensor], Tensor]
"""What stands between a convolution and its activation: (layer number, features) -> features."""


def _pad(x: Tensor, by: int) -> Tensor:
    return F.pad(x, (by, by, by, by), mode="reflect")


def from_blocks(x: Tensor) -> Tensor:
    """(N, 2*2*C, H, W) -> (N, C, 2H, 2W). Phases before channels, so that in channels_last whole pixels move (3x faster)."""
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h, w, 2, 2, c // 4).transpose(2, 3)
    return pixels.reshape(n, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)


def to_blocks(x: Tensor) -> Tensor:
    """(N, C, 2H, 2W) -> (N, 2*2*C, H, W), the inverse of `from_blocks`: whole pixels of each 2x2 block side by side."""
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 3)
    return pixels.reshape(n, h // 2, w // 2, 4 * c).permute(0, 3, 1, 2)


class Conv(nn.Module):
    """A convolution at constant resolution, reflecting at the border."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def kernel(self) -> Tensor:
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        by = self.weight.shape[-1] // 2
        return F.conv2d(_pad(x, by) if by else x, self.kernel(), self.bias)


class Down(Conv):
    """Half the resolution without aliasing: a 3x3 convolution, a [1 3 3 1] low-pass and the stride, in one 6x6 kernel.

    The even kernel centres each output on the corner of four inputs, as `Up` expects.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        blur = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("blur", blur[:, None] * blur, persistent=False)
        self.blur: Tensor

    def kernel(self) -> Tensor:
        shape = self.weight.shape
        full = F.conv2d(self.weight.reshape(-1, 1, 3, 3), self.blur.to(self.weight.dtype)[None, None], padding=3)
        return full.reshape(shape[0], shape[1], 6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(_pad(x, 2), self.kernel(), self.bias, stride=2)


class Up(Conv):
    """Twice the resolution: bilinear interpolation then a 3x3 convolution, computed at the low resolution.

    Both are linear, so together they are four 3x3 convolutions, one for each pixel of the 2x2 block (`pixel_shuffle`).
    Being a smoothing by construction it draws no grid, as a free pixel shuffle would.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        # Row p of phase[k]: how much low-resolution pixel p-1 gives to the tap k (at k-1) of output pixel `phase`.
        taps = torch.tensor([[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]])
        self.register_buffer("phases", torch.stack([taps[0:3], taps[1:4]]), persistent=False)
        self.phases: Tensor

    def kernel(self) -> Tensor:
        outputs, inputs = self.weight.shape[:2]
        phases = self.phases.to(self.weight.dtype)
        split = torch.einsum("oikl,aky,blx->aboiyx", self.weight, phases, phases)
        return split.reshape(outputs * 4, inputs, 3, 3)

    def blocks(self, x: Tensor) -> Tensor:
        """The result as 2x2 blocks, of an input that has a ring of one already: (N, C, H + 2, W + 2) -> (N, 4 C', H, W)."""
        bias = None if self.bias is None else self.bias.repeat(4)
        return F.conv2d(x, self.kernel(), bias)

    def forward(self, x: Tensor) -> Tensor:
        return from_blocks(self.blocks(_pad(x, 1)))


class Fine(Conv):
    """A 3x3 or 5x5 convolution of the full picture, on 2x2 blocks of its pixels with a ring of one block around them.

    Few channels at full resolution are what a CPU is slowest at; four times as many at half are the same picture.
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size, bias=False)
        # taps[p, k, b, q]: whether tap k reaches from output pixel p of a block to pixel q of the block b - 1 away.
        p, k, b, q = torch.meshgrid(*(torch.arange(n) for n in (2, size, 3, 2)), indexing="ij")
        self.register_buffer("taps", (2 * (b - 1) + q - p == k - size // 2).float(), persistent=False)
        self.taps: Tensor

    def kernel(self) -> Tensor:
        outputs, inputs = self.weight.shape[:2]
        taps = self.taps.to(self.weight.dtype)
        split = torch.einsum("oikl,akyq,blxr->aboqriyx", self.weight, taps, taps)
        return split.reshape(outputs * 4, inputs * 4, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel())


@dataclass(frozen=True, slots=True)
class Dims:
    """The widths of a TransformNetwork; a checkpoint carries them, so it describes its own network."""

    full: int = 16
    half: int = 16
    quarter: int = 48
    eighth: int = 96
    blocks: int = 5

    def layers(self) -> list[int]:
        """Channels of every normalised layer, in order: the layout of a style code."""
        trunk = [self.eighth] * (2 * self.blocks)
        return [self.half, self.quarter, self.eighth, *trunk, self.quarter, self.half, self.full]


class TransformNetwork(nn.Module):
    """Frames to painted frames (N, 3, H, W); H and W multiples of STRIDE. The output is not clamped.

    Down to 1/8 in three low-passed steps, residual blocks there, up again with skips at 1/4 and 1/2, and a linear
    skip of the frame itself. The last layers work at full resolution, on 2x2 blocks of pixels: a painter without any
    non-linearity there draws no edge finer than two pixels, however long it learns.
    """

    def __init__(self, dims: Dims | None = None) -> None:
        super().__init__()
        self.dims = d = dims or Dims()
        self.down1, self.down2, self.down3 = Down(3, d.half), Down(d.half, d.quarter), Down(d.quarter, d.eighth)
        self.trunk = nn.ModuleList([Conv(d.eighth, d.eighth) for _ in range(2 * d.blocks)])
        self.up1, self.up2 = Up(d.eighth, d.quarter), Up(d.quarter, d.half)
        # What is added to an Up needs no bias of its own.
        self.skip1, self.skip2 = Conv(d.quarter, d.quarter, 1, bias=False), Conv(d.half, d.half, 1, bias=False)
        self.up3, self.skip3 = Up(d.half, d.full), Fine(3, d.full, 5)
        self.paint, self.detail = Fine(d.full, 3, 5), Fine(3, 3, 3)
        self.ground = nn.Parameter(torch.full((3,), 0.5))
        nn.init.normal_(self.paint.weight, std=0.02)
        nn.init.zeros_(self.detail.weight)

    def normed(self) -> list[tuple[Conv, Conv | None]]:
        """The layers that `norm` is called for, in order: the convolution, and the one whose output is added to its own."""
        trunk = [layer for layer in self.trunk if isinstance(layer, Conv)]
        alone: list[tuple[Conv, Conv | None]] = [(layer, None) for layer in (self.down1, self.down2, self.down3, *trunk)]
        return [*alone, (self.up1, self.skip1), (self.up2, self.skip2), (self.up3, self.skip3)]

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        painted = self.blocks((x - 0.5).to(self.down1.weight.dtype), norm)
        # The ground is added in float32: about zero, eight bits of mantissa are finer than eight bits of colour.
        return from_blocks(painted).float() + self.ground.float()[:, None, None]

    def blocks(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        """A frame less one half, in the precision of the weights, to its painting less the ground, as 2x2 blocks."""
        through: Norm = norm or (lambda _, y: y)
        half = through(0, self.down1(x)).relu_()
        quarter = through(1, self.down2(half)).relu_()
        h = through(2, self.down3(quarter)).relu_()
        for n in range(0, len(self.trunk), 2):
            y = through(3 + n, self.trunk[n](h)).relu_()
            h = h + through(4 + n, self.trunk[n + 1](y))
        n = 3 + len(self.trunk)
        h = through(n, self.up1(h).add_(self.skip1(quarter))).relu_()
        h = through(n + 1, self.up2(h).add_(self.skip2(half))).relu_()
        blocks = _pad(to_blocks(x), 2)  # a ring for each of the two layers to come: cheaper than to pad their 64 channels
        full = self.up3.blocks(_pad(h, 2)).add_(self.skip3(blocks))
        if norm:  # which knows channels, not blocks of them
            full = to_blocks(norm(n + 2, from_blocks(full)))
        painted: Tensor = self.paint(full.relu_()).add_(self.detail(blocks[..., 1:-1, 1:-1]))
        return painted


@dataclass(frozen=True, slots=True)
class Modulation:
    """A style code as what it does: per layer a scale and a shift, each (N, C). Codes blend linearly."""

    code: Tensor
    layers: Sequence[int]

    def __call__(self, layer: int) -> tuple[Tensor, Tensor]:
        start = 2 * sum(self.layers[:layer])
        width = self.layers[layer]
        scale, shift = torch.split(self.code[:, start : start + 2 * width], width, dim=1)
        return 1 + scale, shift


@dataclass(slots=True)
class InstanceNorm:
    """Conditional instance norm: how the base is trained. Every style's pictures, one after the other in the batch, share
    their statistics, as the frames of a job will.

    `peaks` grows with every call by how far values stand out, beyond PEAK standard deviations. Unpunished, a network hides
    the strength of a signal from the norm behind a few huge values, and they show: as white holes in calm areas.
    """

    PEAK: ClassVar[float] = 4.0
    modulation: Modulation
    peaks: Tensor = field(default_factory=lambda: torch.zeros(()))

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        scale, shift = self.modulation(layer)
        each = len(x) // len(scale)
        y = torch.cat([F.batch_norm(of_one, None, None, training=True, eps=1e-5) for of_one in torch.split(x, each)])
        self.peaks = self.peaks.to(y.device) + F.softshrink(y, self.PEAK).float().square().mean()
        scale, shift = (t.to(x.dtype).repeat_interleave(each, 0)[:, :, None, None] for t in (scale, shift))
        return torch.addcmul(shift, y, scale)


@dataclass(slots=True)
class Calibration:
    """Normalises a batch by the mean and variance over all of it, and remembers them for `fold`."""

    modulation: Modulation
    mean: list[Tensor] = field(default_factory=list)
    std: list[Tensor] = field(default_factory=list)

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        self.mean.append(mean)
        self.std.append((var + 1e-5).sqrt())
        return (frozen(self, layer, x.float())).to(x.dtype)


def frozen(calibration: Calibration, layer: int, x: Tensor) -> Tensor:
    """Normalise and modulate with the statistics that `calibration` holds: what `fold` makes part of the weights."""
    scale, shift = calibration.modulation(layer)
    mean, std = calibration.mean[layer][:, None, None], calibration.std[layer][:, None, None]
    return (x - mean) / std * scale[:, :, None, None] + shift[:, :, None, None]


@torch.no_grad()
def fold(network: TransformNetwork, calibration: Calibration) -> TransformNetwork:
    """A new plain network equal to `network` under the calibrated statistics and modulation (one style: N = 1)."""
    plain = TransformNetwork(network.dims).to(network.detail.weight.device)
    plain.load_state_dict(network.state_dict())
    for layer, (conv, beside) in enumerate(plain.normed()):
        scale, shift = (t[0] for t in calibration.modulation(layer))
        gain = scale / calibration.std[layer]
        conv.weight.mul_(gain[:, None, None, None])
        assert conv.bias is not None
        conv.bias.copy_((conv.bias - calibration.mean[layer]) * gain + shift)
        if beside is not None:
            beside.weight.mul_(gain[:, None, None, None])
    return plain


class PerceptualEncoder(nn.Module):
    """A picture to its features at four depths, each the principal components of VGG-16's relu1_2, 2_2, 3_3 and 4_3.

    `forward` gives four tensors (N, C_i, H / 2^i, W / 2^i), C = TAPS, scaled so that the mean square over pictures,
    channels summed, is about one.
    """

    WIDTHS = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256))
    TAPS = (32, 64, 128, 192)

    def __init__(self) -> None:
        super().__init__()
        stages, taps, inputs = [], [], 3
        for widths, tap in zip(self.WIDTHS, self.TAPS, strict=True):
            stage = nn.ModuleList()
            for width in widths:
                stage.append(nn.Conv2d(inputs, width, 3, padding=1))
                inputs = width
            stages.append(stage)
            taps.append(nn.Conv2d(inputs, tap, 1))
        self.stages = nn.ModuleList(stages)
        self.taps = nn.ModuleList(taps)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, x: Tensor, depths: int = 4) -> list[Tensor]:
        """Features at the first `depths` depths."""
        x = (x - self.mean) / self.std
        features = []
        for depth, (stage, tap) in enumerate(zip(self.stages, self.taps, strict=True)):
            if depth == depths:
                break
            if depth:
                x = F.max_pool2d(x, 2)
            assert isinstance(stage, nn.ModuleList)
            for conv in stage:
                x = F.relu(conv(x))
            features.append(tap(x))
        return features


class StyleEncoder(nn.Module):
    """Statistics of a style picture's features -> style code (N, 2 * sum of Dims.layers())."""

    HIDDEN = 384

    def __init__(self, dims: Dims | None = None) -> None:
        super().__init__()
        self.layers = (dims or Dims()).layers()
        inputs = 2 * sum(PerceptualEncoder.TAPS)
        self.inputs = nn.Linear(inputs, self.HIDDEN)
        self.middle = nn.Linear(self.HIDDEN, self.HIDDEN)
        self.outputs = nn.Linear(self.HIDDEN, 2 * sum(self.layers))
        nn.init.normal_(self.outputs.weight, std=0.01)
        nn.init.zeros_(self.outputs.bias)
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        self.centre: Tensor
        self.spread: Tensor

    @staticmethod
    def describe(features: Sequence[Tensor]) -> Tensor:
        """Mean and standard deviation of every channel at every depth: (N, inputs)."""
        moments = [torch.var_mean(f.float(), dim=(2, 3), correction=0) for f in features]
        return torch.cat([mean for _, mean in moments] + [(var + 1e-8).sqrt() for var, _ in moments], dim=1)

    def forward(self, statistics: Tensor) -> Tensor:
        # Unusual styles lie many spreads out; compressed, they stay within what training has seen.
        h = torch.asinh((statistics - self.centre) / self.spread)
        h = F.gelu(self.inputs(h))
        h = h + F.gelu(self.middle(h))
        code: Tensor = self.outputs(h)
        return code
