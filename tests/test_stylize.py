"""Frames in, painted frames out: colours survive, tiles join exactly, strength and colour keeping fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylizer.errors import ConfigError
from stylizer.frames import Layout
from stylizer.network import Conv, TransformNetwork
from stylizer.stylize import Stylizer, best_precision, planes_to_rgb, rgb_to_planes, scaled, with_look

CPU = torch.device("cpu")
LAYOUTS = [
    Layout("yuv", 8, 2, 2),
    Layout("yuv", 8, 2, 1, "bt601"),
    Layout("yuv", 8, 1, 1, "bt601", full_range=True),
    Layout("yuv", 10, 2, 2, "bt2020"),
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
