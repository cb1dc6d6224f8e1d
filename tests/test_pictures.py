"""Stills and folders of pictures: read upright, painted, written with their metadata, published whole."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from stylizer import deep
from stylizer.assemble import assemble
from stylizer.config import Limits
from stylizer.errors import InputError, OutputError
from stylizer.jobs import Encoding, FrameRange, MediaKind
from stylizer.pictures import LAYOUTS, layout_of
from stylizer.sequence import natural
from stylizer.video import Reader, output_path, probe, read_frames
from tests.media import paint, scene

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(path: Path) -> np.ndarray:
    clip = probe(path)
    return np.stack(next(read_frames(clip, FrameRange(0, 1))).planes, axis=2)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(suffix: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "A maker"
    Image.fromarray(scene(40, 24, 0)).save(path, exif=exif, icc_profile=PROFILE, dpi=(300, 300))
    clip = probe(path)
    assert (clip.kind, clip.frames, clip.rate) == (MediaKind.STILL, 1, Fraction(0))
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (clip.height, clip.width) == shown.shape[:2]
    assert np.array_equal(pixels(path), shown)
    target = output_path(clip, ["art"], None)
    assert target == tmp_path / f"a.art{suffix}"
    assert paint(clip, target, tmp_path / "work").frames == 1
    with Image.open(target) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010F] == "A maker"
        assert image.info["icc_profile"] == PROFILE
        assert image.size == shown.shape[1::-1]
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - shown).mean() < (
            0.1 if suffix in (".png", ".tiff") else 4
        )


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_stay(kind: str, channels: int, tmp_path: Path) -> None:
    rows = scene(31, 17, 0, channels).astype(np.uint16) * 257 + 3
    path = tmp_path / f"a.{kind.lower()}"
    deep.write(path, rows, kind, b"", PROFILE)
    clip = probe(path)
    assert clip.pixel_format == {3: "rgb48", 4: "rgba64"}[channels]
    assert np.array_equal(pixels(path), rows)
    target = output_path(clip, ["art"], None)
    paint(clip, target, tmp_path / "work")
    assert np.array_equal(pixels(target), rows)
    with Image.open(target) as image:
        assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_is_read_as_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(scene(20, 10, 0, 3 if mode == "P" else 4)).convert("I" if mode == "I;16" else mode)
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.tiff" if mode == "PA" else "a.png")
    (image.convert("I;16") if mode == "I;16" else image.convert("LA") if mode == "PA" else image).save(path)
    clip = probe(path)
    frame = next(read_frames(clip, FrameRange(0, 1)))
    layout = layout_of(clip)
    assert [p.shape for p in frame.planes] == layout.shapes(20, 10)
    assert layout.alpha == (mode in ("LA", "PA", "RGBA"))
    assert layout.depth == (16 if mode == "I;16" else 8)


def test_alpha_stays_where_it_can(tmp_path: Path) -> None:
    rows = scene(20, 10, 0, 4)
    Image.fromarray(rows).save(tmp_path / "a.png")
    clip = probe(tmp_path / "a.png")
    for name, alpha in (("o.png", True), ("o.webp", True), ("o.tif", True), ("o.jpg", False)):
        paint(clip, tmp_path / name, tmp_path / "work")
        assert layout_of(probe(tmp_path / name)).alpha == alpha
        if alpha:
            assert np.array_equal(pixels(tmp_path / name)[:, :, 3], rows[:, :, 3])


def huge_png(path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    )


def refused(path: Path, limits: Limits = Limits()) -> str:  # noqa: B008
    with pytest.raises(InputError) as caught:
        probe(path, limits)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "poem.jpg").write_text("not a picture at all\n" * 30)
    assert "not a video or picture" in refused(tmp_path / "poem.jpg")
    (tmp_path / "none.png").touch()
    assert "0 bytes" in refused(tmp_path / "none.png")
    Image.fromarray(scene(300, 200, 0)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    assert "broken" in refused(tmp_path / "half.png")
    huge_png(tmp_path / "bomb.png")
    assert "pixels" in refused(tmp_path / "bomb.png") or "too large" in refused(tmp_path / "bomb.png")
    assert "300 x 200" in refused(tmp_path / "whole.png", Limits(pixels=100))
    Image.fromarray(scene(30, 20, 0)).save(tmp_path / "a.bmp")
    assert "not a video or picture" in refused(tmp_path / "a.bmp")


def folder(path: Path, numbers: range = range(1, 13), size: tuple[int, int] = (32, 20)) -> Path:
    path.mkdir()
    for number in numbers:
        Image.fromarray(scene(*size, number)).save(path / f"frame{number}.png")
    (path / ".hidden.png").write_text("no picture")
    (path / "notes.txt").write_text("no picture")
    return path


def test_a_sequence_goes_through_in_natural_order(tmp_path: Path) -> None:
    clip = probe(folder(tmp_path / "shots"))
    assert (clip.kind, clip.frames, clip.width, clip.height) == (MediaKind.SEQUENCE, 12, 32, 20)
    for frame in Reader(clip, FrameRange(0, 12)):
        assert np.array_equal(np.stack(frame.planes, 2), scene(32, 20, frame.time + 1))
    target = output_path(clip, ["art"], None)
    assert target == tmp_path / "shots.art"
    assert paint(clip, target, tmp_path / "work").frames == 12
    again = probe(target)
    for one, other in zip(Reader(clip, FrameRange(0, 12)), Reader(again, FrameRange(0, 12)), strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(one.planes, other.planes, strict=True))
    assert paint(clip, target, tmp_path / "work 2").frames == 12  # our own folder may be replaced
    assert {p.name for p in tmp_path.iterdir()} == {"shots", "shots.art", "work", "work 2"}


def test_natural_order() -> None:
    names = ["a10.png", "a2.png", "A1.png", "b.png", "a2b.png", "002.png", "10.png"]
    assert [p.name for p in sorted(map(Path, names), key=natural)] == [
        "002.png", "10.png", "A1.png", "a2.png", "a2b.png", "a10.png", "b.png",
    ]  # fmt: skip


def test_bad_sequences_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "no pictures" in refused(tmp_path / "none")
    mixed = folder(tmp_path / "mixed")
    Image.fromarray(scene(33, 20, 0)).save(mixed / "frame7.png")
    assert "frame7.png is 33 x 20, but frame1.png is 32 x 20" in refused(mixed)
    (mixed / "frame7.png").write_text("no picture")
    assert "frame7.png is not a picture" in refused(mixed)
    assert "limit is 3" in refused(folder(tmp_path / "many"), Limits(frames=3))


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    shots = folder(tmp_path / "shots", size=(300, 200))
    whole = (shots / "frame5.png").read_bytes()
    (shots / "frame5.png").write_bytes(whole[: len(whole) // 2])
    clip = probe(shots)
    with pytest.raises(InputError, match=r"frame5\.png is broken"):
        list(Reader(clip, FrameRange(0, 12)))


def test_a_changed_sequence_is_noticed(tmp_path: Path) -> None:
    shots = folder(tmp_path / "shots")
    clip = probe(shots)
    (shots / "frame3.png").unlink()
    with pytest.raises(InputError, match="has changed"):
        list(Reader(clip, FrameRange(0, 3)))


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    clip = probe(folder(tmp_path / "shots"))
    target = tmp_path / "precious"
    target.mkdir()
    (target / "diary.txt").write_text("dear diary")
    with pytest.raises(OutputError, match="not empty"):
        paint(clip, target, tmp_path / "work")
    assert [p.name for p in target.iterdir()] == ["diary.txt"]
    with pytest.raises(OutputError, match="8 pictures instead of 12"):
        assemble(clip, sorted((tmp_path / "work").iterdir())[:2], tmp_path / "new", Encoding())
    assert {p.name for p in tmp_path.iterdir()} == {"shots", "precious", "work"}


def test_layouts_are_full_range_rgb() -> None:
    assert all(layout.model == "rgb" and layout.full_range for layout in LAYOUTS.values())
