"""Frames that stand for a clip: which they are, and that they are what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylizer import samples
from stylizer.colour import planes_to_rgb
from stylizer.jobs import Clip, FrameRange
from stylizer.samples import sample_frames
from stylizer.video import Reader, probe, starts_of
from tests.media import make_clip


def the_frame(clip: Clip, position: int) -> torch.Tensor:
    reader = Reader(clip, FrameRange(position, position + 1))
    (frame,) = reader
    return (planes_to_rgb(frame.planes, reader.layout, torch.device("cpu"))[0] * 255 + 0.5).to(torch.uint8)


def a_clip(path: Path, frames: int, distance: int) -> Clip:
    options = {"g": str(distance), "keyint_min": str(distance), "sc_threshold": "0"}
    return probe(make_clip(path, times=range(frames), options=options))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[FrameRange]:
    """What is read while a test runs."""
    read: list[FrameRange] = []

    class Seen(Reader):
        def __init__(self, clip: Clip, frames: FrameRange) -> None:
            read.append(frames)
            super().__init__(clip, frames)

    monkeypatch.setattr(samples, "Reader", Seen)
    return read


def test_of_a_long_clip_only_frames_that_decoding_starts_at_are_read(tmp_path: Path, passes: list[FrameRange]) -> None:
    clip = a_clip(tmp_path / "long.mp4", 200, 10)
    assert starts_of(clip) == list(range(0, 200, 10))
    pictures, positions = sample_frames(clip, None, 5)
    assert positions == (20, 60, 100, 140, 180) and [len(one) for one in passes] == [1] * 5
    for picture, position in zip(pictures, positions, strict=True):
        assert torch.equal(picture, the_frame(clip, position))


def test_a_clip_that_decodes_only_from_its_beginning_is_read_once(tmp_path: Path, passes: list[FrameRange]) -> None:
    clip = a_clip(tmp_path / "one.mp4", 48, 250)
    pictures, positions = sample_frames(clip, None, 4)
    assert positions == (6, 18, 30, 42) and passes == [FrameRange(6, 43)]
    for picture, position in zip(pictures, positions, strict=True):
        assert torch.equal(picture, the_frame(clip, position))


def test_the_first_frame_is_taken_only_where_there_is_no_other(tmp_path: Path) -> None:
    assert sample_frames(a_clip(tmp_path / "a.mp4", 40, 20), None, 1)[1] == (20,)
    assert sample_frames(a_clip(tmp_path / "b.mp4", 6, 1), None, 16)[1] == (0, 1, 2, 3, 4, 5)
