"""Estimates of time and money, and what each number rests on. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


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
