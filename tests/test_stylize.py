"""Frames in, painted frames out: colours survive, tiles join exactly, strength and colour keeping fold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from stylizer.colour import blocks_to_planes, planes_to_rgb
from stylizer.errors import ConfigError
from stylizer.frames import Layout, Plane
from stylizer.network import Conv, TransformNetwork, to_blocks
from stylizer.stylize import Stylizer, best_precision, scaled, with_look

CPU = torch.device("cpu")
LAYOUTS = [
    Layout("yuv", 8, 2, 2),
    Layout("yuv", 8, 2, 1, "bt601"),
    Layout("yuv", 8, 1, 1, "bt601", full_range=True),
    Layout("yuv", 10, 2, 2, "bt2020"),
    Layout("yuv", 8, 4, 1, "bt601"),
    Layout("yuv", 12, 1, 2),
    Layout("rgb", 8),
    Layout("rgb", 16),
    Layout("grey", 8),
]


@pytest.fixture(scope="module")
def network() -> TransformNetwork:
    torch.manual_seed(0)
    network = TransformNetwork().eval().requires_grad_(False)
    for layer in network.trunk:
        assert isinstance(layer, Conv)
        layer.weight.mul_(0.5)
    network.detail.weight.normal_(0, 0.1)
    return network


def rgb_to_planes(rgb: torch.Tensor, layout: Layout) -> tuple[Plane, ...]:
    height, width = rgb.shape[2:]
    even = torch.nn.functional.pad(rgb, (0, width % 2, 0, height % 2), mode="replicate")
    return blocks_to_planes(to_blocks(even), layout, (width, height))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_flat_colours_survive_the_way_to_rgb_and_back(layout: Layout) -> None:
    colours = [(0.5, 0.5, 0.5)] if layout.model == "grey" else [(0.8, 0.3, 0.2), (0.1, 0.2, 0.7), (1, 1, 1), (0, 0, 0)]
    for colour in colours:
        rgb = torch.tensor(colour)[None, :, None, None].expand(1, 3, 33, 47)
        planes = rgb_to_planes(rgb, layout)
        assert [p.shape for p in planes] == layout.shapes(47, 33)
        assert all(p.dtype == (np.uint8 if layout.depth == 8 else np.uint16) for p in planes)
        back = planes_to_rgb(planes, layout, CPU)
        assert (back - rgb).abs().max() < 2.5 / 255


def test_white_and_red_have_the_code_values_of_the_standard() -> None:
    white, red = torch.ones(1, 3, 2, 2), torch.tensor([1.0, 0, 0])[None, :, None, None].expand(1, 3, 2, 2)
    assert [int(p[0, 0]) for p in rgb_to_planes(white, Layout("yuv", 8, 2, 2))] == [235, 128, 128]
    assert [int(p[0, 0]) for p in rgb_to_planes(red, Layout("yuv", 8, 2, 2, "bt709"))] == [63, 102, 240]
    assert [int(p[0, 0]) for p in rgb_to_planes(red, Layout("yuv", 8, 2, 2, "bt601"))] == [81, 90, 240]
    assert [int(p[0, 0]) for p in rgb_to_planes(white, Layout("yuv", 10, 2, 2))] == [940, 512, 512]


@pytest.mark.parametrize("across, down", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_colours_are_those_of_the_standard_pixel_by_pixel(across: int, down: int) -> None:
    """Against the formulas of BT.709 in numpy, chroma interpolated as players do, in steps far below one code value."""
    rng = np.random.default_rng(0)
    layout = Layout("yuv", 10, across, down)
    y, u, v = (rng.integers(300, 700, shape).astype(np.uint16) for shape in layout.shapes(46, 30))
    chroma = torch.from_numpy(np.stack([u, v]).astype(np.float32))[None]
    size = (30, 46)
    cb, cr = (torch.nn.functional.interpolate(chroma, size=size, mode="bilinear")[0].double().numpy() - 512) / 896
    luma = (y.astype(np.float64) - 64) / 876
    wanted = [luma + 1.5748 * cr, luma - 0.2126 * 1.5748 / 0.7152 * cr - 0.0722 * 1.8556 / 0.7152 * cb, luma + 1.8556 * cb]
    rgb = planes_to_rgb((y, u, v), layout, CPU)
    assert np.abs(rgb[0].numpy() - np.clip(np.stack(wanted), 0, 1)).max() < 1e-5
    if (across, down) == (1, 1):
        unclipped = ((np.stack(wanted) > 0) & (np.stack(wanted) < 1)).all(0)
        for plane, back in zip((y, u, v), rgb_to_planes(rgb, layout), strict=True):
            assert (plane == back)[unclipped].all()


@pytest.mark.parametrize("size", [(640, 80), (72, 520)], ids=str)
@pytest.mark.parametrize("given", LAYOUTS, ids=str)
def test_a_frame_is_its_tiles_in_every_layout(network: TransformNetwork, given: Layout, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    planes: list[Plane] = []
    for shape in given.shapes(*size):
        codes = rng.integers(0, 2**given.depth, shape)
        planes.append(codes.astype(np.uint8) if given.depth == 8 else codes.astype(np.uint16))
    whole = Stylizer(network, precision="bf16", tile=4096).frame(planes, given, given, size)
    tiled = Stylizer(network, precision="bf16", tile=160).frame(planes, given, given, size)
    for one, other in zip(whole, tiled, strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tiles_join_bit_for_bit(network: TransformNetwork, precision: str) -> None:
    torch.manual_seed(1)
    picture = torch.rand(1, 3, 500, 612)
    whole = Stylizer(network, precision=precision, tile=4096).paint(picture)
    tiled = Stylizer(network, precision=precision, tile=160).paint(picture)
    assert torch.equal(whole, tiled)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (3, 5), (63, 65), (64, 64), (97, 130)])
def test_every_size_is_painted(network: TransformNetwork, size: tuple[int, int]) -> None:
    painted = Stylizer(network, precision="fp32").paint(torch.rand(1, 3, *size))
    assert painted.shape == (1, 3, *size)
    assert torch.isfinite(painted).all()


def test_strength_moves_from_the_frame_to_the_painting(network: TransformNetwork) -> None:
    torch.manual_seed(2)
    x = torch.rand(1, 3, 64, 64)
    painted = network(x)
    assert torch.allclose(with_look(network, 0.0, False)(x), x, atol=1e-5)
    assert torch.allclose(with_look(network, 0.25, False)(x), x + 0.25 * (painted - x), atol=1e-4)
    assert torch.allclose(with_look(network, 1.0, False)(x), painted, atol=1e-4)


def test_keep_color_changes_lightness_only(network: TransformNetwork) -> None:
    torch.manual_seed(3)
    x = torch.rand(1, 3, 64, 64)
    moved = with_look(network, 1.0, True)(x) - x
    luma = ((network(x) - x) * torch.tensor([0.2126, 0.7152, 0.0722])[:, None, None]).sum(1)
    for channel in range(3):
        assert torch.allclose(moved[:, channel], luma, atol=1e-4)


def test_alpha_is_carried_and_made(network: TransformNetwork) -> None:
    painter = Stylizer(network, precision="fp32")
    planes = tuple(np.full((20, 30), v, np.uint8) for v in (10, 20, 30, 77))
    kept = painter.frame(planes, Layout("rgb", 8, alpha=True), Layout("rgb", 8, alpha=True), (30, 20))
    assert (kept[3] == 77).all()
    made = painter.frame(planes[:3], Layout("rgb", 8), Layout("rgb", 16, alpha=True), (15, 10))
    assert (made[3] == 65535).all() and made[3].shape == (10, 15)


def test_scaling_keeps_the_picture() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    small = scaled(ramp, (32, 16))
    assert small.shape == (1, 3, 16, 32)
    assert (small[0, 0, 8] - ramp[0, 0, 0, ::2]).abs().max() < 0.03
    assert scaled(ramp, (64, 64)) is ramp


def test_precisions_agree_and_the_unknown_one_is_refused(network: TransformNetwork) -> None:
    assert best_precision("cpu") in ("fp32", "bf16")
    picture = torch.rand(1, 3, 96, 96)
    exact = Stylizer(network, precision="fp32").paint(picture)
    assert (Stylizer(network, precision="bf16").paint(picture) - exact).abs().mean() < 2 / 255
    with pytest.raises(ConfigError, match="no precision 'int3'"):
        Stylizer(network, precision="int3")


def _no_memory_on_the_host() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def _no_memory_in_numpy() -> None:
    np.empty(1 << 60, np.uint8)


def _no_memory_on_the_card() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("fail", [_no_memory_on_the_host, _no_memory_in_numpy, _no_memory_on_the_card])
def test_out_of_memory_halves_the_tile_once_and_says_so(network: TransformNetwork, fail: Callable[[], None]) -> None:
    torch.manual_seed(4)
    picture = torch.rand(1, 3, 512, 64)
    whole = Stylizer(network, precision="fp32").paint(picture)
    painter, told = Stylizer(network, precision="fp32"), list[str]()
    painter.tell, plenty, most = told.append, painter.network, 400 * 64

    def paint(blocks: torch.Tensor) -> torch.Tensor:
        if 4 * blocks.shape[2] * blocks.shape[3] > most:
            fail()
        return plenty(blocks)

    painter.network = paint
    assert torch.equal(painter.paint(picture), whole)
    assert told == ["cpu is short of memory: from here on it paints in tiles of 256 pixels."]
    assert torch.equal(painter.paint(picture), whole) and len(told) == 1
    most = 0
    with pytest.raises(MemoryError):
        painter.paint(picture)


def test_other_errors_of_a_device_are_not_taken_for_its_memory(network: TransformNetwork) -> None:
    painter = Stylizer(network, precision="fp32")

    def broken(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("device-side assert triggered")

    painter.network = broken
    with pytest.raises(RuntimeError, match="assert"):
        painter.paint(torch.rand(1, 3, 64, 64))
    assert painter.tile == 2048
