"""What one look at this machine, or at a rented one, came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    verdict: str
    """good, poor (works, but not as it should) or bad (does not)."""
    found: str
    advice: str = ""
