"""What has settled in an inbox: a folder or a container of blobs. Events are hints; the scan is the truth.

for changes in Watch(place, quiet=5, every=10, known={}):
    changes.settled  # things that stand still, each once

A thing has settled when its mark (size and time, or ETag) stands still for `quiet` seconds of our own clock, or at once
when a `_READY` marker lands beside it. Pictures that are numbered, in a folder of their own, are one thing: a sequence.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Protocol

from stylizer.errors import StylizerError
from stylizer.rows import clean
from stylizer.sequence import SUFFIXES, is_style

MARKER = "_ready"
"""A file of that name, in any case, says that its folder is complete."""
SIDECAR = ".toml"
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".!ut", ".!qb", ".filepart", ".aria2")
JUNK = ("thumbs.db", "desktop.ini")
LEAST_PAUSE = 0.5
"""Seconds between two scans, however much happens."""
SHARE = 0.1
"""Of one processor that scanning may take, about."""


class Kind(StrEnum):
    CLIP = "clip"
    """A file that may be a video or a picture; probing tells."""
    SEQUENCE = "sequence"
    STYLE = "style"
    SIDECAR = "sidecar"


@dataclass(frozen=True, slots=True)
class Lying:
    """A file or blob as a listing shows it."""

    path: str
    """Relative to the inbox, with slashes."""
    size: int
    mark: str
    """Changes when the content does, as far as a listing tells: size and time, or an ETag."""


@dataclass(frozen=True, slots=True)
class Listing:
    files: Sequence[Lying]
    unread: Collection[str] = ()
    """Folders that could not be looked into: what is in them is not known to be gone."""


@dataclass(frozen=True, slots=True)
class Thing:
    """What becomes one job for each style, or says how: a clip, a sequence, a style picture, a sidecar."""

    path: str
    kind: Kind
    size: int
    mark: str
    parts: tuple[Lying, ...] = ()
    """The pictures of a sequence."""

    @property
    def folder(self) -> str:
        """Of a sequence, its own: a style in there is its style."""
        return self.path if self.kind is Kind.SEQUENCE else parent(self.path)


class Moved(Exception):
    """A thing is gone or changed after it had settled; the next scan tells what became of it."""


class Place(Protocol):
    """Where things land. Its methods are called from other threads than the runner's; `listing` from one only."""

    name: str
    """By which the store knows it."""
    is_here: bool
    """Things lie on this machine: what is brought is the thing itself."""

    def listing(self) -> Listing:
        """All that lies there now. OSError or StylizerError if it cannot be told."""
        ...

    def trouble(self, thing: Thing) -> str:
        """Why a thing that stands still cannot be read, as a sentence; empty if it can be."""
        ...

    def bring(self, thing: Thing) -> Path:
        """A file or folder of this machine with that content, whole. `Moved` if it is another by now."""
        ...

    def discard(self, path: str) -> None:
        """What was brought of a thing is not needed any more."""
        ...

    def hints(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` when something may have changed, until the function that is returned is called."""
        ...


@dataclass(slots=True)
class Changes:
    """What one scan found that the one before did not."""

    settling: list[Thing] = field(default_factory=list)
    settled: list[Thing] = field(default_factory=list)
    stuck: list[tuple[Thing, str]] = field(default_factory=list)
    """Stand still and cannot be read, with the reason."""
    gone: list[str] = field(default_factory=list)
    trouble: str = ""
    """Why the inbox could not be looked through."""


@dataclass(frozen=True, slots=True)
class _Seen:
    mark: str
    since: float
    settled: bool = False
    reason: str = ""


class Watch:
    """Scans a place for ever, or until `stop`. `known`: what was there before, by cleaned path, with the marks of what was
    dealt with; that is not told again unless it changes. `look` is one scan.
    """

    def __init__(
        self,
        place: Place,
        *,
        quiet: float,
        every: float,
        known: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._quiet, self._every, self._clock = place, quiet, every, clock
        self._known = dict(known or {})
        self._seen: dict[str, _Seen] = {}
        self._alone = {path for path, mark in self._known.items() if mark}
        """Told by itself: a picture among these is no part of a sequence, and a folder among these is one."""
        self._fired: dict[str, str] = {}
        self._first = True
        self._wake, self._stopped = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Changes]:
        end_hints = self._place.hints(self._wake.set)
        try:
            while not self._stopped.is_set():
                self._wake.clear()
                began = time.monotonic()
                yield self.look()
                pause = max(LEAST_PAUSE, (time.monotonic() - began) / SHARE)
                # An event that comes while we wait is answered after the pause, not at once.
                if self._stopped.wait(min(pause, self._every)):
                    return
                self._wake.wait(max(0.0, self._until_due() - pause))
        finally:
            end_hints()

    def stop(self) -> None:
        """End the iteration soon; any thread may call it."""
        self._stopped.set()
        self._wake.set()

    def _until_due(self) -> float:
        """Seconds until something may have settled, or the next scan is due anyway."""
        waiting = [seen.since for seen in self._seen.values() if not seen.settled and not seen.reason]
        due = min(waiting) + self._quiet - self._clock() if waiting else self._every
        return min(max(due, 0.0), self._every)

    def look(self) -> Changes:
        """Scan once."""
        changes = Changes()
        try:
            listing = self._place.listing()
        except StylizerError as error:
            return replace(changes, trouble=f"{error.message} {error.hint}".strip())
        except OSError as error:
            return replace(changes, trouble=f"The inbox {self._place.name} cannot be read: {error.strerror or error}.")
        now = self._clock()
        things, ready = arrange(listing.files, self._alone)
        for path, thing in things.items():
            seen = self._seen.get(path)
            if seen is None or seen.mark != thing.mark:
                done = self._known.get(clean(path)) == thing.mark
                seen = self._seen[path] = _Seen(thing.mark, now, done)
                if not done:
                    changes.settling.append(thing)
            at_once = ready.get(thing.folder, "") != self._fired.get(thing.folder, "") and thing.folder in ready
            if not seen.settled and (at_once or now - seen.since >= self._quiet):
                self._end(thing, seen, changes)
        self._fired = ready
        self._forget(things, listing, changes)
        return changes

    def _end(self, thing: Thing, seen: _Seen, changes: Changes) -> None:
        """A thing stands still: it has settled if it can be read."""
        reason = self._place.trouble(thing)
        self._seen[thing.path] = replace(seen, settled=not reason, reason=reason)
        if not reason:
            changes.settled.append(thing)
            if thing.kind in (Kind.CLIP, Kind.SEQUENCE):
                self._alone.add(clean(thing.path))
        elif reason != seen.reason:
            changes.stuck.append((thing, reason))

    def _forget(self, things: Mapping[str, Thing], listing: Listing, changes: Changes) -> None:
        gone = [path for path in self._seen if path not in things]
        if self._first and things:
            # What went while nobody looked; a place that is all empty may not be mounted.
            here = {clean(path) for path in things}
            gone += [path for path in self._known if path not in here]
        self._first = self._first and not things
        unread = {clean(folder) for folder in listing.unread}
        for path in gone:
            if not any(within(clean(path), folder) for folder in unread):
                self._seen.pop(path, None)
                self._known.pop(clean(path), None)
                self._alone.discard(clean(path))
                changes.gone.append(path)


def arrange(files: Sequence[Lying], alone: Collection[str]) -> tuple[dict[str, Thing], dict[str, str]]:
    """The things that files make, by path, and the marks of `_READY` markers, by folder. `alone`: cleaned paths of things
    that were told before; they stay what they were.
    """
    folders: dict[str, list[Lying]] = defaultdict(list)
    # Browsers hold a name with an empty file while its content comes in beside it.
    coming = {file.path.rpartition(".")[0] for file in files if file.path.lower().endswith(UNFINISHED)}
    for file in files:
        if not is_ignored(file.path) and (file.size or file.path not in coming):
            folders[parent(file.path)].append(file)
    things: dict[str, Thing] = {}
    ready: dict[str, str] = {}
    for folder, inside in folders.items():
        marker = next((file.mark for file in inside if _name(file).lower() == MARKER), None)
        if marker is not None:
            ready[folder] = marker
        kinds = {file: _kind(file) for file in inside if _name(file).lower() != MARKER}
        pictures = [f for f, kind in kinds.items() if kind is Kind.CLIP and _suffix(f) in SUFFIXES]
        if folder and pictures and _is_sequence(folder, pictures, kinds, alone, marker is not None):
            for file in pictures:
                del kinds[file]
            whole = hashlib.sha256("\n".join(sorted(f"{_name(f)} {f.mark}" for f in pictures)).encode("utf-8", "replace"))
            size = sum(file.size for file in pictures)
            things[folder] = Thing(folder, Kind.SEQUENCE, size, whole.hexdigest()[:32], tuple(pictures))
        things |= {file.path: Thing(file.path, kind, file.size, file.mark) for file, kind in kinds.items()}
    return things, ready


def _is_sequence(
    folder: str, pictures: Sequence[Lying], kinds: Mapping[Lying, Kind], alone: Collection[str], ready: bool
) -> bool:
    """Whether the pictures of a folder are the frames of one clip.

    They are if somebody said so before, or a marker says so. Else they must differ in a number only, and lie alone: a
    folder with a style, or with videos, is one where clips are dropped.
    """
    if clean(folder) in alone or ready:
        return True
    if any(clean(file.path) in alone for file in pictures):
        return False
    if any(kind is Kind.STYLE or _is_video(file) for file, kind in kinds.items()):
        return False
    return len(pictures) > 1 and len({re.sub(r"\d+", "0", _name(file)) for file in pictures}) == 1


def _kind(file: Lying) -> Kind:
    if is_style(_name(file)):
        return Kind.STYLE
    return Kind.SIDECAR if _suffix(file) == SIDECAR else Kind.CLIP


def _is_video(file: Lying) -> bool:
    return (mimetypes.guess_type(_name(file).lower())[0] or "").startswith("video/")


def is_ignored(path: str) -> bool:
    """Whether something along that path says by its name that it is not meant for us, or not finished."""
    return any(
        part.startswith((".", "~$")) or part.endswith(("~", *UNFINISHED)) or part in JUNK for part in path.lower().split("/")
    )


def sidecars_of(path: str) -> tuple[str, str]:
    """Where the sidecar of a clip may be: clip.mp4.toml, else clip.toml."""
    return path + SIDECAR, str(PurePosixPath(path).with_suffix(SIDECAR)) if PurePosixPath(path).name else path


def parent(path: str) -> str:
    """The folder of a path; empty for the inbox itself."""
    return path.rpartition("/")[0]


def within(path: str, folder: str) -> bool:
    """Whether a path is that folder or in it; everything is in the inbox itself."""
    return not folder or path == folder or path.startswith(folder + "/")


def _name(file: Lying) -> str:
    return file.path.rpartition("/")[2]


def _suffix(file: Lying) -> str:
    return PurePosixPath(file.path).suffix.lower()
