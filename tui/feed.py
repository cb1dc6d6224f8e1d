"""Reads the store in a thread of its own and says what has changed: a few times a second, in one message, however much it
was. So a store that is slow or locked never holds up a key.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from stylizer.errors import StylizerError
from stylizer.gauges import Gauge
from stylizer.jobs import JobState
from stylizer.ledger import day_of
from stylizer.store import Store
from tui.now import MOST_EVENTS, News

EVERY = 0.1
"""Seconds between two looks at whether anything has changed: PRAGMA data_version, some microseconds."""
ALIVE_EVERY = 1.0
SLOW_EVERY = 2.0
"""For money, measurements, inboxes and gauges, which have no number that grows with each change."""
REFUSED_EVERY = 1.0
"""Between two tries of a store that cannot be read."""


class Reads(Protocol):
    """What reads the gauges of this machine."""

    def read(self) -> Sequence[Gauge]: ...

    def close(self) -> None: ...


class Feed:
    """Follows the store at `path` and gives what is new to `tell`, which is called in the feed's thread.

    Nothing more is told until `heard` is called: what happens meanwhile comes together in the next telling.
    """

    def __init__(self, path: Path, tell: Callable[[News], object], gauges: Callable[[], Reads]) -> None:
        self._path, self._tell, self._gauges = path, tell, gauges
        self._ended, self._heard = threading.Event(), threading.Event()
        self._heard.set()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def heard(self) -> None:
        """What was told is taken in."""
        self._heard.set()

    def stop(self) -> None:
        """End the thread; returns when it has."""
        self._ended.set()
        self._heard.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        gauges = self._gauges()
        try:
            told = ""
            while not self._ended.is_set():
                try:
                    with Store(self._path, write=False) as store:
                        self._follow(_Reading(store, gauges), said=bool(told))
                    return
                except StylizerError as error:
                    if error.message != told:
                        told = error.message
                        self._say(News(trouble=f"{error.message} {error.hint}".strip()))
                    self._ended.wait(REFUSED_EVERY)
        finally:
            gauges.close()

    def _follow(self, reading: _Reading, *, said: bool) -> None:
        while not self._ended.is_set():
            # Read only what can be told at once, so that it is never old.
            self._heard.wait()
            news = reading.news(time.monotonic())
            if said:
                news.trouble, said = "", False
            if news:
                self._say(news)
            self._ended.wait(EVERY)

    def _say(self, news: News) -> None:
        self._heard.wait()
        if not self._ended.is_set():
            self._heard.clear()
            self._tell(news)


class _Reading:
    """How far the store was read."""

    def __init__(self, store: Store, gauges: Reads) -> None:
        self._store, self._gauges = store, gauges
        self._version = -1
        self._jobs = self._chunks = -1
        self._seq = 0
        self._alive: bool | None = None
        self._alive_at = self._slow_at = -1e9
        self._slow_version = -1
        self._slow: tuple[object, ...] = ()

    def news(self, now: float) -> News:
        """What is new. StoreError if the store cannot be read."""
        news = News()
        version = self._store.data_version()
        if version != self._version:
            with self._store.reading():
                self._read(news)
            self._version = version
        if now - self._alive_at >= ALIVE_EVERY:
            self._alive_at = now
            alive = self._store.has_runner()
            news.alive, self._alive = (None if alive is self._alive else alive), alive
        if now - self._slow_at >= SLOW_EVERY:
            self._slow_at = now
            news.gauges = self._gauges.read() or None
            if version != self._slow_version:
                self._slow_version = version
                self._read_slow(news)
        return news

    def _read(self, news: News) -> None:
        store, first = self._store, self._jobs < 0
        news.jobs, self._jobs = store.changed_jobs(self._jobs)
        news.chunks, self._chunks = store.changed_chunks(self._chunks)
        news.events = store.events(after=self._seq, most=MOST_EVENTS)
        news.runner = store.runner()
        if news.events:
            self._seq = news.events[-1].seq
        if not first and any(event.kind == "removed" for event in news.events):
            news.kept = frozenset(store.ids(tuple(JobState)))

    def _read_slow(self, news: News) -> None:
        store = self._store
        with store.reading():
            money, known = store.money(), store.measurements()
            forgotten = store.forgotten(day_of(time.time()))
            arrivals = Counter(str(found.state) for inbox in store.inboxes() for found in store.found(inbox))
        if (money, forgotten, known, arrivals) != self._slow:
            self._slow = money, forgotten, known, arrivals
            news.money, news.forgotten, news.known, news.arrivals = money, forgotten, known, arrivals
