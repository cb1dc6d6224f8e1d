"""Style pictures, looks and checkpoints in the cache: what is taken, what is refused and in which words."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from stylizer import styles
from stylizer.config import Limits, LookDefaults
from stylizer.errors import ConfigError, StyleError
from stylizer.jobs import Clip, Look, MediaKind, Quality

DEFAULTS, LIMITS = LookDefaults(), Limits()


@pytest.fixture
def art(tmp_path: Path) -> Path:
    path = tmp_path / "art.jpg"
    Image.effect_noise((200, 120), 80).convert("RGB").save(path)
    return path


def clip(mark: str = "f") -> Clip:
    return Clip(Path("a.mp4"), MediaKind.VIDEO, 64, 48, 9, Fraction(24), 0.4, "h264", "yuv420p", 0, 0, mark)


def test_a_look_takes_what_is_not_said_from_the_config(art: Path) -> None:
    look = styles.look_from([art], LookDefaults(strength=0.4, size=320), LIMITS, brush=2.0)
    assert (look.strength, look.brush, look.size, look.quality) == (0.4, 2.0, 320, Quality.STANDARD)
    (image,) = look.styles
    assert image.weight == 1.0 and image.path == art
    assert image.digest == hashlib.sha256(art.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("strength", 1.01),
        ("strength", math.nan),
        ("brush", 0.2),
        ("brush", math.inf),
        ("size", 15),
        ("size", -1),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_a_value_out_of_range_names_its_option_and_the_range(art: Path, option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^--{option} is .*; it goes from .* to "):
        styles.look_from([art], DEFAULTS, LIMITS, **{option: value})  # type: ignore[arg-type]


def test_a_quality_with_a_typo_names_the_nearest(art: Path) -> None:
    with pytest.raises(ConfigError) as error:
        styles.look_from([art], DEFAULTS, LIMITS, quality="standart")
    assert error.value.hint == "Did you mean standard?"


@given(some.lists(some.floats(0.001, 1000), min_size=1, max_size=16))
def test_weights_of_a_blend_sum_to_one_in_the_proportions_given(shares: list[float]) -> None:
    weights = styles.blend_weights(",".join(map(repr, shares)), len(shares))
    assert sum(weights) == pytest.approx(1)
    assert weights[0] / weights[-1] == pytest.approx(shares[0] / shares[-1])


@pytest.mark.parametrize("blend", ["1", "1,2,3", "a,b", "1,", "-1,2", "0,0", "nan,1", "inf,1"])
def test_a_blend_that_does_not_fit_is_refused(blend: str) -> None:
    with pytest.raises(ConfigError, match="--blend"):
        styles.blend_weights(blend, 2)


def test_a_text_file_called_jpg_a_folder_and_nothing_are_sentences(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    for path, words in (
        (text, "not a picture"),
        (tmp_path, "folder"),
        (tmp_path / "none.jpg", "cannot be read"),
        (loop, "cannot be read"),
    ):
        with pytest.raises(StyleError, match=words) as error:
            styles.style_image(path, 1.0, LIMITS)
        assert str(path) in error.value.message and error.value.hint


def test_a_picture_of_one_pixel_has_no_strokes(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    with pytest.raises(StyleError, match=r"only 1 x 1 pixels"):
        styles.style_image(path, 1.0, LIMITS)


def test_a_truncated_picture_is_found_out_before_a_job_is_made(art: Path) -> None:
    art.write_bytes(art.read_bytes()[:800])
    with pytest.raises(StyleError, match="damaged"):
        styles.style_image(art, 1.0, LIMITS)


def test_a_picture_of_20000_pixels_is_scaled_down_and_one_beyond_the_limit_refused(tmp_path: Path) -> None:
    long = tmp_path / "long.jpg"
    Image.new("RGB", (20_000, 64), "teal").save(long)
    styles.style_image(long, 1.0, LIMITS)
    assert styles.load_style(long, 1000).shape == (3, 1000, 3)
    bomb = tmp_path / "bomb.png"
    # 400 million pixels in a few kilobytes.
    Image.new("1", (20_000, 20_000)).save(bomb)
    with pytest.raises(StyleError, match="pixels"):
        styles.style_image(bomb, 1.0, LIMITS)
    with pytest.raises(StyleError, match=r"200 x 120"):
        Image.new("L", (200, 120)).save(long)
        styles.load_style(long, 100, pixels=20_000)


def test_pictures_of_every_kind_come_as_upright_rgb(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 80 * 60).reshape(60, 80).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    deep = styles.load_style(tmp_path / "deep.png", 500)
    assert deep.shape == (60, 80, 3) and deep.min() == 0 and deep.max() == 255 and 110 < deep.mean() < 145
    clear = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    assert (styles.load_style(tmp_path / "clear.png", 500) == 255).all(), "transparency lies on white"
    turned = Image.new("RGB", (60, 40), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert styles.load_style(tmp_path / "turned.jpg", 500).shape == (60, 40, 3)
    first = Image.new("RGB", (50, 50), "blue")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (50, 50), "lime")])
    assert styles.load_style(tmp_path / "moving.gif", 500)[0, 0].tolist() == [0, 0, 255]
    assert styles.load_style(tmp_path / "moving.gif", 500).flags.writeable


def test_a_checkpoint_is_named_by_all_that_the_fit_depends_on(art: Path, tmp_path: Path) -> None:
    look = styles.look_from([art], DEFAULTS, LIMITS)

    def path(clip_: Clip = clip(), look_: Look = look, weights: str = "w") -> Path:  # noqa: B008
        return styles.checkpoint_path(clip_, look_, weights, tmp_path)

    others = [
        path(clip("g")),
        path(weights="v"),
        *(path(look_=replace(look, **{k: v})) for k, v in (("brush", 2.0), ("keep_color", True), ("seed", 1), ("size", 64))),
        path(look_=replace(look, quality=Quality.HIGH)),
        path(look_=replace(look, styles=(replace(look.styles[0], digest="other"),))),
    ]
    assert len({path(), *others}) == 1 + len(others)
    assert path(look_=replace(look, strength=0.3)) == path(), "strength is applied to the finished checkpoint"
    elsewhere = replace(look.styles[0], path=tmp_path / "copy.jpg")
    assert path(look_=replace(look, styles=(elsewhere,))) == path(), "the bytes count, not the place"


def written(folder: Path, name: str, facts: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    header = json.dumps({"__metadata__": facts}).encode()
    path = folder / f"{name}.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def test_checkpoints_are_listed_found_and_removed_also_damaged_ones(tmp_path: Path) -> None:
    assert styles.fitted(tmp_path) == []
    folder = styles.checkpoints(tmp_path)
    good = written(folder, "aa11" + "0" * 36, {"format": "stylizer-checkpoint", "styles": "art.jpg"})
    written(folder, "aa22" + "0" * 36, {"format": "stylizer-checkpoint", "styles": "waves.jpg"})
    written(folder, "bb33" + "0" * 36, {"format": "another"})
    for n, junk in enumerate(
        (b"", b"\xff" * 50, (1 << 60).to_bytes(8, "little") + b"{}", (4).to_bytes(8, "little") + b"[[[[")
    ):
        (folder / f"cc{n}{'0' * 37}.safetensors").write_bytes(junk)
    found = styles.fitted(tmp_path)
    assert len(found) == 7
    assert {one.name[:4] for one in found if not one.problem} == {"aa11", "aa22"}
    assert styles.find_fitted(tmp_path, "aa11").title == "art.jpg"
    assert styles.find_fitted(tmp_path, "waves").name.startswith("aa22")
    with pytest.raises(StyleError, match="could be any of"):
        styles.find_fitted(tmp_path, "aa")
    with pytest.raises(StyleError, match="no fitted style"):
        styles.find_fitted(tmp_path, "zz")
    styles.remove_fitted(styles.find_fitted(tmp_path, "aa11"))
    assert not good.exists() and len(styles.fitted(tmp_path)) == 6
