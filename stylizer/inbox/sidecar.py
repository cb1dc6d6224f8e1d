"""How a clip of an inbox is to be painted: what was asked for on the command line, and a sidecar that overrides it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stylizer.config import Config, checked, read_toml
from stylizer.errors import ConfigError

SECTIONS = ("look", "encoding", "run", "place")
"""Of config.toml; in a sidecar they may be written or left out."""
MOST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that can be asked for one clip. Defaults are those of `asked_by`."""

    styles: tuple[str, ...] = ()
    """Style pictures; empty: those of the inbox. Several: one output each, unless `blend` mixes them."""
    blend: str = ""
    strength: float = 1.0
    brush: float = 1.0
    keep_color: bool = False
    quality: str = "standard"
    size: int = 0
    seed: int = 0
    codec: str = ""
    crf: int = -1
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    priority: int = 0
    deadline_hours: float = 0.0
    max_cost: float = 0.0


def asked_by(config: Config, **options: Any) -> Asked:
    """What the config asks for, but for options that are given (neither None nor empty)."""
    known: dict[str, Any] = {}
    for section in (config.look, config.encoding, config.run, config.place):
        known |= {f.name: getattr(section, f.name) for f in fields(section)}
    known |= {name: value for name, value in options.items() if value not in (None, "", ())}
    return Asked(**{f.name: known[f.name] for f in fields(Asked) if f.name in known})


def read_sidecar(path: Path, asked: Asked) -> Asked:
    """`asked` with what the sidecar says instead. Its styles are paths from where it lies. ConfigError names what it does
    not understand.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(
                f"{path.name} is too large for a sidecar.", hint="It holds a few lines, such as strength = 0.5."
            )
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror or error}.") from None
    raw = read_toml(path)
    for section in SECTIONS:
        inner = raw.pop(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path.name}: {section!r} is a section, write [{section}].")
        raw |= inner
    if isinstance(raw.get("style"), str):
        raw["styles"] = [raw.pop("style")]
    elif "style" in raw:
        raw["styles"] = raw.pop("style")
    said = checked(Asked, raw, path)
    given = {name: getattr(said, name) for name in raw}
    if "styles" in given:
        given["styles"] = tuple(str(path.parent / Path(style).expanduser()) for style in given["styles"])
    return replace(asked, **given)
