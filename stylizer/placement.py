"""Which backend gets which part of a job. Pure arithmetic, no I/O.

Work is counted in pixels (frames times width times height), for that is what painting takes time for. Jobs whose backend
was named get that one, but that a fit for the cloud is made here where it is done sooner. For the others the rules are,
in this order:

    nothing is rented          burst is never, there is no cloud, it is unwell, or the job's money is spent: here
    no CUDA GPU here           in the cloud; the fit stays here, it is done before a rented machine has started
    burst is always            both, so that they end together
    burst is when-late         here; what would miss the deadline here goes to the cloud, from the end of the clip
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """A backend as far as placing goes."""

    name: str
    kind: str
    """cuda, mps or cpu for this machine, cloud for rented ones."""
    free: int
    """Specs that it would take now."""
    slots: int
    """Specs that it carries out at once."""
    rate: float = 0.0
    """Pixels a second of one slot; 0: not known."""
    backlog: float = 0.0
    """Pixels that it has been given and has not painted."""
    delay: float = 0.0
    """Seconds until it begins with what it is given: rented machines start first."""
    step_seconds: float = 0.0
    """Of one step of a fit."""
    trouble: str = ""
    """Why it takes nothing now."""

    @property
    def pace(self) -> float:
        """Pixels a second of all slots."""
        return self.rate * self.slots


@dataclass(frozen=True, slots=True)
class Demand:
    """What of a job could be given away now: its fit, or its chunks that are READY."""

    job: int
    priority: int
    position: float
    backend: str
    """As asked for; auto or empty leaves it to us."""
    chunks: int
    pixels: float
    """Of all these chunks."""
    is_fit: bool = False
    steps: int | None = None
    """Of a fit; None where it may be made nowhere but where the job is bound to."""
    deadline: float | None = None
    """When the job should be done (Unix time)."""
    broke: str = ""
    """Why nothing may be rented for it any more."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many READY chunks of a job (or its fit) for a backend."""

    job: int
    backend: str
    count: int
    """0 where the backend has no room just now."""
    from_end: bool = False
    """The last ones of the clip, not the first."""
    why: str = ""
    """For a person, after "painted on …: "."""


def share(
    demands: Sequence[Demand], rooms: Mapping[str, Room], *, home: str, cloud: str, burst: str, now: float
) -> list[Share]:
    """What to give to whom now, never more than a backend has free.

    `home` and `cloud` name the two rooms for jobs that leave it to us; `cloud` may be empty. Jobs of a higher priority
    go first, then those that are earlier in the queue: a clip that is done is worth more than two that are half done.
    """
    free = {name: 0 if room.trouble else room.free for name, room in rooms.items()}
    ahead = {name: room.backlog for name, room in rooms.items()}
    given = []
    for demand in sorted(demands, key=lambda d: (-d.priority, d.position, d.job)):
        for part in _parts(demand, rooms, ahead, home, cloud, burst, now):
            count = min(part.count, free.get(part.backend, 0))
            if part.backend in free:
                free[part.backend] -= count
                ahead[part.backend] += part.count * demand.pixels / max(1, demand.chunks)
            given.append(Share(demand.job, part.backend, count, part.from_end, part.why))
    return given


def _parts(
    demand: Demand,
    rooms: Mapping[str, Room],
    ahead: Mapping[str, float],
    home: str,
    cloud: str,
    burst: str,
    now: float,
) -> Iterator[Share]:
    """Who would get how much of a job if there were room for all of it; `ahead` is what comes before it, in pixels."""
    if demand.is_fit and demand.steps is not None and demand.backend == cloud and not rooms[home].trouble:
        where, why = fit_place(rooms[home], rooms[cloud], demand.steps)
        yield Share(demand.job, where, demand.chunks, why=why)
        return
    if demand.backend not in ("", "auto"):
        yield Share(demand.job, demand.backend, demand.chunks, why="as asked for")
        return
    here = rooms[home]
    reason = _why_not_rented(demand, rooms.get(cloud), burst)
    if reason or demand.is_fit:
        yield Share(demand.job, home, demand.chunks, why=reason or "the fit is quicker than a rented machine starts")
        return
    there = rooms[cloud]
    count, why = _to_rent(demand, here, there, ahead, burst, now)
    if count:
        yield Share(demand.job, cloud, count, from_end=count < demand.chunks, why=why)
    if count < demand.chunks:
        yield Share(demand.job, home, demand.chunks - count, why="" if count else why)


def fit_place(here: Room, there: Room, steps: int) -> tuple[str, str]:
    """Where a fit of so many steps is done sooner, and why, as a sentence."""
    waiting = here.backlog / here.pace if here.pace else 0.0
    painting = there.backlog / there.pace if there.pace else 0.0
    in_here, in_there = waiting + steps * here.step_seconds, there.delay + painting + steps * there.step_seconds
    why = f"{_time(in_here)} here, against {_time(in_there)} on {there.name}"
    if there.delay:
        why += f", {_time(there.delay)} of it until a machine has started"
    if in_here <= in_there:
        return here.name, f"The look is fitted here, which is sooner: {why}."
    return there.name, f"The look is fitted on {there.name}, which is sooner: {why}."


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _why_not_rented(demand: Demand, there: Room | None, burst: str) -> str:
    if there is None:
        return "there is no other place"
    if burst == "never":
        return "burst is never"
    if demand.broke:
        return demand.broke
    if there.trouble:
        return f"{there.name} is unwell: {there.trouble}"
    return ""


def _to_rent(demand: Demand, here: Room, there: Room, ahead: Mapping[str, float], burst: str, now: float) -> tuple[int, str]:
    """How many of the job's chunks are better rented for, and why."""
    chunk = demand.pixels / max(1, demand.chunks)
    if here.trouble:
        return demand.chunks, f"{here.name} is unwell: {here.trouble}"
    if burst == "always":
        # Unmeasured machines are taken to be as fast as this one.
        pace = there.pace or here.rate * there.slots
        if not here.pace:
            return demand.chunks // 2, "burst is always; nothing is measured yet, so that each gets half"
        # Both end at the same time T: here does pace·T, there pace·(T - delay).
        work = demand.pixels + ahead[here.name] + ahead[there.name]
        end = (work + pace * there.delay) / (here.pace + pace)
        rented = pace * (end - there.delay) - ahead[there.name]
        return min(demand.chunks, max(0, math.floor(rented / chunk))), "burst is always, so that both end together"
    if here.kind != "cuda":
        return demand.chunks, "there is no CUDA GPU here"
    if demand.deadline is None:
        return 0, "the GPU here comes first, and there is no deadline"
    if not here.pace:
        return 0, "the GPU here comes first; how fast it is will show"
    end = now + (ahead[here.name] + demand.pixels) / here.pace
    late = end - demand.deadline
    if late <= 0:
        return 0, "the GPU here makes the deadline"
    begins = there.delay + (ahead[there.name] / there.pace if there.pace else 0.0)
    if now + begins >= end:
        return 0, f"the deadline is missed by {_time(late)}, and rented machines would not start before that"
    count = min(demand.chunks, math.ceil(late * here.pace / chunk))
    return count, f"the GPU here would miss the deadline by {_time(late)}"
