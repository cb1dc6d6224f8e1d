"""What an artist asks for is what happens, and more of it the more is asked: strength, brush, keep-color, blends."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer.fit import fit
from stylizer.jobs import Quality
from stylizer.network import TransformNetwork
from stylizer.stylize import Stylizer

LUMA = torch.tensor([0.2126, 0.7152, 0.0722])[:, None, None]


def clouds(seed: int, height: int, width: int, cells: int = 6) -> Tensor:
    coarse = torch.rand((1, 3, cells, cells), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def photograph() -> Tensor:
    """Clouds with edges in them, away from black and white: nothing is cut off there."""
    return 0.3 + 0.4 * torch.lerp(clouds(1, 96, 128), (clouds(2, 96, 128, 12) > 0.5).float(), 0.3)


@pytest.fixture(scope="module")
def stripes() -> Tensor:
    lines = (torch.arange(128) // 4 % 2).float().expand(3, 128, 128) * torch.tensor([1.0, 0.6, 0.1])[:, None, None]
    return (0.7 * lines + 0.3 * clouds(9, 128, 128)[0]).clamp(0, 1)


@pytest.fixture(scope="module")
def patches() -> Tensor:
    cells = (
        torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(4)) * torch.tensor([0.3, 0.7, 1.0])[:, None, None]
    )
    return F.interpolate(cells, size=(128, 128), mode="nearest")[0]


def guess(photograph: Tensor, styles: list[Tensor], shares: list[float], **look: float | bool) -> TransformNetwork:
    samples = (photograph * 255).to(torch.uint8)
    return fit(styles, shares, samples, quality=Quality.DRAFT, precision="fp32", **look).network  # type: ignore[arg-type]


def painted(network: TransformNetwork, photograph: Tensor, **look: float | bool) -> Tensor:
    return Stylizer(network, precision="fp32", **look).paint(photograph).clone()  # type: ignore[arg-type]


def apart(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().mean().item()


@pytest.fixture(scope="module")
def network(photograph: Tensor, stripes: Tensor) -> TransformNetwork:
    return guess(photograph, [stripes], [1.0])


@pytest.mark.parametrize("keep_color", [False, True])
def test_strength_goes_from_the_photograph_to_the_painting(
    network: TransformNetwork, photograph: Tensor, keep_color: bool
) -> None:
    steps = [painted(network, photograph, strength=s / 4, keep_color=keep_color) for s in range(5)]
    assert (steps[0] - photograph).abs().max() < 1e-3
    away = [apart(step, photograph) for step in steps]
    assert all(a < b for a, b in pairwise(away))
    left = [apart(step, steps[-1]) for step in steps]
    assert all(a > b for a, b in pairwise(left))


def test_half_the_strength_is_halfway(network: TransformNetwork, photograph: Tensor) -> None:
    whole, half = (painted(network, photograph, strength=s) for s in (1.0, 0.5))
    inside = (whole > 0.01) & (whole < 0.99)
    assert ((half - (photograph + whole) / 2).abs() * inside).max() < 2e-3


def test_kept_colours_are_the_photographs(network: TransformNetwork, photograph: Tensor) -> None:
    def chroma(x: Tensor) -> Tensor:
        return x - (x * LUMA).sum(1, keepdim=True)

    kept, free = (painted(network, photograph, keep_color=keep) for keep in (True, False))
    inside = ((kept > 0.001) & (kept < 0.999)).all(1, keepdim=True)
    assert inside.float().mean() > 0.5
    assert ((chroma(kept) - chroma(photograph)).abs() * inside).max() < 2e-3
    assert apart(chroma(free), chroma(photograph)) > 0.02
    # Painted all the same: in lightness.
    assert apart(kept, photograph) > 0.02


def test_a_larger_brush_paints_coarser(photograph: Tensor, stripes: Tensor) -> None:
    fine = []
    for brush in (0.75, 1.5, 3.0):
        picture = painted(guess(photograph, [stripes], [1.0], brush=brush), photograph)
        fine.append((picture[..., 1:] - picture[..., :-1]).abs().mean().item() / picture.std().item())
    assert all(a > b for a, b in pairwise(fine)), fine


def test_a_blend_goes_from_one_style_to_the_other(photograph: Tensor, stripes: Tensor, patches: Tensor) -> None:
    steps = [
        painted(guess(photograph, [stripes, patches], [1 - share, share]), photograph) for share in (0.0, 0.3, 0.6, 1.0)
    ]
    assert all(a < b for a, b in pairwise([apart(step, steps[0]) for step in steps]))
    assert all(a > b for a, b in pairwise([apart(step, steps[-1]) for step in steps]))
    assert apart(steps[0], steps[-1]) > 0.03


def test_two_clips_of_one_checkpoint_match(network: TransformNetwork) -> None:
    """Two photographs that share a region share its painting: what is painted depends on nothing but its surroundings."""
    first = clouds(5, 288, 288, 20)
    second = first.clone()
    second[..., 272:] = 1 - second[..., 272:]
    same = (painted(network, first) - painted(network, second))[..., :144].abs().max()
    assert same < 1e-5
