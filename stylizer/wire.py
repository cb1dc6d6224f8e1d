"""What a worker is given and what it says: specs and JSON lines, versioned. No I/O.

    python -m stylizer.worker SPEC.json [SPEC.json …]

reads specs (`dumps` / `loads`), carries them out in order and prints one JSON object a line. Without arguments the specs
come on stdin, one a line, so that each worker takes the next when it has time for it; an empty line: no more will come;
the end of stdin: nobody wants the work any more, and the worker ends at once.

    {"kind": "progress", "id": "7-00003-1", "done": 120, "total": 500, "fps": 41.2}
    {"kind": "note", "id": "7-00003-1", "text": "2 frames could not be decoded and are left out"}
    {"kind": "finished", "id": "7-00003-1", "frames": 500, "digest": "9f…", "seconds": 12.2}
    {"kind": "failed", "id": "7-00003-1", "code": "input", "message": "…", "hint": "…", "retryable": false}

For a fit, done and total are steps, and fps is steps a second. With STYLIZER_FRAME_TIMES set there are lines of kind
"frames" too, for the log alone: `first` and the milliseconds that each frame from that one on has taken, `ms`. Lines that
are not ours are to be ignored: libraries print too.
Exit: 0 all done, 1 some failed (each said so), 2 a spec could not be understood.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from stylizer.errors import InputError
from stylizer.jobs import Clip, Encoding, FrameRange, Look

VERSION = 1
FRAME_TIMES = "STYLIZER_FRAME_TIMES"
"""Environment variable that has a worker say how long each frame has taken."""


@dataclass(frozen=True, slots=True)
class FitSpec:
    """Fit the look to the clip and write a checkpoint (safetensors) to `output`."""

    id: str
    clip: Clip
    look: Look
    output: Path
    device: str
    precision: str


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """Paint `frames` of the clip with `checkpoint` into `output`.

    `output` is a NUT file for a video, a picture for a still, a folder of pictures for a sequence.
    """

    id: str
    clip: Clip
    frames: FrameRange
    look: Look
    checkpoint: Path
    output: Path
    target: Path
    """The job's final output; its suffix decides codec and pixel format. Never written by the worker."""
    size: tuple[int, int]
    """Output width and height."""
    encoding: Encoding
    device: str
    precision: str


Spec = FitSpec | ChunkSpec


@dataclass(frozen=True, slots=True)
class Line:
    """One line from a worker, checked. Fields that a kind has not are at their defaults."""

    kind: str
    id: str
    done: int = 0
    total: int = 0
    fps: float = 0.0
    text: str = ""
    frames: int = 0
    digest: str = ""
    seconds: float = 0.0
    code: str = ""
    message: str = ""
    hint: str = ""
    retryable: bool = False


LINE_KINDS = ("progress", "note", "finished", "failed")
MAX_LINE = 20_000


def say(line: Line) -> str:
    """A line as JSON, without the fields that are at their defaults."""
    plain = dataclasses.asdict(line)
    defaults = {f.name: f.default for f in dataclasses.fields(line)}
    return json.dumps({k: v for k, v in plain.items() if k in ("kind", "id") or v != defaults[k]}, ensure_ascii=True)


def hear(text: str) -> Line | None:
    """Parse what a worker printed; None if it is not one of our lines. What comes from a worker is not trusted."""
    if len(text) > MAX_LINE or not text.lstrip().startswith("{"):
        return None
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or raw.get("kind") not in LINE_KINDS or not isinstance(raw.get("id"), str):
        return None
    kinds = {"str": str, "int": int, "float": (int, float), "bool": bool}
    values: dict[str, Any] = {}
    for f in dataclasses.fields(Line):
        if f.name in raw:
            expected = kinds[str(f.type)]
            value = raw[f.name]
            if not isinstance(value, expected) or (isinstance(value, bool) and f.type != "bool"):  # type: ignore[arg-type]
                return None
            values[f.name] = value
    return Line(**values)


def dumps(spec: Spec) -> str:
    """A spec as one line of text."""
    kind = "fit" if isinstance(spec, FitSpec) else "chunk"
    return json.dumps({"version": VERSION, "kind": kind, "spec": pack(spec)})


def loads(text: str) -> Spec:
    """A spec from its text; InputError if it is malformed or of another version."""
    try:
        raw = json.loads(text)
        version, kind = raw["version"], raw["kind"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"This is not a stylizer spec: {error}.") from None
    if version != VERSION:
        raise InputError(
            f"This spec speaks version {version}, this worker version {VERSION}.",
            hint="Use the same stylizer version for the runner and its workers.",
        )
    kinds: dict[str, type[FitSpec] | type[ChunkSpec]] = {"fit": FitSpec, "chunk": ChunkSpec}
    if kind not in kinds:
        raise InputError(f"A spec of kind {kind!r} is unknown.")
    try:
        return typing.cast(Spec, unpack(kinds[kind], raw["spec"]))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"This {kind} spec is malformed: {error}.") from None


def pack(value: Any) -> Any:
    """A frozen dataclass of ours (or a part of one) as JSON values; `unpack` is its inverse."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: pack(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (Path, Fraction, Decimal)):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [pack(v) for v in value]
    return value


def unpack(kind: Any, raw: Any) -> Any:
    """JSON values as an instance of `kind`; raises KeyError, TypeError or ValueError where they do not fit."""
    return _reader(kind)(raw)


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """What turns JSON values into a `kind`: worked out once, for a store of thousands of jobs reads it often."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        (inner,) = [_reader(option) for option in typing.get_args(kind) if option is not type(None)]
        return lambda raw: None if raw is None else inner(raw)
    if origin is tuple:
        return _tuple_reader(typing.get_args(kind))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass_reader(kind)
    if kind is Path:
        return lambda raw: Path(_checked(raw, str, kind))
    if kind in (Fraction, Decimal) or (isinstance(kind, type) and issubclass(kind, Enum)):
        # There are few frame rates and states.
        make = lru_cache(maxsize=256)(kind)
        return lambda raw: make(raw if type(raw) is str else _checked(raw, str, kind))
    if kind is float:
        return lambda raw: raw if type(raw) is float else float(_checked(raw, int, kind))
    return lambda raw: raw if type(raw) is kind else _checked(raw, kind, kind)


def _checked(raw: Any, wanted: type, kind: type) -> Any:
    if type(raw) is wanted:
        return raw
    if not isinstance(raw, wanted) or (isinstance(raw, bool) and wanted is not bool):
        raise TypeError(f"expected {kind.__name__}, got {type(raw).__name__}")
    return raw


def _tuple_reader(kinds: tuple[Any, ...]) -> Callable[[Any], Any]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        one = _reader(kinds[0])
        return lambda raw: tuple(map(one, _checked(raw, list, list)))
    each = [_reader(kind) for kind in kinds]
    return lambda raw: tuple(one(value) for one, value in zip(each, _checked(raw, list, list), strict=True))


def _dataclass_reader(kind: type) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    every = dataclasses.fields(kind)
    readers = {f.name: _reader(hints[f.name]) for f in every}
    missing = dataclasses.MISSING
    required = {f.name for f in every if f.default is missing and f.default_factory is missing}
    in_order = tuple((f.name, readers[f.name]) for f in every)

    def read(raw: Any) -> Any:
        if type(raw) is dict and len(raw) == len(in_order):
            # All of it and nothing else, or KeyError: most of what is read, and read thousands of times.
            return kind(*[value(raw[name]) for name, value in in_order])
        if not isinstance(raw, dict):
            raise TypeError(f"expected an object for {kind.__name__}, got {type(raw).__name__}")
        if unknown := raw.keys() - readers.keys():
            raise ValueError(f"{kind.__name__} has no field {min(unknown)!r}")
        if lacking := required - raw.keys():
            raise KeyError(f"{kind.__name__} needs {min(lacking)!r}")
        return kind(**{name: readers[name](value) for name, value in raw.items()})

    return read
