"""Change one setting in config.toml and keep all else that stands there, comments included."""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from stylizer.config import CHOICES, Config, example, load_config
from stylizer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of config.toml."""

    section: str
    key: str
    value: Any
    """In force now."""
    default: Any
    about: str
    """The comment beside it in the example; may be empty."""
    choices: tuple[str, ...] = ()
    """What it may say, where it takes one of a few words."""

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def is_default(self) -> bool:
        return bool(self.value == self.default)


def settings(config: Config) -> list[Setting]:
    """All settings with what is in force, in the order of the example."""
    return list(_settings(config))


def written(value: Any) -> str:
    """A value as a person types it: without the quotes of a text, with those of a list of texts."""
    if isinstance(value, str):
        return value
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def change(path: Path, setting: Setting, text: str) -> Config:
    """Write what a person typed as the value of a setting to the config at `path`, and return the config then in force.

    ConfigError if it does not fit; the file is then as it was. The file is made if it is not there.
    """
    return _rewrite(path, setting, _read(setting, text))


def forget(path: Path, setting: Setting) -> Config:
    """Take the setting out of the file, so that its default is in force."""
    return _rewrite(path, setting, None)


def _settings(config: Config) -> Iterator[Setting]:
    about, defaults = _comments(), Config()
    for section in fields(config):
        now, before = getattr(config, section.name), getattr(defaults, section.name)
        for key in fields(now):
            name = f"{section.name}.{key.name}"
            values = getattr(now, key.name), getattr(before, key.name)
            yield Setting(section.name, key.name, *values, about.get(name, ""), CHOICES.get(key.name, ()))


def _comments() -> dict[str, str]:
    found = {}
    for section, values in tomlkit.parse(example()).items():
        for key in values:
            found[f"{section}.{key}"] = values.value.item(key).trivia.comment.lstrip("# ").strip()
    return found


def _read(setting: Setting, text: str) -> Any:
    """What was typed as a value of the setting's kind; what does not fit is left to load_config's sentence."""
    if isinstance(setting.default, str):
        return text
    try:
        value = tomlkit.value(text.strip()).unwrap()
    except (TOMLKitError, ValueError):
        kind = type(setting.default)
        said = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, 'a list as ["one", "two"]')
        raise ConfigError(f"{setting.name} is {said}, not {text.strip()!r}.") from None
    return value


def _rewrite(path: Path, setting: Setting, value: Any) -> Config:
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        document = tomlkit.parse(text)
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"The config {path} cannot be read: {error}.", hint="Mend that first.") from None
    if value is None:
        section = document.get(setting.section)
        if isinstance(section, dict):
            section.pop(setting.key, None)
    else:
        typing.cast(dict[str, Any], document.setdefault(setting.section, tomlkit.table()))[setting.key] = value
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(tomlkit.dumps(document), encoding="utf-8")
        found = load_config(part)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"The config {path} cannot be written: {error.strerror or error}.") from None
    except ConfigError as error:
        raise ConfigError(error.message.replace(str(part), str(path)), hint=error.hint) from None
    finally:
        part.unlink(missing_ok=True)
    return found
