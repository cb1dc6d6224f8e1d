"""The ways that there are to have a clip painted, here and on rented machines, each simulated; and which one suits best.

What machines are like is the word of measurements and of the backend's planner; who paints what is placement's. The
planner's arithmetic sorts out what is hopeless, the simulator says of the rest when it is ready and what it costs.
"""

# ruff: noqa: PLC0415 - Azure's parts wait until they are needed

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from stylizer import placement
from stylizer.config import Config, places
from stylizer.estimate import FIT_STEPS, MEASURED_WITHIN, Measurement, rate_here
from stylizer.give import STEPS
from stylizer.jobs import Clip, Look
from stylizer.placement import Demand, Room
from stylizer.plan import cut, cut_to
from stylizer.simulate import Forecast, Machines, Part, Work, forecast

if TYPE_CHECKING:
    from backends.azure.meter import Life
    from backends.azure.planner import Plan

HERE, THERE = "local", "azure"
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Of rented machines, that are compared."""
NEAR = 1.07
"""What by the planner's arithmetic is so much dearer and slower than another way is not simulated."""
MOST_TRIALS, FEWEST_TRIALS, CHUNKS_TRIED = 60, 20, 10_000
"""Courses that are simulated of each way: as many as have so many chunks together."""
JOINED_A_SECOND = 1500.0
"""Frames of the join, read and written; docs/growth.md has the measurement."""
HELPS = 0.1
"""This machine is worth a way of its own beside rented ones if it paints that share of the clip."""
QUICKER = 0.95
"""A dearer way is worth it if it takes no more than that share of the time."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to have a clip painted, and what it comes to."""

    backend: str
    """local, azure, or auto for both."""
    machines: str
    options: tuple[str, ...]
    """Of `stylizer run`, so that it is done that way."""
    chunks: int
    chunk_frames: int
    told: Forecast
    slots: int
    """Chunks that are painted at once."""
    currency: str
    basis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and all that the answer rests on."""

    clip: Clip
    look: Look
    config: Config
    known: Sequence[Measurement]
    lives: Mapping[str, Life]
    """What machines of each size (in lower case) went through in earlier runs."""
    most: int
    """Machines that may be rented."""
    deadline: float | None = None
    """Seconds from now."""

    @property
    def pixels(self) -> float:
        """Of a frame as it is painted."""
        scale = self.look.size / max(self.clip.width, self.clip.height) if self.look.size else 1.0
        return self.clip.width * self.clip.height * scale * scale

    def ways(self) -> Iterator[Way]:
        """On this machine if it is measured; on rented ones, as many of each size as may be worth it; on both."""
        here, basis = self._here()
        if here:
            yield self._alone(here, basis)
        for one in _near([*self._rented()]):
            yield self.there(one, here)
            if here and (way := self._both(one, here, basis)):
                yield way

    # ---- here ----

    def _here(self) -> tuple[tuple[Machines, ...], str]:
        """The devices here that paint, of the best kind that has been measured, and what that rests on."""
        for kind in ("cuda", "mps", "cpu"):
            devices = dict.fromkeys(m.device for m in self.known if m.device.startswith(kind))
            side = round(self.pixels**0.5)
            rates = {
                name: found for name in devices if (found := rate_here(self.known, width=side, height=side, device=name))
            }
            if rates:
                day = time.strftime("%Y-%m-%d", time.localtime(max(measured.at for _, measured in rates.values())))
                machines = tuple(Machines(name, 1, 1 / rate, within=MEASURED_WITHIN) for name, (rate, _) in rates.items())
                return machines, f"{', '.join(rates)} as measured on {day}"
        return (), ""

    def _kind(self, here: Sequence[Machines]) -> str:
        return here[0].name.split(" ")[0].partition(":")[0] if here else "cpu"

    def _step(self, device: str) -> float:
        """Seconds of a step of a fit on such a device: as measured, else as is usual."""
        return self._measured_step(device) or STEPS.get("cloud" if device == THERE else device, STEPS["cpu"])

    def _measured_step(self, device: str) -> float:
        known = (m.fit_seconds_per_step for m in self.known if m.device.startswith(device) and m.fit_seconds_per_step > 0)
        return next(known, 0.0)

    def _fit_words(self, device: str) -> str:
        seconds = FIT_STEPS[self.look.quality] * self._step(device)
        where, guess = "there" if device == THERE else "here", "" if self._measured_step(device) else ", a guess"
        return f"the look fitted {where} in {seconds:.0f} s{guess}" if seconds else ""

    def _alone(self, here: tuple[Machines, ...], basis: str) -> Way:
        fit = FIT_STEPS[self.look.quality] * self._step(self._kind(here))
        parts = cut(self.clip, self.config.run.chunk_seconds)
        work = Work((Part(tuple(map(len, parts)), here),), fit, join_seconds=self._join())
        return self._way(HERE, "this machine", ("--backend", HERE), work, "", (basis, self._fit_words(self._kind(here))))

    def _join(self) -> float:
        return self.clip.frames / JOINED_A_SECOND

    # ---- rented ----

    def _rented(self) -> Iterator[Plan]:
        """The planner's word on each size, Spot and dedicated, on so many machines."""
        from backends.azure.planner import plan
        from backends.azure.prices import price_of, sizes

        azure, cache = self.config.azure, places().cache
        counts = [*(count for count in COUNTS if count < self.most), self.most]
        for name in dict.fromkeys([one.name for one in sizes() if one.gpus and not one.warning]):
            costs = {spot: price_of(name, azure.region, spot=spot, cache=cache).per_hour for spot in (True, False)}
            # A Spot machine whose price is not known is no cheaper, as far as we know.
            for spot in (True, False) if costs[True] < costs[False] else (False,):
                told = set()
                for count in counts:
                    settings = replace(azure, vm_size=name, spot=spot, nodes=count)
                    one = plan(self.clip, self.look, replace(self.config, azure=settings), self.known, self.lives)
                    if one.nodes not in told:
                        told.add(one.nodes)
                        yield one

    def _machines(self, one: Plan) -> Machines:
        """Rented machines as the planner knows them."""
        from backends.azure import planner
        from backends.azure.prices import price_of, size_of

        size, life = size_of(one.size), self.lives.get(one.size.lower())
        pace, wait = planner.pace_of(self.clip, self.look, size, self.known), planner.wait_of(life)
        price = price_of(one.size, self.config.azure.region, spot=one.spot, cache=places().cache)
        return Machines(
            one.size,
            one.nodes,
            pace.seconds_a_frame,
            max(1, size.gpus),
            pace.within,
            planner.START_SECONDS,
            boots=tuple(life.starts) if life and life.starts else planner.BOOTS,
            taken_per_hour=wait.taken_per_hour if one.spot else 0.0,
            away_seconds=planner.AWAY_SECONDS,
            kept_seconds=60 * planner.KEPT_MINUTES,
            leave_seconds=planner.TAIL_SECONDS,
            per_hour=float(price.per_hour),
        )

    def there(self, one: Plan, here: Sequence[Machines]) -> Way:
        """On rented machines alone; the look is fitted where it is done sooner."""
        rented = self._machines(one)
        steps = FIT_STEPS[self.look.quality]
        mine = Room(HERE, self._kind(here), 1, 1, step_seconds=self._step(self._kind(here)))
        theirs = Room(
            THERE, "cloud", 1, 1, delay=sorted(rented.boots)[len(rented.boots) // 2], step_seconds=self._step(THERE)
        )
        place, _ = placement.fit_place(mine, theirs, steps)
        fit = steps * (mine if place == HERE else theirs).step_seconds
        chunks = tuple(map(len, cut_to(self.clip, one.chunk_frames)))
        work = Work((Part(chunks, (rented,)),), fit, fits_there=place == THERE, join_seconds=self._join())
        why = (*_basis(one, rented), self._fit_words(THERE if place == THERE else self._kind(here)))
        return self._way(THERE, _words(one), _options(one), work, one.currency, why)

    def _both(self, one: Plan, here: tuple[Machines, ...], basis: str) -> Way | None:
        """On this machine and rented ones, shared out as the runner does; None where one of the two has next to nothing."""
        rented, parts = self._machines(one), tuple(map(len, cut(self.clip, self.config.run.chunk_seconds)))
        kind = self._kind(here)
        rate = self.pixels * sum(1 / device.seconds_a_frame for device in here) / len(here)
        plenty = len(parts)
        mine = Room(HERE, kind, plenty, len(here), rate)
        pace = self.pixels / rented.seconds_a_frame
        delay = sorted(rented.boots)[len(rented.boots) // 2]
        theirs = Room(THERE, "cloud", plenty, rented.count * rented.slots, pace, delay=delay)
        fit = FIT_STEPS[self.look.quality] * self._step(kind)
        burst = "when-late" if kind == "cuda" and self.deadline else "always"
        # Earlier than asked for, by as much as a measured pace may be wrong.
        aim = self.deadline / MEASURED_WITHIN if self.deadline else 0.0
        due = aim - fit if aim else None
        demand = Demand(1, 0, 0.0, "auto", len(parts), self.pixels * self.clip.frames, deadline=due)
        shares = placement.share([demand], {HERE: mine, THERE: theirs}, home=HERE, cloud=THERE, burst=burst, now=0.0)
        count = sum(share.count for share in shares if share.backend == THERE)
        if not HELPS * len(parts) <= count <= (1 - HELPS) * len(parts):
            return None
        split = len(parts) - count
        work = Work((Part(parts[:split], here), Part(parts[split:], (rented,))), fit, join_seconds=self._join())
        options = ("--burst", burst, *_options(one)[2:])
        if burst == "when-late":
            options = ("--deadline", f"{aim / 3600:.3g}", *options)
        why = (basis, *_basis(one, rented), self._fit_words(kind))
        return self._way("auto", f"this machine and {_words(one)}", options, work, one.currency, why)

    # ---- simulated ----

    def _way(
        self, backend: str, machines: str, options: tuple[str, ...], work: Work, currency: str, basis: tuple[str, ...]
    ) -> Way:
        chunks = [frames for part in work.parts for frames in part.chunks]
        trials = min(MOST_TRIALS, max(FEWEST_TRIALS, CHUNKS_TRIED // len(chunks)))
        told = forecast(work, trials=trials)
        slots = sum(kind.count * kind.slots for part in work.parts for kind in part.machines)
        return Way(backend, machines, options, len(chunks), max(chunks), told, slots, currency, tuple(filter(None, basis)))


def _near(plans: Sequence[Plan]) -> list[Plan]:
    """Those that no other one beats by far in both time and money, cheapest first."""
    by_cost = sorted(plans, key=lambda one: one.cost)
    kept = []
    for one in by_cost:
        cheaper = (other.seconds for other in by_cost if other.cost * Decimal(NEAR) < one.cost)
        if one.seconds < NEAR * min(cheaper, default=float("inf")):
            kept.append(one)
    return kept


def _words(one: Plan) -> str:
    return f"{one.nodes} x {one.size.removeprefix('Standard_')} {'Spot' if one.spot else 'dedicated'}"


def _options(one: Plan) -> tuple[str, ...]:
    spot = "--spot" if one.spot else "--no-spot"
    return ("--backend", THERE, "--vm-size", one.size, "--nodes", str(one.nodes), spot)


def _basis(one: Plan, rented: Machines) -> tuple[str, ...]:
    """What the planner's word rests on, and how often machines are taken to be taken away."""
    taken = f"Spot machines taken away {rented.taken_per_hour:.2g} times an hour" if one.spot else ""
    return (*one.basis.split("; "), taken)


# ---- which one ----


def worth_it(ways: Sequence[Way]) -> list[Way]:
    """Those that no other one beats, in time and money that nine of ten courses keep to; cheapest first."""
    kept: list[Way] = []
    for way in sorted(ways, key=lambda one: (one.told.cost_most, one.told.seconds_most)):
        if way.told.seconds_most < float("inf") and (
            not kept or way.told.seconds_most <= QUICKER * kept[-1].told.seconds_most
        ):
            kept.append(way)
    return kept


def choose(ways: Sequence[Way], deadline: float | None, budget: float | None) -> tuple[Way | None, bool]:
    """Of ways that are worth it, cheapest first: the cheapest that makes the deadline nine times of ten, or else the
    quickest within the budget, and whether there is one. Where there is none, the one that comes nearest; None where
    nothing was asked for.
    """
    if not ways or (deadline is None and budget is None):
        return None, bool(ways)
    affordable = [way for way in ways if budget is None or way.told.cost_most <= budget]
    if not affordable:
        return ways[0], False
    if deadline is None:
        return affordable[-1], True
    timely = [way for way in affordable if way.told.seconds_most <= deadline]
    return (timely[0], True) if timely else (affordable[-1], False)
