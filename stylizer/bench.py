"""How fast is this machine? Its devices are measured in under a minute, by the code that paints.

    python -m stylizer.bench [DEVICE]

A process of its own: what it holds in memory is what a worker would hold. It says in JSON lines on stdout how it gets on,
then what it found.
"""

# ruff: noqa: PLC0415 - torch waits, so that whoever only reads the figures need not load it

from __future__ import annotations

import contextlib
import io
import json
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import psutil
from PIL import Image

from stylizer.errors import JobFailed, StylizerError
from stylizer.files import digest_of
from stylizer.frames import Frame, Plane
from stylizer.jobs import Encoding, FrameRange, Look, Quality, StyleImage
from stylizer.machine import cores, keep_memory, memory
from stylizer.speeds import FIT_SIZE, Bench, DeviceSpeed, Speed, Trial
from stylizer.wire import ChunkSpec, dumps, hear, pack

if TYPE_CHECKING:
    from stylizer.devices import Device
    from stylizer.network import TransformNetwork
    from stylizer.stylize import Stylizer

SIZES = {
    "180p": (320, 180),
    "360p": (640, 360),
    "540p": (960, 540),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "4K": (3840, 2160),
}
PAINT_SECONDS, WHOLE_SECONDS = 1.0, 2.0
"""How long painting alone, and all together, is measured at a size; longer where a few frames take longer."""
LIMIT_SECONDS = 54.0
"""A size that would take longer than what is left of this is not measured."""
MOST_FRAMES = 96
LOOP = 12
"""Different frames in the clip that is made; they come again and again."""
STEPS, WARM_STEPS, STEP_SECONDS = 10, 2, 8.0
"""Of a fit that is timed: how many, how many of them are not counted, and when it is enough."""
PARTS = {"trial": 2.0, "fit": 6.0, "180p": 4.0, "360p": 4.5, "540p": 5.0, "720p": 6.0, "1080p": 8.0, "4K": 15.0}
"""About how many seconds each part takes on a small processor: for the time to go, until the pace here is known."""


class Clock:
    """Tells how far the measuring is, in parts that each have an expected length, and what is left at the pace so far."""

    def __init__(
        self,
        parts: dict[str, float],
        tell: Callable[[str, float, float], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left, self._tell, self._now = dict(parts), tell, now
        self._began, self._expected = now(), 0.0

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self._now() - self._began

    def begin(self, part: str) -> None:
        """`part` begins; those before it are over."""
        pace = self.passed / self._expected if self._expected else 1.0
        left = sum(self._left.values()) * pace
        self._tell(part, self.passed, min(left, max(0.0, LIMIT_SECONDS - self.passed)))
        self._expected += self._left.pop(part)


class Peak:
    """The most memory that this process has held while inside, in bytes; looked at fifty times a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, process.memory_info().rss)
            if self._done.wait(0.02):
                return


class _EnoughError(Exception):
    """Ends a fit that has been timed."""


def bench(
    wanted: str = "auto",
    *,
    sizes: dict[str, tuple[int, int]] = SIZES,
    load_seconds: float = 0.0,
    tell: Callable[[str, float, float], None] = lambda part, passed, left: None,
) -> Bench:
    """Measure the device `wanted`, as --device names it; for `auto` one of each model that would paint. ConfigError if it is
    not here. `tell` hears of each part: what it is, seconds that have passed, seconds that are left.
    """
    import torch

    from stylizer.devices import choose, devices

    began, at = time.monotonic(), time.time()
    busy = psutil.cpu_percent(0.5) / 100
    chosen = choose(wanted).device
    # Cards of one model are as fast as each other.
    alike = [d for d in devices() if wanted in ("", "auto") and d.model == chosen.model and d.name != "cpu"] or [chosen]
    clock = Clock({part: PARTS.get(part, 5.0) for part in ("trial", "fit", *sizes)}, tell)
    with tempfile.TemporaryDirectory(prefix="stylizer-bench-") as folder:
        found = _device(chosen, Path(folder), sizes, clock)
    return Bench(
        at,
        time.monotonic() - began,
        f"{platform.system()} {platform.release()}",
        torch.__version__,
        version("stylizer"),
        cores(),
        memory(),
        busy,
        load_seconds,
        tuple(replace(found, label=device.label) for device in alike),
        tuple(device.label for device in devices()),
    )


def _device(device: Device, folder: Path, sizes: dict[str, tuple[int, int]], clock: Clock) -> DeviceSpeed:
    from stylizer.checkpoint import Checkpoint, save_checkpoint
    from stylizer.demo_pictures import HANDS, style
    from stylizer.stylize import best_precision, trials

    clock.begin("trial")
    tried = tuple(Trial(*one) for one in trials(device.name))
    precision = best_precision(device.name)
    clock.begin("fit")
    picture = folder / "style.png"
    style(HANDS[0], 1).save(picture)
    network, start, step = _fitted(picture, device.name)
    checkpoint = folder / "look.safetensors"
    save_checkpoint(Checkpoint(network), checkpoint)
    look = Look((StyleImage(picture, 1.0, digest_of(picture)),), quality=Quality.DRAFT)
    speeds: list[Speed] = []
    left_out = []
    for name, size in sizes.items():
        if speeds and _seconds(speeds[-1], size) > LIMIT_SECONDS - clock.passed:
            left_out.append(name)
            continue
        clock.begin(name)
        speeds.append(_speed(name, size, look, checkpoint, device.name, folder))
    return DeviceSpeed(device.label, device.memory, precision, tried, step, start, tuple(speeds), tuple(left_out))


def _seconds(known: Speed, size: tuple[int, int]) -> float:
    """About how long it takes to measure a size, from another one: both kinds of painting, and the clip."""
    share = size[0] * size[1] / (known.width * known.height)
    frame = share / known.paint
    return max(PAINT_SECONDS, 2 * frame) + max(WHOLE_SECONDS, 4 * frame) + (LOOP + MOST_FRAMES) * share / known.encode / 4


def _fitted(picture: Path, device: str) -> tuple[TransformNetwork, float, float]:
    """A network after a few steps of a fit; seconds before the first one, and of one."""
    import torch

    from stylizer.fit import fit
    from stylizer.styles import load_style

    frames = torch.stack([torch.from_numpy(np.array(_scene(n, *FIT_SIZE))).permute(2, 0, 1) for n in range(12)])
    shown: list[TransformNetwork] = []
    times: list[float] = []

    def watch(network: TransformNetwork) -> None:
        if not shown:
            shown.append(network)
            times.append(time.perf_counter())

    def progress(done: int, _total: int) -> None:
        times.append(time.perf_counter())
        if done == STEPS or (done > WARM_STEPS and times[-1] - times[0] > STEP_SECONDS):
            raise _EnoughError

    style = torch.from_numpy(load_style(picture, 1024).copy()).permute(2, 0, 1).float() / 255
    began = time.perf_counter()
    with contextlib.suppress(_EnoughError):
        fit([style], [1.0], frames, quality=Quality.STANDARD, device=device, progress=progress, watch=watch)
    steps = [after - before for before, after in pairwise(times)]
    return shown[0].cpu().eval().requires_grad_(False), times[0] - began, statistics.median(steps[WARM_STEPS:])


def _speed(name: str, size: tuple[int, int], look: Look, checkpoint: Path, device: str, folder: Path) -> Speed:
    """Every stage alone, then all together: a chunk, carried out by a worker's own code."""
    from stylizer.checkpoint import load_checkpoint
    from stylizer.stylize import Stylizer
    from stylizer.video import Reader, VideoWriter, probe

    source, target, encoding = folder / f"{name}.mp4", folder / "out.mp4", Encoding()
    _write(source, size, MOST_FRAMES)
    clip = probe(source)
    painter = Stylizer(load_checkpoint(checkpoint).network, device=device)
    reader = Reader(clip, FrameRange(0, LOOP))
    began = time.perf_counter()
    frames = list(reader)
    decode = len(frames) / (time.perf_counter() - began)
    with VideoWriter(folder / "alone.nut", clip, target, encoding, size) as writer:
        wanted = writer.layout
        writer.write(Frame(tuple(np.zeros(shape, np.uint8) for shape in wanted.shapes(*size)), 0))
    painted, paint = _painted(painter, frames, lambda f: painter.frame(f.planes, reader.layout, wanted, size))
    began = time.perf_counter()
    with VideoWriter(folder / "alone.nut", clip, target, encoding, size) as writer:
        for number, planes in enumerate(painted):
            writer.write(Frame(planes, number * (frames[1].time - frames[0].time)))
    encode = len(painted) / (time.perf_counter() - began)
    count = max(2 * painter.lanes, min(MOST_FRAMES, round(paint * WHOLE_SECONDS)))
    spec = ChunkSpec(
        "bench", clip, FrameRange(0, count), look, checkpoint, folder / "whole.nut", target, size, encoding, device, "auto"
    )
    with Peak() as peak:
        seconds = _carried_out(spec, folder)
    own = _device_memory(device)
    return Speed(name, *size, paint, decode, encode, count / seconds, count, peak.bytes, own)


def _painted(
    painter: Stylizer, frames: Sequence[Frame], act: Callable[[Frame], tuple[Plane, ...]]
) -> tuple[list[tuple[Plane, ...]], float]:
    """Frames painted, as many at a time as a worker would, and how many a second."""
    import torch

    from stylizer.overlap import abreast

    lanes = painter.lanes
    threads = max(1, torch.get_num_threads() // lanes)

    def rounds(count: int) -> tuple[list[tuple[Plane, ...]], float]:
        began = time.perf_counter()
        made = list(abreast(act, islice(cycle(frames), count), lanes, lambda: torch.set_num_threads(threads)))
        return made, time.perf_counter() - began

    made, seconds = rounds(lanes)
    count = max(lanes, min(MOST_FRAMES, round(PAINT_SECONDS * lanes / seconds) // lanes * lanes))
    if count > lanes or painter.device.type != "cpu":
        # What was done once for all was in the first round; where a frame takes seconds it is little.
        made, seconds = rounds(count)
    return made, len(made) / seconds


def _carried_out(spec: ChunkSpec, folder: Path) -> float:
    """Seconds that a worker takes for a chunk, as it says itself. JobFailed if it could not."""
    from stylizer.worker import main as work

    path, said = folder / "spec.json", io.StringIO()
    path.write_text(dumps(spec), encoding="utf-8")
    with contextlib.redirect_stdout(said):
        work([str(path)])
    lines = [line for text in said.getvalue().splitlines() if (line := hear(text))]
    if not lines or lines[-1].kind != "finished":
        why = lines[-1].message if lines else "it said nothing"
        raise JobFailed(f"A chunk of {spec.size[0]} x {spec.size[1]} could not be painted: {why}", hint="stylizer doctor")
    return lines[-1].seconds


def _device_memory(device: str) -> int:
    """Bytes of a CUDA device that torch has taken at most since the last time it was asked."""
    import torch

    if not device.startswith("cuda"):
        return 0
    most = torch.cuda.max_memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    return most


# ---- the clip ----


def _scene(number: int, width: int, height: int) -> Image.Image:
    """A frame of an imagined clip, with the grain that real ones have."""
    from stylizer.demo_pictures import scene

    drawn = scene(0, 480, 270, number / 24).resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(number).normal(0, 4, (height, width, 1))
    return Image.fromarray((np.asarray(drawn) + grain).clip(0, 255).astype(np.uint8))


def _write(path: Path, size: tuple[int, int], frames: int) -> None:
    """An H.264 clip of so many frames: a few different ones, again and again."""
    with av.open(str(path), "w") as out:
        options = {"preset": "ultrafast", "g": str(LOOP), "bf": "0", "crf": "23"}
        stream = out.add_stream("libx264", rate=24, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        drawn = [av.VideoFrame.from_ndarray(np.asarray(_scene(n, *size)), format="rgb24") for n in range(LOOP)]
        kept = [packet for frame in [*drawn, None] for packet in stream.encode(frame)]
        for number in range(frames):
            like = kept[number % LOOP]
            packet = av.Packet(bytes(like))
            packet.stream, packet.is_keyframe = stream, like.is_keyframe
            packet.pts = packet.dts = number
            packet.time_base = Fraction(1, 24)
            out.mux(packet)


def main(arguments: list[str], load_seconds: float) -> int:
    """Measure and say it; the exit code is that of an error."""

    def say(**values: object) -> None:
        # stdout is this program's output, a protocol; console.py is for people.
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()

    try:
        found = bench(
            arguments[0] if arguments else "auto",
            load_seconds=load_seconds,
            tell=lambda part, passed, left: say(kind="progress", part=part, passed=round(passed, 1), left=round(left, 1)),
        )
    except StylizerError as error:
        say(kind="failed", code=error.code, message=error.message, hint=error.hint)
        return error.exit_code
    say(kind="finished", bench=pack(found))
    return 0


if __name__ == "__main__":
    keep_memory()
    import stylizer.worker  # noqa: F401 - what a worker loads, to know how long that takes

    sys.exit(main(sys.argv[1:], time.time() - psutil.Process().create_time()))
