"""Probing, planning and reading videos, good and bad; setting up their encoding."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stylizer import source
from stylizer.config import Limits
from stylizer.encode import CODECS, CONTAINERS, available, choose
from stylizer.errors import ConfigError, InputError
from stylizer.jobs import Encoding, FrameRange, MediaKind
from stylizer.pixels import layout_of_format, planar_format
from stylizer.video import Reader, check_encoding, layout_of, output_path, output_size, probe, read_frames
from tests.media import make_clip, paint, scene, sing

HOSTILE = [
    "with space.mp4",
    'it\'s "quoted".mp4',
    "new\nline.mp4",
    "-y.mp4",
    "绘画 ø é.mp4",
    "%d %s.mp4",
    "http:x.mp4",
    "a:b,c|d.mp4",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_goes_through(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        pytest.skip("such names are impossible here")
    make_clip(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    clip = probe(Path(name))
    assert clip.path == tmp_path / name
    assert len(list(read_frames(clip, FrameRange(0, clip.frames)))) == 12
    assert output_path(clip, ["a/b\nc"], None).parent == tmp_path
    assert "\n" not in output_path(replace(clip, path=tmp_path / "x.mp4"), ["a/b\nc"], None).name


def test_facts_of_a_clip(tmp_path: Path) -> None:
    times = [0, 1001, 2002, 5005, 7007]
    path = make_clip(tmp_path / "a.mp4", times=times, time_base=Fraction(1, 30000), sounds=["aac", "aac"], rotation=90)
    clip = probe(path)
    assert (clip.kind, clip.frames, clip.codec, clip.pixel_format) == (MediaKind.VIDEO, 5, "h264", "yuv420p")
    assert (clip.width, clip.height, clip.rotation, clip.audio_tracks) == (48, 64, 90, 2)
    assert [f.time for f in read_frames(clip, FrameRange(0, 5))] == times
    assert any("varies" in note for note in clip.notes)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_frames_are_upright(rotation: int, flip: bool, tmp_path: Path) -> None:
    """A picture with one bright corner: the display matrix moves it to where a player shows it."""
    path = tmp_path / "a.mp4"
    make_clip(path, times=[0], codec="libx264", options={"qp": "0"}, rotation=rotation, flip=flip)
    with av.open(str(path)) as container:
        coded = next(container.decode(video=0)).to_ndarray(format="gray")
    shown = np.rot90(coded, -rotation // 90)
    shown = shown[:, ::-1] if flip else shown
    frame = next(read_frames(probe(path), FrameRange(0, 1)))
    assert frame.planes[0].shape == shown.shape
    # to_ndarray stretches the range to 0..255; which pixels are brighter than others stays.
    assert np.corrcoef(frame.planes[0].ravel(), shown.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("options", [{"g": "5", "bf": "2"}, {"g": "10", "x264-params": "open-gop=1:bframes=3:scenecut=0"}])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_any_range_gives_the_frames_of_the_whole(options: dict[str, str], suffix: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / f"a{suffix}", times=range(40), options=options)
    clip = probe(path)
    whole = list(Reader(clip, FrameRange(0, clip.frames)))
    assert len(whole) == clip.frames == 40
    assert len({f.planes[0].tobytes() for f in whole}) == 40
    for start, stop in ((0, 1), (7, 13), (9, 10), (19, 22), (38, 40)):
        reader = Reader(clip, FrameRange(start, stop))
        part = list(reader)
        assert reader.skipped == 0
        assert [f.time for f in part] == [f.time for f in whole[start:stop]]
        for one, other in zip(part, whole[start:stop], strict=True):
            assert all(np.array_equal(p, q) for p, q in zip(one.planes, other.planes, strict=True))


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("yuv420p", "ffv1"), ("yuv422p", "ffv1"), ("yuv444p", "ffv1"), ("yuv440p", "ffv1"), ("yuv411p", "ffv1"),
        ("yuv410p", "ffv1"), ("gray", "ffv1"), ("gray16le", "ffv1"), ("yuv420p10le", "ffv1"), ("yuv444p16le", "ffv1"),
        ("yuva444p", "ffv1"), ("yuva420p10le", "ffv1"), ("gbrp10le", "ffv1"), ("gbrap16le", "ffv1"), ("bgra", "ffv1"),
        ("rgb24", "qtrle"), ("argb", "qtrle"), ("rgb555be", "qtrle"), ("nv12", "rawvideo"), ("uyvy422", "rawvideo"),
        ("ya8", "ffv1"), ("rgb48le", "ffv1"),
    ],
)  # fmt: skip
def test_any_pixel_format_is_read(form: str, codec: str, tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / ("a.nut" if codec == "rawvideo" else "a.mkv" if codec == "ffv1" else "a.mov"),
        pixel_format=form,
        codec=codec,
        times=range(3),
    )
    clip = probe(path)
    layout = layout_of(clip)
    for frame in read_frames(clip, FrameRange(0, 3)):
        assert [p.shape for p in frame.planes] == layout.shapes(64, 48)
        assert all(p.dtype == (np.uint8 if layout.depth == 8 else np.uint16) for p in frame.planes)
    if layout.model == "rgb" and layout.depth == 8 and form != "rgb555be":
        red = scene(64, 48, 0)[:, :, 0]
        first = next(read_frames(clip, FrameRange(0, 1)))
        assert np.abs(first.planes[0].astype(int) - red).max() <= (0 if form != "ya8" else 255)


def test_nearest_planar_formats_lose_nothing() -> None:
    expected = {
        "nv12": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "p010le": "yuv420p10le", "yuyv422": "yuv422p",
        "rgb24": "gbrp", "bgra": "gbrap", "pal8": "gbrap", "rgb48be": "gbrp16le", "rgba64be": "gbrap16le",
        "gray10be": "gray10le", "yuv420p10be": "yuv420p10le", "monob": "gray", "ya8": "gbrap", "yuv420p": "yuv420p",
        "y210le": "yuv422p10le",
    }  # fmt: skip
    assert {name: planar_format(name, Path("x")) for name in expected} == expected
    for name in expected.values():
        assert layout_of_format(name, "bt709", False) is not None
    with pytest.raises(InputError, match="xyz12le"):
        planar_format("xyz12le", Path("x"))


def test_a_damaged_frame_is_left_out(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.avi", codec="mjpeg", pixel_format="yuvj420p", times=range(20))
    content = bytearray(path.read_bytes())
    starts = [n for n in range(len(content) - 3) if content[n : n + 3] == b"\xff\xd8\xff"]
    content[starts[7] : starts[7] + 600] = bytes(600)
    path.write_bytes(content)
    clip = probe(path)
    reader = Reader(clip, FrameRange(4, 12))
    times = [f.time for f in reader]
    assert times == [4, 5, 6, 8, 9, 10, 11]
    assert reader.skipped == 1


@pytest.mark.parametrize("keep", [0.9, 0.5])
def test_a_broken_off_clip_gives_what_there_is(keep: float, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", times=range(50))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    clip = probe(path)
    assert 5 < clip.frames < 50
    reader = Reader(clip, FrameRange(0, clip.frames))
    assert len(list(reader)) + reader.skipped == clip.frames


def refused(path: Path, limits: Limits = Limits()) -> str:  # noqa: B008
    with pytest.raises(InputError) as caught:
        probe(path, limits)
    message = caught.value.message
    assert message.endswith(".") and "\n" not in message and "Traceback" not in message
    return message


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "missing.mp4")
    (tmp_path / "empty.mp4").touch()
    assert "0 bytes" in refused(tmp_path / "empty.mp4")
    for name in ("text.mp4", "text.mkv", "text.txt", "text.jpg"):
        (tmp_path / name).write_text("this is a poem\n" * 100)
        assert "not a video or picture" in refused(tmp_path / name)
    path = make_clip(tmp_path / "whole.mp4")
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:200])
    assert "not a video or picture" in refused(tmp_path / "cut.mp4")
    (tmp_path / "bits.mp4").write_bytes(os.urandom(5000))
    assert "not a video" in refused(tmp_path / "bits.mp4")


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    make_clip(tmp_path / "secret.ts")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile secret.ts\n")
    refused(tmp_path / "list.mp4")
    refused(tmp_path / "concat.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and pipes")
def test_links_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    assert "cannot be opened" in refused(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "neither a file nor a folder" in refused(tmp_path / "pipe.mp4")


def test_sound_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        tone = out.add_stream("aac", rate=48000, layout="stereo")
        cover = out.add_mux_stream("png", width=32, height=32)
        cover.disposition = av.stream.Disposition.attached_pic
        content = io.BytesIO()
        Image.fromarray(scene(32, 32, 0)).save(content, "PNG")
        packet = av.Packet(content.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 1000)
        packet.is_keyframe = True
        out.mux(packet)
        sing(out, tone, 0.1, 440)
    assert "no video in it, only audio" in refused(path)


def test_limits(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", sounds=["aac"], times=range(30))
    assert "64 x 48 pixels" in refused(path, Limits(pixels=1000))
    assert "more than 10 frames" in refused(path, Limits(frames=10))
    assert "lasts 0:00:02 (hours, minutes, seconds); the limit is 0:00:01" in refused(path, Limits(seconds=1.0))
    assert "2 tracks" in refused(path, Limits(tracks=1))
    assert "GB" in refused(path, Limits(file_gigabytes=1e-9))


def test_output_paths(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "clip.mp4"))
    assert output_path(clip, ["art"], None) == tmp_path / "clip.art.mp4"
    assert output_path(clip, ["a", "b"], None) == tmp_path / "clip.a+b.mp4"
    assert output_path(clip, ["art"], tmp_path) == tmp_path / "clip.art.mp4"
    assert output_path(clip, ["art"], tmp_path / "x.MKV") == tmp_path / "x.MKV"
    assert output_path(clip, ["art"], tmp_path / "bare") == tmp_path / "bare.mp4"
    with pytest.raises(ConfigError, match=r"x\.wmv"):
        output_path(clip, ["art"], tmp_path / "x.wmv")
    with pytest.raises(ConfigError, match="the source itself"):
        output_path(clip, ["art"], tmp_path / "clip.mp4")
    old = probe(make_clip(tmp_path / "old.avi", codec="mpeg4"))
    assert output_path(old, ["art"], None).name == "old.art.mp4"
    odd = probe(make_clip(tmp_path / "odd.nut", sounds=["pcm_s16le"], codec="ffv1"))
    assert output_path(odd, ["art"], None).suffix in (".mp4", ".mkv")


def test_encodings_are_checked() -> None:
    check_encoding(Path("x.mp4"), Encoding())
    check_encoding(Path("x.png"), Encoding())
    for target, encoding in (
        (Path("x.mp4"), Encoding("prores")),
        (Path("x.webm"), Encoding("h264")),
        (Path("x.mp4"), Encoding("divx")),
        (Path("x.flv"), Encoding()),
        (Path("x.mkv"), Encoding("h264", 99)),
        (Path("x.mkv"), Encoding("ffv1", 10)),
        (Path("x.png"), Encoding("h264")),
    ):
        with pytest.raises(ConfigError):
            check_encoding(target, encoding)


def test_every_codec_in_every_container(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mp4", times=[0, 3, 4, 9], size=(128, 96)))
    for suffix, (_, codecs) in CONTAINERS.items():
        for codec in (c for c in codecs if available(c)):
            target = tmp_path / f"{codec}{suffix}"
            paint(clip, target, tmp_path / f"work {codec} {suffix}", encoding=Encoding(codec), pieces=2)
            again = probe(target)
            assert again.frames == 4, target
            assert CODECS[codec].encoders and again.codec in (codec, "libdav1d", "av1", "libvpx-vp9"), target


@pytest.mark.parametrize(
    ("form", "target", "codec", "expected"),
    [
        ("yuv420p", "x.mp4", "", ("h264", "yuv420p")),
        ("yuv444p", "x.mp4", "", ("h264", "yuv444p")),
        ("yuv422p10le", "x.mp4", "", ("hevc", "yuv422p10le")),
        ("yuv420p10le", "x.mp4", "h264", ("h264", "yuv420p10le")),
        ("yuv444p16le", "x.mkv", "ffv1", ("ffv1", "yuv444p16le")),
        ("gray", "x.mp4", "", ("h264", "yuv420p")),
        ("gbrp10le", "x.mov", "", ("hevc", "yuv420p10le")),
        ("yuva444p10le", "x.mov", "", ("prores", "yuva444p10le")),
        ("yuv420p", "x.mov", "prores", ("prores", "yuv422p10le")),
        ("yuv420p", "x.webm", "", ("vp9", "yuv420p")),
    ],
)
def test_sampling_and_depth_are_kept(form: str, target: str, codec: str, expected: tuple[str, str], tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mkv", codec="ffv1", pixel_format=form))
    choice = choose(clip, Path(target), Encoding(codec), (64, 48))
    assert (choice.codec, choice.pixel_format) == expected


def test_odd_sizes(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "a.mkv", codec="ffv1", size=(53, 37)))
    assert output_size(clip, None) == (53, 37)
    assert output_size(clip, 26) == (26, 18)
    assert choose(clip, Path("x.mp4"), Encoding(), (53, 37)).pixel_format == "yuv444p"
    assert choose(clip, Path("x.webm"), Encoding(), (53, 37)).pixel_format == "yuv420p"


PEAK = """
import resource, sys
from pathlib import Path
from stylizer.jobs import FrameRange
from stylizer.video import probe, read_frames
clip = probe(Path(sys.argv[1]))
for frame in read_frames(clip, FrameRange(0, clip.frames)):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs ru_maxrss in KiB")
def test_memory_stays_flat_with_length(tmp_path: Path) -> None:
    peaks = []
    for seconds in (4, 48):
        path = make_clip(
            tmp_path / f"{seconds}.mp4", times=range(25 * seconds), size=(160, 96), options={"preset": "ultrafast"}
        )
        command = [sys.executable, "-c", PEAK, str(path)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout))
    assert peaks[1] < peaks[0] + 10_000  # all frames of the long one would be 27,000 KiB


def test_plans_are_made_once(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    clip = probe(path)
    before = source.plan.cache_info().misses
    list(read_frames(clip, FrameRange(0, 3)))
    list(read_frames(clip, FrameRange(3, 6)))
    assert source.plan.cache_info().misses <= before + 1


def test_a_changed_or_missing_source_is_noticed(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    clip = probe(path)
    make_clip(path, times=range(15))
    with pytest.raises(InputError, match="has changed"):
        list(read_frames(clip, FrameRange(0, 3)))
    path.unlink()
    with pytest.raises(InputError, match="cannot be read any more"):
        list(read_frames(clip, FrameRange(0, 3)))


def test_a_clip_beyond_the_usual_limits_is_read_if_it_was_probed_under_wider_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "clip.mp4", times=range(6))
    clip = probe(path)
    monkeypatch.setattr(source, "Limits", lambda: Limits(pixels=clip.width * clip.height // 2, frames=3))
    source.plan.cache_clear()
    source.picture.cache_clear()
    assert sum(1 for _ in Reader(clip, FrameRange(0, 6))) == 6
    with pytest.raises(InputError, match="limit"):
        probe(path, Limits(pixels=clip.width * clip.height // 2))
