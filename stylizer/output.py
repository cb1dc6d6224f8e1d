"""Where a painting goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stylizer import source
from stylizer.encode import CONTAINERS
from stylizer.errors import ConfigError
from stylizer.jobs import Clip, MediaKind
from stylizer.sequence import SUFFIXES


def output_path(clip: Clip, style_names: Sequence[str], given: Path | None) -> Path:
    """Where the painting goes: beside the clip as CLIP.STYLE.SUFFIX, or what was given (a folder: in there).

    A container that cannot carry the result becomes .mp4, or .mkv where mp4 cannot hold the clip's sound. ConfigError
    if what was given cannot be written or is the source itself.
    """
    style = re.sub(r"[^\w.+-]+", "_", "+".join(style_names), flags=re.UNICODE).strip("._") or "painted"
    name = clip.path.name if clip.kind is MediaKind.SEQUENCE else clip.path.stem
    suffix = _suffix(clip)
    proposed = f"{name[:120]}.{style[:80]}{suffix}"
    if given is None:
        return clip.path.with_name(proposed)
    given = given.absolute()
    if clip.kind is MediaKind.SEQUENCE:
        path = given
    elif given.is_dir():
        path = given / proposed
    elif not given.suffix:
        path = given.with_name(given.name + suffix)
    else:
        path = given
    allowed = {MediaKind.VIDEO: tuple(CONTAINERS), MediaKind.STILL: tuple(SUFFIXES), MediaKind.SEQUENCE: ()}[clip.kind]
    if allowed and path.suffix.lower() not in allowed:
        raise ConfigError(f"A {clip.kind} cannot be written as {path.name}.", hint=f"Choose one of: {', '.join(allowed)}.")
    if path == clip.path or (path.exists() and path.samefile(clip.path)):
        raise ConfigError(f"The output {path} is the source itself; sources are never changed.", hint="Give another -o.")
    return path


def _suffix(clip: Clip) -> str:
    suffix = clip.path.suffix
    if clip.kind is MediaKind.SEQUENCE:
        return ""
    if clip.kind is MediaKind.STILL:
        return suffix if suffix.lower() in tuple(SUFFIXES) else ".png"
    if suffix.lower() in CONTAINERS:
        return suffix
    with source.open_source(clip.path) as container:
        sounds = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
        return ".mp4" if all(source.holds("mp4", stream) for stream in sounds) else ".mkv"
