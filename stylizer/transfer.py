"""On a rented node: fetch what a spec needs, let the worker carry it out, hand back what came of it. No SDK, no credential.

    python -m stylizer.transfer ID GIVEN.json

GIVEN.json holds an `Errand` for each id, with short-lived links that each read or write one blob; it is deleted as soon
as it is read. What came of the spec is said in small blobs that the backend lists, their facts in the metadata:

    state/ID.progress   done, total, fps, node            every few seconds
    state/ID.failed     node; the worker's words as JSON inside
    state/ID.done       frames, digest, size, seconds, node: written last, so that all else is there when it is

Its log goes to logs/ID.log, and line by line into one log of the whole run, to which links only add.

A spec that is done already is not carried out again: Batch starts a task anew when its node was taken away.
Exit: 0 done, 1 failed and said so, 2 the errand could not be understood, 3 failed and could not say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from backends.process import Process, ending
from stylizer.archive import pack_pictures, plain, unpack_pictures
from stylizer.blobs import Broken, append, fetch, is_there, put, put_file
from stylizer.errors import InputError
from stylizer.files import digest_of, settle
from stylizer.jobs import MediaKind
from stylizer.wire import FRAME_TIMES, FitSpec, Line, Spec, dumps, hear, loads, say, unpack

VERSION = 2
MOST_GIVEN = 32 << 20
"""Bytes of GIVEN.json."""
WORKER = (sys.executable, "-P", "-m", "stylizer.worker")
MEMORY_SHARE = 0.85
"""Of the node's memory that its workers may take."""
MOUNTS = "AZ_BATCH_NODE_MOUNTS_DIR"
"""Where Batch mounts what the pool was told to mount."""
MOST_MERGED = 4_000_000
"""Bytes of one chunk's log that go into the run's."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file that the spec names, by the plain name that it has there."""

    name: str
    digest: str
    size: int
    link: str
    """Empty where it is on a mount."""
    mount: str = ""
    """MOUNT/its/path, below the folder of mounts."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a node needs for one spec. Paths in the spec are plain names; every link is for one blob."""

    spec: str
    """As `wire.dumps` writes it."""
    inputs: tuple[Input, ...]
    device: str
    gpus: int
    """Of the node: as many errands run at once."""
    stall_seconds: float
    progress_seconds: float
    result: str
    log: str
    run_log: str
    """Adds to the log of the whole run, and does nothing else."""
    progress: str
    failed: str
    done: str
    is_done: str
    """Reads what `done` writes."""


def given(text: str, name: str) -> Errand:
    """The errand of that id; InputError if there is none or it is not understood."""
    try:
        raw = json.loads(text)
        if raw["version"] != VERSION:
            raise InputError(
                f"What this node was given speaks version {raw['version']}, the stylizer on it version {VERSION}.",
                hint="Use the same stylizer on the nodes' image as here.",
            )
        found = unpack(Errand, raw["errands"][name])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"What this node was given is not understood: {error}.") from None
    assert isinstance(found, Errand)
    return found


def main(arguments: list[str]) -> int:
    """Carry out one errand in the working folder; returns the exit code."""
    name, file = arguments[0], Path(arguments[1])
    try:
        if file.stat().st_size > MOST_GIVEN:
            raise InputError("What this node was given is too much.")
        text = file.read_text(encoding="utf-8")
        errand = given(text, name)
        spec = loads(errand.spec)
    except (OSError, UnicodeDecodeError, InputError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        # Others on this node have no business with the links in it.
        file.unlink(missing_ok=True)
    try:
        if is_there(errand.is_done):
            return 0
        return 0 if _carry_out(errand, spec, Path.cwd()) else 1
    except Broken as error:
        sys.stderr.write(f"{error}\n")
        with contextlib.suppress(Broken):
            _fail(errand, Line("failed", spec.id, code="transfer", message=str(error), retryable=True))
            return 1
        return 3


def _carry_out(errand: Errand, spec: Spec, folder: Path) -> bool:
    try:
        with one_gpu(errand.gpus) as variables:
            here = replace(_staged(errand, spec, folder), device=errand.device)
            line, log, notes = _work(errand, here, folder / "logs", variables)
            if line.kind == "finished":
                packed = _packed(here)
                if line.digest != digest_of(here.output):
                    line = Line(
                        "failed", spec.id, code="output", message="The node's disk lost what was painted.", retryable=True
                    )
    except InputError as error:
        line, log, notes = Line("failed", spec.id, code=error.code, message=error.message, hint=error.hint), None, []
    except OSError as error:
        message = f"The node's disk cannot be written or read: {error}."
        line, log, notes = Line("failed", spec.id, code="output", message=message, retryable=True), None, []
    if log and log.exists():
        put_file(errand.log, log)
        # Nobody paints anew for a log.
        with contextlib.suppress(Broken):
            append(errand.run_log, merged(log, spec.id))
    if line.kind != "finished":
        _fail(errand, line)
        return False
    put_file(errand.result, packed)
    facts = {
        "frames": str(line.frames),
        "digest": line.digest,
        "size": str(packed.stat().st_size),
        "seconds": f"{line.seconds:.3f}",
        "notes": str(len(notes)),
        "node": _node(),
    }
    put(errand.done, json.dumps(notes).encode(), facts)
    return True


def _fail(errand: Errand, line: Line) -> None:
    put(errand.failed, say(line).encode(), {"node": _node()})


def _node() -> str:
    return "".join(letter for letter in os.environ.get("AZ_BATCH_NODE_ID", "") if letter.isalnum() or letter in "-_")[:64]


def merged(log: Path, name: str) -> bytes:
    """A spec's log as lines of JSON that say what they are of."""
    origin, lines, size = {"of": name, "node": _node()}, [], 0
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        words = found if isinstance(found, dict) and "kind" in found else {"kind": "text", "text": text}
        lines.append(json.dumps({**origin, **words}).encode() + b"\n")
        size += len(lines[-1])
        if size > MOST_MERGED:
            break
    return b"".join(lines[:-1] if size > MOST_MERGED else lines)


# ---- what goes in ----


def _staged(errand: Errand, spec: Spec, folder: Path) -> Spec:
    """The spec with its files here, checked. A node fetches each content once for all its errands."""
    cache = Path(os.environ.get("AZ_BATCH_NODE_SHARED_DIR") or folder) / "stylizer-inputs"
    cache.mkdir(parents=True, exist_ok=True)
    for one in errand.inputs:
        place = folder / plain(one.name)
        place.unlink(missing_ok=True)
        if one.mount:
            place.symlink_to(_mounted(one, cache))
            continue
        kept = _fetched(one, cache)
        try:
            place.hardlink_to(kept)
        except OSError:
            shutil.copyfile(kept, place)
    from stylizer.source import fingerprint  # noqa: PLC0415  # PyAV

    source = folder / plain(spec.clip.path.name)
    if spec.clip.kind is MediaKind.SEQUENCE:
        unpack_pictures(folder / f"{source.name}.zip", source, most=spec.clip.frames)
    clip = replace(spec.clip, path=source, fingerprint=fingerprint(source))
    output = folder / plain(spec.output.name)
    if isinstance(spec, FitSpec):
        styles = tuple(replace(style, path=folder / plain(style.path.name)) for style in spec.look.styles)
        return replace(spec, clip=clip, output=output, look=replace(spec.look, styles=styles))
    return replace(
        spec,
        clip=clip,
        output=output,
        checkpoint=folder / plain(spec.checkpoint.name),
        target=folder / plain(spec.target.name),
    )


def _fetched(one: Input, cache: Path) -> Path:
    kept = cache / plain(one.digest)
    if not kept.exists():
        part = cache / f"{one.digest}.{os.getpid()}.part"
        fetch(one.link, part, one.size)
        if digest_of(part) != one.digest:
            part.unlink()
            raise Broken(f"{one.name} did not arrive as it was sent.")
        settle(part, kept)
    return kept


def _mounted(one: Input, cache: Path) -> Path:
    """A file where it is mounted, read through once by each node to see that it is the one that was meant."""
    path = Path(os.environ.get(MOUNTS, "/nowhere")).joinpath(*map(plain, one.mount.split("/")))
    checked = cache / f"{plain(one.digest)}.mounted"
    if not checked.exists():
        if not path.is_file():
            raise Broken(f"{one.mount} is not on the mounts of this node; look at azure.mounts in the config.")
        if digest_of(path) != one.digest:
            raise Broken(f"{one.mount} is another file on this node than where it was given.")
        checked.touch()
    return path


# ---- what the worker does ----


def _work(errand: Errand, spec: Spec, logs: Path, variables: Mapping[str, str]) -> tuple[Line, Path, list[str]]:
    """Let the worker carry out the spec: its last line, its log, its notes."""
    most = int(psutil.virtual_memory().total * MEMORY_SHARE / max(1, errand.gpus))
    os.environ.update({**variables, FRAME_TIMES: "1"})
    process = Process(WORKER, logs, errand.stall_seconds, most)
    teller, notes = Teller(errand.progress, errand.progress_seconds), []
    log = logs / f"{spec.id}.log"
    last: Line | None = None
    try:
        process.give(spec.id, dumps(spec))
        for text in process.lines():
            line = hear(text)
            if line is None or line.id != spec.id:
                process.log(text)
                continue
            process.log(json.dumps({"at": round(time.time(), 3), **json.loads(say(line))}))
            sys.stdout.write(say(line) + "\n")
            sys.stdout.flush()
            if line.kind == "progress":
                teller.tell(line)
            elif line.kind == "note":
                notes.append(line.text[:2000])
            else:
                last = line
                break
        process.dismiss()
    finally:
        process.finish()
        teller.close()
    if last is None:
        sentence, hint = ending(process.code or 0, process.reason, errand.stall_seconds)
        process.blame(spec.id)
        last = Line("failed", spec.id, code="worker", message=sentence, hint=hint, retryable=process.code != 2)
    return last, log, notes[-100:]


class Teller:
    """Writes how far the worker is, every so many seconds, aside: painting does not wait for it."""

    def __init__(self, link: str, seconds: float) -> None:
        self._link, self._seconds = link, seconds
        self._line: Line | None = None
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tell(self, line: Line) -> None:
        self._line = line
        self._changed.set()

    def close(self) -> None:
        self._closed.set()
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._changed.wait()
            self._changed.clear()
            if self._line and not self._closed.is_set():
                facts = {"done": str(self._line.done), "total": str(self._line.total), "fps": f"{self._line.fps:g}"}
                # Nobody misses one: the next says more.
                with contextlib.suppress(Broken):
                    put(self._link, b"", {**facts, "node": _node()}, tries=1)
                self._closed.wait(self._seconds)


@contextlib.contextmanager
def one_gpu(count: int) -> Iterator[dict[str, str]]:
    """One of the node's GPUs for ourselves, as environment variables; nothing to choose where there is one or none."""
    if count < 2:
        yield {}
        return
    folder = Path(os.environ.get("AZ_BATCH_NODE_SHARED_DIR") or Path.cwd())
    while True:
        for number in range(count):
            lock = FileLock(folder / f"gpu-{number}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield {"CUDA_VISIBLE_DEVICES": str(number)}
            finally:
                lock.release()
            return
        time.sleep(0.5)


# ---- what comes out ----


def _packed(spec: Spec) -> Path:
    """The output as one file."""
    if not spec.output.is_dir():
        return spec.output
    archive = spec.output.with_name(spec.output.name + ".zip")
    pack_pictures(spec.output.iterdir(), archive)
    return archive


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
