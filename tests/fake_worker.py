"""A real worker process without torch: speaks wire.py, and misbehaves as STYLIZER_FAKE tells it.

STYLIZER_FAKE is JSON: {"pace": seconds a chunk, "paces": {device: seconds},
"fates": {START or CLIP: fate}}; START is a chunk's first frame or "fit",
CLIP the name of its file.
Fates: crash, crash-once, hang, hog, lie, garbage, fail, input, silent, oom, refuse, clone. Each start is noted in "notes".
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from stylizer.files import digest_of, settle
from stylizer.wire import ChunkSpec, FitSpec, Line, Spec, loads, pack, say


def given() -> Iterator[str]:
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        # Not sys.stdin: its lock, held by this thread, would abort the interpreter's shutdown.
        rest = b""
        while piece := os.read(0, 1 << 16):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                lines.put(line.decode())
        os._exit(3)

    threading.Thread(target=listen, daemon=True).start()
    while line := lines.get():
        yield line


def tell(line: Line) -> None:
    print(say(line), flush=True)


def write(spec: Spec) -> int:
    spec.output.parent.mkdir(parents=True, exist_ok=True)
    part = spec.output.with_name(spec.output.name + ".part")
    if isinstance(spec, FitSpec):
        header = json.dumps({"fake": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
        part.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
        frames = 10
    else:
        part.write_text(json.dumps(pack(spec.frames)), encoding="utf-8")
        frames = len(spec.frames)
    settle(part, spec.output)
    return frames


def carry_out(spec: Spec, told: dict) -> None:
    name = "fit" if isinstance(spec, FitSpec) else str(spec.frames.start)
    fate = told.get("fates", {}).get(name) or told.get("fates", {}).get(spec.clip.path.name, "")
    if notes := told.get("notes"):
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write(f"{spec.id} {os.getpid()} {spec.device}\n")
    if fate == "crash-once":
        fate = "crash" if spec.id.endswith("-1") else ""
    if fate == "crash":
        print("about to crash", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV) if hasattr(signal, "SIGSEGV") else os._exit(139)
    if fate == "oom":
        os._exit(137)
    if fate == "hog" and isinstance(spec, ChunkSpec):
        hoard = [b""]
        while True:
            # Not silent, however slowly the machine hands it out.
            hoard.append(b"x" * (1 << 26 if len(hoard) <= 16 else 0))
            tell(Line("progress", spec.id, done=1, total=10, fps=5.0))
            time.sleep(0.02)
    if fate == "hang":
        time.sleep(600)
    if fate == "silent":
        os._exit(0)
    if fate in ("fail", "input"):
        told_to = Line("failed", spec.id, code=fate, message=f"It was told to {fate}.", hint="Do.", retryable=fate == "fail")
        tell(told_to)
        return
    if fate == "garbage":
        print(
            "\x00\xff not ours {", '{"kind": "finished"}', "[" * 50_000, '{"kind":"finished","id":5}', sep="\n", flush=True
        )
        tell(Line("finished", "someone-else", frames=1, digest="00"))
    started = time.monotonic()
    tell(Line("progress", spec.id, done=1, total=10, fps=5.0))
    time.sleep(told.get("paces", {}).get(spec.device, told.get("pace", 0.0)))
    frames = write(spec)
    digest = "0" * 64 if fate == "lie" else digest_of(spec.output)
    tell(Line("finished", spec.id, frames=frames, digest=digest, seconds=time.monotonic() - started + 1e-3))


def main() -> int:
    told = json.loads(os.environ.get("STYLIZER_FAKE", "{}"))
    for text in [Path(name).read_text(encoding="utf-8") for name in sys.argv[1:]] or given():
        spec = loads(text)
        if told.get("fates", {}).get(str(spec.frames.start) if isinstance(spec, ChunkSpec) else "fit") == "refuse":
            print("cannot understand one of these", file=sys.stderr)
            return 2
        carry_out(spec, told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
