"""How the studio bears a heavy store: 2,000 jobs, 20,000 chunks, 50 changes a second by another process.

    python -m tests.tui.load [--seconds 60] [--jobs 2000] [--chunks 20000] [--rate 50]

opens the studio in a terminal of its own (a pty), presses keys, and prints how long a key takes to be painted, how much of
one core the studio takes, and how its memory grows; where it takes longer, a line a minute too. Not for Windows, which has
no pty.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil

from stylizer.config import places
from stylizer.jobs import Chunk, ChunkState, Clip, Encoding, FrameRange, JobState, Look, MediaKind, StyleImage
from stylizer.store import Store

KEYS = ("j", "j", "j", "k", "j", "j", "k", "G", "g")
"""Pressed over and over: down and up, to the end and back."""
SAMPLE_SECONDS = 60.0
KEY_SECONDS = 0.23
"""Between two keys; no multiple of the time between two paints."""
AT_WORK = 32
"""Chunks that are being painted."""
SIZE = (36, 120)


@dataclass(frozen=True, slots=True)
class Found:
    keys: int
    p50: float
    """Milliseconds from sending a key until the next paint."""
    p95: float
    worst: float
    own_p50: float
    """The same without the time for which the studio waited for a processor that others had (Linux; elsewhere all of it)."""
    own_p95: float
    work_p50: float
    """Milliseconds of a processor that its main thread took from the key to the paint."""
    work_p95: float
    cpu: float
    """Of one core, 0..1."""
    rss_start: float
    """Megabytes, ten seconds (or a quarter of the time) after the start."""
    rss_end: float
    updates: float
    """A second, as they really came."""


def fill(path: Path, jobs: int, chunks: int) -> None:
    """A store with so many jobs in all states, and so many chunks in all."""
    style = StyleImage(path.parent / "night.png", 1.0, "ab" * 32)
    with Store(path) as store, store.transaction():
        for n in range(jobs):
            name = f"clip {n:04} {('harbour', 'ночь', '舞踏', 'rain 🌧')[n % 4]}.mp4"
            count = chunks // jobs + (n < chunks % jobs)
            clip = Clip(
                path.parent / name,
                MediaKind.VIDEO,
                1920,
                1080,
                240 * count,
                Fraction(24),
                10.0 * count,
                "h264",
                "yuv420p",
                0,
                1,
                f"load {n}",
            )
            job = store.add(
                f"key {n}",
                clip,
                Look((style,)),
                Encoding(),
                path.parent / f"{n}.mp4",
                backend="local",
                device="auto",
                precision="auto",
            )
            store.cut(job.id, [FrameRange(240 * i, 240 * (i + 1)) for i in range(count)])
            if n < jobs // 2:
                _paint(store, job.id, count)
            elif n % 50 == 0:
                store.move(
                    job.id, JobState.FAILED, "It failed.", error="A frame cannot be decoded.", finished_at=time.time()
                )
            elif n < jobs // 2 + 16:
                store.move(job.id, JobState.RENDERING, "It is painted.", started_at=time.time())


def _paint(store: Store, job: int, count: int) -> None:
    for index in range(count):
        store.move_chunk(job, index, ChunkState.SUBMITTED, backend="local")
        store.move_chunk(job, index, ChunkState.DONE, frames_done=240, fps=40.0, finished_at=time.time())
    store.move(job, JobState.RENDERING, "It is painted.", started_at=time.time() - 60)
    store.move(job, JobState.ASSEMBLING, "It is put together.")
    store.move(job, JobState.DONE, "It is done.", finished_at=time.time())


def update(path: Path, rate: float) -> None:
    """Change the store `rate` times a second until stdin is closed: progress, and now and then a chunk that is done."""
    ended = threading.Event()

    def wait() -> None:
        with suppress(OSError):
            os.read(0, 1)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    chance, count, begun = random.Random(7), 0, time.monotonic()
    with Store(path) as store:
        jobs = [job.id for job in store.jobs((JobState.RENDERING,))]
        while not ended.wait(max(0.0, begun + count / rate - time.monotonic())):
            count += 1
            running = store.under_way()
            if len(running) < AT_WORK:
                _start(store, chance.choice(jobs))
                continue
            chunk = chance.choice(running)
            done = chunk.frames_done + chance.randrange(4, 40)
            if done >= len(chunk.frames):
                _finish(store, chunk)
            else:
                store.progress(chunk.job, chunk.index, done, chance.uniform(30, 50), "cuda:0 (a card)")
    print(json.dumps({"updates": count / (time.monotonic() - begun)}), flush=True)


def _start(store: Store, job: int) -> None:
    ready = store.chunks(job, (ChunkState.READY,), most=1)
    for chunk in ready:
        store.move_chunk(job, chunk.index, ChunkState.SUBMITTED, backend="local")
        store.move_chunk(job, chunk.index, ChunkState.RUNNING, worker="cuda:0 (a card)")
    if not ready:
        for chunk in store.chunks(job, (ChunkState.DONE,)):
            store.move_chunk(job, chunk.index, ChunkState.READY)


def _finish(store: Store, chunk: Chunk) -> None:
    text = f"Chunk {chunk.index} is painted, 240 frames in 6.0 s."
    store.move_chunk(chunk.job, chunk.index, ChunkState.DONE, text, frames_done=240, fps=40.0, finished_at=time.time())


def waited(process: int | str = "self") -> float:
    """Seconds that a process's main thread was ready to run and had no processor; 0 where the system does not say."""
    with suppress(OSError):
        return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return 0.0


def studio(paints: Path) -> None:
    """The studio, with a line in a file for each paint that follows a key: when, how long it has waited for a processor in
    all, and what it has worked since the key.
    """
    from textual import events  # noqa: PLC0415  # for the process that shows the studio alone

    from tui.app import Studio  # noqa: PLC0415  # same

    class Watched(Studio):
        # Textual looks for it beside the file of the class.
        CSS_PATH = Path(str(sys.modules[Studio.__module__].__file__)).with_name("app.tcss")
        pending = 0
        came = 0.0
        last: events.Event | None = None

        async def on_event(self, event: events.Event) -> None:
            # One that nobody wanted comes by again, on its way up.
            if isinstance(event, events.Key) and event is not self.last:
                self.came = self.came if self.pending else time.thread_time()
                self.pending, self.last = self.pending + 1, event
            await super().on_event(event)

        def _display(self, screen: object, renderable: object) -> None:
            super()._display(screen, renderable)  # type: ignore[arg-type]
            if self.pending:
                line = f"{time.monotonic()} {waited()} {time.thread_time() - self.came}\n"
                with paints.open("a", encoding="utf-8") as file:
                    file.write(line * self.pending)
                self.pending = 0

    Watched(places()).run()


def measure(seconds: float, jobs: int, chunks: int, rate: float) -> Found:
    """Run it all."""
    import pty  # noqa: PLC0415  # not on Windows

    with tempfile.TemporaryDirectory() as folder:
        home, paints = Path(folder), Path(folder) / "paints"
        environment = {**os.environ, "STYLIZER_HOME": folder, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        fill(home / "jobs.db", jobs, chunks)
        ours, theirs = pty.openpty()
        _resize(theirs)
        program = [sys.executable, "-m", "tests.tui.load"]
        updater = subprocess.Popen(
            [*program, "update", str(home / "jobs.db"), str(rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        shown = subprocess.Popen(
            [*program, "studio", str(paints)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        said = bytearray()
        threading.Thread(target=_drain, args=(ours, said), daemon=True).start()
        try:
            _wait_for_screen(shown, said)
            sent, process = [], psutil.Process(shown.pid)
            settle = min(10.0, seconds / 4)
            time.sleep(settle)
            before, begun, rss = process.cpu_times(), time.monotonic(), process.memory_info().rss
            sample = begun + SAMPLE_SECONDS
            while time.monotonic() < begun + seconds:
                if time.monotonic() > sample:
                    sample += SAMPLE_SECONDS
                    _say(process, time.monotonic() - begun, _busy(process, before))
                sent.append((time.monotonic(), waited(shown.pid)))
                os.write(ours, KEYS[len(sent) % len(KEYS)].encode())
                time.sleep(KEY_SECONDS)
            busy, took, end = _busy(process, before), time.monotonic() - begun, process.memory_info().rss
        finally:
            shown.kill()
            shown.wait()
            assert updater.stdin and updater.stdout
            updater.stdin.close()
            told = json.loads(updater.stdout.read() or b"{}")
            updater.stdout.close()
            updater.wait()
            os.close(ours)
        lines = [line.split() for line in paints.read_text(encoding="utf-8").splitlines()]
    found = list(_waits(sent, [(float(at), float(idle), float(work)) for at, idle, work in lines]))
    waits = sorted(wait for wait, _, _ in found)
    (p50, p95), own, work = (_cuts(list(column)) for column in zip(*found, strict=True))
    return Found(len(waits), p50, p95, waits[-1], *own, *work, busy / took, rss / 1e6, end / 1e6, told["updates"])


def _waits(sent: list[tuple[float, float]], seen: list[tuple[float, float, float]]) -> Iterator[tuple[float, float, float]]:
    """From each key to the first paint of a key after it, in milliseconds: all, without waiting for a processor, work."""
    times = [at for at, _, _ in seen]
    for at, idle in sent:
        n = bisect(times, at)
        if n < len(times):
            painted, idle_then, work = seen[n]
            wait = painted - at
            yield 1000 * wait, 1000 * max(0.0, wait - (idle_then - idle)), 1000 * work


def _cuts(values: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    cuts = statistics.quantiles(values, n=20)
    return cuts[9], cuts[18]


def _busy(process: psutil.Process, before: Any) -> float:
    """Seconds of a processor that it took since then."""
    now = process.cpu_times()
    return float(now.user + now.system - before.user - before.system)


def _say(process: psutil.Process, took: float, busy: float) -> None:
    print(f"{took:6.0f} s  cpu {busy / took:6.2%}  rss {process.memory_info().rss / 1e6:6.1f} MB", flush=True)


def _resize(terminal: int) -> None:
    import fcntl  # noqa: PLC0415  # not on Windows
    import termios  # noqa: PLC0415  # same

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))


def _drain(terminal: int, said: bytearray) -> None:
    with suppress(OSError):
        while data := os.read(terminal, 1 << 16):
            said += data
            del said[: -(1 << 16)]


def _wait_for_screen(shown: subprocess.Popen[bytes], said: bytearray) -> None:
    deadline = time.monotonic() + 30
    while b"clip 0" not in said and b"clip 1" not in said:
        if shown.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The studio did not open: {bytes(said[-2000:]).decode('utf-8', 'replace')}")
        time.sleep(0.05)


def main() -> None:
    if sys.argv[1:2] == ["update"]:
        update(Path(sys.argv[2]), float(sys.argv[3]))
    elif sys.argv[1:2] == ["studio"]:
        studio(Path(sys.argv[2]))
    else:
        parser = argparse.ArgumentParser()
        for name, default in (("seconds", 60.0), ("jobs", 2000), ("chunks", 20000), ("rate", 50.0)):
            parser.add_argument(f"--{name}", type=type(default), default=default)
        for name, value in asdict(measure(**vars(parser.parse_args()))).items():
            print(f"{name:<10} {value:10.2f}")


if __name__ == "__main__":
    main()
