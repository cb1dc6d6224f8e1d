"""What a worker is given and what it says: specs and JSON lines, versioned. No I/O.

    python -m stylizer.worker SPEC.json [SPEC.json …]

reads specs (`dumps` / `loads`), carries them out in order and prints one JSON object a line. Without arguments the specs
come on stdin, one a line, so that each worker takes the next when it has time for it; an empty line: no more will come;
the end of stdin: nobody wants the work any more, and the worker ends at once.

    {"kind": "progress", "id": "7-00003-1", "done": 120, "total": 500, "fps": 41.2}
    {"kind": "note", "id": "7-00003-1", "text": "2 frames could not be decoded and are left out"}
    {"kind": "finished", "id": "7-00003-1", "frames": 500, "digest": "9f…", "seconds": 12.2}
    {"kind": "failed", "id": "7-00003-1", "code": "input", "message": "…", "hint": "…", "retryable": false}

For a fit, done and total are steps. Lines that are not ours are to be ignored: libraries print too.
Exit: 0 all done, 1 some failed (each said so), 2 a spec could not be understood.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

from stylizer.errors import InputError
from stylizer.jobs import Clip, Encoding, FrameRange, Look

VERSION = 1


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
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        options = [k for k in typing.get_args(kind) if k is not type(None)]
        return None if raw is None else unpack(options[0], raw)
    if origin is tuple:
        if not isinstance(raw, list):
            raise TypeError(f"expected a list, got {type(raw).__name__}")
        inner = typing.get_args(kind)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(unpack(inner[0], v) for v in raw)
        return tuple(unpack(k, v) for k, v in zip(inner, raw, strict=True))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(raw, dict):
            raise TypeError(f"expected an object for {kind.__name__}, got {type(raw).__name__}")
        hints = typing.get_type_hints(kind)
        known = {f.name for f in dataclasses.fields(kind)}
        if unknown := set(raw) - known:
            raise ValueError(f"{kind.__name__} has no field {sorted(unknown)[0]!r}")
        required = {
            f.name
            for f in dataclasses.fields(kind)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        if missing := required - set(raw):
            raise KeyError(f"{kind.__name__} needs {sorted(missing)[0]!r}")
        return kind(**{name: unpack(hints[name], value) for name, value in raw.items()})
    if kind in (Path, Fraction, Decimal) or (isinstance(kind, type) and issubclass(kind, Enum)):
        if not isinstance(raw, str):
            raise TypeError(f"expected text for {kind.__name__}, got {type(raw).__name__}")
        return kind(raw)
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        raise TypeError(f"expected {kind.__name__}, got {type(raw).__name__}")
    return raw
