"""How long a clip takes on rented machines and what it costs, and how long its chunks had best be. Arithmetic: the prices
are those that were fetched last.

A machine costs from its allocation on: it boots, prepares itself, then paints chunk after chunk. Each chunk costs a start
(Python, torch, transfers), so that few long ones waste less; a Spot machine may be taken away at any moment, and what it
was at starts anew, so that many short ones lose less; and the last round is rarely full.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from backends.azure.meter import Life
from backends.azure.prices import Price, Size, price_of, size_of
from stylizer.config import AzureDefaults, Config, places
from stylizer.estimate import MEASURED_WITHIN, Measurement, rate_here
from stylizer.jobs import Clip, FrameRange, Look, MediaKind
from stylizer.plan import cut

BOOT_SECONDS = 420.0
"""From the asking for a machine until it takes a task: allocation, boot, installing the worker; 3 to 10 minutes."""
BOOTS = (180.0, 300.0, BOOT_SECONDS, 510.0, 600.0)
"""The same as it may turn out for one of several machines."""
AWAY_SECONDS = 300.0
"""From the taking away of a Spot machine until another one is allocated in its place; a guess."""
START_SECONDS = 12.0
"""Of each chunk: Python and torch start, its files come and go."""
TAIL_SECONDS = 60.0
"""From the last chunk until the machines are gone."""
TAKEN_PER_HOUR, TAKEN_HOURS = 0.05, 20.0
"""Of Spot machines; it differs by size, region and hour of the day. So many hours of our own weigh as much as this guess."""
GUESSES = {"T4": 3e7, "A10": 6e7, "V100": 6e7, "A100": 1e8, "H100": 1.3e8, "": 1.5e6}
"""Pixels a second of one GPU (or a small processor), decoding and encoding included; right within a factor of two."""
KEPT_MINUTES = 5.0
"""That an idle machine of a named pool is kept at least: Batch looks no more often."""
LENGTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds of the clip in a chunk that are compared."""
AS_QUICK = 1.05
"""Lengths that take no longer than this, of the shortest time, are as good; the cheapest of them is chosen."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one GPU paints this clip."""

    seconds_a_frame: float
    basis: str
    within: float = MEASURED_WITHIN
    """It is right within this factor, nine times of ten."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What machines of a size are known to do."""

    boot_seconds: float
    taken_per_hour: float
    basis: str


def wait_of(life: Life | None) -> Wait:
    """As it was in earlier runs, else the usual."""
    if life is None or not life.starts:
        return Wait(BOOT_SECONDS, TAKEN_PER_HOUR, f"{BOOT_SECONDS / 60:.0f} min until a machine paints, a guess")
    boot = statistics.median(life.starts)
    taken = (life.taken + TAKEN_PER_HOUR * TAKEN_HOURS) / (life.spot_hours + TAKEN_HOURS)
    return Wait(boot, taken, f"{boot / 60:.1f} min until a machine paints, as in {len(life.starts)} starts")


@dataclass(frozen=True, slots=True)
class Plan:
    size: str
    spot: bool
    nodes: int
    chunks: int
    chunk_frames: int
    seconds: float
    """From the start until all is painted."""
    cost: Decimal
    currency: str
    basis: str

    @property
    def sentence(self) -> str:
        """For a person, on one line."""
        kind = "Spot" if self.spot else "dedicated"
        machines = f"{self.nodes} x {self.size.removeprefix('Standard_')} {kind}"
        chunks = "1 chunk" if self.chunks == 1 else f"{self.chunks} chunks"
        return f"{machines}: {self.seconds / 60:.0f} min, {self.cost:.3f} {self.currency} in {chunks}"


def plan(
    clip: Clip, look: Look, config: Config, measurements: Sequence[Measurement] = (), lives: Mapping[str, Life] | None = None
) -> Plan:
    """What the settings come to, in chunks of the length that is best."""
    settings = config.azure
    if clip.kind is not MediaKind.VIDEO or settings.chunk_seconds:
        parts = cut(clip, settings.chunk_seconds or config.run.chunk_seconds)
        return _planned(clip, look, config, parts, measurements, lives)
    found = [one for _, one in trade_off(clip, look, config, measurements, lives)]
    least = min(one.seconds for one in found)
    # Of those that are as good the shorter chunks: they lose less.
    return min((one for one in found if one.seconds <= AS_QUICK * least), key=lambda one: (one.cost, one.chunk_frames))


def plans(
    clip: Clip,
    look: Look,
    config: Config,
    sizes: Sequence[str],
    measurements: Sequence[Measurement] = (),
    lives: Mapping[str, Life] | None = None,
) -> list[Plan]:
    """Every size, Spot and dedicated, on one machine and on as many as the settings allow; cheapest first."""
    found = []
    for name in sizes:
        for spot in (True, False):
            for nodes in sorted({1, config.azure.nodes}):
                azure = replace(config.azure, vm_size=name, spot=spot, nodes=nodes)
                found.append(plan(clip, look, replace(config, azure=azure), measurements, lives))
    return sorted(dict.fromkeys(found), key=lambda one: (one.cost, one.seconds))


def trade_off(
    clip: Clip,
    look: Look,
    config: Config,
    measurements: Sequence[Measurement] = (),
    lives: Mapping[str, Life] | None = None,
) -> Iterator[tuple[float, Plan]]:
    """The settings with chunks of other lengths (seconds of the clip), for those that differ."""
    if clip.kind is not MediaKind.VIDEO:
        return
    told = set()
    for length in LENGTHS:
        parts = cut(clip, length)
        if len(parts) not in told:
            told.add(len(parts))
            yield length, _planned(clip, look, config, parts, measurements, lives)


def _planned(
    clip: Clip,
    look: Look,
    config: Config,
    parts: Sequence[FrameRange],
    measurements: Iterable[Measurement],
    lives: Mapping[str, Life] | None,
) -> Plan:
    settings = config.azure
    size = size_of(settings.vm_size)
    price = price_of(settings.vm_size, settings.region, spot=settings.spot, cache=places().cache)
    pace, wait = pace_of(clip, look, size, measurements), wait_of((lives or {}).get(size.name.lower()))
    nodes = min(settings.nodes, math.ceil(len(parts) / max(1, size.gpus)))
    return of(clip.frames, max(map(len, parts)), pace, wait, size, price, nodes, spot=settings.spot)


def of(frames: int, chunk_frames: int, pace: Pace, wait: Wait, size: Size, price: Price, nodes: int, *, spot: bool) -> Plan:
    """Time and money for so many frames in chunks of so many on so many machines."""
    slots = nodes * max(1, size.gpus)
    chunks = math.ceil(frames / chunk_frames)
    rounds = math.ceil(chunks / slots)
    taken = wait.taken_per_hour if spot else 0.0
    painting = rounds * expected(START_SECONDS + chunk_frames * pace.seconds_a_frame, taken)
    seconds = wait.boot_seconds + painting
    cost = price.per_hour * Decimal(nodes * (seconds + TAIL_SECONDS)) / 3600
    basis = f"{pace.basis}; {price.basis}; {wait.basis}"
    return Plan(size.name, spot, nodes, chunks, chunk_frames, seconds, cost, price.currency, basis)


def expected(seconds: float, per_hour: float) -> float:
    """How long something of `seconds` takes that starts anew whenever its machine is taken away, so often an hour."""
    rate = per_hour / 3600
    return math.expm1(rate * seconds) / rate if rate else seconds


def pace_of(clip: Clip, look: Look, size: Size, measurements: Iterable[Measurement]) -> Pace:
    """As measured on such a machine, else a guess."""
    scale = look.size / max(clip.width, clip.height) if look.size else 1.0
    width, height = max(1, round(clip.width * scale)), max(1, round(clip.height * scale))
    name = size.name.removeprefix("Standard_")
    found = rate_here(measurements, width=width, height=height, device=f"azure ({name})")
    if found:
        day = time.strftime("%Y-%m-%d", time.localtime(found[1].at))
        return Pace(1 / found[0], f"as measured on {name}, {day}")
    guess = next((rate for model, rate in GUESSES.items() if model and model in size.gpu), GUESSES[""])
    return Pace(width * height / guess, f"a guess for the {size.gpu or 'processor'}, from half to twice", 2.0)


def warmth(settings: AzureDefaults) -> str:
    """What it costs to keep the nodes of a named pool, and what that saves, in a sentence; empty where none are kept."""
    if not settings.pool:
        return ""
    minutes = max(KEPT_MINUTES, settings.keep_warm_minutes)
    price = price_of(settings.vm_size, settings.region, spot=settings.spot, cache=places().cache)
    cost = price.per_hour * Decimal(minutes) / 60
    start = price.per_hour * Decimal(BOOT_SECONDS) / 3600
    return (
        f"Each idle machine of {settings.pool} is kept {minutes:g} min, for {cost:.3f} {price.currency}; "
        f"a clip that comes meanwhile saves {BOOT_SECONDS / 60:.0f} min of starting, {start:.3f} {price.currency} a machine "
        f"({price.basis})."
    )
