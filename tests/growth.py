"""How time and memory grow with the length of a clip, its size, its chunks and the jobs; and how true forecasts are.

python -m tests.growth                        all of docs/growth.md; ten minutes
python -m tests.growth --only "put together"  the rows whose names begin so

Each figure is a process of its own: processor time of all its threads, without Python's start and imports, and the most
memory that it held beyond what it held after these. Nobody paints an hour for it: its frames are tiny, or only counted.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import av
import psutil
from PIL import Image

from backends.azure import planner
from backends.azure.meter import Life
from stylizer import commands, source, views, worker
from stylizer.assemble import assemble
from stylizer.config import AzureDefaults, Config, Limits
from stylizer.encode import VideoWriter
from stylizer.estimate import Measurement
from stylizer.frames import Frame
from stylizer.jobs import ChunkState, Clip, Encoding, FrameRange, JobState, Look, MediaKind, Quality, StyleImage
from stylizer.machine import cores, keep_memory, processor
from stylizer.plan import cut, cut_to
from stylizer.simulate import Machines, Part, Work, forecast
from stylizer.store import Store
from stylizer.video import Reader, probe
from stylizer.ways import Question
from stylizer.wire import ChunkSpec, FitSpec, dumps
from tests.emulated import Setting, beside
from tests.media import adapted, make_clip, scene
from tests.torture import scale

HEADING = """# How time and memory grow

Made by `make growth` on {day}: {processor}, {cores} cores.

Processor time and memory of a process of its own for each figure, beyond Python's start and imports, so that little depends
on what else the machine does. An hour is not painted for it: the clips are of 64x48, or only planned for. A worker keeps the
memory that the fit before it has used, so that small pictures need little more; from 4K on it is bounded by the tile.

Then how true the forecasts of `stylizer plan` are: the simulator beside the emulator of Azure Batch (tests/emulator) with
the same boots and losses, and whether the length of chunks that is chosen is the best of those that are simulated."""
RATE, CHUNK = 25, 250
"""Frames a second of the clips, and in a chunk of ten seconds."""
LENGTHS = (250, 1_500, 15_000, 90_000)
"""Frames: 10 s, 1 min, 10 min, 1 h."""
FLAT, LINEAR = 0.15, 1.15
"""Powers below which growth counts as none, and as in proportion."""
BRIEF, SMALL = 0.0005, 5e6
"""Seconds, and bytes, below which nothing is told apart."""


# ---- what is measured: each prepares in a folder, and returns what is timed ----


def tiny(folder: Path, frames: int) -> Clip:
    """A clip of 64x48: ten seconds, encoded once, and their packets again and again."""
    once, path = folder / "once.mp4", folder / "long.mp4"
    make_clip(once, times=range(CHUNK), time_base=Fraction(1, RATE), options={"g": "50", "bf": "0"})
    with av.open(str(once)) as given, av.open(str(path), "w") as out:
        picture = given.streams.video[0]
        copy = out.add_stream_from_template(picture)
        packets = [(one, one.pts or 0, one.dts or 0) for one in given.demux(picture) if one.size]
        length = sum(packet.duration or 0 for packet, _, _ in packets)
        for turn in range(frames // CHUNK):
            for packet, shown, decoded in packets:
                packet.pts, packet.dts, packet.stream = shown + turn * length, decoded + turn * length, copy
                out.mux(packet)
    return probe(path, Limits())


def look_into(folder: Path, frames: int) -> Callable[[], object]:
    path = tiny(folder, frames).path
    return lambda: probe(path, Limits())


def open_chunk(folder: Path, frames: int) -> Callable[[], object]:
    """The last chunk's first frame."""
    clip = tiny(folder, frames)
    return lambda: next(iter(Reader(clip, FrameRange(frames - CHUNK, frames))))


def carried(clip: Clip, part: Path, frames: FrameRange) -> Path:
    """A chunk's file, with the clip's own frames in it."""
    reader = Reader(clip, frames)
    with VideoWriter(part, clip, part.with_name("out.mp4"), Encoding(), (clip.width, clip.height)) as writer:
        for frame in reader:
            planes = adapted(frame.planes, reader.layout, writer.layout, (clip.width, clip.height))
            writer.write(Frame(planes, frame.time, frame.duration))
    return part


def carry(folder: Path, frames: int) -> Callable[[], object]:
    """All chunks, one after the other, decoded and encoded and not painted."""
    clip = tiny(folder, frames)
    return lambda: [carried(clip, folder / f"{n}.nut", part) for n, part in enumerate(cut_to(clip, CHUNK))]


def put_together(folder: Path, frames: int) -> Callable[[], object]:
    clip = tiny(folder, frames)
    files = [carried(clip, folder / f"{n}.nut", part) for n, part in enumerate(cut_to(clip, CHUNK))]
    return lambda: assemble(clip, files, folder / "out.mp4", Encoding())


def imagined(frames: int) -> Clip:
    """Of 1920x1080, that is only planned for."""
    return Clip(Path("film.mp4"), MediaKind.VIDEO, 1920, 1080, frames, Fraction(RATE), frames / RATE, "", "", 0, 0, "")


def cut_up(folder: Path, frames: int) -> Callable[[], object]:
    return lambda: cut(imagined(frames), 10.0)


def ways(folder: Path, frames: int) -> Callable[[], object]:
    """All that `stylizer plan` works out: some fifty ways, each simulated."""
    known = [Measurement("cuda:0 (one)", "fp16", 1280, 720, 60.0, 0.03, 1.0)]
    return lambda: list(Question(imagined(frames), Look(()), Config(), known, {}, 96).ways())


def filled(folder: Path, frames: int) -> Store:
    """A store with a job of that length, all its chunks given, painted and taken in."""
    film = folder / "film.mp4"
    film.write_bytes(b"film")
    style = StyleImage(folder / "art.jpg", 1.0, "ab" * 32)
    store = Store(folder / "jobs.db")
    clip = replace(imagined(frames), path=film)
    job = commands.add(store, clip, Look((style,)), Encoding(), folder / "out.mp4").id
    store.cut(job, cut(clip, 10.0))
    store.move(job, JobState.RENDERING, "It is painted.")
    for chunk in store.chunks(job):
        store.move_chunk(job, chunk.index, ChunkState.SUBMITTED, backend="local", submitted_at=1.0)
        store.move_chunk(job, chunk.index, ChunkState.RUNNING, frames_done=len(chunk.frames), fps=30.0)
        if chunk.index:
            store.move_chunk(job, chunk.index, ChunkState.DONE, output=film, digest="ab" * 32, finished_at=2.0)
    return store


def keep_book(folder: Path, frames: int) -> Callable[[], object]:
    return lambda: filled(folder, frames).close()


def see_status(folder: Path, frames: int) -> Callable[[], object]:
    store = filled(folder, frames)
    return lambda: [views.status(store) for _ in range(10)]


def see_detail(folder: Path, frames: int) -> Callable[[], object]:
    store = filled(folder, frames)
    return lambda: [views.detail(store, 1) for _ in range(10)]


def simulated(folder: Path, chunks: int) -> Callable[[], object]:
    spot = Machines("one", 500, 0.07, 1, 2.0, 12.0, 0.0, (180.0, 420.0, 600.0), 0.05, 300.0, 300.0, 60.0, 0.06)
    return lambda: forecast(Work((Part((48,) * chunks, (spot,)),)), trials=10)


def simulated_on(folder: Path, machines: int) -> Callable[[], object]:
    spot = Machines("one", machines, 0.07, 1, 2.0, 12.0, 0.0, (180.0, 420.0, 600.0), 0.05, 300.0, 300.0, 60.0, 0.06)
    return lambda: forecast(Work((Part((48,) * 4000, (spot,)),)), trials=10)


def painted(folder: Path, size: tuple[int, int], frames: int) -> Callable[[], object]:
    """What a worker does with a chunk, after the draft of a fit."""
    path = make_clip(folder / "clip.mp4", times=range(frames), size=size, options={"preset": "ultrafast"})
    Image.fromarray(scene(256, 256, 3)).save(folder / "art.png")
    look = Look((StyleImage(folder / "art.png", 1.0, "ab" * 32),), quality=Quality.DRAFT)
    clip, fitted, whole = probe(path, Limits()), folder / "look.safetensors", FrameRange(0, frames)
    fit = FitSpec("1-fit-1", clip, look, fitted, "cpu", "fp32")
    files = folder / "1.nut", folder / "out.mp4"
    chunk = ChunkSpec("1-00000-1", clip, whole, look, fitted, *files, size, Encoding(), "cpu", "fp32")
    for name, spec in (("fit", fit), ("chunk", chunk)):
        (folder / f"{name}.json").write_text(dumps(spec))
    assert worker.main([str(folder / "fit.json")]) == 0
    return lambda: worker.main([str(folder / "chunk.json")])


def painted_size(folder: Path, height: int) -> Callable[[], object]:
    return painted(folder, (height * 16 // 9, height), 4)


def painted_length(folder: Path, frames: int) -> Callable[[], object]:
    return painted(folder, (128, 72), frames)


# ---- how it is measured ----


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    unit: str
    at: tuple[int, ...]
    prepare: Callable[[Path, int], Callable[[], object]]
    weight: Callable[[int], float] = float
    """What of `at` the work should be in proportion to."""


ROWS = (
    Row("look into a clip", "frames", LENGTHS, look_into),
    Row("open its last chunk", "frames", LENGTHS, open_chunk),
    Row("decode and encode", "frames", LENGTHS, carry),
    Row("put together", "frames", LENGTHS, put_together),
    Row("cut into chunks", "frames", LENGTHS, cut_up),
    Row("plan all ways", "frames", LENGTHS, ways),
    Row("keep its book", "frames", LENGTHS, keep_book),
    Row("status, ten times", "frames", LENGTHS, see_status),
    Row("detail, ten times", "frames", LENGTHS, see_detail),
    Row("paint, by length", "frames", (24, 96, 384), painted_length),
    Row("paint, by size", "lines", (270, 540, 1080, 2160), painted_size, lambda lines: float(lines**2)),
    Row("simulate, by chunks", "chunks", (400, 4_000, 40_000), simulated),
    Row("simulate, by machines", "machines", (5, 50, 500), simulated_on),
)


@dataclass(frozen=True, slots=True)
class Figure:
    seconds: float
    """Of processor time."""
    memory: float
    """Bytes held at most, beyond those at the start."""


def figure(row: Row, at: int) -> Figure:
    """Measured in a process of its own."""
    command = [sys.executable, "-m", "tests.growth", "--one", row.name, str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{row.name} at {at}: {done.stderr[-2000:]}")
    return Figure(**json.loads(done.stdout.splitlines()[-1]))


def act(row: Row, at: int) -> Figure:
    """Measured in this process, which does nothing else."""
    keep_memory()  # as a worker does
    process, over = psutil.Process(), threading.Event()
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        timed = row.prepare(Path(folder), at)
        # What was looked at to prepare is not remembered.
        source.plan.cache_clear()
        source.picture.cache_clear()
        gc.collect()
        begun = most = process.memory_info().rss

        def watch() -> None:
            nonlocal most
            while not over.wait(0.005):
                most = max(most, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        spent = time.process_time()
        kept = timed()
        spent = time.process_time() - spent
        most = max(most, process.memory_info().rss)
        over.set()
        watcher.join()
        del kept, timed
    return Figure(spent, most - begun)


def power(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power with which values grow, from the two largest sizes: 0 flat, 1 in proportion."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def verdict(row: Row, found: Sequence[Figure]) -> str:
    weights = [row.weight(at) for at in row.at]
    by_time = power(weights, [max(one.seconds, BRIEF) for one in found])
    by_memory = power(weights, [max(one.memory, SMALL) for one in found])
    return f"time {_grows(by_time)}, memory {_grows(by_memory)}"


def _grows(by: float) -> str:
    if by < FLAT:
        return "flat"
    return "less than linear" if by < 1 / LINEAR else "linear" if by < LINEAR else f"to the power {by:.1f}"


# ---- what is told ----


def tables(only: Sequence[str]) -> Iterator[str]:
    """Lines of Markdown."""
    wanted = [row for row in ROWS if not only or row.name.startswith(tuple(only))]
    for unit, at in dict.fromkeys((row.unit, row.at) for row in wanted):
        yield from (
            "",
            f"| {' | '.join(['', *(f'{n:,} {unit}' for n in at), 'grows'])} |",
            "|---" + "|---:" * len(at) + "|---|",
        )
        for row in wanted:
            if (row.unit, row.at) == (unit, at):
                found = [figure(row, n) for n in at]
                cells = [f"{_seconds(one.seconds)}, {one.memory / 1e6:.0f} MB" for one in found]
                yield f"| {row.name} | {' | '.join(cells)} | {verdict(row, found)} |"
    for name, lines in (("jobs", jobs), ("forecasts", forecasts), ("lengths", lengths)):
        if not only or name in only:
            yield from lines()


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def jobs() -> Iterator[str]:
    """The queue: `make scale` has more."""
    yield from (
        "",
        "| jobs | chunks | first turn | status | a turn | 19 of 20 turns | memory that stays |",
        "|---:" * 7 + "|",
    )
    for count, chunks in scale.SIZES:
        with tempfile.TemporaryDirectory(prefix="growth-") as folder:
            found = scale.measure(Path(folder), count, chunks)
        times = " | ".join(_seconds(one) for one in (found.start, found.status, found.turn, found.late_turn))
        yield f"| {count:,} | {chunks:,} | {times} | {found.growth / 1e6:.1f} MB |"


FORECASTS = (
    Setting(1, 1, 600),
    Setting(40, 4, 60),
    Setting(40, 4, 60, taken_per_hour=0.5),
    Setting(10, 4, 600, taken_per_hour=0.5),
    Setting(9, 8, 2000),
    Setting(100, 10, 120, taken_per_hour=1.0),
    Setting(24, 8, 300, taken_per_hour=2.0),
    Setting(7, 4, 900, taken_per_hour=1.0),
    Setting(5, 4, 1500, taken_per_hour=1.0),
    Setting(16, 16, 1200, taken_per_hour=3.0),
    Setting(60, 20, 200, taken_per_hour=4.0),
    Setting(30, 4, 90, fit_seconds=60),
    Setting(200, 30, 240, taken_per_hour=0.5, fit_seconds=300),
    Setting(40, 2, 60, taken_per_hour=0.5, fit_seconds=120, size="Standard_NC64as_T4_v3"),
    Setting(1000, 100, 60, taken_per_hour=0.5),
    Setting(2000, 200, 120, taken_per_hour=0.2),
)


def forecasts() -> Iterator[str]:
    """The simulator beside the emulator of Batch."""
    yield from ("", "| run | emulated | foretold | off | emulated USD | foretold USD | off |", "|---" + "|---:" * 6 + "|")
    found = []
    for setting in FORECASTS:
        one = beside(setting, 25 if setting.chunks < 500 else 9)
        found.append(one)
        times = f"{one.seconds:,.0f} s | {one.told.seconds:,.0f} s | {100 * one.off_seconds:+.1f} %"
        yield f"| {setting.words} | {times} | {one.cost:.3f} | {one.told.cost:.3f} | {100 * one.off_cost:+.1f} % |"
    pairs = list(zip(*((one.off_seconds, one.off_cost) for one in found), strict=True))
    for words, some in (("the median error", statistics.median), ("the greatest", max)):
        times, costs = (100 * some(abs(off) for off in offs) for offs in pairs)
        yield f"| {words} | | | {times:.1f} % | | | {costs:.1f} % |"


def lengths() -> Iterator[str]:
    """The length of chunks that the planner's arithmetic takes, beside the best one of all that are simulated."""
    yield from ("", "| clip | machines | taken an hour | chunks chosen | ready | best chunks | ready |", "|---:" * 7 + "|")
    for frames in (1_500, 15_000, 150_000):
        for count, taken in ((1, 0.05), (8, 0.05), (8, 1.0), (64, 0.05)):
            if count <= frames / 500:
                yield _lengths_of(frames, count, taken)


def _lengths_of(frames: int, count: int, taken: float) -> str:
    # So many starts and losses that they are what is known, and no guess.
    life = Life(list(planner.BOOTS), 1e4, round(taken * 1e4))
    config, lives = Config(azure=AzureDefaults(nodes=count)), {AzureDefaults().vm_size.lower(): life}
    question = Question(imagined(frames), Look((), quality=Quality.DRAFT), config, (), lives, count)
    chosen = planner.plan(question.clip, question.look, config, (), lives)
    options = [one for _, one in planner.trade_off(question.clip, question.look, config, (), lives)]
    told = {one.chunk_frames: question.there(one, ()).told.seconds for one in options}
    best = min(told, key=lambda length: told[length])
    mine = f"{chosen.chunk_frames} frames | {told[chosen.chunk_frames] / 60:.1f} min"
    return f"| {frames:,} frames | {count} | {taken:g} | {mine} | {best} frames | {told[best] / 60:.1f} min |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", default=[], help="rows that begin so; or jobs, forecasts, lengths")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "AT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        found = act(next(row for row in ROWS if row.name == chosen.one[0]), int(chosen.one[1]))
        print(json.dumps(asdict(found)))
        return
    if not chosen.only:
        print(HEADING.format(day=date.today(), processor=processor(), cores=cores()))
    for line in tables(chosen.only):
        print(line, flush=True)


if __name__ == "__main__":
    main()
