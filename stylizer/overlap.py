"""Iterators whose work overlaps, in threads: the libraries that decode, paint and encode let go of the interpreter lock."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def apart(items: Iterator[T], ahead: int) -> Iterator[T]:
    """The same items, made in a thread of their own, at most `ahead` of whoever takes them. Errors come through."""
    ready: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(ahead)
    stopped = threading.Event()

    def put(what: tuple[bool, T | BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                ready.put(what, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if not more:
                if item is not None:
                    raise item  # type: ignore[misc]
                return
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()


def abreast(act: Callable[[T], U], items: Iterable[T], lanes: int, begin: Callable[[], object]) -> Iterator[U]:
    """`act` of each item, in order, `lanes` of them at a time; every lane is a thread that first calls `begin`.

    At most one result more than there are lanes waits to be taken. An error comes through in its item's place.
    """
    pool = ThreadPoolExecutor(lanes, initializer=begin)
    under_way: deque[Future[U]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(act, item))
            if len(under_way) > lanes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
