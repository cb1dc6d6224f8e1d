"""The config: the example is the defaults, mistakes are named, files live where they are told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylizer.config import Config, LookDefaults, load_config, places
from stylizer.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "config.toml"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_shows_every_key_at_its_default() -> None:
    assert load_config(EXAMPLE) == Config()
    text = EXAMPLE.read_text(encoding="utf-8")
    for section in ("look", "encoding", "run", "limits"):
        assert f"[{section}]" in text
        for key in getattr(Config(), section).__dataclass_fields__:
            assert f"\n{key} = " in text, f"{section}.{key} is not in the example"


def test_no_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(tmp_path / "none.toml") == Config()


def test_what_is_set_is_set_and_whole_numbers_are_numbers(tmp_path: Path) -> None:
    found = load_config(written(tmp_path, "[look]\nstrength = 1\nquality = 'high'\n[run]\nchunk_seconds = 5\n"))
    assert found.look == LookDefaults(strength=1.0, quality="high")
    assert isinstance(found.look.strength, float) and found.run.chunk_seconds == 5.0


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[look]\nstrenght = 0.5", "unknown key 'look.strenght'", "look.strength"),
        ("[lok]\nseed = 1", "unknown key 'lok'", "look"),
        ("[look]\nseed = 'x'", "'look.seed' must be a whole number", ""),
        ("[look]\nkeep_color = 1", "'look.keep_color' must be true or false", ""),
        ("[look]\nseed = true", "'look.seed' must be a whole number", ""),
        ("look = 3", "is a section", ""),
        ("[look\n", "not valid TOML", "Mend"),
    ],
)
def test_a_mistake_is_named_with_what_was_meant(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_config(written(tmp_path, text))
    assert hint in error.value.hint
    assert str(tmp_path) in error.value.message


def test_a_config_that_is_not_text_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_one_folder_can_hold_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path / "home"))
    here = places()
    assert {here.config.parent, here.store.parent, here.work.parent, here.cache.parent, here.logs.parent} == {
        tmp_path / "home"
    }
    assert not (tmp_path / "home").exists(), "looking creates nothing"
    monkeypatch.delenv("STYLIZER_HOME")
    assert places().store != here.store
