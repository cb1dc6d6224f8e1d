"""Results on their way home."""

from __future__ import annotations

from pathlib import Path

from backends.azure.errands import result_name
from backends.azure.storage import Container
from stylizer.jobs import MediaKind
from stylizer.transfer import unpack_pictures
from stylizer.wire import Spec


def land(media: Container, run: str, spec: Spec, size: int) -> Path:
    """Make the result of a spec, which has `size` bytes in Blob, exist at its output, whole or not at all. A node wrote it:
    it may hold anything, but no more than it said.
    """
    name = result_name(run, spec.id)
    if spec.clip.kind is not MediaKind.SEQUENCE or spec.output.suffix:
        return media.download(name, spec.output, most=size)
    archive = media.download(name, spec.output.with_name(f"{spec.output.name}.zip"), most=size)
    part = spec.output.with_name(f"{spec.output.name}.part")
    unpack_pictures(archive, part, most=spec.clip.frames, most_bytes=size)
    part.replace(spec.output)
    archive.unlink()
    return spec.output
