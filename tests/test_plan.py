from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stylizer.jobs import Clip, MediaKind
from stylizer.plan import LEAST_FRAMES, MOST_FRAMES, Waiting, cut, place


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


items = st.builds(
    Waiting,
    job=st.integers(1, 5),
    index=st.none() | st.integers(0, 20),
    priority=st.integers(-1, 1),
    position=st.floats(-5, 5),
    backend=st.sampled_from(["local", "azure", "gone"]),
)


@given(st.lists(items, unique=True), st.fixed_dictionaries({"local": st.integers(0, 5), "azure": st.integers(0, 5)}))
def test_never_more_than_is_free_and_never_less_than_could_be(waiting: list[Waiting], free: dict[str, int]) -> None:
    chosen = place(waiting, free)
    assert len(set(chosen)) == len(chosen) and set(chosen) <= set(waiting)
    for name in ("local", "azure", "gone"):
        wanted = sum(item.backend == name for item in waiting)
        assert sum(item.backend == name for item in chosen) == min(wanted, free.get(name, 0))


@given(st.lists(items, unique=True), st.integers(0, 5))
def test_nobody_is_passed_over_for_someone_behind(waiting: list[Waiting], free: int) -> None:
    chosen = place(waiting, {"local": free})
    left_out = [item for item in waiting if item.backend == "local" and item not in chosen]
    for ahead in chosen:
        for behind in left_out:
            assert (-ahead.priority, ahead.position) <= (-behind.priority, behind.position)


def test_a_job_gives_its_chunks_in_order_and_leaves_the_rest_to_the_next() -> None:
    waiting = [Waiting(2, 0, 0, 2.0, "local"), Waiting(1, 1, 0, 1.0, "local"), Waiting(1, 0, 0, 1.0, "local")]
    assert [(item.job, item.index) for item in place(waiting, {"local": 3})] == [(1, 0), (1, 1), (2, 0)]
