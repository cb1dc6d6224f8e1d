"""Estimates of time and money, and what each number rests on. No I/O."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from stylizer.jobs import Clip, Look, Quality

FIT_STEPS = {Quality.DRAFT: 0, Quality.STANDARD: 180, Quality.HIGH: 1000, Quality.REFERENCE: 180}
"""Of a fit."""
MEASURED_WITHIN = 1.2
"""A speed that was measured on a device holds for another clip within this factor, nine times of ten."""
OWN_WITHIN = 1.1
"""The same of the pace that a job has itself."""
GUESSED_WITHIN = 3.0
"""The same of a machine that was never measured."""
RENTED = "azure"
"""How names of devices begin that are not here."""
FIT_PIXELS = 1.5e6
"""So many could be painted in the time of one step of a fit, about."""
FIT_START_STEPS, DRAFT_STEPS, PIXELS_STEPS = 15, 3, 6e-6
"""What comes before the first step takes about as long as so many, and so many for each pixel, until it was measured at
about that size; and all of a draft.
"""
START_SECONDS = 8.0
"""Of a run, until a worker is at work: on a small machine, until it was measured."""
JOIN_SECONDS = 0.001
"""Of a frame, likewise."""


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
    start_seconds: float = 0.0
    """From the beginning of a run until a worker begins with its first spec; 0, as below: not known."""
    fit_start_seconds: float = 0.0
    """Of a fit, before its first step."""
    join_seconds_per_frame: float = 0.0
    """Of putting the chunks together."""


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


@dataclass(frozen=True, slots=True)
class Rest:
    """What is still to be done of a clip."""

    width: int
    """As it is painted."""
    height: int
    frames: int
    """To be painted."""
    joined: int
    """Frames that are put together in the end."""
    steps: int = 0
    """Of the fit, to be taken."""
    fits: int = 0
    """That have not begun."""
    start: float | None = 0.0
    """Seconds that have passed of a worker's start; None: it is at work."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Seconds, part by part."""

    start: float
    """Until a worker is at work."""
    fit: float
    paint: float
    join: float
    basis: str
    within: float = MEASURED_WITHIN
    """It is right within this factor, nine times of ten."""

    @property
    def seconds(self) -> float:
        return self.start + self.fit + self.paint + self.join

    @property
    def least(self) -> float:
        return self.seconds / self.within

    @property
    def most(self) -> float:
        return self.seconds * self.within


def rest_of(clip: Clip, look: Look) -> Rest:
    """All of it: nothing has begun."""
    scale = look.size / max(clip.width, clip.height) if look.size else 1.0
    width, height = max(1, round(clip.width * scale)), max(1, round(clip.height * scale))
    return Rest(width, height, clip.frames, clip.frames, FIT_STEPS[look.quality], fits=1)


def time_left(
    rest: Rest,
    known: Sequence[Measurement],
    own: float = 0.0,
    *,
    device: str = "",
    precision: str = "",
    guess: float = 0.0,
) -> TimeLeft | None:
    """How long the rest takes: each of its parts as measured on the device (that begins so; empty: any here), but painting
    at its `own` pace (frames a second) as soon as there is one. `guess` is a device's pixels a second where nothing is
    measured; None where there is neither.
    """
    fitting = [m for m in known if _is_meant(m, device)] or ([] if device else list(known))
    found = rate_here(fitting, width=rest.width, height=rest.height, precision=precision)
    if not (own or found or guess):
        return None
    pace = own or (found[0] if found else guess / (rest.width * rest.height))
    fitting.sort(key=lambda m: (found is not None and m.device == found[1].device, m.at), reverse=True)

    def newest(figure: str, usual: float, among: Sequence[Measurement] = fitting, of: int = 3) -> float:
        # The median of a few: a run that was held up once says little of the next.
        values = [value for m in among if (value := float(getattr(m, figure))) > 0]
        return statistics.median(values[:of]) if values else usual

    pixels = rest.width * rest.height
    step = newest("fit_seconds_per_step", FIT_PIXELS / (pace * pixels), of=1)
    start = 0.0 if rest.start is None else max(0.0, newest("start_seconds", START_SECONDS) - rest.start)
    # What comes before the first step goes with the size; a draft, which takes no step, needs less of it.
    alike = [m for m in fitting if bool(rest.steps) is (m.fit_seconds_per_step > 0) and m.fit_start_seconds > 0]
    near = [m for m in alike if abs(math.log2(m.width * m.height / pixels)) < 1]
    usual = step * ((FIT_START_STEPS if rest.steps else DRAFT_STEPS) + PIXELS_STEPS * pixels)
    fit = rest.steps * step + rest.fits * newest("fit_start_seconds", usual, near)
    join = rest.joined * newest("join_seconds_per_frame", JOIN_SECONDS)
    if own:
        return TimeLeft(start, fit, rest.frames / pace, join, "this job's own pace", OWN_WITHIN)
    basis, within = (
        (measured_words(found[1]), MEASURED_WITHIN) if found else ("a guess: nothing is measured here", GUESSED_WITHIN)
    )
    return TimeLeft(start, fit, rest.frames / pace, join, basis, within)


def measured_words(one: Measurement) -> str:
    """Where and when: measured here on cpu (AMD EPYC), 2026-11-23."""
    day = time.strftime("%Y-%m-%d", time.localtime(one.at))
    rented = one.device.startswith(RENTED)
    return (
        f"measured on {one.device.removeprefix(RENTED).strip(' ()')}, {day}"
        if rented
        else f"measured here on {one.device}, {day}"
    )


def _is_meant(one: Measurement, device: str) -> bool:
    return one.device.startswith(device) if device else not one.device.startswith(RENTED)


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
    # Pixels a second of the same device at each size, the newest.
    alike = sorted((m for m in fitting if (m.device, m.precision) == (best.device, best.precision)), key=lambda m: m.at)
    paces = {m.width * m.height: m.fps * m.width * m.height for m in alike}
    return _between(paces, pixels) / pixels, best


def _between(paces: dict[int, float], pixels: int) -> float:
    """The pace at a size that lies between two measured ones, straight over its logarithm; else that of the nearest."""
    below, above = max((n for n in paces if n <= pixels), default=0), min((n for n in paces if n >= pixels), default=0)
    if not below or not above or below == above:
        return paces[below or above]
    share = math.log(pixels / below) / math.log(above / below)
    return paces[below] + share * (paces[above] - paces[below])
