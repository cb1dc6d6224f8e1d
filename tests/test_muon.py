"""Muon: moves have the size of what they move and no favourite direction; what is not finite moves nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stylizer.muon import SMALLEST, Descent, Muon, orthogonal


@pytest.mark.parametrize("shape", [(48, 48), (16, 300), (300, 16)])
def test_every_direction_of_a_move_weighs_alike(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape) * torch.linspace(0.2, 3, shape[1])))
    assert values.min() > 0.5 and values.max() < 1.3


def rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


def moved(kernel: Tensor, gradient: Tensor, lr: float = 0.02) -> Tensor:
    parameter = nn.Parameter(kernel.clone())
    parameter.grad = gradient
    Muon([parameter], lr).step()
    return parameter.detach() - kernel


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_kernel_moves_by_its_share_whatever_the_gradients_size(scale: float) -> None:
    torch.manual_seed(1)
    kernel, gradient = 0.3 * torch.randn(24, 8, 3, 3), torch.randn(24, 8, 3, 3)
    move = moved(kernel, scale * gradient)
    assert rms(move) == pytest.approx(0.02 * rms(kernel), rel=1e-3)
    assert (move * gradient).sum() < 0


def test_a_kernel_of_zeros_leaves_zero() -> None:
    move = moved(torch.zeros(3, 3, 3, 3), torch.randn(3, 3, 3, 3))
    assert rms(move) == pytest.approx(0.02 * SMALLEST, rel=1e-3)


def test_descent_goes_down_and_not_at_all_where_the_loss_is_not_finite() -> None:
    torch.manual_seed(2)
    model, truth, x = nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3), torch.randn(4, 4, 12, 12)
    descent = Descent(model, 0.02)

    def loss() -> Tensor:
        apart: Tensor = model(x) - truth(x)
        return apart.square().mean()

    first = loss().item()
    for _ in range(60):
        descent.step(loss(), 1.0)
    assert loss().item() < 0.5 * first
    before = [p.detach().clone() for p in model.parameters()]
    descent.step(loss() * float("nan"), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_what_is_slow_moves_less() -> None:
    torch.manual_seed(3)
    model = nn.ModuleDict({"quick": nn.Linear(8, 8), "slow": nn.Linear(8, 8)})
    descent = Descent(model, 0.02, slow=model["slow"])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    descent.step(model["slow"](model["quick"](torch.randn(5, 8))).square().sum(), 1.0)
    apart = {name: rms(p.detach() - before[name]) for name, p in model.named_parameters()}
    assert 0 < apart["slow.weight"] < 0.2 * apart["quick.weight"]
