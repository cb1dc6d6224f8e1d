"""One training loop for every stage: cosine schedule, clipped gradients, averaged weights, checkpoints every two minutes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

Losses = dict[str, Tensor]
"""Named scalar losses; those that count are summed under their weights by the stage itself, as `total`."""


def train(
    model: nn.Module,
    step_losses: Callable[[int], Losses],
    *,
    steps: int,
    rate: float,
    state: Path,
    warm: int = 50,
    average: float = 0.998,
    minutes: float = math.inf,
    slow: nn.Module | None = None,
) -> nn.Module:
    """Minimise `step_losses(step)["total"]` over `model`'s parameters and return the averaged model (EMA).

    Resumes from `state` if it exists. `minutes` ends the call early (the schedule is not shortened: call again to go on).
    The part `slow` learns at a tenth of the rate: each output of a wide linear layer is a sum of hundreds of weights, all of
    which Adam moves by the rate at once.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    slower = {id(p) for p in slow.parameters()} if slow else set()
    groups = [
        {"params": [p for p in parameters if id(p) not in slower], "share": 1.0},
        {"params": [p for p in parameters if id(p) in slower], "share": 0.1},
    ]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
    averaged = copy.deepcopy(model)
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
        print(f"{state.name}: resumed at step {first} of {steps}", flush=True)
    started = saved_at = time.monotonic()
    seen: dict[str, float] = {}
    for step in range(first, steps):
        progress = step / steps
        rate_now = rate * min(1, (step + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * progress)) + rate * 0.01
        for group in optimiser.param_groups:
            group["lr"] = rate_now * group["share"]
        losses = step_losses(step)
        optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if torch.isfinite(norm):
            optimiser.step()
        decay = min(average, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        for name, value in losses.items():
            seen[name] = 0.98 * seen.get(name, value.item()) + 0.02 * value.item()
        if (step + 1) % 50 == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            told = "  ".join(f"{name} {value:.4f}" for name, value in seen.items())
            print(f"{state.stem} {step + 1}/{steps}  {told}  {pace:.2f} s/step", flush=True)
        over = (time.monotonic() - started) > 60 * minutes
        if time.monotonic() - saved_at > 120 or step + 1 == steps or over:
            saved_at = time.monotonic()
            part = state.with_suffix(".part")
            torch.save(
                {
                    "model": model.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                },
                part,
            )
            part.replace(state)
        if over:
            break
    return averaged
