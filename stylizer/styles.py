"""Style pictures, looks, and the fitted checkpoints in the cache: check, load, name, list, remove. Never imports torch."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stylizer.config import Limits, LookDefaults
from stylizer.errors import ConfigError, StyleError
from stylizer.files import digest_of, glimpse_of
from stylizer.jobs import Clip, Look, Quality, StyleImage

SMALLEST_SIDE = 32
"""Pixels; a smaller picture holds no brush stroke to learn from."""
MAX_STYLES = 16
STRENGTH, BRUSH, SIZE, SEED = (0.0, 1.0), (0.25, 4.0), (16, 16384), (0, 2**32 - 1)
"""Ranges of a look, both ends included."""

SHIPPED = Path(__file__).parent / "weights" / "stylizer.safetensors"
FORMAT = "stylizer-checkpoint"
HEADER_BYTES = 1 << 20
"""A checkpoint's header is a few kilobytes; a longer one is not ours and is not read."""


def look_from(
    styles: Sequence[Path],
    defaults: LookDefaults,
    limits: Limits,
    *,
    blend: str = "",
    strength: float | None = None,
    brush: float | None = None,
    keep_color: bool | None = None,
    quality: str = "",
    size: int | None = None,
    seed: int | None = None,
) -> Look:
    """A checked look; what is None or empty comes from `defaults`.

    ConfigError names the option that is out of range; StyleError names the picture that is not usable.
    """
    if not styles:
        raise ConfigError("There is no style to paint in.", hint="Name a picture with --style.")
    if len(styles) > MAX_STYLES:
        raise ConfigError(f"--style is given {len(styles)} times; a look blends at most {MAX_STYLES}.")
    weights = blend_weights(blend, len(styles))
    pixels = defaults.size if size is None else size
    return Look(
        styles=tuple(style_image(path, weight, limits) for path, weight in zip(styles, weights, strict=True)),
        strength=_within("strength", defaults.strength if strength is None else strength, STRENGTH),
        brush=_within("brush", defaults.brush if brush is None else brush, BRUSH),
        keep_color=defaults.keep_color if keep_color is None else keep_color,
        quality=_quality(quality or defaults.quality),
        size=int(_within("size", pixels, SIZE)) if pixels else None,
        seed=int(_within("seed", defaults.seed if seed is None else seed, SEED)),
    )


def blend_weights(blend: str, count: int) -> tuple[float, ...]:
    """Weights of `count` styles that sum to 1, from "0.7,0.3"; equal ones from "". ConfigError if they do not fit."""
    if not blend.strip():
        return (1.0 / count,) * count
    try:
        shares = [float(part) for part in blend.split(",")]
    except ValueError:
        raise ConfigError(f"--blend {blend!r} is not a list of numbers.", hint="Write it as 0.7,0.3.") from None
    if len(shares) != count:
        raise ConfigError(
            f"--blend has {len(shares)} {_plural('number', len(shares))} for {count} {_plural('style', count)}.",
            hint="Give one number for each --style, in the same order.",
        )
    total = sum(shares)
    if not math.isfinite(total) or min(shares) < 0 or total <= 0:
        raise ConfigError(f"--blend {blend!r} cannot be shared out.", hint="Use numbers from 0 up, not all of them 0.")
    return tuple(share / total for share in shares)


def style_image(path: Path, weight: float, limits: Limits) -> StyleImage:
    """The style picture at `path`, checked by decoding it once; StyleError if it is not usable."""
    with _opened(path, limits.pixels) as image:
        if min(image.size) < SMALLEST_SIDE:
            raise StyleError(
                f"The style {path} has only {image.width} x {image.height} pixels; there is no brush stroke to learn from.",
                hint=f"Use a picture of at least {SMALLEST_SIDE} pixels a side; 500 or more is better.",
            )
        try:
            image.draft("RGB", (64, 64))
            image.load()
        except (OSError, SyntaxError, ValueError, MemoryError) as error:
            raise _damaged(path, error) from None
    return StyleImage(path.absolute(), weight, digest_of(path))


def load_style(path: Path, longest: int, pixels: int = Limits().pixels) -> NDArray[np.uint8]:
    """The picture as (height, width, 3) RGB, upright, its long side at most `longest` pixels; transparency lies on white.

    The first frame of an animation. StyleError if it cannot be decoded or has more than `pixels` pixels.
    """
    with _opened(path, pixels) as image:
        try:
            # JPEG decodes at a fraction of its size where that is enough.
            image.draft("RGB", (longest, longest))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
            return np.array(_rgb(upright))
        except (OSError, SyntaxError, ValueError, MemoryError) as error:
            raise _damaged(path, error) from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # 16-bit and float greys: Pillow would clip these instead of scaling.
        levels = np.asarray(image, dtype=np.float64)
        top = 65535 if image.mode.startswith("I") else max(1.0, float(levels.max()))
        image = Image.fromarray((levels.clip(0, top) * (255 / top) + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image.convert("RGB")


def _opened(path: Path, pixels: int) -> Image.Image:
    """Only the header is read here; the caller closes it."""
    try:
        if path.is_dir():
            raise StyleError(f"The style {path} is a folder.", hint="Name a picture in it.")
        path.stat()
        if not path.is_file():
            raise StyleError(f"The style {path} is not a file.", hint="Name a picture: JPEG, PNG, WebP, TIFF, …")
        with warnings.catch_warnings():
            # Our own limit is stricter, and a sentence instead of a warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except UnidentifiedImageError:
        raise StyleError(f"The style {path} is not a picture.", hint="Name a picture: JPEG, PNG, WebP, TIFF, …") from None
    except Image.DecompressionBombError:
        hint = "Scale it down, 4000 pixels a side is plenty."
        raise StyleError(f"The style {path} has too many pixels.", hint=hint) from None
    except (OSError, ValueError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StyleError(f"The style {path} cannot be read: {reason}.", hint="Check the path after --style.") from None
    if image.width * image.height > pixels:
        size = f"{image.width} x {image.height}"
        image.close()
        raise StyleError(
            f"The style {path} has {size} pixels, more than the {pixels / 1e6:.0f} million that are allowed.",
            hint="Scale it down, 4000 pixels a side is plenty; or raise limits.pixels in config.toml.",
        )
    return image


def _damaged(path: Path, error: Exception) -> StyleError:
    return StyleError(f"The style {path} is damaged: {error}.", hint="Open it in another program and save it again.")


def _within(option: str, value: float, span: tuple[float, float]) -> float:
    low, high = span
    if not low <= value <= high:
        raise ConfigError(f"--{option} is {value:g}; it goes from {low:g} to {high:g}.")
    return value


def _quality(name: str) -> Quality:
    try:
        return Quality(name)
    except ValueError:
        known = [str(q) for q in Quality]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--quality {name!r} is not one of {', '.join(known)}.", hint=hint) from None


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A checkpoint in the cache, as its file's header describes it."""

    name: str
    """The first characters of its content key."""
    path: Path
    size: int
    """Bytes."""
    modified: float
    """Unix time."""
    facts: dict[str, str] = field(default_factory=dict)
    """What the fit wrote of itself: styles, weights, clip, quality, brush, keep_color, seed, made, steps, seconds, …"""
    problem: str = ""
    """Why it cannot be used, if so."""

    @property
    def title(self) -> str:
        return self.facts.get("styles", "") or "unknown"


@functools.cache
def weights_digest() -> str:
    """SHA-256 of the shipped weights: a checkpoint fitted from others is not reused. StyleError if they are missing."""
    try:
        return digest_of(SHIPPED)
    except OSError as error:
        hint = "Install stylizer again."
        raise StyleError(f"The weights {SHIPPED} cannot be read: {error.strerror}.", hint=hint) from None


def checkpoint_path(clip: Clip, look: Look, weights: str, cache: Path) -> Path:
    """Where the checkpoint of this look on this clip belongs: its name is a hash of all that the fit depends on.

    That is the styles' bytes and weights, brush, colour keep, quality, size and seed, the clip's bytes, and the digest
    `weights` of the shipped networks. Strength is applied to the finished checkpoint and is not part of it.
    """
    key = {
        "version": 1,
        "styles": [[style.digest, round(style.weight, 6)] for style in look.styles],
        "brush": look.brush,
        "keep_color": look.keep_color,
        # A reference painting begins with the standard fit.
        "quality": str(Quality.STANDARD if look.quality is Quality.REFERENCE else look.quality),
        "size": look.size,
        "seed": look.seed,
        "clip": clip.fingerprint,
        "weights": weights,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:40]
    return checkpoints(cache) / f"{name}.safetensors"


def checkpoints(cache: Path) -> Path:
    """The folder of fitted checkpoints in the cache."""
    return cache / "checkpoints"


def fitted(cache: Path) -> list[Fitted]:
    """All checkpoints in the cache, newest first, damaged ones with their `problem`."""
    found = [_describe(path) for path in checkpoints(cache).glob("*.safetensors")]
    return sorted(found, key=lambda one: (-one.modified, one.name))


def find_fitted(cache: Path, name: str) -> Fitted:
    """The checkpoint whose content key starts with `name`, or whose style is called so; StyleError unless there is one."""
    every = fitted(cache)
    if not name:
        raise StyleError("The name of a fitted style is empty.", hint="See stylizer styles.")
    found = [one for one in every if one.path.name.startswith(name)]
    found = found or [one for one in every if name in (one.title, *(Path(s).stem for s in one.title.split(", ")))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise StyleError(f"There is no fitted style called {name!r}.", hint="See stylizer styles for those that are there.")
    raise StyleError(f"{name!r} could be any of {', '.join(one.name for one in found)}.", hint="Name one of these.")


def remove_fitted(one: Fitted) -> None:
    """Delete a checkpoint and its picture; StyleError if that is not possible. One that is gone already is fine."""
    try:
        glimpse_of(one.path).unlink(missing_ok=True)
        one.path.unlink(missing_ok=True)
    except OSError as error:
        raise StyleError(f"The checkpoint {one.path} cannot be removed: {error.strerror}.") from None


def _describe(path: Path) -> Fitted:
    size, modified, facts = 0, 0.0, {}
    try:
        stat = path.stat()
        size, modified = stat.st_size, stat.st_mtime
        facts = _facts(path, size)
        problem = "" if facts.get("format") == FORMAT else "this is no checkpoint of ours"
    except (OSError, ValueError, RecursionError) as error:
        problem = f"the header cannot be read: {error}"
    return Fitted(path.stem[:8], path, size, modified, facts, problem)


def _facts(path: Path, size: int) -> dict[str, str]:
    """The metadata of a safetensors file: 8 bytes of length, little end first, then that much JSON."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(HEADER_BYTES, size - 8):
            raise ValueError("its length is wrong")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("it is no object")
    facts = header.get("__metadata__", {})
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise ValueError("its facts are not text")
    return facts
