"""Where the paintings of an inbox go: a folder, or by way of one to a container of blobs. Mirrors the inbox's tree."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from stylizer.inbox.watch import Thing, parent
from stylizer.jobs import Clip, MediaKind
from stylizer.output import output_path


@dataclass(frozen=True, slots=True)
class Outbox:
    """`folder` is where the runner writes; `address` (az://account/container/prefix) is where that is brought, if set."""

    folder: Path
    address: str = ""

    def outputs(self, thing: Thing, clip: Clip, suffix: str, styles: Sequence[str]) -> Iterator[Path]:
        """Names for a painting, the best first: CLIP.STYLE.SUFFIX, then those that tell it from another clip's."""
        folder = self.folder / parent(thing.path)
        name = PurePosixPath(thing.path)
        whole = name.name
        stems = (whole,) if clip.kind is MediaKind.SEQUENCE else (name.stem, whole)
        for stem in itertools.chain(stems, (f"{whole}-{number}" for number in itertools.count(2))):
            as_if = replace(clip, path=folder / f"{stem}{suffix}")
            yield output_path(as_if, styles, None)

    def target(self, output: Path) -> str:
        """Where an output is brought when it is done; empty if it stays."""
        return f"{self.address}/{output.relative_to(self.folder).as_posix()}" if self.address else ""
