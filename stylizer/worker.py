"""Carry out specs: fit a look, paint chunks of frames. A process of its own; it speaks wire.py on stdout.

Decoding, painting and encoding overlap; on a CPU as many frames are painted at a time as there are cores (overlap.py).
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from stylizer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stylizer.config import places
from stylizer.errors import InputError, StylizerError
from stylizer.files import digest_of, glimpse_of, settle
from stylizer.fit import fit
from stylizer.frames import Frame, Layout
from stylizer.glimpse import Glimpse
from stylizer.jobs import Look, MediaKind, Quality
from stylizer.machine import keep_memory
from stylizer.overlap import abreast, apart
from stylizer.pictures import PictureWriter
from stylizer.reference import ReferencePainter, load_teacher
from stylizer.samples import sample_frames
from stylizer.source import check_unchanged
from stylizer.styles import load_style
from stylizer.stylize import Stylizer
from stylizer.video import Reader, VideoWriter
from stylizer.wire import FRAME_TIMES, ChunkSpec, FitSpec, Line, Spec, loads, say

AHEAD = 4
"""Frames that decoding may be ahead of painting, and painting of encoding: memory stays flat."""
SAMPLES = 16
"""Frames of the clip, spread over all of it, that a fit sees."""
PROGRESS_SECONDS = 0.5

T = TypeVar("T")
Painter = Stylizer | ReferencePainter


def main(arguments: list[str]) -> int:
    """Carry out the spec files in order, or without any the specs that come on stdin; returns the exit code (wire.py)."""
    painters: dict[tuple[object, ...], Painter] = {}
    results = []
    try:
        texts = (Path(name).read_text(encoding="utf-8") for name in arguments) if arguments else _given()
        # All files are understood before the first is carried out; what comes on stdin cannot be known before.
        specs = iter([loads(text) for text in texts]) if arguments else map(loads, texts)
        while (spec := next(specs, None)) is not None:
            results.append(_carry_out(spec, painters))
    except (OSError, UnicodeDecodeError, StylizerError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0 if all(results) else 1


def _given() -> Iterator[str]:
    """Specs from stdin, until an empty line. At its end whoever started this worker is gone, and so is the worker."""
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        # Not sys.stdin: its lock, held by a thread that waits, aborts the interpreter when it wants to end.
        rest = b""
        while piece := os.read(0, 1 << 16):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                lines.put(line.decode("utf-8", "replace"))
        os._exit(3)

    threading.Thread(target=listen, daemon=True).start()
    while line := lines.get().strip():
        yield line


def _tell(line: Line) -> None:
    # T201: stdout is this program's output, a protocol; console.py is for people.
    sys.stdout.write(say(line) + "\n")
    sys.stdout.flush()


def _carry_out(spec: Spec, painters: dict[tuple[object, ...], Painter]) -> bool:
    started = time.monotonic()
    try:
        check_unchanged(spec.clip)
        frames = _fit(spec) if isinstance(spec, FitSpec) else _paint(spec, painters)
        digest = digest_of(spec.output)
        _tell(Line("finished", spec.id, frames=frames, digest=digest, seconds=time.monotonic() - started))
    except StylizerError as error:
        retryable = not isinstance(error, InputError)
        _tell(Line("failed", spec.id, code=error.code, message=error.message, hint=error.hint, retryable=retryable))
    except (torch.OutOfMemoryError, MemoryError) as error:
        hint = "Close other programs that use its memory, or choose a smaller --size."
        _tell(
            Line(
                "failed", spec.id, code="memory", message=f"The device ran out of memory: {error}", hint=hint, retryable=True
            )
        )
    except OSError as error:
        message = f"The chunk could not be written or read: {error}."
        _tell(Line("failed", spec.id, code="output", message=message, hint="Free some disk space.", retryable=True))
    except Exception as error:  # a bug or a library's: one chunk fails, with its story in the log
        traceback.print_exc()
        message = f"The worker met an error of its own: {type(error).__name__}: {error}"
        _tell(Line("failed", spec.id, code="internal", message=message[:2000], hint="See the chunk's log.", retryable=True))
    else:
        return True
    return False


def _fit(spec: FitSpec) -> int:
    look = spec.look
    samples, positions = sample_frames(spec.clip, look.size, SAMPLES)
    middle = len(samples) // 2
    glimpse = Glimpse(samples[middle], positions[middle], look, glimpse_of(spec.output))
    told = first = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told, first
        now = time.monotonic()
        # The first step pays for what the libraries set up once.
        first = first or now
        if now - told > PROGRESS_SECONDS or done == total:
            told = now
            fps = round((done - 1) / (now - first), 4) if done > 1 else 0.0
            _tell(Line("progress", spec.id, done=done, total=total, fps=fps))

    checkpoint = fit(
        _styles(look),
        [s.weight for s in look.styles],
        samples,
        quality=Quality(look.quality),
        brush=look.brush,
        keep_color=look.keep_color,
        seed=look.seed,
        device=spec.device,
        precision=spec.precision,
        progress=progress,
        watch=glimpse,
    )
    if glimpse.begun:
        glimpse.paint(checkpoint.network)
    facts = {
        "styles": ", ".join(s.path.name for s in look.styles),
        "weights": ", ".join(f"{s.weight:g}" for s in look.styles),
        "digests": ", ".join(s.digest for s in look.styles),
        "clip": spec.clip.path.name,
        "quality": str(look.quality),
        "brush": f"{look.brush:g}",
        "keep_color": "yes" if look.keep_color else "no",
        "seed": str(look.seed),
        "made": time.strftime("%Y-%m-%d %H:%M:%S"),
        **checkpoint.facts,
    }
    save_checkpoint(Checkpoint(checkpoint.network, facts), spec.output)
    if facts.get("kept") == "guess":
        _tell(Line("note", spec.id, text="The fit made the picture no better; the first guess is used."))
    return int(facts["steps"])


def _paint(spec: ChunkSpec, painters: dict[tuple[object, ...], Painter]) -> int:
    key = (spec.checkpoint, spec.look, spec.device, spec.precision)
    if key not in painters:
        painters.clear()
        painters[key] = _painter(spec)
    painter = painters[key]
    part = spec.output.with_name(spec.output.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    _clear(part)
    reader = Reader(spec.clip, spec.frames)
    is_video = spec.clip.kind is MediaKind.VIDEO
    make: Callable[..., VideoWriter | PictureWriter] = VideoWriter if is_video else PictureWriter
    try:
        with make(part, spec.clip, spec.target, spec.encoding, spec.size) as writer:
            done = _pipeline(spec, reader, painter, writer.layout, writer.write)
        _clear(spec.output)
        settle(part, spec.output)
    finally:
        _clear(part)
    if reader.skipped:
        _tell(Line("note", spec.id, text=f"{reader.skipped} frames could not be decoded and are left out."))
    return done


def _painter(spec: ChunkSpec) -> Painter:
    look, network = spec.look, load_checkpoint(spec.checkpoint).network
    if look.quality is not Quality.REFERENCE:
        return Stylizer(
            network, device=spec.device, precision=spec.precision, strength=look.strength, keep_color=look.keep_color
        )
    teacher = load_teacher(places().teacher)
    samples, _ = sample_frames(spec.clip, look.size, SAMPLES)
    return ReferencePainter(
        network,
        teacher,
        _styles(look),
        [style.weight for style in look.styles],
        samples,
        brush=look.brush,
        keep_color=look.keep_color,
        strength=look.strength,
        device=spec.device,
        precision=spec.precision,
    )


def _styles(look: Look) -> list[torch.Tensor]:
    return [torch.from_numpy(load_style(s.path, 2048).copy()).permute(2, 0, 1).float() / 255 for s in look.styles]


def _pipeline(spec: ChunkSpec, reader: Reader, painter: Painter, wanted: Layout, write: Callable[[Frame], None]) -> int:
    done, told, started = 0, time.monotonic(), time.monotonic()
    times, ended = [], started

    def alive(share: float) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            fps = round((done + share) / (told - started), 4)
            _tell(Line("progress", spec.id, done=done, total=len(spec.frames), fps=fps))

    if isinstance(painter, ReferencePainter):
        # A frame takes minutes: who says nothing for long is taken for dead.
        painter.progress = lambda step, steps: alive(step / steps)

    def paint(frame: Frame) -> Frame:
        return Frame(painter.frame(frame.planes, reader.layout, wanted, spec.size), frame.time, frame.duration)

    if isinstance(painter, Stylizer):
        painter.tell = lambda text: _tell(Line("note", spec.id, text=text))
    lanes = painter.lanes if isinstance(painter, Stylizer) else 1
    threads = max(1, torch.get_num_threads() // lanes)
    painted = abreast(paint, apart(iter(reader), AHEAD), lanes, lambda: torch.set_num_threads(threads))
    for _ in apart(_each(write, apart(painted, AHEAD)), AHEAD):
        done += 1
        now = time.monotonic()
        times.append(round(1000 * (now - ended), 2))
        ended = now
        if now - told > PROGRESS_SECONDS or done == len(spec.frames):
            told = now
            fps = round(done / (now - started), 2)
            _log_times(spec.id, done - len(times), times)
            times.clear()
            _tell(Line("progress", spec.id, done=done, total=len(spec.frames), fps=fps))
    return done


def _log_times(name: str, first: int, times: list[float]) -> None:
    if os.environ.get(FRAME_TIMES):
        line = {"kind": "frames", "id": name, "at": round(time.time(), 3), "first": first, "ms": times}
        sys.stdout.write(json.dumps(line) + "\n")


def _each(act: Callable[[T], None], items: Iterator[T]) -> Iterator[None]:
    for item in items:
        act(item)
        yield


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    keep_memory()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: to take torch down in order takes half a second, and somebody waits.
    os._exit(code)
