"""How long a clip takes on rented machines and what it costs, and how long its chunks had best be. Arithmetic: the prices
are those that were fetched last.

A machine costs from its allocation on: it boots, prepares itself, then paints chunk after chunk. Each chunk costs a start
(Python, torch, transfers), so that few long ones waste less; a Spot machine may be taken away at any moment, and what it
was at starts anew, so that many short ones lose less; and the last round is rarely full.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from backends.azure.prices import Price, Size, price_of, size_of
from stylizer.config import AzureDefaults, Config, places
from stylizer.estimate import Measurement, rate_here
from stylizer.jobs import Clip, FrameRange, Look, MediaKind
from stylizer.plan import cut

BOOT_SECONDS = 420.0
"""From the asking for a machine until it takes a task: allocation, boot, installing the worker; 3 to 10 minutes."""
START_SECONDS = 12.0
"""Of each chunk: Python and torch start, its files come and go."""
TAIL_SECONDS = 60.0
"""From the last chunk until the machines are gone."""
TAKEN_PER_HOUR = 0.05
"""Of Spot machines; it differs by size, region and hour of the day."""
GUESSES = {"T4": 3e7, "A10": 6e7, "V100": 6e7, "A100": 1e8, "H100": 1.3e8, "": 1.5e6}
"""Pixels a second of one GPU (or a small processor), decoding and encoding included; right within a factor of two."""
KEPT_MINUTES = 5.0
"""That an idle machine of a named pool is kept at least: Batch looks no more often."""
LENGTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds of the clip in a chunk that are compared."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one GPU paints this clip."""

    seconds_a_frame: float
    basis: str


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
        return f"{machines}: {self.seconds / 60:.0f} min, {self.cost:.2f} {self.currency} in {chunks}"


def plan(clip: Clip, look: Look, config: Config, measurements: Iterable[Measurement] = ()) -> Plan:
    """What the settings come to."""
    settings = config.azure
    lengths = [len(part) for part in cut(clip, config.run.chunk_seconds)]
    size = size_of(settings.vm_size)
    price = price_of(settings.vm_size, settings.region, spot=settings.spot, cache=places().cache)
    pace = pace_of(clip, look, size, measurements)
    return of(clip.frames, max(lengths), pace, size, price, min(settings.nodes, len(lengths)), spot=settings.spot)


def plans(
    clip: Clip, look: Look, config: Config, sizes: Sequence[str], measurements: Sequence[Measurement] = ()
) -> list[Plan]:
    """Every size, Spot and dedicated, on one machine and on as many as the settings allow; cheapest first."""
    lengths = [len(part) for part in cut(clip, config.run.chunk_seconds)]
    found = []
    for name in sizes:
        size = size_of(name)
        for spot in (True, False):
            price = price_of(name, config.azure.region, spot=spot, cache=places().cache)
            for nodes in sorted({1, min(config.azure.nodes, len(lengths))}):
                pace = pace_of(clip, look, size, measurements)
                found.append(of(clip.frames, max(lengths), pace, size, price, nodes, spot=spot))
    return sorted(found, key=lambda one: (one.cost, one.seconds))


def of(frames: int, chunk_frames: int, pace: Pace, size: Size, price: Price, nodes: int, *, spot: bool) -> Plan:
    """Time and money for so many frames in chunks of so many on so many machines."""
    slots = nodes * max(1, size.gpus)
    chunks = math.ceil(frames / chunk_frames)
    rounds = math.ceil(chunks / slots)
    painting = rounds * expected(START_SECONDS + chunk_frames * pace.seconds_a_frame, TAKEN_PER_HOUR if spot else 0.0)
    seconds = BOOT_SECONDS + painting
    cost = price.per_hour * Decimal(nodes * (seconds + TAIL_SECONDS)) / 3600
    basis = f"{pace.basis}; {price.basis}; {BOOT_SECONDS / 60:.0f} min until a machine paints"
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
        return Pace(1 / found[0], f"as measured on {name}")
    guess = next((rate for model, rate in GUESSES.items() if model and model in size.gpu), GUESSES[""])
    return Pace(width * height / guess, f"a guess for a {size.gpu or 'processor'}, from half to twice")


def trade_off(
    clip: Clip, look: Look, config: Config, measurements: Sequence[Measurement] = ()
) -> Iterator[tuple[float, Plan]]:
    """The settings with chunks of other lengths (seconds of the clip), for those that differ."""
    if clip.kind is not MediaKind.VIDEO:
        return
    settings = config.azure
    size, told = size_of(settings.vm_size), set()
    price = price_of(settings.vm_size, settings.region, spot=settings.spot, cache=places().cache)
    pace = pace_of(clip, look, size, measurements)
    for length in sorted({*LENGTHS, config.run.chunk_seconds}):
        parts: list[FrameRange] = cut(clip, length)
        if len(parts) not in told:
            told.add(len(parts))
            nodes = min(settings.nodes, len(parts))
            yield length, of(clip.frames, max(map(len, parts)), pace, size, price, nodes, spot=settings.spot)


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
