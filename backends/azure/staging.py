"""What specs read, on its way to Blob: each content once, by its hash."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from backends.azure.errands import files
from backends.azure.storage import Container
from stylizer.archive import pack_pictures
from stylizer.files import digest_of
from stylizer.jobs import Clip, FrameRange, MediaKind
from stylizer.transfer import Input
from stylizer.wire import ChunkSpec, Spec

WHOLE_BYTES = 64 << 20
"""A video that is no larger is uploaded whole: one file for all chunks is simpler than one for each."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A content that is in Blob."""

    digest: str
    size: int


@dataclass(slots=True)
class Staging:
    """Uploads what specs name. A source that is in Blob already, for a fit, is used for the chunks too; of one that is not,
    and is large, each chunk gets its piece.
    """

    media: Container
    check: Callable[[Clip], None]
    """InputError if a source is no longer what was probed."""
    mounted: Callable[[Path], str]
    """Where nodes have a file without its being uploaded; empty: nowhere."""
    known: dict[tuple[str, str], Sent] = field(default_factory=dict)
    """By path and fingerprint."""
    pieces: dict[tuple[str, str, FrameRange], tuple[Clip, FrameRange, Sent]] = field(default_factory=dict)
    """By path, fingerprint and frames."""

    def stage(self, spec: Spec, expires: datetime) -> tuple[Spec, tuple[Input, ...]]:
        """The spec as a node is to carry it out, and its files with links that read them until then."""
        there = self.mounted(spec.clip.path) if spec.clip.kind is not MediaKind.SEQUENCE else ""
        staged, source = self._source(spec) if not there else (spec, self._known(spec.clip))
        inputs = []
        for name, path, mark in files(staged):
            if there and path == staged.clip.path:
                inputs.append(Input(name, source.digest, source.size, "", there))
                continue
            sent = source if path == staged.clip.path else self._sent(path, mark)
            inputs.append(Input(name, sent.digest, sent.size, self.media.read_link(f"content/{sent.digest}", expires)))
        return staged, tuple(inputs)

    def _known(self, clip: Clip) -> Sent:
        """A source that nodes mount: read once, for its content hash."""
        key = str(clip.path), f"mounted {clip.fingerprint}"
        if key not in self.known:
            self.known[key] = Sent(digest_of(clip.path), clip.path.stat().st_size)
            self.check(clip)
        return self.known[key]

    def _source(self, spec: Spec) -> tuple[Spec, Sent]:
        clip = spec.clip
        whole = str(clip.path), clip.fingerprint
        if isinstance(spec, ChunkSpec) and whole not in self.known and _is_worth_cutting(clip):
            found = self._piece(clip, spec.frames)
            if found:
                part, frames, sent = found
                return replace(spec, clip=part, frames=frames), sent
        if whole not in self.known:
            if clip.kind is MediaKind.SEQUENCE:
                from stylizer.sequence import files_of  # noqa: PLC0415

                with tempfile.TemporaryDirectory(prefix="stylizer-") as folder:
                    archive = Path(folder) / "pictures.zip"
                    pack_pictures(files_of(clip), archive)
                    sent = self._send(archive)
            else:
                sent = self._send(clip.path)
            # Half of what it was and half of what it became would be worse than nothing.
            self.check(clip)
            self.known[whole] = sent
        return spec, self.known[whole]

    def _piece(self, clip: Clip, frames: FrameRange) -> tuple[Clip, FrameRange, Sent] | None:
        from backends.azure.pieces import cut  # noqa: PLC0415  # PyAV

        key = str(clip.path), clip.fingerprint, frames
        if key not in self.pieces:
            with tempfile.TemporaryDirectory(prefix="stylizer-") as folder:
                piece = cut(clip, frames, Path(folder))
                if piece is None:
                    return None
                sent = self._send(piece.file)
            self.check(clip)
            self.pieces[key] = piece.clip, piece.frames, sent
        return self.pieces[key]

    def _sent(self, path: Path, mark: str) -> Sent:
        key = str(path), mark
        if key not in self.known:
            self.known[key] = self._send(path)
        return self.known[key]

    def _send(self, path: Path) -> Sent:
        digest = digest_of(path)
        self.media.upload(path, f"content/{digest}", digest=digest)
        return Sent(digest, path.stat().st_size)


def _is_worth_cutting(clip: Clip) -> bool:
    if clip.kind is MediaKind.VIDEO:
        return clip.path.stat().st_size > WHOLE_BYTES
    return clip.kind is MediaKind.SEQUENCE
