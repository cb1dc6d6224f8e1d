from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stylizer.jobs import Clip, MediaKind
from stylizer.plan import LEAST_FRAMES, MOST_FRAMES, cut


def clip(frames: int, rate: Fraction, kind: MediaKind = MediaKind.VIDEO) -> Clip:
    return Clip(Path("a.mp4"), kind, 64, 48, frames, rate, 0.0, "", "", 0, 0, "")


kinds = st.sampled_from([MediaKind.VIDEO, MediaKind.SEQUENCE])
rates = st.fractions(min_value=0, max_value=1000)


@given(st.integers(1, 100_000), rates, st.floats(0.001, 10_000), kinds)
def test_the_ranges_are_the_clip_each_frame_once(frames: int, rate: Fraction, seconds: float, kind: MediaKind) -> None:
    ranges = cut(clip(frames, rate, kind), seconds)
    assert ranges[0].start == 0 and ranges[-1].stop == frames
    assert all(one.stop == next_.start for one, next_ in pairwise(ranges))
    sizes = {len(one) for one in ranges}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 1.5 * MOST_FRAMES + 1
    assert len(ranges) == 1 or min(sizes) >= LEAST_FRAMES // 2


def test_a_chunk_is_about_as_long_as_was_asked_for() -> None:
    assert [len(one) for one in cut(clip(1000, Fraction(25)), 10.0)] == [250] * 4
    assert len(cut(clip(100, Fraction(30000, 1001)), 10.0)) == 1
    assert len(cut(clip(1, Fraction(24)), 10.0)) == 1


def test_a_still_is_one_chunk_and_a_sequence_goes_by_count() -> None:
    assert len(cut(clip(1, Fraction(0), MediaKind.STILL), 10.0)) == 1
    assert len(cut(clip(240, Fraction(0), MediaKind.SEQUENCE), 10.0)) == 10
