"""How start-up, status and a runner's turn grow with jobs and chunks, and with files that land at once:
python -m tests.torture.scale
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from PIL import Image

from backends.fake import FakeBackend
from stylizer import console, screen, views
from stylizer.config import Config
from stylizer.inbox.sidecar import asked_by
from stylizer.jobs import Encoding, FrameRange
from stylizer.ledger import Arrival
from stylizer.runner import TICK, Runner
from stylizer.source import check_unchanged
from stylizer.store import Store
from stylizer.watch_verbs import open_intake
from tests.jobs_for_tests import clip, look, media, places

SIZES = ((50, 200), (500, 2_000), (5_000, 20_000))
"""Jobs, and chunks in the store."""
CUT = 5
"""Jobs that have the chunks; the others wait."""
DROPS = (200, 1_000, 5_000)
"""Pictures that land at once."""


@dataclass(frozen=True, slots=True)
class Figures:
    jobs: int
    chunks: int
    start: float
    """Seconds until the runner's first turn is over."""
    status: float
    """Seconds of the newest of several looks at all jobs."""
    turn: float
    """Seconds of a turn, the median of several hundred while chunks are given, painted and taken in."""
    late_turn: float
    """The 95th percentile."""
    last_turn: float
    """The 99th."""
    whole_status: float
    """Seconds of a look at all jobs down to the last, as for JSON."""
    growth: int
    """Bytes that the process has grown by in the second half of these turns."""


def measure(root: Path, jobs: int, chunks: int, turns: int = 400) -> Figures:
    """A store with so many jobs and chunks, and a runner at work on it."""
    fill(root, jobs, chunks)
    with Store(root / "jobs.db") as store:
        status = _quickest(lambda: screen.status(views.status(store, screen.MOST_SHOWN)))
        whole = _quickest(lambda: json.dumps(console.status_values(views.status(store))))
        backend = FakeBackend(slots=4, speed=600.0)
        runner = Runner(store, Config(), places(root), media=media(root), backends=lambda _: backend, sleep=lambda _: None)
        taken = list(_turns(runner, turns))
    late = sorted(seconds for seconds, _ in taken[1:])
    half = taken[len(taken) // 2][1]
    return Figures(
        jobs,
        chunks,
        taken[0][0],
        status,
        statistics.median(late),
        late[int(len(late) * 0.95)],
        late[int(len(late) * 0.99)],
        whole,
        max(0, taken[-1][1] - half),
    )


def _quickest(act: Callable[[], object]) -> float:
    """Seconds of the quickest of three times."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return min(found)


@dataclass(frozen=True, slots=True)
class Taking:
    files: int
    seconds: float
    """Until all of them are taken."""
    turns: tuple[tuple[float, float], ...]
    """Of each turn: seconds by the clock, and of the processor in its own thread."""

    def late(self, share: float) -> tuple[float, float]:
        """What that share of the turns does not exceed."""
        at = int(len(self.turns) * share)
        return sorted(turn[0] for turn in self.turns)[at], sorted(turn[1] for turn in self.turns)[at]


def take(root: Path, files: int) -> Taking:
    """So many pictures land at once in the inbox of a runner at work: looked at by real processes, given to nobody real."""
    inbox = root / "inbox"
    inbox.mkdir()
    Image.new("RGB", (64, 64), "teal").save(inbox / "style.png")
    for number in range(files):
        Image.new("RGB", (16, 16), (number % 256, number // 256, 9)).save(inbox / f"picture {number:05}.png")
    plain, here = Config(), places(root)
    config = replace(plain, watch=replace(plain.watch, quiet_seconds=0.5))
    turns: list[tuple[float, float]] = []
    with Store(here.store) as store:
        name, intake = open_intake(store, config, here, str(inbox), str(root / "out"), asked_by(config))
        backend = FakeBackend(slots=4, speed=100.0)
        last = began = time.perf_counter(), time.thread_time()

        def each() -> None:
            nonlocal last
            now = time.perf_counter(), time.thread_time()
            turns.append((now[0] - last[0], now[1] - last[1]))
            if len(turns) % 50 == 0 and len(store.found(name, (Arrival.TAKEN,))) == files:
                runner.stop()
            # What the runner sleeps between two turns is none of the turn.
            time.sleep(TICK)
            last = time.perf_counter(), time.thread_time()

        work = replace(media(root), check=check_unchanged, size=lambda job: (16, 16))
        runner = Runner(
            store,
            config,
            here,
            media=work,
            backends=lambda _: backend,
            adopt=intake.turn,
            sleep=lambda _: None,
        )
        try:
            runner.run(stay=True, each=each)
        finally:
            intake.close()
    return Taking(files, last[0] - began[0], tuple(turns))


def _turns(runner: Runner, count: int) -> Iterator[tuple[float, int]]:
    """Seconds of each turn, and the process's memory after it."""
    found = []
    process, last = psutil.Process(), time.perf_counter()

    def each() -> None:
        nonlocal last
        found.append((time.perf_counter() - last, process.memory_info().rss))
        if len(found) >= count:
            runner.stop()
        last = time.perf_counter()

    runner.run(stay=True, each=each)
    yield from found


def fill(root: Path, jobs: int, chunks: int) -> None:
    """A store of jobs of which the first CUT have all the chunks."""
    base, given = clip(root, frames=24 * chunks // CUT), look(root)
    with Store(root / "jobs.db") as store, store.transaction():
        for number in range(jobs):
            path = root / f"clip {number:05}.mp4"
            path.write_bytes(base.path.read_bytes())
            target = root / f"out {number:05}.mp4"
            one = replace(base, path=path)
            job = store.add(f"key {number}", one, given, Encoding(), target, backend="auto", device="auto", precision="auto")
            if number < CUT:
                store.cut(job.id, [FrameRange(24 * n, 24 * n + 24) for n in range(chunks // CUT)])


def main() -> None:
    names = ("start", "status", "as JSON", "turn", "95 %", "99 %", "growth")
    print(f"{'jobs':>6} {'chunks':>7} {' '.join(f'{name:>9}' for name in names)}")
    for jobs, chunks in SIZES:
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            found = measure(Path(folder), jobs, chunks)
        times = (found.start, found.status, found.whole_status, found.turn, found.late_turn, found.last_turn)
        words = " ".join(f"{seconds * 1000:>6.1f} ms" for seconds in times)
        print(f"{found.jobs:>6} {found.chunks:>7} {words} {found.growth / 1e6:>6.1f} MB", flush=True)
    print(f"\n{'files':>6} {'taken in':>9} {'turns':>6}  a turn, and its thread's processor time: half, 99 %, the longest")
    for files in DROPS:
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            taken = take(Path(folder), files)
        words = "  ".join(
            f"{clock * 1000:>6.1f} ({own * 1000:.1f}) ms" for clock, own in map(taken.late, (0.5, 0.99, 0.999999))
        )
        print(f"{files:>6} {taken.seconds:>7.1f} s {len(taken.turns):>6}  {words}", flush=True)


if __name__ == "__main__":
    main()
