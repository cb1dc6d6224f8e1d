"""Work that overlaps: in order, bounded, and an error is an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from stylizer.overlap import abreast, apart


def test_lanes_work_at_the_same_time_and_results_keep_their_order() -> None:
    meet = threading.Barrier(3, timeout=20)

    def act(n: int) -> int:
        meet.wait()  # passes only if three are under way at once
        return n * n

    assert list(abreast(act, range(9), 3, lambda: None)) == [n * n for n in range(9)]


def test_every_lane_begins_once() -> None:
    begun: list[int] = []
    assert list(abreast(str, range(20), 4, lambda: begun.append(threading.get_ident()))) == [str(n) for n in range(20)]
    assert 1 <= len(begun) == len(set(begun)) <= 4


def test_no_more_is_taken_than_is_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    results = abreast(str, apart(items(), 2), 2, lambda: None)
    assert next(results) == "0"
    deadline = time.monotonic() + 5
    while len(taken) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(taken) <= 7
    results.close()  # type: ignore[attr-defined]


def test_an_error_comes_in_its_place_and_ends_all() -> None:
    def act(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    seen = []
    with pytest.raises(ValueError, match="three"):
        for result in apart(abreast(act, apart(iter(range(50)), 2), 2, lambda: None), 2):
            seen.append(result)
    assert seen == [0, 1, 2]
