"""Still pictures and folders of pictures (sequences): found, read upright, written with their metadata.

Pillow opens and writes them; it has no 16-bit colour, so libav decodes those and deep.py writes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stylizer import deep
from stylizer.config import Limits
from stylizer.errors import InputError, OutputError
from stylizer.frames import Frame, Layout, Plane
from stylizer.jobs import Clip, Encoding, FrameRange, MediaKind
from stylizer.pixels import SUPPORTED
from stylizer.sequence import SUFFIXES, files_of, listed
from stylizer.source import check_pixels, within

LAYOUTS = {
    "rgb": Layout("rgb", 8, full_range=True),
    "rgba": Layout("rgb", 8, full_range=True, alpha=True),
    "rgb48": Layout("rgb", 16, full_range=True),
    "rgba64": Layout("rgb", 16, full_range=True, alpha=True),
}
"""What `Clip.pixel_format` says of pictures. Grey, palette and CMYK ones are read as RGB: a painting has colours."""
ORIENTATION = 0x0112
EMBEDDED = (".mjpg", ".mjpeg")
"""Start like a jpg, but are videos."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is carried from a picture to its painting."""

    exif: bytes
    """Without the orientation, which has been applied."""
    profile: bytes
    """ICC; only where it describes RGB."""
    dpi: tuple[float, float] | None


def is_picture(path: Path) -> bool:
    """Whether a file begins like a jpg, png, webp or tiff, whatever its name."""
    if path.suffix.lower() in EMBEDDED:
        return False
    with path.open("rb") as stream:
        head = stream.read(12)
    known = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    if head.startswith(b"\x89PNG") and _animated(path):
        return False
    return head.startswith(known) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _animated(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(4096)
    return b"acTL" in start.split(b"IDAT")[0]


def probe_still(path: Path, mark: str, limits: Limits) -> Clip:
    """A single picture as a clip of one frame; it is decoded once, to be sure. InputError if it cannot be."""
    with opened(path, limits) as image:
        form = _form(image, path)
        notes = []
        if getattr(image, "n_frames", 1) > 1:
            notes.append("It holds several pictures; only the first is painted.")
        if image.mode == "CMYK":
            notes.append("It is in CMYK; the painting is in RGB.")
        codec, (width, height) = (image.format or "").lower(), _shown_size(image)
        rotation = _rotation(image)
        _pixels(image, path, LAYOUTS[form])
    return Clip(
        path=path,
        kind=MediaKind.STILL,
        width=width,
        height=height,
        frames=1,
        rate=Fraction(0),
        duration=0.0,
        codec=codec,
        pixel_format=form,
        rotation=rotation,
        audio_tracks=0,
        fingerprint=mark,
        notes=tuple(notes),
    )


def probe_sequence(folder: Path, limits: Limits) -> Clip:
    """A folder of pictures as a clip, in natural order (frame2 before frame10). Every header is looked at.

    InputError if there are none, too many, if one is broken, or if they differ in size.
    """
    try:
        files, mark = listed(folder)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    if not files:
        raise InputError(f"The folder {folder} has no pictures in it.", hint="Pictures are jpg, png, webp or tiff files.")
    if len(files) > limits.frames:
        raise InputError(
            f"{folder} has {len(files):,} pictures; the limit is {limits.frames:,}.", hint="Raise limits.frames."
        )
    first: tuple[int, int] | None = None
    alpha, deep_one = False, False
    for path in files:
        with opened(path, limits) as image:
            size = _shown_size(image)
            form = _form(image, path)
        first = first or size
        if size != first:
            raise InputError(
                f"{path} is {size[0]} x {size[1]}, but {files[0].name} is {first[0]} x {first[1]}.",
                hint="All pictures of a sequence must be of one size.",
            )
        alpha, deep_one = alpha or LAYOUTS[form].alpha, deep_one or LAYOUTS[form].depth == 16
    assert first is not None
    return Clip(
        path=folder,
        kind=MediaKind.SEQUENCE,
        width=first[0],
        height=first[1],
        frames=len(files),
        rate=Fraction(0),
        duration=0.0,
        codec=SUFFIXES[files[0].suffix.lower()].lower(),
        pixel_format={(False, False): "rgb", (True, False): "rgba", (False, True): "rgb48", (True, True): "rgba64"}[
            alpha, deep_one
        ],
        rotation=0,
        audio_tracks=0,
        fingerprint=mark,
    )


def layout_of(clip: Clip) -> Layout:
    """The layout that pictures of this clip are read in."""
    return LAYOUTS[clip.pixel_format]


def read_pictures(clip: Clip, frames: FrameRange) -> Iterator[Frame]:
    """The pictures of that range, upright, their position as the time. InputError names one that is broken."""
    for position, path in enumerate(files_of(clip)[frames.start : frames.stop], frames.start):
        yield Frame(read_picture(path, layout_of(clip), within(clip)), position)


def read_picture(path: Path, layout: Layout, limits: Limits) -> tuple[Plane, ...]:
    """One picture as upright planes of that layout (one of LAYOUTS)."""
    with opened(path, limits) as image:
        rows = _pixels(image, path, layout)
    if layout.depth == 8 and rows.dtype == np.uint16:
        rows = (rows >> 8).astype(np.uint8)
    elif layout.depth == 16 and rows.dtype == np.uint8:
        rows = rows.astype(np.uint16) * 257
    if layout.alpha and rows.shape[2] == 3:
        opaque = np.full((*rows.shape[:2], 1), 2**layout.depth - 1, rows.dtype)
        rows = np.concatenate([rows, opaque], axis=2)
    return tuple(np.ascontiguousarray(rows[:, :, n]) for n in range(4 if layout.alpha else 3))


def opened(path: Path, limits: Limits) -> Image.Image:
    """A picture with only its header read; InputError if it is none or beyond the limit of pixels."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures that the limits below decide on.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=sorted(set(SUFFIXES.values())))
    except Image.DecompressionBombError:
        raise InputError(f"{path} is far too large a picture; the limit is {limits.pixels:,} pixels.") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture that can be read.", hint=SUPPORTED) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.", hint=SUPPORTED) from None
    try:
        check_pixels(*image.size, limits, path)
    except InputError:
        image.close()
        raise
    return image


def _form(image: Image.Image, path: Path) -> str:
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise InputError(
            f"{path} has pixels of a kind ({image.mode}) that is not supported.", hint="Save it as 8 or 16 bit RGB."
        )
    alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if _depth(image) == 16:
        return "rgba64" if alpha else "rgb48"
    return "rgba" if alpha else "rgb"


def _depth(image: Image.Image) -> int:
    if image.mode.startswith("I;16"):
        return 16
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, 8)  # type: ignore[attr-defined]
        return 16 if max(bits if isinstance(bits, tuple) else (bits,)) > 8 else 8
    if image.format == "PNG":
        with Path(image.filename).open("rb") as stream:  # type: ignore[attr-defined]
            return 16 if stream.read(25)[24:] == b"\x10" else 8
    return 8


def _pixels(image: Image.Image, path: Path, layout: Layout) -> NDArray[Any]:
    """(rows, columns, 3 or 4), upright: uint8, or uint16 if the file is and `layout` is too."""
    turn = _orientation(image)
    try:
        if layout.depth == 16 and _depth(image) == 16:
            return upright(_deep_pixels(path, image.format or "", layout.alpha), turn)
        if image.format == "TIFF":
            turn = 1  # Pillow turns these by itself, and only these
        if image.mode.startswith("I;16"):
            grey = np.asarray(image, dtype=np.uint16)
            return upright(np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2), turn)
        return upright(np.asarray(image.convert("RGBA" if layout.alpha else "RGB")), turn)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, av.error.FFmpegError) as error:
        raise InputError(f"The picture {path} is broken: {error}.", hint="Replace it or take it out.") from None


def _deep_pixels(path: Path, kind: str, alpha: bool) -> NDArray[Any]:
    with av.open(f"file:{path}", format=f"{kind.lower()}_pipe", options={"protocol_whitelist": "file"}) as container:
        for frame in container.decode(video=0):
            return frame.to_ndarray(format="rgba64le" if alpha else "rgb48le")
    raise ValueError("it holds no picture")


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF of a picture; of a PNG only what stands before the pixels, because Pillow decodes all of it to see more."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return Image.Exif()
    return image.getexif()


def _orientation(image: Image.Image) -> int:
    value = _exif(image).get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _shown_size(image: Image.Image) -> tuple[int, int]:
    """Width and height after orientation, which Pillow has already told of for TIFF."""
    return image.size[::-1] if image.format != "TIFF" and _orientation(image) >= 5 else image.size


def _rotation(image: Image.Image) -> int:
    return {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}.get(_orientation(image), 0)


def upright(rows: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (1..8) to an array (rows, columns, …)."""
    if orientation in (2, 4, 5, 7):
        rows = rows[:, ::-1]
    return np.rot90(rows, {3: 2, 4: 2, 5: 1, 8: 1, 6: 3, 7: 3}.get(orientation, 0))


def metadata_of(path: Path, limits: Limits) -> Metadata:
    """What the painting of this picture inherits."""
    with opened(path, limits) as image:
        exif = _exif(image)
        exif.pop(ORIENTATION, None)
        if image.format == "TIFF":
            # A TIFF keeps its structure in the same list; only what describes the picture is for another file.
            kept = Image.Exif()
            for tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298):
                if tag in exif:
                    kept[tag] = exif[tag]
            exif = kept
        profile = image.info.get("icc_profile") or b""
        dpi = image.info.get("dpi")
        return Metadata(
            exif.tobytes() if len(exif) else b"",
            profile if profile[16:20] == b"RGB " else b"",
            (float(dpi[0]), float(dpi[1])) if dpi else None,
        )


class PictureWriter:
    """Writes a still to the file `path`, or pictures of a sequence into the folder `path`, under their own names.

    A context manager; what it wants is in `layout`. Metadata come from the source's pictures.
    """

    def __init__(self, path: Path, clip: Clip, target: Path, encoding: Encoding, size: tuple[int, int]) -> None:  # noqa: ARG002
        self.path = path
        self.frames = 0
        self._clip = clip
        self._sources = files_of(clip)
        still = clip.kind is MediaKind.STILL
        self._kinds = [SUFFIXES[p.suffix.lower()] for p in ([target] if still else self._sources)]
        given = layout_of(clip)
        deep_ok = all(kind in ("PNG", "TIFF") for kind in self._kinds)
        alpha_ok = all(kind != "JPEG" for kind in self._kinds)
        depth = 16 if given.depth == 16 and deep_ok else 8
        self.layout = Layout("rgb", depth, full_range=True, alpha=given.alpha and alpha_ok)
        if not still:
            path.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> PictureWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def write(self, frame: Frame) -> None:
        """Write the picture at position `frame.time`: planes of `layout`. OutputError if it cannot be written."""
        still = self._clip.kind is MediaKind.STILL
        origin = self._sources[0 if still else frame.time]
        path = self.path if still else self.path / origin.name
        write_picture(
            path, frame.planes, self.layout, self._kinds[0 if still else frame.time], metadata_of(origin, within(self._clip))
        )
        self.frames += 1


def write_picture(path: Path, planes: tuple[Plane, ...], layout: Layout, kind: str, metadata: Metadata) -> None:
    """Write RGB planes as a JPEG, PNG, WEBP or TIFF (`kind`). OutputError if it cannot be written."""
    rows = np.stack(planes, axis=2)
    try:
        if layout.depth == 16:
            deep.write(path, rows, kind, metadata.exif, metadata.profile)
            return
        image = Image.fromarray(np.ascontiguousarray(rows))
        formats: dict[str, dict[str, Any]] = {
            "JPEG": {"quality": 95, "subsampling": 0, "optimize": True},
            "PNG": {"compress_level": 6},
            "WEBP": {"quality": 95, "method": 4, "exact": True},
            "TIFF": {"compression": "tiff_adobe_deflate"},
        }
        options = formats[kind]
        if metadata.exif:
            options["exif"] = metadata.exif
        if metadata.profile:
            options["icc_profile"] = metadata.profile
        if metadata.dpi:
            options["dpi"] = metadata.dpi
        image.save(path, kind, **options)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}.", hint="Check the folder and the free space.") from None
