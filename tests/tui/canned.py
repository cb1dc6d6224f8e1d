"""A store at one instant, with a frozen clock: what all pictures of screens are taken of. It is noon, wherever this is."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image
from textual.app import App
from textual.pilot import Pilot

from stylizer import commands
from stylizer.backend import Meter, Node
from stylizer.config import Places
from stylizer.estimate import Measurement
from stylizer.files import digest_of
from stylizer.gauges import Gauge
from stylizer.jobs import ChunkState, Clip, Encoding, FrameRange, Job, JobState, Look, MediaKind, Quality, StyleImage
from stylizer.ledger import Arrival, Found
from stylizer.store import Store
from tests.jobs_for_tests import places
from tests.tui.grid import grid
from tui.app import Studio

NOON = time.mktime((2026, 6, 1, 12, 0, 0, 0, 0, -1))
CUDA0, CUDA1 = "cuda:0 (NVIDIA RTX 4090)", "cuda:1 (NVIDIA RTX 3060)"
GPU = "Standard_NC24ads_A100_v4"
CHUNK = 240
"""Frames."""
PALETTES = {
    "starry night": ("16214a", "2f4f8f", "d9b44a", "0d1430", "5f86b8", "e8d48a"),
    "red field": ("8a1f1c", "c2452e", "e9a15b", "5a1013", "d96d3b", "f2cf9a"),
    "ink bamboo": ("22251f", "6e7565", "d8d6c4", "3c4138", "a3a892", "efecdc"),
    "sea glass": ("1f5a5c", "4f9c94", "cfe6d4", "123a42", "7fbfae", "f0f4e2"),
    "ochre wall": ("6b4a1e", "b5812e", "e7c878", "47300f", "cf9f4c", "f5e6b8"),
}
"""Colours of a style, each of which fills a sixth of its picture's width."""


class Clock:
    """The time; it stands still until it is set."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Still:
    """Gauges that always say the same."""

    def read(self) -> Sequence[Gauge]:
        return (
            Gauge("cuda:0", "NVIDIA RTX 4090", 0.97, 9_400_000_000, 25_300_000_000, 71.0, 338.0),
            Gauge("cuda:1", "NVIDIA RTX 3060", 0.88, 7_100_000_000, 12_600_000_000, 66.0, 158.0),
            Gauge("cpu", "AMD Ryzen 9 7950X", 0.22, 18_200_000_000, 67_200_000_000, 58.0),
        )

    def close(self) -> None:
        pass


@dataclass(slots=True)
class Making:
    """A store while it is filled; its clock says when what is written happens."""

    store: Store
    clock: Clock
    styles: dict[str, StyleImage]

    def add(self, name: str, chunks: int, styles: str, before: float, **wishes: object) -> Job:
        """A job that was added `before` seconds ago; styles as "one" or "one + other"."""
        self.clock.now = NOON - before
        names = styles.split(" + ")
        chosen = [self.styles[one] for one in names]
        share = 1 / len(names)
        look = Look(
            tuple(StyleImage(one.path, share, one.digest) for one in chosen),
            strength=float(str(wishes.pop("strength", 1.0))),
            quality=Quality(str(wishes.pop("quality", "standard"))),
            keep_color=bool(wishes.pop("keep_color", False)),
        )
        rate, frames = Fraction(24), chunks * CHUNK - 60
        clip = Clip(
            Path(PurePosixPath("/studio/clips", name)),
            MediaKind.VIDEO,
            1920,
            1080,
            frames,
            rate,
            frames / 24,
            "h264",
            "yuv420p",
            0,
            1,
            f"mark {name}",
        )
        output = Path(PurePosixPath("/studio/painted", f"{Path(name).stem}.{names[0]}.mp4"))
        return commands.add(self.store, clip, look, Encoding(), output, **wishes)  # type: ignore[arg-type]

    def cut(self, job: Job) -> None:
        edges = [*range(0, job.clip.frames, CHUNK), job.clip.frames]
        self.store.cut(job.id, [FrameRange(a, b) for a, b in pairwise(edges)])

    def begin(self, job: Job, before: float) -> None:
        self.clock.now = NOON - before
        self.cut(job)
        self.store.move(job.id, JobState.FITTING, "The look is fitted to the clip.", started_at=self.clock.now)
        self.clock.now += 9
        self.store.move(job.id, JobState.RENDERING, "The look is fitted, in 9 s.")

    def done(self, job: Job, count: int, workers: Sequence[tuple[str, str, float]]) -> None:
        """The first chunks are painted, one worker after the other."""
        for index in range(count):
            backend, worker, fps = workers[index % len(workers)]
            chunk = self.store.chunk(job.id, index)
            self.start(job, index, backend, worker)
            self.clock.now += len(chunk.frames) / fps / len(workers)
            at, length = self.clock.now, len(chunk.frames)
            text = f"Chunk {index} is painted, {length} frames in {length / fps:.0f} s."
            self.store.move_chunk(
                job.id, index, ChunkState.DONE, text, frames_done=length, fps=fps, worker=worker, finished_at=at
            )

    def start(self, job: Job, index: int, backend: str, worker: str) -> None:
        self.store.move_chunk(job.id, index, ChunkState.SUBMITTED, backend=backend, submitted_at=self.clock.now)
        self.store.move_chunk(job.id, index, ChunkState.RUNNING, worker=worker)

    def running(self, job: Job, index: int, backend: str, worker: str, done: int, fps: float) -> None:
        self.start(job, index, backend, worker)
        self.store.progress(job.id, index, done, fps, worker)

    def fail(self, job: Job, index: int, worker: str, error: str) -> None:
        self.start(job, index, "local", worker)
        self.store.move_chunk(
            job.id, index, ChunkState.FAILED, error, error=error, failures=3, worker=worker, finished_at=self.clock.now
        )

    def finish(self, job: Job, before: float, workers: Sequence[tuple[str, str, float]], seconds: float) -> None:
        self.begin(job, before + seconds)
        self.done(job, len(self.store.chunks(job.id)), workers)
        self.clock.now = NOON - before
        self.store.move(job.id, JobState.ASSEMBLING, "The chunks are put together.")
        self.store.move(job.id, JobState.DONE, f"{job.output.name} is done.", finished_at=self.clock.now)

    def paid(self, job: Job, spent: str, *, nodes: int = 0, before: float = 2.0) -> None:
        at = NOON - before
        rented = tuple(
            Node(f"azure-{7193 + 9 * n:x}", "running", GPU, True, at - 300, Decimal("1.47")) for n in range(nodes)
        )
        per_hour = Decimal("1.47") * nodes
        meter = Meter(job.id, Decimal(spent), per_hour, "USD", "catalogue of 2026-05-01", at, rented, final=not nodes)
        self.store.meter("azure", meter)


def draw_styles(folder: Path) -> dict[str, StyleImage]:
    """Pictures of flat colours, which any version of Pillow scales alike."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, colours in PALETTES.items():
        picture = Image.new("RGB", (96, 48))
        for y in range(3):
            for x in range(6):
                picture.paste(f"#{colours[(x + 2 * y) % 6]}", (16 * x, 16 * y, 16 * x + 16, 16 * y + 16))
        path = folder / f"{name}.png"
        picture.save(path)
        found[name] = StyleImage(path, 1.0, digest_of(path))
    return found


@asynccontextmanager
async def studio(
    root: Path, size: tuple[int, int] = (160, 48), theme: str = "night", *, alive: bool = True
) -> AsyncIterator[tuple[Studio, Pilot[None]]]:
    """The studio on the canned store in `root` (filled where it is not there), with a runner unless not `alive`; all that
    the feed reads at first has come.
    """
    here = places(root) if (root / "jobs.db").exists() else fill(root)
    app = Studio(here, clock=Clock(), gauges=Still, theme=theme)
    with Store(here.store) as store, nullcontext() if not alive else store.runner_lock():
        async with app.run_test(size=size) as pilot:
            await settle(pilot, lambda: app.now.is_open and app.now.alive is alive and len(app.now.gauges) > 0)
            await settle(pilot, lambda: bool(app.now.money) or not app.now.jobs)
            await pilot.pause()
            yield app, pilot


async def settle(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Let the app go on until the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await pilot.pause(0.02)


async def calm(pilot: Pilot[None]) -> None:
    """Let the app go on until it shows the same for a while."""
    shown, since = "", time.monotonic()
    while time.monotonic() < since + 0.7:
        await pilot.pause(0.05)
        if (now := picture(pilot.app)) != shown:
            shown, since = now, time.monotonic()


def picture(app: App[None]) -> str:
    """What the app shows as an SVG, without what is not the same everywhere."""
    return re.sub(r"terminal-\d+", "terminal", app.export_screenshot())


def check_picture(app: App[None], name: str) -> None:
    """Compare what the app shows with snapshots/NAME.txt; with SNAPSHOT_UPDATE=1 in the environment that is written."""
    if sys.platform == "win32":
        pytest.skip("paths look otherwise here")
    kept = Path(__file__).parent / "snapshots" / f"{name}.txt"
    shown = grid(picture(app))
    if os.environ.get("SNAPSHOT_UPDATE"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(shown, encoding="utf-8")
    elif not kept.exists() or kept.read_text(encoding="utf-8") != shown:
        other = Path(tempfile.gettempdir()) / f"stylizer-{name}.txt"
        other.write_text(shown, encoding="utf-8")
        other.with_suffix(".svg").write_text(picture(app), encoding="utf-8")
        raise AssertionError(
            f"{name} looks otherwise: compare {other} with {kept}, or look at the .svg beside it; "
            "SNAPSHOT_UPDATE=1 takes it over."
        )


HERE: list[tuple[str, str, float]] = [("local", CUDA0, 46.1), ("local", CUDA1, 19.2)]
AWAY: list[tuple[str, str, float]] = [("azure", f"azure-{7193 + 9 * n:x}", 33.0 - n) for n in range(3)]


def fill(root: Path) -> Places:
    """Jobs in all states in a store under `root`; limits and all else at their defaults but for a budget of a day."""
    here, clock = places(root), Clock()
    here.config.parent.mkdir(parents=True, exist_ok=True)
    here.config.write_text("[place]\nmax_cost_day = 6.0\n", encoding="utf-8")
    with Store(here.store, clock=clock) as store, store.transaction():
        _fill(Making(store, clock, draw_styles(root / "styles")))
    return here


def _fill(make: Making) -> None:
    store = make.store
    make.finish(make.add("swim meet b-roll.mp4", 6, "sea glass", 5200), 4300, HERE, 42)
    make.finish(make.add("candle test 02.mov", 3, "ochre wall", 1700, quality="draft"), 1450, HERE, 25)
    harbour = make.add("harbour at dusk.mp4", 40, "starry night", 640, strength=0.8)
    make.begin(harbour, 128)
    make.done(harbour, 25, HERE)
    rain = make.add("rain on the window 🌧.mp4", 8, "ink bamboo", 600, keep_color=True)
    make.begin(rain, 44)
    make.done(rain, 7, HERE)
    salt = make.add("salt flats, drone [raw].mp4", 90, "red field", 500, backend="azure", max_cost=5.0, deadline=NOON + 900)
    make.begin(salt, 118)
    make.done(salt, 41, AWAY)
    half = make.add("half a transfer.mov", 12, "red field", 480, backend="local")
    make.begin(half, 120)
    make.done(half, 2, HERE)
    paused = make.add("tulips macro.mov", 10, "ochre wall", 420)
    make.begin(paused, 110)
    make.done(paused, 4, HERE)
    lucia = make.add("Lucía dances (take 4), the whole evening from the balcony.mov", 9, "sea glass + starry night", 300)
    for name, chunks, style, before in (
        ("ночной трамвай.mkv", 14, "starry night", 240),
        ("舞踏 rehearsal.mov", 21, "ink bamboo + red field", 200),
        ("grandmother's hands.mp4", 9, "ochre wall", 160),
        ("snow, 4 in the morning.mp4", 7, "sea glass", 60),
    ):
        make.add(name, chunks, style, before)
    gone = make.add("train to Porto.mov", 26, "starry night", 30)
    make.clock.now = NOON - 25
    store.move(gone.id, JobState.CANCELLED, "Cancelled.", finished_at=make.clock.now)

    make.clock.now = NOON - 14
    error = "Frame 1204 cannot be decoded: the file ends in the middle of it."
    make.fail(half, 5, CUDA1, error)
    hint = "Copy the clip anew, then: stylizer retry"
    store.move(half.id, JobState.FAILED, error, error=error, hint=hint, finished_at=make.clock.now)
    commands.pause(store, paused.id)
    store.move(lucia.id, JobState.FITTING, "The look is fitted to the clip.", started_at=make.clock.now)
    store.change(lucia.id, fit_done=120, fit_total=200)
    make.clock.now = NOON - 1
    make.running(harbour, 25, "local", CUDA0, 168, 46.8)
    make.running(harbour, 26, "local", CUDA1, 51, 19.1)
    for n, (backend, node, fps) in enumerate(AWAY):
        make.running(salt, 41 + n, backend, node, 60 + 70 * n, fps)
    make.running(rain, 7, "local", CUDA0, 90, 44.0)
    make.paid(salt, "2.14", nodes=3)
    for device, fps in ((CUDA0, 46.1), (CUDA1, 19.2)):
        store.measure(Measurement(device, "fp16", 1920, 1080, fps, 0.05, NOON - 40))
    store.begin_runner(4242, "/studio/inbox")
    for name, state, reason in (
        ("late.mov", Arrival.SETTLING, ""),
        ("no style.mov", Arrival.WAITING, "There is no style yet."),
        ("notes.mp4", Arrival.REFUSED, "It is no video."),
    ):
        store.put_found(Found("/studio/inbox", name, name, state, reason, (), NOON - 5))
