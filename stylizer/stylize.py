"""Frames to painted frames, with one checkpoint on one device.

Planes go to the device as the decoder made them; conversion to RGB, scaling, painting and conversion back happen there.
A frame is painted whole or in tiles that overlap by the network's reach: the pixels are the same.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.errors import ConfigError
from stylizer.frames import Layout, Plane
from stylizer.network import HALO, STRIDE, Conv, Dims, TransformNetwork
from stylizer.on_cpu import CpuNetwork

LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Shares of red and blue in luma (ITU-R BT.601-7, BT.709-6, BT.2020-2)."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALLEST = 64
"""Sides below this are mirrored up to it: the network halves three times and reflects."""


def matrix_to_rgb(matrix: str) -> Tensor:
    """(3, 3) that takes Y 0..1, Cb, Cr -0.5..0.5 to R'G'B' 0..1."""
    red, blue = LUMA[matrix]
    green = 1 - red - blue
    to_yuv = torch.tensor(
        [
            [red, green, blue],
            [-red / (2 * (1 - blue)), -green / (2 * (1 - blue)), 0.5],
            [0.5, -green / (2 * (1 - red)), -blue / (2 * (1 - red))],
        ],
        dtype=torch.float64,
    )
    inverse: Tensor = torch.linalg.inv(to_yuv)
    return inverse.float()


def _scales(layout: Layout) -> tuple[float, float, float, float]:
    """Offset and span of luma, middle and span of chroma, in code values."""
    top = float(2**layout.depth - 1)
    unit = float(2 ** (layout.depth - 8))
    if layout.full_range or layout.model == "rgb":
        return 0.0, top, 128 * unit, top
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit


def _tensor(plane: Plane, device: torch.device) -> Tensor:
    """A plane on the device as float32 (1, 1, rows, columns), in code values."""
    source = plane if plane.dtype == np.uint8 else plane.astype(np.int32)
    return torch.from_numpy(np.ascontiguousarray(source)).to(device)[None, None].float()


def planes_to_rgb(planes: Sequence[Plane], layout: Layout, device: torch.device) -> Tensor:
    """Decoded planes to (1, 3, H, W) float32 RGB 0..1 on the device; an alpha plane is left out."""
    offset, span, middle, chroma_span = _scales(layout)
    first = (_tensor(planes[0], device) - offset) / span
    if layout.model == "grey":
        return first.clamp(0, 1).expand(1, 3, -1, -1)
    if layout.model == "rgb":
        return torch.cat([first, *(_tensor(p, device) / span for p in planes[1:3])], dim=1)
    chroma = (torch.cat([_tensor(p, device) for p in planes[1:3]], dim=1) - middle) / chroma_span
    if (layout.across, layout.down) != (1, 1):
        height, width = first.shape[2:]
        sides = (chroma.shape[2] * layout.down, chroma.shape[3] * layout.across)
        chroma = F.interpolate(chroma, size=sides, mode="bilinear")[..., :height, :width]
    m = matrix_to_rgb(layout.matrix)
    cb, cr = chroma[:, :1], chroma[:, 1:]
    rgb = [first + m[0, 2].item() * cr, first + m[1, 1].item() * cb + m[1, 2].item() * cr, first + m[2, 1].item() * cb]
    return torch.cat(rgb, dim=1).clamp(0, 1)


def _coded(plane: Tensor, depth: int) -> Plane:
    """Float code values (rows, columns), rounded, clamped, on the host."""
    whole = plane.add(0.5).clamp(0, 2**depth - 1)
    if depth == 8:
        small: Plane = whole.to(torch.uint8).cpu().numpy()
        return small
    large: Plane = whole.to(torch.int32).cpu().numpy().astype(np.uint16)
    return large


def rgb_to_planes(rgb: Tensor, layout: Layout, alpha: Plane | None = None) -> tuple[Plane, ...]:
    """(1, 3, H, W) RGB 0..1 to planes of that layout on the host; `alpha` is passed through if the layout has it."""
    offset, span, middle, chroma_span = _scales(layout)
    if layout.model == "rgb":
        coded = [channel * span for channel in torch.split(rgb, 1, dim=1)]
    else:
        red, blue = LUMA["bt709" if layout.model == "grey" else layout.matrix]
        r, g, b = torch.split(rgb, 1, dim=1)
        luma = red * r + (1 - red - blue) * g + blue * b
        coded = [luma * span + offset]
        if layout.model == "yuv":
            height, width = luma.shape[2:]
            rest = (0, -width % layout.across, 0, -height % layout.down)
            for channel, share in ((b, blue), (r, red)):
                chroma = (channel - luma) / (2 * (1 - share))
                if (layout.across, layout.down) != (1, 1):
                    chroma = F.avg_pool2d(F.pad(chroma, rest, mode="replicate"), (layout.down, layout.across))
                coded.append(chroma * chroma_span + middle)
    planes = [_coded(plane[0, 0], layout.depth) for plane in coded]
    if layout.alpha and alpha is not None:
        planes.append(alpha)
    return tuple(planes)


def with_look(network: TransformNetwork, strength: float, keep_color: bool) -> TransformNetwork:
    """A copy whose output is the frame moved by `strength` towards the painting, in lightness only if `keep_color`.

    Both are linear in the output, and the network has a linear path from the frame, so they fold into its last layers:
    out = x + M (painting - x), with M = strength, or strength times the projection on luma.
    """
    mix = torch.eye(3) * strength
    if keep_color:
        red, blue = LUMA["bt709"]
        mix = torch.tensor([red, 1 - red - blue, blue]).expand(3, 3) * strength
    changed = TransformNetwork(network.dims)
    changed.load_state_dict(network.state_dict())
    changed.eval().requires_grad_(False)
    changed.paint.weight.copy_(torch.einsum("oc,cikl->oikl", mix, changed.paint.weight))
    identity = torch.zeros_like(changed.detail.weight)
    identity[:, :, 1, 1] = torch.eye(3)
    changed.detail.weight.copy_(identity + torch.einsum("oc,cikl->oikl", mix, changed.detail.weight - identity))
    # Both paths see the frame minus one half; what that leaves constant goes into the ground.
    changed.ground.copy_(mix @ changed.ground + 0.5 - mix @ torch.full((3,), 0.5))
    return changed


def prepare(network: TransformNetwork, device: torch.device, dtype: torch.dtype) -> TransformNetwork | CpuNetwork:
    """A copy for painting: on the device, in its precision, kernels composed; the ground stays in float32."""
    if device.type == "cpu":
        return CpuNetwork(network, dtype)
    ready = TransformNetwork(network.dims)
    ready.load_state_dict(network.state_dict())
    ready.eval().requires_grad_(False).to(device)
    for module in list(ready.modules()):
        if isinstance(module, Conv):
            kernel = module.kernel().detach().to(dtype).contiguous(memory_format=torch.channels_last)
            module.to(dtype)
            module.kernel = lambda kernel=kernel: kernel  # type: ignore[method-assign,misc]
    return ready


class Stylizer:
    """Paints RGB pictures with one checkpoint on one device; `device` and `precision` may be "auto"."""

    def __init__(
        self,
        network: TransformNetwork,
        *,
        device: str = "cpu",
        precision: str = "auto",
        strength: float = 1.0,
        keep_color: bool = False,
        tile: int = 2048,
    ) -> None:
        self.device = torch.device(device)
        self.precision = best_precision(device) if precision == "auto" else precision
        if self.precision not in PRECISIONS:
            raise ConfigError(f"There is no precision {precision!r}; there are auto, {', '.join(PRECISIONS)}.")
        self.dtype = PRECISIONS[self.precision]
        self.network = prepare(with_look(network, strength, keep_color), self.device, self.dtype)
        self.tile = tile

    @torch.inference_mode()
    def paint(self, rgb: Tensor) -> Tensor:
        """(1, 3, H, W) float32 RGB 0..1 of any size to the painted picture of the same size, float32, clamped to 0..1."""
        height, width = rgb.shape[2:]
        x = _grow(rgb, max(SMALLEST, height + -height % STRIDE), max(SMALLEST, width + -width % STRIDE))
        x = x.contiguous(memory_format=torch.channels_last)
        painted = self.network(x) if max(x.shape[2:]) <= self.tile + 2 * HALO else self._tiled(x)
        return painted[:, :, :height, :width].float().clamp(0, 1)

    def _tiled(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        painted = torch.empty_like(x)
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                bottom, right = min(top + self.tile, height), min(left + self.tile, width)
                y, z = max(0, top - HALO), max(0, left - HALO)
                cut = x[:, :, y : min(height, bottom + HALO), z : min(width, right + HALO)]
                tile = self.network(cut.contiguous(memory_format=torch.channels_last))
                painted[:, :, top:bottom, left:right] = tile[:, :, top - y : bottom - y, left - z : right - z]
        return painted

    @torch.inference_mode()
    def frame(self, planes: Sequence[Plane], given: Layout, wanted: Layout, size: tuple[int, int]) -> tuple[Plane, ...]:
        """Paint one frame: planes of layout `given` to planes of layout `wanted`, `size` = (width, height)."""
        rgb = scaled(planes_to_rgb(planes, given, self.device), size)
        alpha = None
        if wanted.alpha:
            alpha = _alpha(planes[-1] if given.alpha else None, given, wanted, size)
        return rgb_to_planes(self.paint(rgb), wanted, alpha)


def scaled(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) at `size` = (width, height), anti-aliased; itself if it has that size."""
    if (rgb.shape[3], rgb.shape[2]) == size:
        return rgb
    return F.interpolate(rgb, size=(size[1], size[0]), mode="bicubic", antialias=True).clamp(0, 1)


def _grow(x: Tensor, height: int, width: int) -> Tensor:
    """Mirror the right and bottom edges outwards until the picture has that size."""
    while x.shape[2:] != (height, width):
        down = min(height - x.shape[2], max(x.shape[2] - 1, 0))
        across = min(width - x.shape[3], max(x.shape[3] - 1, 0))
        mode = "reflect"
        if (x.shape[2] == 1 and height > 1) or (x.shape[3] == 1 and width > 1):
            down, across, mode = int(x.shape[2] == 1), int(x.shape[3] == 1), "replicate"
        x = F.pad(x, (0, across, 0, down), mode=mode)
    return x


def _alpha(plane: Plane | None, given: Layout, wanted: Layout, size: tuple[int, int]) -> Plane:
    """The alpha plane at the wanted depth and size; opaque if the source has none."""
    top = 2**wanted.depth - 1
    if plane is None:
        return _coded(torch.full((size[1], size[0]), float(top)), wanted.depth)
    if (plane.shape[1], plane.shape[0]) == size and given.depth == wanted.depth:
        return plane
    cover = _tensor(plane, torch.device("cpu")) / (2**given.depth - 1)
    if (plane.shape[1], plane.shape[0]) != size:
        cover = F.interpolate(cover, size=(size[1], size[0]), mode="bilinear", antialias=True)
    return _coded(cover[0, 0] * top, wanted.depth)


@cache
def best_precision(device: str) -> str:
    """The fastest precision in which this device paints what float32 paints, by a trial of under a second.

    By trial, not by name: many processors accept bfloat16 and are slower in it. A precision counts only if it is a
    tenth faster and stays within one level of 8-bit video on average.
    """
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand((1, 3, 256, 256), generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TransformNetwork(Dims())
    for layer in network.trunk:
        assert isinstance(layer, Conv)
        layer.weight.data.mul_(0.3)
    chosen, fastest, exact = "fp32", float("inf"), None
    for precision in ("fp32", "bf16", "fp16"):
        if precision == "fp16" and device == "cpu":
            continue
        try:
            stylizer = Stylizer(network, device=device, precision=precision)
            painted = stylizer.paint(picture.to(stylizer.device)).cpu()
            seconds = statistics.median(_timed(stylizer, picture) for _ in range(3))
        except RuntimeError:
            continue
        exact = painted if exact is None else exact
        if (painted - exact).abs().mean() <= 1 / 255 and seconds < 0.9 * fastest:
            chosen, fastest = precision, seconds
    return chosen


def _timed(stylizer: Stylizer, picture: Tensor) -> float:
    started = time.perf_counter()
    stylizer.paint(picture.to(stylizer.device)).cpu()
    return time.perf_counter() - started
