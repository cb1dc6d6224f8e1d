"""The transform network as a CPU runs it: the same sums as `TransformNetwork`, in the order that needs the fewest.

A CPU is short of multiplications, not of passes over memory. So a down-sampling is a low-pass of each channel and then a
3x3 convolution of stride 2 (a quarter of the multiplications of the composed 6x6 kernel), and an up-sampling is the
transposed 3x3 convolution and then the low-pass. What works at full resolution works on 2x2 blocks of pixels, in bands of
rows that stay in the cache. Every output pixel is the same sum wherever it lies, so tiles and bands join exactly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.network import Conv, Down, TransformNetwork, Up

BAND_BYTES = 4 << 20
"""What the widest features of one band may take: a few times that stays in the last cache of any CPU of this decade."""


def _ringed(x: Tensor, by: int, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """An empty picture with room for a ring around one like `x`, and the view of its inside."""
    n, c, h, w = x.shape
    room = torch.empty((n, c, h + 2 * by, w + 2 * by), dtype=dtype or x.dtype, memory_format=torch.channels_last)
    return room, room[:, :, by : by + h, by : by + w]


def _reflect(room: Tensor, by: int) -> Tensor:
    """Fill the ring in place: what lies inside is mirrored, without repeating the edge."""
    for n in range(by):
        room[:, :, by - 1 - n].copy_(room[:, :, by + 1 + n])
        room[:, :, n - by].copy_(room[:, :, -by - 2 - n])
    for n in range(by):
        room[..., by - 1 - n].copy_(room[..., by + 1 + n])
        room[..., n - by].copy_(room[..., -by - 2 - n])
    return room


def _reflect_pixels(room: Tensor, by: int) -> Tensor:
    """The same for 2x2 blocks, (N, 2 * 2 * C, H, W), mirrored pixel by pixel; only the innermost ring is filled."""
    n, c, h, w = room.shape
    pixels = room.view(n, 2, 2, c // 4, h, w)
    for at, one, other in ((by - 1, by + 1, by), (h - by, h - by - 1, h - by - 2)):
        pixels[:, 0, ..., at, :].copy_(pixels[:, 0, ..., one, :])
        pixels[:, 1, ..., at, :].copy_(pixels[:, 1, ..., other, :])
    for at, one, other in ((by - 1, by + 1, by), (w - by, w - by - 1, w - by - 2)):
        pixels[:, :, 0, ..., at].copy_(pixels[:, :, 0, ..., one])
        pixels[:, :, 1, ..., at].copy_(pixels[:, :, 1, ..., other])
    return room


class _Kernel:
    """One convolution, ready to run."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.channels = weight.shape[0]


class CpuNetwork:
    """A network ready to paint on the CPU. Its sums are in `dtype`; in float32 they are within 1e-6 of the network's own."""

    def __init__(self, network: TransformNetwork, dtype: torch.dtype) -> None:
        def plain(layer: Conv) -> _Kernel:
            return _Kernel(layer.weight, layer.bias, dtype)

        def taps(line: tuple[float, ...], channels: int, bias: Tensor | None) -> _Kernel:
            blur = torch.tensor(line)
            return _Kernel((blur[:, None] * blur).expand(channels, 1, 4, 4), bias, dtype)

        def down(layer: Down) -> tuple[_Kernel, _Kernel]:
            return taps((1 / 8, 3 / 8, 3 / 8, 1 / 8), layer.weight.shape[1], None), plain(layer)

        def up(layer: Up) -> tuple[_Kernel, _Kernel]:
            turned = layer.weight.transpose(0, 1).flip(2, 3)
            return _Kernel(turned, None, dtype), taps((0.25, 0.75, 0.75, 0.25), layer.weight.shape[0], layer.bias)

        self.dtype = dtype
        # As a convolution of 2x2 blocks: outputs, colour, row, a, column, b -> outputs, (a, b, colour), row, column.
        first = network.down1.kernel().unflatten(2, (3, 2)).unflatten(4, (3, 2)).permute(0, 3, 5, 1, 2, 4)  # type: ignore[no-untyped-call]
        self.down1 = _Kernel(first.flatten(1, 3), network.down1.bias, dtype)
        self.down2, self.down3 = down(network.down2), down(network.down3)
        self.trunk = [plain(layer) for layer in network.trunk if isinstance(layer, Conv)]
        self.up1, self.up2 = up(network.up1), up(network.up2)
        self.skip1, self.skip2 = plain(network.skip1), plain(network.skip2)
        last = torch.cat([network.up3.kernel(), network.skip3.kernel()], dim=1)
        assert network.up3.bias is not None
        self.last = _Kernel(last, network.up3.bias.repeat(4), dtype)
        self.paint, self.detail = (_Kernel(fine.kernel(), None, dtype) for fine in (network.paint, network.detail))

    @torch.inference_mode()
    def __call__(self, blocks: Tensor) -> Tensor:
        """2x2 blocks of a frame less one half, (N, 12, H / 2, W / 2), to those of its painting less the ground.

        H and W are multiples of STRIDE.
        """
        frame, inside = _ringed(blocks, 2, self.dtype)
        inside.copy_(blocks)
        half = _conv(_reflect_pixels(frame, 2)[:, :, 1:-1, 1:-1], self.down1).relu_()
        quarter = _down(half, self.down2)
        h, inner = _ringed(eighth := _down(quarter, self.down3), 1)
        inner.copy_(eighth)
        between, middle = _ringed(eighth, 1)
        for one, other in zip(self.trunk[::2], self.trunk[1::2], strict=True):
            torch.clamp_min(_conv(_reflect(h, 1), one), 0, out=middle)
            inner.add_(_conv(_reflect(between, 1), other))
        quarter = _up(_reflect(h, 1), self.up1).add_(_conv(quarter, self.skip1))
        h, inner = _ringed(quarter, 1)
        torch.clamp_min(quarter, 0, out=inner)
        half = _up(_reflect(h, 1), self.up2).add_(_conv(half, self.skip2))
        h, inner = _ringed(half, 2)
        torch.clamp_min(half, 0, out=inner)
        return self._finish(_reflect(h, 2), _reflect(frame, 2))

    def _finish(self, h: Tensor, frame: Tensor) -> Tensor:
        """The layers at full resolution, band by band; both inputs have a ring of two blocks."""
        n, _, height, width = frame.shape
        shape = n, self.paint.channels, height - 4, width - 4
        painted = torch.empty(shape, dtype=self.dtype, memory_format=torch.channels_last)
        rows = max(8, BAND_BYTES // (width * self.last.channels * frame.element_size()))
        for top in range(0, height - 4, rows):
            band = slice(top, min(top + rows, height - 4) + 4)
            full = _conv(torch.cat([h[:, :, band], frame[:, :, band]], dim=1), self.last).relu_()
            detail = _conv(frame[:, :, band][:, :, 1:-1, 1:-1], self.detail)
            torch.add(_conv(full, self.paint), detail, out=painted[:, :, top : top + rows])
        return painted


def _conv(x: Tensor, layer: _Kernel) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias)


def _low_pass(x: Tensor, layer: _Kernel) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, groups=x.shape[1])


def _down(x: Tensor, layers: tuple[_Kernel, _Kernel]) -> Tensor:
    room, inside = _ringed(x, 2)
    inside.copy_(x)
    blur, conv = layers
    return F.conv2d(_low_pass(_reflect(room, 2), blur), conv.weight, conv.bias, stride=2).relu_()


def _up(x: Tensor, layers: tuple[_Kernel, _Kernel]) -> Tensor:
    conv, blur = layers
    return _low_pass(F.conv_transpose2d(x, conv.weight, stride=2, padding=1), blur)
