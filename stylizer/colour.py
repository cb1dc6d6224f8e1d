"""Planes as decoders make them to pictures as the network takes them, and back, on any device.

The network works on 2x2 blocks of pixels, and so does this: a block of 4:2:0 video is four samples of luma and one of
either chroma. To RGB is then one small convolution (the colour matrix, with chroma interpolated linearly), and from RGB
one matrix. Blocks of a picture are (1, 12, H / 2, W / 2): for each pixel of the block its red, green and blue.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.frames import Layout, Plane
from stylizer.network import from_blocks

LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Shares of red and blue in luma (ITU-R BT.601-7, BT.709-6, BT.2020-2)."""


def _matrix_from_rgb(layout: Layout) -> Tensor:
    """(planes, 3): what R'G'B' 0..1 become as luma 0..1 and chroma -0.5..0.5, or as they are."""
    if layout.model == "rgb":
        return torch.eye(3, dtype=torch.float64)
    red, blue = LUMA["bt709" if layout.model == "grey" else layout.matrix]
    luma = torch.tensor([red, 1 - red - blue, blue], dtype=torch.float64)
    if layout.model == "grey":
        return luma[None]
    r, _, b = torch.eye(3, dtype=torch.float64)
    return torch.stack([luma, (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))])


def _scales(layout: Layout) -> tuple[list[float], list[float]]:
    """For each colour plane the code value of zero, and how many code values one is."""
    count, top, unit = {"rgb": 3, "yuv": 3, "grey": 1}[layout.model], float(2**layout.depth - 1), 2.0 ** (layout.depth - 8)
    if layout.model == "rgb":
        return [0.0] * 3, [top] * 3
    if layout.full_range:
        return [0.0, 128 * unit, 128 * unit][:count], [top] * count
    return [16 * unit, 128 * unit, 128 * unit][:count], [219 * unit, 224 * unit, 224 * unit][:count]


def _sampling(layout: Layout) -> list[tuple[int, int]]:
    """For each colour plane how many of its samples a block has, down and across (quarter chroma: see `_halved`)."""
    chroma = (2 // layout.down, 2 // min(layout.across, 2))
    return {"rgb": [(2, 2)] * 3, "yuv": [(2, 2), chroma, chroma], "grey": [(2, 2)]}[layout.model]


def _taps(samples: int) -> Tensor:
    """(2, samples, 3): what each sample of the block before, this and the next gives to either pixel of a line of this."""
    if samples == 1:
        return torch.tensor([[[0.25, 0.75, 0.0]], [[0.0, 0.75, 0.25]]], dtype=torch.float64)
    return torch.eye(2, dtype=torch.float64)[:, :, None] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


@cache
def _to_rgb(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor]:
    """The convolution that takes blocks of code values to blocks of RGB less one half: kernel and bias."""
    matrix = _matrix_from_rgb(layout)
    inverse = torch.ones(3, 1, dtype=torch.float64) if layout.model == "grey" else torch.linalg.inv(matrix)
    offsets, spans = _scales(layout)
    parts = [
        torch.einsum("c,aqy,brx->abcqryx", inverse[:, n] / spans[n], _taps(down), _taps(across)).flatten(3, 4).flatten(0, 2)
        for n, (down, across) in enumerate(_sampling(layout))
    ]
    bias = -(inverse @ (torch.tensor(offsets) / torch.tensor(spans)).double()) - 0.5
    kernel = torch.cat(parts, dim=1)
    if (layout.across, layout.down) == (1, 1):
        kernel = kernel[:, :, 1:2, 1:2]
    return kernel.float().contiguous(memory_format=torch.channels_last).to(device), bias.float().repeat(4).to(device)


@cache
def _from_rgb(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrix that takes blocks of RGB 0..1 to samples in code values, plane after plane, and what is added."""
    matrix = _matrix_from_rgb(layout)
    offsets, spans = _scales(layout)
    rows, added = [], []
    for n, (down, across) in enumerate(_sampling(layout)):
        covered_down, covered_across = (torch.eye(2) if k == 2 else torch.full((1, 2), 0.5) for k in (down, across))
        part = torch.einsum("qa,rb,c->qrabc", covered_down.double(), covered_across.double(), matrix[n] * spans[n])
        rows.append(part.flatten(2).flatten(0, 1))
        added += [offsets[n] + 0.5] * (down * across)  # one half: what follows cuts off
    return torch.cat(rows).float().to(device), torch.tensor(added)[:, None].to(device)


def _halved(plane: Plane) -> Plane:
    """Chroma of every fourth pixel as chroma of every second, interpolated."""
    wide = np.pad(plane.astype(np.uint32), ((0, 0), (1, 1)), mode="edge")
    left, right = (wide[:, :-2] + 3 * wide[:, 1:-1] + 2) // 4, (3 * wide[:, 1:-1] + wide[:, 2:] + 2) // 4
    return np.stack([left, right], axis=2).reshape(plane.shape[0], -1).astype(np.uint16)


def planes_to_blocks(planes: Sequence[Plane], layout: Layout, device: torch.device) -> Tensor:
    """Decoded planes to blocks of RGB less one half, -0.5..0.5, float32; an alpha plane is left out.

    Odd sides get another line or column like the last one.
    """
    height, width = (-(-side // 2) for side in planes[0].shape)
    sampling = _sampling(layout)
    ring = int((layout.across, layout.down) != (1, 1))
    codes = np.empty((height + 2 * ring, width + 2 * ring, sum(d * a for d, a in sampling)), planes[0].dtype)
    inside = codes[ring : ring + height, ring : ring + width]
    channel = 0
    for plane, (down, across) in zip(planes[: len(sampling)], sampling, strict=True):
        whole = _halved(plane)[:, : width * across] if layout.across == 4 and channel else plane
        missing = (0, height * down - whole.shape[0]), (0, width * across - whole.shape[1])
        samples = (
            np.ascontiguousarray(np.pad(whole, missing, mode="edge") if missing != ((0, 0), (0, 0)) else whole)
            .reshape(height, down, width, across)
            .swapaxes(1, 2)
        )
        if across == 2 and channel % 2 == 0 and codes.shape[2] % 2 == 0:  # two neighbours move as one
            pair = np.dtype(f"u{2 * codes.itemsize}")
            inside.view(pair)[..., channel // 2 : channel // 2 + down] = samples.view(pair)[..., 0]
        else:
            inside[..., channel : channel + down * across] = samples.reshape(height, width, -1)
        channel += down * across
    for _ in range(ring):
        codes[0], codes[-1] = codes[1], codes[-2]
        codes[:, 0], codes[:, -1] = codes[:, 1], codes[:, -2]
    kernel, bias = _to_rgb(layout, device)
    signed = codes if codes.dtype == np.uint8 else codes.astype(np.int32)
    host = torch.from_numpy(signed)
    if device.type == "cuda":
        host = host.pin_memory()
    samples_last = host.to(device, non_blocking=True).float()[None].permute(0, 3, 1, 2)
    return F.conv2d(samples_last, kernel, bias).clamp_(-0.5, 0.5)


def blocks_to_planes(blocks: Tensor, layout: Layout, size: tuple[int, int], alpha: Plane | None = None) -> tuple[Plane, ...]:
    """Blocks of RGB 0..1, float32, to the planes of a frame of `size` = (width, height), at most as large, on the host.

    `alpha` is passed through if the layout has it.
    """
    matrix, added = _from_rgb(layout, blocks.device)
    _, channels, height, width = blocks.shape
    flat = blocks.permute(0, 2, 3, 1).reshape(-1, channels).float()
    codes = torch.addmm(added, matrix, flat.T)
    planes: list[Plane] = []
    row = 0
    for shape, (down, across) in zip(layout.shapes(*size), _sampling(layout), strict=False):
        samples = codes[row : row + down * across].view(down, across, height, width)
        if layout.across == 4 and row:
            samples = F.avg_pool2d(samples - 0.5, (1, 2), ceil_mode=True) + 0.5
        planes.append(_coded(samples, layout.depth)[: shape[0], : shape[1]])
        row += down * across
    if layout.alpha and alpha is not None:
        planes.append(alpha)
    return tuple(planes)


def planes_to_rgb(planes: Sequence[Plane], layout: Layout, device: torch.device) -> Tensor:
    """Decoded planes to (1, 3, H, W) float32 RGB 0..1 on the device; an alpha plane is left out."""
    height, width = planes[0].shape
    return (from_blocks(planes_to_blocks(planes, layout, device)) + 0.5)[:, :, :height, :width]


def alpha_plane(plane: Plane | None, given: Layout, wanted: Layout, size: tuple[int, int]) -> Plane:
    """The alpha plane at the wanted depth and size; opaque if the source has none."""
    top = 2**wanted.depth - 1
    if plane is None:
        sides = size[1], size[0]
        return np.full(sides, top, np.uint8) if wanted.depth == 8 else np.full(sides, top, np.uint16)
    if (plane.shape[1], plane.shape[0]) == size and given.depth == wanted.depth:
        return plane
    cover = torch.from_numpy(plane.astype(np.float32))[None, None] / (2**given.depth - 1)
    if (plane.shape[1], plane.shape[0]) != size:
        cover = F.interpolate(cover, size=(size[1], size[0]), mode="bilinear", antialias=True)
    return _coded(cover * top + 0.5, wanted.depth)


def _coded(samples: Tensor, depth: int) -> Plane:
    """(down, across, H, W) code values, already one half up, as a plane (H * down, W * across) on the host."""
    down, across, height, width = samples.shape
    whole = samples.clamp(0, 2**depth - 1).to(torch.uint8 if depth == 8 else torch.int32)
    plane = whole.permute(2, 0, 3, 1).reshape(height * down, width * across).cpu().numpy()
    coded: Plane = plane if depth == 8 else plane.astype(np.uint16)
    return coded
