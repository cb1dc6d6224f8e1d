"""Weights on disk: the shipped ones, and the checkpoints that a fit writes. Safetensors only; what is read is checked.

A checkpoint is a plain TransformNetwork with its widths, so it describes itself; its header says what it was fitted to.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stylizer.errors import StyleError
from stylizer.network import Dims, PerceptualEncoder, StyleEncoder, TransformNetwork

FORMAT = "stylizer-checkpoint"
VERSION = 2
SHIPPED = Path(__file__).parent / "weights" / "stylizer.safetensors"
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A fitted, folded network and the facts about it: style names, look, clip, losses, all text."""

    network: TransformNetwork
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shipped:
    """The networks that ship with the package, in float32 on the CPU."""

    transform: TransformNetwork
    style: StyleEncoder
    perceptual: PerceptualEncoder


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write whole or not at all: a temporary file beside it, fsync, rename. float32, about 4 MB. OSError if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    facts = {
        **checkpoint.facts,
        "format": FORMAT,
        "version": str(VERSION),
        "dims": json.dumps(asdict(checkpoint.network.dims)),
    }
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    try:
        save_file(tensors, part, metadata=facts)
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except SafetensorError as error:
        # What a full disk is to the library that writes.
        raise OSError(f"{path} cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint; StyleError if it is not one, is of a newer version, is incomplete or not finite."""
    tensors, facts = _read(path)
    if facts.get("format") != FORMAT:
        raise StyleError(f"{path} is not a stylizer checkpoint.", hint="Fit the style again: stylizer styles fit.")
    if facts.get("version") != str(VERSION):
        raise StyleError(
            f"The checkpoint {path} has version {facts.get('version')!r}, this program reads version {VERSION}.",
            hint="Update stylizer, or fit the style again: stylizer styles fit.",
        )
    try:
        dims = Dims(**json.loads(facts["dims"]))
        if not all(isinstance(n, int) and 1 <= n <= 512 for n in asdict(dims).values()):
            raise ValueError(f"widths {dims}")
        network = TransformNetwork(dims)
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StyleError(
            f"The checkpoint {path} does not describe its own network: {str(error).splitlines()[0]}.",
            hint="Remove it with stylizer styles rm; it is fitted again when needed.",
        ) from None
    return Checkpoint(network.eval().requires_grad_(False), facts)


@cache
def shipped() -> Shipped:
    """The shipped networks; StyleError if the file was damaged. Callers must not change them."""
    tensors, _ = _read(SHIPPED)
    parts = Shipped(TransformNetwork(), StyleEncoder(), PerceptualEncoder())
    for name in ("transform", "style", "perceptual"):
        own = {key.removeprefix(name + "."): t.float() for key, t in tensors.items() if key.startswith(name + ".")}
        try:
            getattr(parts, name).load_state_dict(own)
        except RuntimeError as error:
            raise StyleError(
                f"The weights in {SHIPPED} do not fit this program: {error}.", hint="Install it again."
            ) from None
        getattr(parts, name).eval().requires_grad_(False)
    return parts


def save_shipped(parts: Shipped, path: Path, facts: dict[str, str]) -> None:
    """Write the shipped weights in float16 (the training's last step)."""
    tensors = {
        f"{name}.{key}": tensor.detach().half().cpu().contiguous()
        for name in ("transform", "style", "perceptual")
        for key, tensor in getattr(parts, name).state_dict().items()
    }
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata=facts)
    part.replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StyleError(f"The checkpoint {path} cannot be read: {error.strerror}.", hint="Fit the style again.") from None
    if size > MAX_BYTES:
        raise StyleError(f"{path} has {size >> 20} MB; a checkpoint has at most {MAX_BYTES >> 20} MB.")
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise StyleError(
            f"The checkpoint {path} is damaged: {error}.",
            hint="Remove it with stylizer styles rm; it is fitted again when needed.",
        ) from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise StyleError(
                f"The checkpoint {path} holds numbers that are not finite ({name}).",
                hint="Remove it with stylizer styles rm; it is fitted again when needed.",
            )
    return tensors, facts
