"""An inbox, or an outbox, that is a container of blobs: az://account/container/prefix."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from stylizer.errors import BackendRejected, ConfigError
from stylizer.inbox.watch import Kind, Listing, Lying, Moved, Thing, within
from stylizer.sequence import remove

SCHEME = "az://"
READY = "_READY"


class Blob(Protocol):
    """A blob as its container lists it."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...
    @property
    def modified(self) -> float: ...


class Container(Protocol):
    """What we need of a container; backends.azure.storage has one. Its verbs raise BackendError."""

    def list(self, prefix: str) -> Iterable[Blob]: ...
    def download(self, name: str, path: Path, *, etag: str | None = None, most: int = 1 << 40) -> Path: ...
    def upload(self, path: Path, name: str) -> bool: ...
    def put_text(self, name: str, text: str) -> bool: ...


def is_address(text: str) -> bool:
    return text.startswith(SCHEME)


def outbox_beside(address: str) -> str:
    """Where the paintings of a container's inbox go by default: `outbox` beside the prefix. ConfigError if that is it."""
    head, _, tail = address.rstrip("/").removeprefix(SCHEME).partition("/")
    container, _, prefix = tail.partition("/")
    above = str(PurePosixPath(prefix).parent) if prefix else "."
    beside = "/".join(part for part in (head, container, "" if above == "." else above, "outbox") if part)
    if SCHEME + beside == address.rstrip("/"):
        raise ConfigError(f"{address} is called outbox itself.", hint="Say where paintings go with --output.")
    return SCHEME + beside


class Cloud:
    """A Place (see watch.py) below a prefix of a container. What is adopted is downloaded below `brought`."""

    is_here = False

    def __init__(
        self, address: str, container: Container, prefix: str, brought: Path, *, without: str = "", most: int = 1 << 40
    ) -> None:
        self.name = address.rstrip("/")
        self._container, self._prefix, self._without, self._most = container, prefix, without, most
        self._brought = brought
        self._modified: dict[str, float] = {}

    def listing(self) -> Listing:
        start = f"{self._prefix}/" if self._prefix else ""
        files: list[Lying] = []
        modified: dict[str, float] = {}
        folders: set[str] = set()
        for blob in self._container.list(start):
            path = blob.name[len(start) :]
            folders.update(str(folder) for folder in PurePosixPath(path).parents)
            if is_plain(path) and not (self._without and within(blob.name, self._without)):
                files.append(Lying(path, blob.size, blob.etag))
                modified[path] = blob.modified
        self._modified = modified
        # Accounts with real folders list these as empty blobs.
        return Listing([file for file in files if file.size or file.path not in folders])

    def trouble(self, thing: Thing) -> str:  # noqa: ARG002  # a blob is there whole or not at all
        return ""

    def bring(self, thing: Thing) -> Path:
        name = _local(PurePosixPath(thing.path).name)
        # A path for each version: what is being painted does not change when the blob does.
        target = self._home(thing.path) / _hash(thing.mark)[:12] / name
        if target.exists():
            return target
        if thing.kind is not Kind.SEQUENCE:
            return self._download(Lying(thing.path, thing.size, thing.mark), target)
        part = target.with_name(f"{name}.part")
        for picture in thing.parts:
            self._download(picture, part / _local(PurePosixPath(picture.path).name))
        part.rename(target)
        return target

    def _download(self, file: Lying, target: Path) -> Path:
        name = f"{self._prefix}/{file.path}" if self._prefix else file.path
        if target.exists():
            return target
        fresh = target.with_name(f"{target.name}.new")
        try:
            self._container.download(name, fresh, etag=file.mark, most=self._most)
        except BackendRejected:
            if any(blob.name == name and blob.etag == file.mark for blob in self._container.list(name)):
                raise
            raise Moved from None
        # The time of the blob: a clip that is downloaded again is the same clip.
        at = self._modified.get(file.path, 0.0)
        os.utime(fresh, (at, at))
        fresh.replace(target)
        return target

    def discard(self, path: str) -> None:
        remove(self._home(path))

    def hints(self, wake: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002  # a container tells of nothing
        return lambda: None

    def _home(self, path: str) -> Path:
        return self._brought / _hash(f"{self.name}/{path}")[:20]


def upload(container: Container, output: Path, name: str) -> None:
    """Bring a painted file or folder to a blob; of a folder, a marker comes last and says that it is whole."""
    if output.is_dir():
        for path in sorted(output.iterdir()):
            if not path.name.startswith("."):
                container.upload(path, f"{name}/{path.name}")
        container.put_text(f"{name}/{READY}", "")
    else:
        container.upload(output, name)


def is_plain(path: str) -> bool:
    """Whether a blob's name can be a path here."""
    parts: Sequence[str] = path.split("/")
    return all(part and part == _local(part) for part in parts)


def _local(name: str) -> str:
    """A blob's name as a file's name anywhere."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).rstrip(" .") or "_"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
