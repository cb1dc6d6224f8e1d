import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylizer.jobs import CHUNK_MOVES, FINISHED, JOB_MOVES, ChunkState, FrameRange, JobState, chunk_id


@given(st.integers(-5, 50), st.integers(-5, 50))
def test_a_frame_range_holds_at_least_one_frame(start: int, stop: int) -> None:
    if 0 <= start < stop:
        assert len(FrameRange(start, stop)) == stop - start == len(range(start, stop))
    else:
        with pytest.raises(ValueError, match="not a frame range"):
            FrameRange(start, stop)


@given(st.integers(1, 10**12), st.integers(0, 10**7), st.integers(1, 10**6))
def test_an_id_names_one_attempt_everywhere(job: int, index: int, attempt: int) -> None:
    name = chunk_id(job, index, attempt)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert tuple(map(int, name.split("-"))) == (job, index, attempt)
    assert Path(name).name == name


def test_every_state_can_be_reached_and_left() -> None:
    assert set(JOB_MOVES) == set(JobState) and set(CHUNK_MOVES) == set(ChunkState)
    assert {after for moves in JOB_MOVES.values() for after in moves} == set(JobState)
    assert {after for moves in CHUNK_MOVES.values() for after in moves} == set(ChunkState)
    assert all(JOB_MOVES[state] == {JobState.QUEUED} for state in FINISHED)
    assert all(JobState.CANCELLED in JOB_MOVES[state] for state in JobState if state not in FINISHED)
