"""A clip, read in pieces and put together again, is the same clip: frames, times, sound and everything beside it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stylizer import source
from stylizer.assemble import assemble
from stylizer.config import Limits
from stylizer.encode import VideoWriter
from stylizer.errors import InputError, OutputError
from stylizer.jobs import Encoding, FrameRange
from stylizer.video import Reader, output_path, probe
from tests.media import SHARED, adapted, make_clip, packets, paint

CLIPS = sorted((SHARED / "clips").glob("*.[!c]*")) if (SHARED / "clips").is_dir() else []
MOST = 8_000_000
"""Pixels of each shared clip that are carried through, in whole frames; the plan is checked for all of it."""
FRAMES = {
    "media3_sample_edit_list.mp4": 77,
    "mp4parser_sans-amf0.mp4": 524,
    "trackany_2.mp4": 149,
    "mdn_rabbit320.webm": 234,
}


def facts(path: Path) -> source.Picture:
    return source.picture(path, "", Limits())


def same_everything(origin: Path, painted: Path, most: int | None = None) -> None:
    """What must be equal between a source and its painting."""
    ours, theirs = facts(painted), facts(origin)
    assert (ours.quarters, ours.flip) == (0, False)
    upright = (theirs.height, theirs.width) if theirs.quarters % 2 else (theirs.width, theirs.height)
    assert (ours.width, ours.height) == upright
    assert (ours.aspect or 1) == (theirs.aspect or 1)
    for tag, nothing in (("primaries", 2), ("transfer", 2), ("matrix", 2), ("color_range", 0)):
        # A limited range is what players take for granted, and encoders do not write it alone.
        if getattr(theirs, tag) not in (nothing, 1 if tag == "color_range" else nothing):
            assert getattr(ours, tag) == getattr(theirs, tag), tag
    wanted, got = source.plan(origin, "", Limits()), source.plan(painted, "", Limits())
    tick = 0 if painted.suffix in (".mp4", ".mov") else ours.time_base
    pairs = list(zip(wanted.times[:most], got.times, strict=True))
    shift = 0 if tick == 0 else pairs[0][1] * ours.time_base - pairs[0][0] * theirs.time_base
    for before, after in pairs:
        assert abs(after * ours.time_base - before * theirs.time_base - shift) <= tick
    for kind in ("audio", "subtitle"):
        for before_track, after_track in zip(packets(origin, kind), packets(painted, kind), strict=True):
            assert [content for _, content in before_track] == [content for _, content in after_track]
            for (before_time, _), (after_time, _) in zip(before_track, after_track, strict=True):
                assert abs(after_time - before_time - shift) <= Fraction(1, 1000)


@pytest.mark.skipif(not CLIPS, reason="the shared clips are not here")
@pytest.mark.parametrize("path", CLIPS, ids=lambda p: p.name)
def test_shared_clip_goes_through(path: Path, tmp_path: Path) -> None:
    clip = probe(path)
    assert clip.frames == FRAMES.get(path.name, clip.frames)
    target = tmp_path / output_path(clip, ["art"], None).name
    most = max(9, MOST // (clip.width * clip.height))
    result = paint(clip, target, tmp_path / "work", most=most)
    assert result.frames == min(most, clip.frames)
    same_everything(path, target, most)
    with av.open(str(path), metadata_errors="ignore") as a, av.open(str(target), metadata_errors="ignore") as b:
        skip = ("major_brand", "minor_version", "compatible_brands", "encoder")
        expected = {k.lower(): v for k, v in a.metadata.items() if k.lower() not in skip and "1970" not in v}
        assert expected.items() <= {k.lower(): v for k, v in b.metadata.items()}.items()
    assert {p.name for p in tmp_path.iterdir()} == {target.name, "work"}


VFR = [0, 1001, 2002, 5005, 5105, 9009, 20020, 20021, 30030, 31031]
CASES = {
    "constant.mp4": {},
    "one frame.mp4": {"times": [0]},
    "varying.mp4": {"times": VFR, "time_base": Fraction(1, 30000)},
    "late start.mp4": {"times": [t + 7777 for t in VFR], "time_base": Fraction(1, 30000), "sounds": ["aac"]},
    "b-frames.mp4": {"times": range(40), "options": {"bf": "3", "g": "12"}, "sounds": ["aac"]},
    "turned.mp4": {"rotation": 90, "aspect": Fraction(4, 3)},
    "turned back.mov": {"rotation": 270},
    "two sounds.mov": {"sounds": ["aac", "aac"], "times": range(30), "metadata": {"title": "A clip", "artist": "Somebody"}},
    "ten bits.mp4": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "tags": (9, 16, 9, 1),
        "options": {"x265-params": "log-level=error"},
    },
    "colours.mp4": {"tags": (1, 13, 1, 1)},
    "full range.mp4": {"tags": (1, 1, 1, 2)},
    "finer chroma.mkv": {"pixel_format": "yuv422p"},
    "odd.webm": {"codec": "libvpx-vp9", "size": (53, 37), "options": {"deadline": "realtime", "cpu-used": "8"}},
    "odd.mkv": {"codec": "ffv1", "size": (53, 37)},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "everything.mkv": {
        "times": range(40),
        "sounds": ["aac", "flac"],
        "subtitles": [(0, 500, "one"), (700, 1400, "two")],
        "chapters": [(0, 800, "First"), (800, 1600, "Second")],
        "attachment": b"not really a font",
        "metadata": {"title": "Everything"},
    },
    "chapters.mp4": {"times": range(40), "chapters": [(0, 800, "First"), (800, 1600, "Second")], "sounds": ["aac"]},
    "stream.ts": {"sounds": ["aac"], "times": [90000 + 3600 * n for n in range(12)], "time_base": Fraction(1, 90000)},
    "moving.gif": {"codec": "gif", "pixel_format": "rgb8", "times": [0, 10, 25, 30], "time_base": Fraction(1, 100)},
    "raw.264": {"container": "h264"},
}


@pytest.mark.parametrize("name", CASES)
def test_made_clip_goes_through(name: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / name, **CASES[name])  # type: ignore[arg-type]
    clip = probe(path)
    times = CASES[name].get("times", range(12))
    assert clip.frames == len(times)  # type: ignore[arg-type]
    target = output_path(clip, ["art"], None)
    result = paint(clip, target, tmp_path / "work")
    assert result.frames == clip.frames
    if name not in ("stream.ts", "raw.264"):
        same_everything(path, target)
    again = probe(target)
    assert (again.frames, again.width, again.height) == (clip.frames, clip.width, clip.height)
    assert again.audio_tracks == clip.audio_tracks
    assert again.duration == pytest.approx(clip.duration, abs=0.05)
    with av.open(str(path)) as a, av.open(str(target)) as b:
        assert [c["metadata"] for c in a.chapters()] == [c["metadata"] for c in b.chapters()]
        assert [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in a.chapters()] == [
            (c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in b.chapters()
        ]
        assert [s.language for s in a.streams.audio] == [s.language for s in b.streams.audio]
        assert [s.data for s in a.streams.attachments] == [s.data for s in b.streams.attachments]
        if name == "ten bits.mp4":
            assert b.streams.video[0].codec_context.codec_tag == "hvc1"
            assert b.streams.video[0].codec_context.pix_fmt == "yuv420p10le"


def test_stream_clock_keeps_sound_in_sync(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "stream.ts", **CASES["stream.ts"])  # type: ignore[arg-type]
    clip, target = probe(path), tmp_path / "out.mp4"
    paint(clip, target, tmp_path / "work")

    def ahead(where: Path) -> float:
        return float(packets(where, "audio")[0][0][0] - packets(where, "video")[0][0][0])

    assert ahead(target) == pytest.approx(ahead(path), abs=1e-4)
    assert min(packets(target, "video")[0][0][0], packets(target, "audio")[0][0][0]) == 0


def test_what_the_container_cannot_hold_is_named(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", times=range(20), sounds=["flac"], subtitles=[(0, 300, "hello")])
    result = paint(probe(path), tmp_path / "out.webm", tmp_path / "work", encoding=Encoding("vp9"))
    assert len(result.notes) == 2
    assert "flac" in result.notes[0] and "subtitles" in result.notes[1]


def test_a_lost_aspect_ratio_is_named(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", aspect=Fraction(4, 3)))
    assert paint(clip, tmp_path / "out.mkv", tmp_path / "one").notes == ()
    assert "aspect ratio of 4/3" in paint(clip, tmp_path / "out.webm", tmp_path / "two").notes[0]


def test_joined_frames_are_those_of_one_chunk_where_lossless(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", times=VFR, time_base=Fraction(1, 30000), codec="ffv1")
    clip = probe(path)
    target = tmp_path / "out.mkv"
    paint(clip, target, tmp_path / "work", encoding=Encoding("ffv1"), pieces=4)
    before = list(Reader(clip, FrameRange(0, clip.frames)))
    after = list(Reader(probe(target), FrameRange(0, clip.frames)))
    for one, other in zip(before, after, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(one.planes, other.planes, strict=True))


def test_chunks_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    clip = probe(path)
    for target in (tmp_path / "out.mp4", tmp_path / "out.webm"):
        for name in ("one", "two"):
            paint(clip, target, tmp_path / name, pieces=2)
        assert (tmp_path / "one" / "1.part").read_bytes() == (tmp_path / "two" / "1.part").read_bytes()


def test_missing_frames_are_an_error_and_leave_nothing(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    clip, target = probe(path), tmp_path / "out.mp4"
    paint(clip, target, tmp_path / "work")
    target.unlink()
    chunks = sorted((tmp_path / "work").iterdir())
    with pytest.raises(OutputError, match="8 frames instead of 12"):
        assemble(clip, chunks[:2], target, Encoding())
    with pytest.raises(OutputError, match="overlap"):
        assemble(clip, [*chunks, chunks[0]], target, Encoding())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "work"]


def test_chunks_of_two_kinds_are_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    clip, target = probe(path), tmp_path / "out.mp4"
    for name, crf in (("one", 18), ("two", 40)):
        paint(clip, target, tmp_path / name, encoding=Encoding("h264", crf), pieces=2)
    target.unlink()
    with pytest.raises(OutputError, match="Chunk 1 was encoded unlike the first"):
        assemble(clip, [tmp_path / "one" / "0.part", tmp_path / "two" / "1.part"], target, Encoding())


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from stylizer.assemble import assemble
from stylizer.errors import OutputError
from stylizer.jobs import Encoding
from stylizer.video import probe
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
chunks = sorted(Path(sys.argv[2]).iterdir())
try:
    assemble(probe(Path(sys.argv[1])), chunks, Path(sys.argv[3]), Encoding())
except OutputError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", size=(320, 240))
    target = tmp_path / "out.mp4"
    paint(probe(path), target, tmp_path / "work")
    target.write_text("the old one")
    command = [sys.executable, "-c", FULL_DISK, str(path), str(tmp_path / "work"), str(target)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "refused: " in ended.stderr and ended.returncode == 1
    assert target.read_text() == "the old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "out.mp4", "work"]


def test_progress_reaches_its_total(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", sounds=["aac"])
    clip = probe(path)
    paint(clip, tmp_path / "out.mp4", tmp_path / "work")
    seen: list[tuple[int, int]] = []
    chunks = sorted((tmp_path / "work").iterdir())
    assemble(clip, chunks, tmp_path / "out.mp4", Encoding(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12) and [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_times_that_fall_are_refused(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4"))
    reader = Reader(clip, FrameRange(0, 2))
    with (
        pytest.raises(InputError, match="must rise"),
        VideoWriter(tmp_path / "c", clip, tmp_path / "o.mp4", Encoding(), (64, 48)) as writer,
    ):
        for frame in reader:
            writer.write(replace(frame, planes=adapted(frame.planes, reader.layout, writer.layout, (64, 48)), time=5))
