"""One training loop for every stage: cosine schedule, averaged weights, checkpoints every two minutes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from stylizer.muon import Descent

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
    average: float = 0.99,
    minutes: float = math.inf,
    slow: nn.Module | None = None,
) -> nn.Module:
    """Minimise `step_losses(step)["total"]` over `model`'s parameters and return the averaged model (EMA).

    Resumes from `state` if it exists. `minutes` ends the call early (the schedule is not shortened: call again to go on).
    `rate` and the part `slow` are Descent's.
    """
    descent = Descent(model, rate, slow=slow)
    averaged = copy.deepcopy(model)
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        descent.load_state_dict(saved["descent"])
        first = saved["step"]
        print(f"{state.name}: resumed at step {first} of {steps}", flush=True)
    started = saved_at = time.monotonic()
    seen: dict[str, float] = {}
    for step in range(first, steps):
        losses = step_losses(step)
        descent.step(losses["total"], min(1, (step + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 0.01)
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
                    "descent": descent.state_dict(),
                    "step": step + 1,
                },
                part,
            )
            part.replace(state)
        if over:
            break
    return averaged
