"""Results on their way home."""

from __future__ import annotations

from pathlib import Path

from backends.azure.errands import result_name
from backends.azure.storage import Container
from stylizer.archive import unpack_pictures
from stylizer.jobs import MediaKind
from stylizer.wire import FitSpec, Spec

MOST_CHECKPOINT = 1 << 30
ROOM = 64 << 20


def land(media: Container, run: str, spec: Spec, size: int) -> Path:
    """Make the result of a spec, which has `size` bytes in Blob, exist at its output, whole or not at all. A node wrote it:
    it may hold anything, but no more than it said, and than it can be. BackendRejected otherwise.
    """
    name, most = result_name(run, spec.id), min(size, largest(spec))
    if spec.clip.kind is not MediaKind.SEQUENCE or spec.output.suffix:
        return media.download(name, spec.output, most=most)
    archive = media.download(name, spec.output.with_name(f"{spec.output.name}.zip"), most=most)
    part = spec.output.with_name(f"{spec.output.name}.part")
    unpack_pictures(archive, part, most=spec.clip.frames, most_bytes=most)
    part.replace(spec.output)
    archive.unlink()
    return spec.output


def largest(spec: Spec) -> int:
    """Bytes that a result cannot exceed: every pixel in eight, which no codec takes, and what belongs to the file."""
    if isinstance(spec, FitSpec):
        return MOST_CHECKPOINT
    width, height = spec.size
    return 8 * width * height * len(spec.frames) + ROOM
