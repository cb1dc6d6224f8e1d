"""An inbox that is a folder of this machine or of the network."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from stylizer.errors import ConfigError
from stylizer.inbox.watch import Listing, Lying, Moved, Thing
from stylizer.sequence import MARK

JOIN_SECONDS = 5.0


class Folder:
    """A Place (see watch.py). `without`: folders in it that are none of ours to look into, such as the outbox.

    Links to files are followed where they stay inside, links to folders never. ConfigError if it is no folder.
    """

    is_here = True

    def __init__(self, root: Path, *, without: Collection[Path] = (), polling: bool = False, every: float = 10.0) -> None:
        self.root = root.absolute()
        self.name = str(self.root)
        if not self.root.is_dir():
            said = "is not a folder" if self.root.exists() else "does not exist"
            raise ConfigError(f"The inbox {root} {said}.", hint=f"Make it: mkdir {root}")
        self._real = os.path.realpath(self.root)
        self._without = {os.path.realpath(folder) for folder in without}
        self._polling, self._every = polling, every
        self._identity: tuple[int, int] | None = None

    def listing(self) -> Listing:
        facts = self.root.stat()
        files: list[Lying] = []
        unread: list[str] = []
        left = [""]
        while left:
            folder = left.pop()
            try:
                found, inner = self._look(folder)
            except OSError:
                if not folder:
                    raise
                unread.append(folder)
                continue
            files += found
            left += inner
        if self._identity not in (None, (facts.st_dev, facts.st_ino)) and not files:
            raise OSError(0, "it is another, empty folder than before; is a disk or share not mounted")
        self._identity = facts.st_dev, facts.st_ino
        return Listing(files, unread)

    def _look(self, folder: str) -> tuple[list[Lying], list[str]]:
        """The files and the folders right inside a folder; nothing of one that we painted."""
        files, inner = [], []
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name == MARK:
                    return [], []
                if entry.name.startswith("."):
                    continue
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        if not self._without or os.path.realpath(entry.path) not in self._without:
                            inner.append(path)
                    elif not entry.is_symlink() or self._stays_inside(entry.path):
                        facts = entry.stat()
                        if stat.S_ISREG(facts.st_mode):
                            files.append(Lying(path, facts.st_size, f"{facts.st_size}-{facts.st_mtime_ns}"))
        return files, inner

    def _stays_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real.startswith(self._real.rstrip(os.sep) + os.sep)

    def trouble(self, thing: Thing) -> str:
        for path in [part.path for part in thing.parts] or [thing.path]:
            try:
                with (self.root / path).open("rb") as stream:
                    stream.read(1)
            except PermissionError:
                return f"{path} may not be read, or another program has it open. Check its permissions."
            except OSError as error:
                return f"{path} cannot be read: {(error.strerror or str(error)).lower()}."
        return ""

    def bring(self, thing: Thing) -> Path:
        path = self.root / thing.path
        for part in thing.parts or (Lying(thing.path, thing.size, thing.mark),):
            try:
                facts = (self.root / part.path).stat()
            except OSError:
                raise Moved from None
            if f"{facts.st_size}-{facts.st_mtime_ns}" != part.mark:
                raise Moved
        return path

    def discard(self, path: str) -> None:
        """Sources are never deleted."""

    def hints(self, wake: Callable[[], None]) -> Callable[[], None]:
        listener = _Listener(wake)
        observer = self._observer(listener)

        def end() -> None:
            observer.stop()
            observer.join(JOIN_SECONDS)

        return end

    def _observer(self, listener: FileSystemEventHandler) -> BaseObserver:
        """The system's own word of changes; where it has none, or no more of it (inotify has limits), ours."""
        if not self._polling:
            observer: BaseObserver = Observer()
            try:
                observer.schedule(listener, str(self.root), recursive=True)
                observer.start()
            except (OSError, RuntimeError):
                with suppress(RuntimeError):
                    observer.stop()
            else:
                return observer
        polling = PollingObserver(timeout=max(1.0, self._every / 4))
        polling.schedule(listener, str(self.root), recursive=True)
        polling.start()
        return polling


class _Listener(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        # Our own reading is an event too, and no change.
        if event.event_type not in ("opened", "closed_no_write"):
            self._wake()
