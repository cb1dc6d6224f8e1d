"""Frames to painted frames, with one checkpoint on one device.

Planes go to the device as the decoder made them; conversion to RGB, scaling, painting and conversion back happen there.
A frame is painted whole or in tiles that overlap by the network's reach: the pixels are the same.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.colour import LUMA, alpha_plane, blocks_to_planes, planes_to_blocks, planes_to_rgb
from stylizer.errors import ConfigError
from stylizer.frames import Layout, Plane
from stylizer.machine import memory
from stylizer.network import HALO, STRIDE, Conv, Dims, TransformNetwork, from_blocks, to_blocks
from stylizer.on_cpu import CpuNetwork
from stylizer.on_gpu import GpuNetwork

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TILE_BYTES = 100
"""What a pixel of a tile may need on a CPU: 35 were measured in the network, the rest is for what goes in and out."""
SMALLEST = 64
"""Sides below this are mirrored up to it: the network halves three times and reflects."""


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
        look = with_look(network, strength, keep_color)
        on_cpu = self.device.type == "cpu"
        self.network: Callable[[Tensor], Tensor] = (
            CpuNetwork(look, self.dtype) if on_cpu else GpuNetwork(look, self.device, self.dtype)
        )
        self.ground = look.ground.detach().repeat(4).to(self.device)
        self.tile = tile
        self.tell: Callable[[str], None] = lambda _: None
        """Whom to tell, in a sentence, what the user should know."""
        self._halving, self._halved = threading.Lock(), False

    @property
    def lanes(self) -> int:
        """How many frames are best painted at a time: cores need not wait for each other if each has a frame of its own."""
        if self.device.type != "cpu":
            return 1
        fitting = memory() // 2 // (TILE_BYTES * (self.tile + 2 * HALO) ** 2) if memory() else 1
        return max(1, min(torch.get_num_threads(), fitting))

    @torch.inference_mode()
    def paint(self, rgb: Tensor) -> Tensor:
        """(1, 3, H, W) float32 RGB 0..1 of any size to the painted picture of the same size, float32, clamped to 0..1."""
        height, width = rgb.shape[2:]
        x = to_blocks(_grow(rgb) - 0.5)
        painted = torch.empty_like(x)

        def put(rows: slice, columns: slice, blocks: Tensor) -> None:
            painted[:, :, _half(rows), _half(columns)] = blocks

        self._by_tiles(x.shape[2] * 2, x.shape[3] * 2, lambda rows, columns: x[:, :, _half(rows), _half(columns)], put)
        return from_blocks(painted)[:, :, :height, :width]

    @torch.inference_mode()
    def frame(self, planes: Sequence[Plane], given: Layout, wanted: Layout, size: tuple[int, int]) -> tuple[Plane, ...]:
        """Paint one frame: planes of layout `given` to planes of layout `wanted`, `size` = (width, height).

        Where the frame needs no scaling nor growing, tile by tile all the way, so that memory is bounded by the tile.
        """
        width, height = size
        shape = planes[0].shape
        painted = [np.empty(shape, np.uint8 if wanted.depth == 8 else np.uint16) for shape in wanted.shapes(width, height)]

        def cut(rows: slice, columns: slice) -> Tensor:
            return planes_to_blocks(_cut(planes, given, rows, columns), given, self.device)

        def put(rows: slice, columns: slice, blocks: Tensor) -> None:
            part = min(columns.stop, width) - columns.start, min(rows.stop, height) - rows.start
            inside = slice(rows.start, rows.start + part[1]), slice(columns.start, columns.start + part[0])
            into = _cut(painted, wanted, *inside)
            for plane, coded in zip(into, blocks_to_planes(blocks, wanted, part), strict=False):
                plane[...] = coded

        if shape == (height, width) and not (height % STRIDE or width % STRIDE) and min(shape) >= SMALLEST:
            self._by_tiles(height, width, cut, put)
        else:
            x = to_blocks(_grow(scaled(planes_to_rgb(planes, given, self.device), size)) - 0.5)
            self._by_tiles(x.shape[2] * 2, x.shape[3] * 2, lambda rows, columns: x[:, :, _half(rows), _half(columns)], put)
        if wanted.alpha:
            painted[-1] = alpha_plane(planes[-1] if given.alpha else None, given, wanted, size)
        return tuple(painted)

    def _by_tiles(
        self, height: int, width: int, cut: Callable[[slice, slice], Tensor], put: Callable[[slice, slice, Tensor], None]
    ) -> None:
        """Paint a picture of blocks, given by `cut` in float32 less one half and taken by `put` as RGB 0..1.

        If the device runs out of memory, once with tiles half as large; MemoryError if that is not enough.
        """
        tile = self.tile
        try:
            self._at(tile, height, width, cut, put)
        except (RuntimeError, MemoryError) as error:
            if not _of_memory(error):
                raise
            with self._halving:
                if self._halved and self.tile == tile:
                    raise MemoryError(str(error)) from error
                if self.tile == tile:
                    self._halved, self.tile = True, max(SMALLEST, min(tile, max(height, width)) // 2)
                    self.tell(f"{self.device} is short of memory: from here on it paints in tiles of {self.tile} pixels.")
            if isinstance(self.network, GpuNetwork):
                self.network.forget()
            self._by_tiles(height, width, cut, put)

    def _at(
        self,
        tile: int,
        height: int,
        width: int,
        cut: Callable[[slice, slice], Tensor],
        put: Callable[[slice, slice, Tensor], None],
    ) -> None:
        for rows in _parts(height, tile):
            for columns in _parts(width, tile):
                y, x = max(0, rows.start - HALO), max(0, columns.start - HALO)
                seen = cut(slice(y, min(height, rows.stop + HALO)), slice(x, min(width, columns.stop + HALO)))
                inside = _half(slice(rows.start - y, rows.stop - y)), _half(slice(columns.start - x, columns.stop - x))
                painted = self.network(seen)[:, :, *inside]
                # In float32: about zero, eight bits of mantissa are finer than eight bits of colour.
                pixels = painted.float().permute(0, 2, 3, 1).add_(self.ground).clamp_(0, 1)
                put(rows, columns, pixels.permute(0, 3, 1, 2))


def _of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out: the CPU's allocator and Apple's raise a RuntimeError like any other."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in str(error).lower()


def _parts(side: int, tile: int) -> list[slice]:
    """A side in equal parts, multiples of STRIDE but the last, none longer than a tile; whole if the overlaps cost more."""
    count = 1 if side <= tile + 2 * HALO else -(-side // tile)
    step = -(-side // (count * STRIDE)) * STRIDE
    return [slice(start, min(start + step, side)) for start in range(0, side, step)]


def _half(pixels: slice) -> slice:
    return slice(pixels.start // 2, pixels.stop // 2)


def _cut(planes: Sequence[Plane], layout: Layout, rows: slice, columns: slice) -> list[Plane]:
    """What the planes of a frame have of a part of it; its start is a multiple of STRIDE."""
    parts = []
    for n, plane in enumerate(planes):
        chroma = layout.model == "yuv" and n in (1, 2)
        down, across = (layout.down, layout.across) if chroma else (1, 1)
        parts.append(plane[rows.start // down : -(-rows.stop // down), columns.start // across : -(-columns.stop // across)])
    return parts


def scaled(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) at `size` = (width, height), anti-aliased; itself if it has that size."""
    if (rgb.shape[3], rgb.shape[2]) == size:
        return rgb
    return F.interpolate(rgb, size=(size[1], size[0]), mode="bicubic", antialias=True).clamp(0, 1)


def _grow(x: Tensor) -> Tensor:
    """Mirror the right and bottom edges outwards until both sides are multiples of STRIDE, and not too small."""
    height, width = (max(SMALLEST, -(-side // STRIDE) * STRIDE) for side in x.shape[2:])
    while x.shape[2:] != (height, width):
        down = min(height - x.shape[2], max(x.shape[2] - 1, 0))
        across = min(width - x.shape[3], max(x.shape[3] - 1, 0))
        mode = "reflect"
        if (x.shape[2] == 1 and height > 1) or (x.shape[3] == 1 and width > 1):
            down, across, mode = int(x.shape[2] == 1), int(x.shape[3] == 1), "replicate"
        x = F.pad(x, (0, across, 0, down), mode=mode)
    return x


@cache
def best_precision(device: str) -> str:
    """The fastest precision in which this device paints what float32 paints, by a trial of under a second.

    By trial, not by name: many processors accept bfloat16 and are slower in it. A precision counts only if it is a
    tenth faster and stays within one level of 8-bit video on average.
    """
    chosen, fastest = "fp32", float("inf")
    for precision, seconds, off in trials(device):
        if off <= 1 and seconds < 0.9 * fastest:
            chosen, fastest = precision, seconds
    return chosen


@cache
def trials(device: str) -> tuple[tuple[str, float, float], ...]:
    """Each precision that works on a device: seconds for a small picture, and how far from float32 it is painted on
    average, in levels of 8-bit video.
    """
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand((1, 3, 256, 256), generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TransformNetwork(Dims())
    for layer in network.trunk:
        assert isinstance(layer, Conv)
        layer.weight.data.mul_(0.3)
    found, exact = [], None
    for precision in ("fp32", "bf16", "fp16"):
        if precision == "fp16" and device == "cpu":
            continue
        try:
            stylizer = Stylizer(network, device=device, precision=precision)
            painted = stylizer.paint(picture.to(stylizer.device)).cpu()
            seconds = statistics.median(_timed(stylizer, picture) for _ in range(3))
        except (RuntimeError, MemoryError):
            continue
        exact = painted if exact is None else exact
        found.append((precision, seconds, 255 * float((painted - exact).abs().mean())))
    return tuple(found)


def _timed(stylizer: Stylizer, picture: Tensor) -> float:
    started = time.perf_counter()
    stylizer.paint(picture.to(stylizer.device)).cpu()
    return time.perf_counter() - started
