"""How start-up, status and a runner's turn grow with jobs and chunks: python -m tests.torture.scale"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from backends.fake import FakeBackend
from stylizer import commands
from stylizer.config import Config
from stylizer.jobs import Encoding, FrameRange
from stylizer.runner import Runner
from stylizer.store import Store
from tests.jobs_for_tests import clip, look, media, places

SIZES = ((50, 200), (500, 2_000), (5_000, 20_000))
"""Jobs, and chunks in the store."""
CUT = 5
"""Jobs that have the chunks; the others wait."""


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
    growth: int
    """Bytes that the process has grown by in the second half of these turns."""


def measure(root: Path, jobs: int, chunks: int, turns: int = 400) -> Figures:
    """A store with so many jobs and chunks, and a runner at work on it."""
    fill(root, jobs, chunks)
    with Store(root / "jobs.db") as store:
        looks = []
        for _ in range(3):
            began = time.perf_counter()
            commands.status(store)
            looks.append(time.perf_counter() - began)
        backend = FakeBackend(slots=4, speed=600.0)
        runner = Runner(store, Config(), places(root), media=media(root), backends=lambda _: backend, sleep=lambda _: None)
        taken = list(_turns(runner, turns))
    late = sorted(seconds for seconds, _ in taken[1:])
    half = taken[len(taken) // 2][1]
    return Figures(
        jobs,
        chunks,
        taken[0][0],
        min(looks),
        statistics.median(late),
        late[int(len(late) * 0.95)],
        max(0, taken[-1][1] - half),
    )


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
    print(f"{'jobs':>6} {'chunks':>7} {'start':>9} {'status':>9} {'turn':>9} {'95 %':>9} {'growth':>9}")
    for jobs, chunks in SIZES:
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            found = measure(Path(folder), jobs, chunks)
        times = (found.start, found.status, found.turn, found.late_turn)
        words = " ".join(f"{seconds * 1000:>6.1f} ms" for seconds in times)
        print(f"{found.jobs:>6} {found.chunks:>7} {words} {found.growth / 1e6:>6.1f} MB", flush=True)


if __name__ == "__main__":
    main()
