"""Estimates of time and money, and what each number rests on. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from stylizer.jobs import Quality

FIT_STEPS = {Quality.DRAFT: 0, Quality.STANDARD: 160, Quality.HIGH: 1000, Quality.REFERENCE: 180}
"""Of a fit."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How fast a device painted the last time: what estimates rest on."""

    device: str
    """As devices.py names it, with the model: cpu (AMD EPYC), cuda:0 (H100)."""
    precision: str
    width: int
    height: int
    fps: float
    """Frames a second, decoding and encoding included."""
    fit_seconds_per_step: float
    at: float
    """When it was measured (Unix time)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    frames: int
    seconds: float
    cost: Decimal | None
    """None where the work costs nothing (this machine)."""
    upload_bytes: int
    basis: str
    """Measured here on DATE / catalogue figure of DATE / a guess, with a range."""
    chunk_frames: int = 0
    """How long chunks had best be there; 0: as the settings say."""
    currency: str = ""


def rate_here(
    known: Iterable[Measurement], *, width: int, height: int, device: str = "", precision: str = ""
) -> tuple[float, Measurement] | None:
    """Frames a second to expect at a size, from the measurement that fits best: the same device and precision where
    they are named (empty: any), then the nearest size, then the newest. Speed goes with the number of pixels.
    """
    pixels = max(1, width * height)
    fitting = [m for m in known if m.fps > 0 and m.device.startswith(device) and precision in ("", m.precision)]
    if not fitting:
        return None
    best = min(fitting, key=lambda m: (round(abs(math.log(m.width * m.height / pixels)), 1), -m.at))
    return best.fps * best.width * best.height / pixels, best
