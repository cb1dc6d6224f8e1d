"""The fit: it gains, it is deterministic, it blends, it falls back, and no frame is too small for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylizer import fit as fitting
from stylizer.fit import Recipe, crops, fit, recoloured
from stylizer.jobs import Quality
from stylizer.losses import blend_targets, colour_loss, colours, gram, pooled, style_loss, style_targets, unsteadiness
from stylizer.stylize import Stylizer


def soft(seed: int, *shape: int) -> Tensor:
    """Coloured clouds: (*shape) float 0..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, shape[0], 6, 6), generator=generator)
    return F.interpolate(coarse, size=shape[1:], mode="bicubic").clamp(0, 1)[0]


@pytest.fixture
def samples() -> Tensor:
    return torch.stack([(soft(n, 3, 96, 128) * 255).to(torch.uint8) for n in range(3)])


@pytest.fixture
def style() -> Tensor:
    stripes = (torch.arange(128) // 4 % 2).float().expand(3, 120, 128) * torch.tensor([1.0, 0.6, 0.1])[:, None, None]
    return (0.7 * stripes + 0.3 * soft(9, 3, 120, 128)).clamp(0, 1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fitting.RECIPES, Quality.STANDARD, Recipe(8, crops=1, side=64, rate=1e-3))


@pytest.mark.usefixtures("quick")
def test_a_fit_gains_and_tells_its_steps(samples: Tensor, style: Tensor) -> None:
    told: list[tuple[int, int]] = []
    found = fit([style], [1.0], samples, quality=Quality.STANDARD, progress=lambda d, t: told.append((d, t)))
    assert told == [(n, 8) for n in range(1, 9)]
    assert found.facts["kept"] == "fit"
    assert float(found.facts["loss_after"]) < float(found.facts["loss_before"])


@pytest.mark.usefixtures("quick")
def test_a_fit_is_the_same_again_and_another_with_another_seed(samples: Tensor, style: Tensor) -> None:
    def weights(seed: int) -> Tensor:
        return fit([style], [1.0], samples, quality=Quality.STANDARD, seed=seed, precision="fp32").network.paint.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.usefixtures("quick")
def test_a_fit_that_makes_it_worse_is_not_kept(samples: Tensor, style: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fitting.RECIPES, Quality.STANDARD, Recipe(8, crops=1, side=64, rate=10.0))
    found = fit([style], [1.0], samples, quality=Quality.STANDARD)
    guess = fit([style], [1.0], samples, quality=Quality.DRAFT)
    assert found.facts["kept"] == "guess"
    assert torch.equal(found.network.paint.weight, guess.network.paint.weight)


def test_a_draft_paints_every_frame_alone(samples: Tensor, style: Tensor) -> None:
    found = fit([style], [1.0], samples, quality=Quality.DRAFT)
    painter = Stylizer(found.network, precision="fp32")
    frame = samples[:1].float() / 255
    painted = painter.paint(frame)
    painter.paint(1 - frame)
    assert torch.equal(painter.paint(frame), painted)


def test_a_blend_of_one_is_that_one_and_a_real_blend_is_another(samples: Tensor, style: Tensor) -> None:
    def weights(styles: list[Tensor], shares: list[float]) -> Tensor:
        return fit(styles, shares, samples, quality=Quality.DRAFT, precision="fp32").network.down1.weight

    other = soft(4, 3, 100, 100)
    alone = weights([style], [1.0])
    assert torch.allclose(weights([style, other], [1.0, 0.0]), alone, atol=1e-5)
    assert not torch.allclose(weights([style, other], [0.5, 0.5]), alone, atol=1e-4)


def test_blended_targets_lie_between() -> None:
    a, b = (style_targets([soft(n, 8, 32, 32)[None] for _ in range(4)]) for n in (1, 2))
    middle = blend_targets([a, b], [0.25, 0.75])
    assert torch.allclose(middle[0].gram, 0.25 * a[0].gram + 0.75 * b[0].gram, atol=1e-6)
    assert torch.allclose(middle[3].mean, 0.25 * a[3].mean + 0.75 * b[3].mean, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (64, 64), (300, 70)])
def test_crops_have_their_side_whatever_the_frame(shape: tuple[int, int]) -> None:
    frames = torch.randint(0, 255, (2, 3, *shape), dtype=torch.uint8)
    assert crops(frames, 3, 64, np.random.default_rng(0)).shape == (3, 3, 64, 64)


def test_keep_color_gives_the_style_the_clips_colours(samples: Tensor, style: Tensor) -> None:
    seen = samples.permute(1, 0, 2, 3).flatten(1).float() / 255
    matched = recoloured(style, samples).flatten(1)
    before = (style.flatten(1).mean(1) - seen.mean(1)).abs().max()
    after = (matched.mean(1) - seen.mean(1)).abs().max()
    assert after < 0.05 < before


def test_style_loss_is_zero_on_the_style_and_grows() -> None:
    features = [soft(n, 8, 32, 32)[None] for n in range(4)]
    targets = style_targets(features)
    assert style_loss(features, targets) < 1e-6
    near, far = ([f + amount for f in features] for amount in (0.05, 0.4))
    assert 0 < style_loss(near, targets) < style_loss(far, targets)
    assert gram(features[0]).shape == (1, 8, 8)


def test_crops_pooled_are_judged_as_the_picture_they_come_from() -> None:
    whole = soft(1, 8, 32, 64)[None]
    halves = torch.cat([whole[..., :32], whole[..., 32:]])
    assert torch.allclose(gram(pooled(halves)), gram(whole), atol=1e-5)
    assert not torch.allclose(gram(halves)[:1], gram(whole), atol=1e-2)


def test_colour_loss_sees_paleness_and_a_cast() -> None:
    picture = soft(1, 3, 48, 48)[None]
    wanted = colours(picture)
    assert colour_loss(colours(picture.flip(3)), wanted) < 1e-6
    pale = colour_loss(colours(0.5 * picture + 0.4), wanted)
    cast = colour_loss(colours(picture + 0.1 * torch.tensor([1.0, 0.0, -1.0])[:, None, None]), wanted)
    assert pale > 0.1 and cast > 0.05


@pytest.mark.parametrize("seed", range(6))
def test_a_painter_that_follows_the_picture_is_steady_and_one_with_a_grid_is_not(seed: int) -> None:
    pictures = torch.stack([soft(n, 3, 96, 96) for n in range(2)])
    grid = 0.2 * ((torch.arange(96) // 4 % 2).float()[:, None] + (torch.arange(96) // 4 % 2).float())

    def following(x: Tensor) -> Tensor:
        return 1 - x

    def stuck(x: Tensor) -> Tensor:
        return 1 - x + grid[: x.shape[2], : x.shape[3]]

    steady = unsteadiness(following, pictures, following(pictures), np.random.default_rng(seed))
    unsteady = unsteadiness(stuck, pictures, stuck(pictures), np.random.default_rng(seed))
    assert steady < 0.035 < unsteady


def test_half_of_the_movements_are_bent() -> None:
    sides = []

    def paint(x: Tensor) -> Tensor:
        sides.append(x.shape[2])
        return x

    picture, random = soft(0, 3, 96, 96)[None], np.random.default_rng(2)
    for _ in range(40):
        unsteadiness(paint, picture, picture, random)
    assert 10 < sides.count(96) < 30 and sides.count(88) == 40 - sides.count(96), "shifted ones are cut to what both show"


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_clip_of_one_colour_is_painted_in_colours_not_in_errors(style: Tensor, grey: int) -> None:
    flat = torch.full((2, 3, 96, 128), grey, dtype=torch.uint8)
    painted = Stylizer(fit([style], [1.0], flat, quality=Quality.DRAFT).network).paint(flat[:1].float() / 255)
    assert painted.isfinite().all()
    assert painted.std(dim=(2, 3)).max() < 0.1, "flat stays flat"
    low, high = style.amin(), style.amax()
    assert low - 0.1 <= painted.mean() <= high + 0.1
