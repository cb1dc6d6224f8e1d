"""Small values and a store to test with, and waiting with a deadline."""

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from stylizer.config import Config, Places, RunDefaults
from stylizer.errors import InputError
from stylizer.jobs import Clip, Encoding, FrameRange, Job, Look, MediaKind, StyleImage
from stylizer.runner import is_whole
from stylizer.wire import ChunkSpec, FitSpec
from stylizer.work import Media


def clip(folder: Path, name: str = "clip.mp4", frames: int = 240, kind: MediaKind = MediaKind.VIDEO) -> Clip:
    path = folder / name
    if not path.exists():
        path.write_bytes(b"a clip, as far as these tests go")
    return Clip(path, kind, 64, 48, frames, Fraction(24), frames / 24, "h264", "yuv420p", 0, 1, mark(path))


def mark(path: Path) -> str:
    return f"mark {path.stat().st_size}"


def unchanged(given: Clip) -> None:
    if not given.path.exists() or mark(given.path) != given.fingerprint:
        raise InputError(f"The source {given.path} has changed.", hint="Look.")


def look(folder: Path, strength: float = 1.0) -> Look:
    return Look((StyleImage(folder / "art.jpg", 1.0, "ab" * 32),), strength)


def places(root: Path) -> Places:
    return Places(root / "config.toml", root / "jobs.db", root / "work", root / "cache", root / "logs")


def config(**changes: float) -> Config:
    return Config(run=RunDefaults(**{"chunk_seconds": 1.0, **changes}))  # type: ignore[arg-type]


def join(job: Job, chunks: Sequence[Path], frames: int) -> Sequence[str]:
    """The stand-in for assembling media: chunk files one after the other, published whole."""
    part = job.output.with_name(job.output.name + ".part")
    part.write_bytes(b"".join(path.read_bytes() for path in chunks))
    part.replace(job.output)
    return (f"{frames} frames",)


def media(root: Path) -> Media:
    return Media(
        check=unchanged,
        size=lambda job: (job.clip.width, job.clip.height),
        checkpoint=lambda job: root / "cache" / f"{job.clip.path.stem}-{job.look.brush:g}.safetensors",
        is_whole=is_whole,
        assemble=join,
    )


def chunk_spec(folder: Path, index: int = 0, attempt: int = 1, device: str = "auto") -> ChunkSpec:
    name = f"1-{index:05}-{attempt}"
    return ChunkSpec(
        name,
        clip(folder),
        FrameRange(index * 24, index * 24 + 24),
        look(folder),
        folder / "look.safetensors",
        folder / "work" / f"{name}.nut",
        folder / "out.mp4",
        (64, 48),
        Encoding(),
        device,
        "auto",
    )


def fit_spec(folder: Path) -> FitSpec:
    return FitSpec("1-fit-1", clip(folder), look(folder), folder / "cache" / "look.safetensors", "auto", "auto")


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for the condition; fail if it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
