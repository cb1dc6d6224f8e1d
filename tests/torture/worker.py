"""A worker that paints without a network: each frame's negative. Reads and writes real media, starts in no time, and its
pictures depend on the source alone, so that an output can be compared with an undisturbed run's.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

from stylizer.encode import VideoWriter
from stylizer.errors import StylizerError
from stylizer.files import digest_of, settle
from stylizer.frames import Frame
from stylizer.source import check_unchanged
from stylizer.video import Reader
from stylizer.wire import ChunkSpec, FitSpec, Line, Spec, loads, say
from tests.media import adapted

FRAME_SECONDS = float(os.environ.get("STYLIZER_TORTURE_PACE", "0.002"))


def given() -> Iterator[str]:
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        rest = b""
        while piece := os.read(0, 1 << 16):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                lines.put(line.decode())
        os._exit(3)

    threading.Thread(target=listen, daemon=True).start()
    while line := lines.get():
        yield line


def fit(spec: FitSpec) -> int:
    """The smallest file that passes for a checkpoint."""
    header = json.dumps({"negative": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    part = spec.output.with_name(f"{spec.output.name}.{os.getpid()}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    settle(part, spec.output)
    return 1


def paint(spec: ChunkSpec) -> int:
    reader = Reader(spec.clip, spec.frames)
    part = spec.output.with_name(spec.output.name + ".part")
    with VideoWriter(part, spec.clip, spec.target, spec.encoding, spec.size) as writer:
        for done, frame in enumerate(reader, 1):
            planes = adapted(frame.planes, reader.layout, writer.layout, spec.size)
            writer.write(Frame((np.ascontiguousarray(255 - planes[0]), *planes[1:]), frame.time, frame.duration))
            time.sleep(FRAME_SECONDS)
            if done % 8 == 0:
                print(say(Line("progress", spec.id, done=done, total=len(spec.frames), fps=100.0)), flush=True)
    settle(part, spec.output)
    return len(spec.frames)


def carry_out(spec: Spec) -> None:
    try:
        check_unchanged(spec.clip)
        frames = fit(spec) if isinstance(spec, FitSpec) else paint(spec)
        line = Line("finished", spec.id, frames=frames, digest=digest_of(spec.output), seconds=0.1)
    except StylizerError as error:
        line = Line("failed", spec.id, code=error.code, message=error.message, hint=error.hint, retryable=True)
    except OSError as error:
        line = Line("failed", spec.id, code="output", message=f"It cannot be written: {error}.", retryable=True)
    print(say(line), flush=True)


if __name__ == "__main__":
    for text in given():
        carry_out(loads(text))
    sys.exit(0)
