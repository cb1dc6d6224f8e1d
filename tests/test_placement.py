"""Placing work: the rules one by one, and thousands of chunks on uneven machines by a simulated clock."""

import heapq
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylizer.placement import Demand, Room, Share, share

MEGAPIXEL = 1e6
GPU = Room("local", "cuda", 8, 1, rate=100 * MEGAPIXEL)
CPU = replace(GPU, kind="cpu", rate=5 * MEGAPIXEL)
CLOUD = Room("azure", "cloud", 100, 8, rate=50 * MEGAPIXEL, delay=300.0)


def demand(job: int = 1, chunks: int = 100, **changes: object) -> Demand:
    return replace(Demand(job, 0, float(job), "auto", chunks, chunks * 240 * MEGAPIXEL), **changes)  # type: ignore[arg-type]


def placed(*demands: Demand, here: Room = GPU, cloud: Room | None = CLOUD, burst: str = "when-late") -> list[Share]:
    rooms = {room.name: room for room in (here, cloud) if room}
    return share(demands, rooms, home="local", cloud="azure" if cloud else "", burst=burst, now=0.0)


def only(shares: list[Share]) -> Share:
    assert len(shares) == 1
    return shares[0]


def test_the_gpu_here_comes_first() -> None:
    part = only(placed(demand()))
    assert (part.backend, part.count, part.why) == ("local", 8, "the GPU here comes first, and there is no deadline")


def test_without_a_gpu_here_it_goes_to_the_cloud_but_the_fit_stays() -> None:
    for kind in ("cpu", "mps"):
        part = only(placed(demand(), here=replace(CPU, kind=kind)))
        assert (part.backend, part.count, part.why) == ("azure", 100, "there is no CUDA GPU here")
        assert not part.from_end
        assert only(placed(demand(is_fit=True, chunks=1), here=replace(CPU, kind=kind))).backend == "local"


@pytest.mark.parametrize(
    ("changes", "cloud", "burst", "why"),
    [
        ({}, None, "when-late", "there is no other place"),
        ({}, CLOUD, "never", "burst is never"),
        ({"broke": "its limit of 5.00 USD is spent"}, CLOUD, "always", "its limit of 5.00 USD is spent"),
        ({}, replace(CLOUD, trouble="it does not answer"), "always", "azure is unwell: it does not answer"),
    ],
)
def test_nothing_is_rented_when_it_may_not_be(changes: dict[str, str], cloud: Room | None, burst: str, why: str) -> None:
    part = only(placed(demand(**changes), here=CPU, cloud=cloud, burst=burst))
    assert (part.backend, part.why) == ("local", why)


def test_what_would_be_late_is_rented_from_the_end_of_the_clip() -> None:
    # 100 chunks of 2.4 s: 240 s here. 200 s are allowed, so 40 s of work is rented: 17 chunks.
    rented, here = placed(demand(deadline=200.0), cloud=replace(CLOUD, delay=60.0))
    assert (rented.backend, rented.count, rented.from_end) == ("azure", 17, True)
    assert "would miss the deadline by 40 s" in rented.why
    assert (here.backend, here.count) == ("local", 8)


def test_a_deadline_that_is_made_costs_nothing() -> None:
    assert only(placed(demand(deadline=241.0))).why == "the GPU here makes the deadline"


def test_what_comes_first_in_the_queue_makes_the_next_one_late() -> None:
    parts = placed(demand(1), demand(2, deadline=400.0))
    assert [(part.job, part.backend, part.count) for part in parts] == [(1, "local", 8), (2, "azure", 34), (2, "local", 0)]


def test_machines_that_would_start_too_late_are_not_rented() -> None:
    part = only(placed(demand(deadline=200.0), cloud=replace(CLOUD, delay=500.0)))
    assert part.backend == "local" and "would not start before that" in part.why


def test_always_lets_both_end_together() -> None:
    rented, here = placed(demand(chunks=1000), burst="always")
    # Here 100, there 400 megapixels a second, which begin 300 s later.
    end = (1000 * 240 + 400 * 300) / 500
    assert rented.count == 100 and here.count == 8
    roomy = placed(demand(chunks=1000), burst="always", cloud=replace(CLOUD, free=10_000))[0]
    assert roomy.count == int(400 * (end - 300) / 240)


def test_a_named_backend_is_the_one_that_is_used() -> None:
    assert only(placed(demand(backend="azure"))).backend == "azure"
    assert only(placed(demand(backend="local"), here=CPU)).backend == "local"


demands = st.lists(
    st.builds(
        Demand,
        job=st.integers(1, 6),
        priority=st.integers(-1, 1),
        position=st.floats(-5, 5),
        backend=st.sampled_from(["auto", "", "local", "azure"]),
        chunks=st.integers(1, 50),
        pixels=st.floats(1, 1e12),
        is_fit=st.booleans(),
        deadline=st.none() | st.floats(0, 1e5),
        broke=st.sampled_from(["", "spent"]),
    ),
    max_size=6,
    unique_by=lambda d: d.job,
)
rooms = st.builds(
    Room,
    name=st.just("local"),
    kind=st.sampled_from(["cuda", "mps", "cpu"]),
    free=st.integers(0, 20),
    slots=st.integers(1, 4),
    rate=st.floats(0, 1e9),
    backlog=st.floats(0, 1e12),
    trouble=st.sampled_from(["", "unwell"]),
)


@given(demands, rooms, st.integers(0, 50), st.sampled_from(["never", "when-late", "always"]))
def test_never_more_than_there_is_nor_than_is_free(wanted: list[Demand], here: Room, free: int, burst: str) -> None:
    shares = placed(*wanted, here=here, cloud=replace(CLOUD, free=free), burst=burst)
    by_job = {one.job: one for one in wanted}
    for job, one in by_job.items():
        assert sum(part.count for part in shares if part.job == job) <= one.chunks
    given_here = sum(part.count for part in shares if part.backend == "local")
    assert given_here <= (0 if here.trouble else here.free)
    assert sum(part.count for part in shares if part.backend == "azure") <= free
    for part in shares:
        one = by_job[part.job]
        if one.broke and one.backend in ("auto", ""):
            assert part.backend == "local"


@given(demands, st.integers(0, 20))
def test_nobody_is_passed_over_for_someone_behind(wanted: list[Demand], free: int) -> None:
    shares = placed(*wanted, here=replace(GPU, free=free), cloud=None)
    bound = [one for one in wanted if one.backend != "azure"]
    order = sorted(bound, key=lambda d: (-d.priority, d.position, d.job))
    counts = {part.job: part.count for part in shares}
    starved = False
    for one in order:
        assert not (starved and counts.get(one.job, 0))
        starved = starved or counts.get(one.job, 0) < one.chunks


class Machines:
    """Uneven machines that pull chunks from the backend they belong to, by a clock of their own."""

    def __init__(self, paces: dict[str, list[float]], boot: float, ahead: int) -> None:
        self.paces, self.boot, self.ahead = paces, boot, ahead
        self.queues: dict[str, list[tuple[int, float]]] = {name: [] for name in paces}
        self.busy: list[tuple[float, str, int, int]] = []
        self.idle = {name: list(range(len(paces))) for name, paces in paces.items()}
        self.rented_at: float | None = None
        self.rented_seconds = 0.0
        self.painted: list[int] = []
        self.last_end: dict[tuple[str, int], float] = {}

    def room(self, name: str, kind: str, chunk: float) -> Room:
        rates = self.paces[name]
        under_way = len(self.queues[name]) + sum(one[1] == name for one in self.busy)
        free = max(0, (self.ahead if kind != "cloud" else 1) * len(rates) + len(rates) - under_way)
        delay = self.boot if kind == "cloud" and self.rented_at is None else 0.0
        return Room(name, kind, free, len(rates), sum(rates) / len(rates), under_way * chunk, delay)

    def pull(self, now: float) -> None:
        for name, queue in self.queues.items():
            if name == "azure" and queue and self.rented_at is None:
                self.rented_at = now
            if name == "azure" and (self.rented_at is None or now < self.rented_at + self.boot):
                continue
            while queue and self.idle[name]:
                machine = self.idle[name].pop()
                index, work = queue.pop(0)
                seconds = work / self.paces[name][machine]
                self.rented_seconds += seconds if name == "azure" else 0.0
                heapq.heappush(self.busy, (now + seconds, name, machine, index))

    def until(self, now: float) -> None:
        while self.busy and self.busy[0][0] <= now:
            at, name, machine, index = heapq.heappop(self.busy)
            self.idle[name].append(machine)
            self.painted.append(index)
            self.last_end[name, machine] = at
            self.pull(at)


def simulate(machines: Machines, chunks: int, *, burst: str, deadline: float | None, kind: str = "cuda") -> float:
    """Paint so many chunks of 240 megapixels and return when the last one was done."""
    work = 240 * MEGAPIXEL
    ready, now = list(range(chunks)), 0.0
    while len(machines.painted) < chunks:
        rooms = {name: machines.room(name, kind if name == "local" else "cloud", work) for name in machines.paces}
        wanted = [Demand(1, 0, 1.0, "auto", len(ready), len(ready) * work, deadline=deadline)] if ready else []
        for part in share(wanted, rooms, home="local", cloud="azure", burst=burst, now=now):
            taken = ready[-part.count :] if part.from_end else ready[: part.count]
            for index in taken if part.count else ():
                ready.remove(index)
                machines.queues[part.backend].append((index, work))
        machines.pull(now)
        now += 5.0
        machines.until(now)
    assert sorted(machines.painted) == list(range(chunks))
    return max(machines.last_end.values())


CHUNKS = 10_000
HERE = [100 * MEGAPIXEL, 100 * MEGAPIXEL, 10 * MEGAPIXEL]
"""Two good cards and an old one: 1,000 chunks take 1,143 s."""


def test_a_slow_card_holds_up_nobody_in_ten_thousand_chunks() -> None:
    machines = Machines({"local": HERE, "azure": [50 * MEGAPIXEL] * 20}, boot=300.0, ahead=4)
    end = simulate(machines, CHUNKS, burst="never", deadline=None)
    ideal = CHUNKS * 240 / 210
    assert end < ideal * 1.005 + 24 and machines.rented_seconds == 0


def test_always_is_as_quick_as_all_machines_together() -> None:
    machines = Machines({"local": HERE, "azure": [50 * MEGAPIXEL] * 20}, boot=300.0, ahead=4)
    end = simulate(machines, CHUNKS, burst="always", deadline=None)
    ideal = (CHUNKS * 240 + 300 * 1000) / 1210
    assert end < ideal * 1.03 + 24


def test_when_late_makes_the_deadline_and_rents_no_more_than_it_must() -> None:
    machines = Machines({"local": HERE, "azure": [50 * MEGAPIXEL] * 20}, boot=300.0, ahead=4)
    deadline = 8000.0
    end = simulate(machines, CHUNKS, burst="when-late", deadline=deadline)
    must = (CHUNKS * 240 - deadline * 210) / 50
    assert end < deadline * 1.005 + 24
    assert must <= machines.rented_seconds < must * 1.1


def test_without_a_gpu_all_of_it_is_rented() -> None:
    machines = Machines({"local": [5 * MEGAPIXEL], "azure": [50 * MEGAPIXEL] * 20}, boot=300.0, ahead=4)
    end = simulate(machines, 1000, burst="when-late", deadline=None, kind="cpu")
    assert machines.rented_seconds == pytest.approx(1000 * 240 / 50)
    assert end < 300 + 1000 * 240 / 1000 * 1.1


@pytest.mark.parametrize(
    ("here", "there", "steps", "where", "said"),
    [
        (0.35, 0.03, 180, "local", "63 s here, against 5 min on azure, 5 min of it until a machine has started"),
        (3.0, 0.03, 1000, "azure", "50 min here, against 6 min on azure"),
        (0.35, 0.03, 0, "local", "0 s here"),
    ],
)
def test_a_fit_for_the_cloud_is_made_where_it_is_done_sooner(
    here: float, there: float, steps: int, where: str, said: str
) -> None:
    fit = demand(backend="azure", chunks=1, is_fit=True, steps=steps)
    part = only(placed(fit, here=replace(CPU, step_seconds=here), cloud=replace(CLOUD, step_seconds=there)))
    assert part.backend == where and said in part.why and "sooner" in part.why


def test_machines_that_stand_by_win_the_fit() -> None:
    fit = demand(backend="azure", chunks=1, is_fit=True, steps=180)
    cloud = replace(CLOUD, step_seconds=0.03, delay=0.0)
    assert only(placed(fit, here=replace(CPU, step_seconds=0.35), cloud=cloud)).backend == "azure"
    # A job that names a device, or whose fit failed here, is not for us to place.
    assert only(placed(replace(fit, steps=None), here=CPU, cloud=CLOUD)).why == "as asked for"
    busy = replace(CPU, step_seconds=0.01, backlog=5000 * MEGAPIXEL)
    assert only(placed(fit, here=busy, cloud=cloud)).backend == "azure"
