"""How networks descend, in training and in the fit: Muon for kernels, Adam for what is not one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.9
SMALLEST = 1e-3
"""Kernels whose root mean square is below this move as if it were this: else one of zeros stayed so."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024): every step moves each kernel by `lr` of its own size.

    Adam moves every weight alike, so that of a convolution's directions a few learn and the others wait; here all singular
    values of the move are near one. Scaled to the kernel's root mean square, one rate suits layers of every scale, before
    and after they are folded.
    """

    def __init__(self, kernels: Iterable[Tensor], lr: float) -> None:
        super().__init__(kernels, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                momentum = self.state[kernel].setdefault("momentum", torch.zeros_like(kernel))
                momentum.lerp_(kernel.grad, 1 - MOMENTUM)
                turned = orthogonal(kernel.grad.lerp(momentum, MOMENTUM).flatten(1)).reshape(kernel.shape)
                size = kernel.square().mean().sqrt().clamp_min(SMALLEST) / turned.square().mean().sqrt().clamp_min(1e-9)
                kernel.sub_(turned * size * group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with its singular values brought near one: five steps of Newton and Schulz, with Jordan's constants."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / matrix.norm().clamp_min(1e-9)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    turned: Tensor = x.T if tall else x
    return turned


class Descent:
    """Moves a model's kernels by Muon at `rate`, its vectors by Adam at a tenth of that, on one schedule.

    The part `slow` goes by Adam at a fiftieth of the rate: each output of a wide linear layer is a sum of hundreds of
    weights, all of which move at once.
    """

    def __init__(self, model: nn.Module, rate: float, *, slow: nn.Module | None = None) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        slower = list(slow.parameters()) if slow else []
        known = {id(p) for p in slower}
        quick = [p for p in self._parameters if id(p) not in known]
        vectors = [{"params": [p for p in quick if p.ndim < 2], "pace": rate / 10}, {"params": slower, "pace": rate / 50}]
        kernels = [{"params": [p for p in quick if p.ndim > 1], "pace": rate}]
        self._parts: list[torch.optim.Optimizer] = []
        if kernels[0]["params"]:
            self._parts.append(Muon(kernels, rate))  # type: ignore[arg-type]
        if vectors := [group for group in vectors if group["params"]]:
            self._parts.append(torch.optim.Adam(vectors, betas=(0.9, 0.99)))

    def step(self, loss: Tensor, share: float) -> None:
        """One step down from `loss`, at `share` of the rates; none where its gradient is not finite."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)
            for group in part.param_groups:
                group["lr"] = group["pace"] * share
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.isfinite(nn.utils.clip_grad_norm_(self._parameters, 1.0)):
            for part in self._parts:
                part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for part, saved in zip(self._parts, state, strict=True):
            part.load_state_dict(saved)
