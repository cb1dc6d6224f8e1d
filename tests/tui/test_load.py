"""The short form of load.py: a heavy store does not make the studio slow. Its bars are wide, for machines that are busy."""

import sys

import pytest

from tests.tui.load import measure

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty on Windows")


def test_keys_are_painted_soon_whatever_happens_in_the_store() -> None:
    found = measure(seconds=6.0, jobs=500, chunks=5000, rate=50.0)
    assert found.keys >= 10
    assert found.p50 < 200 and found.p95 < 500, found
    assert found.cpu < 0.5, found
    assert found.rss_end - found.rss_start < 30, found
    assert found.updates > 10, found
