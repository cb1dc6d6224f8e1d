"""Looks at one thing that has settled: is it a clip, in which looks is it to be painted? Done aside, in lanes.

Whoever drops files here is not trusted: each is opened in a process of its own (prober.py).
"""

from __future__ import annotations

import filecmp
import hashlib
import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stylizer.backend import names
from stylizer.config import CHOICES, Config
from stylizer.errors import BackendError, ConfigError, InputError, StyleError, StylizerError
from stylizer.files import digest_of, settle
from stylizer.inbox.prober import Prober
from stylizer.inbox.sidecar import Asked, read_sidecar
from stylizer.inbox.watch import Kind, Moved, Place, Thing
from stylizer.jobs import Clip, Encoding, Look, MediaKind

LANES = 2
ENDS = 64 * 1024
MOST_STYLE = 1 << 29
"""Bytes of a style picture."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What is to be looked at, and what lies around it."""

    thing: Thing
    sidecar: Thing | None = None
    styles: tuple[Thing, ...] = ()
    """The nearest ones in the inbox."""


@dataclass(frozen=True, slots=True)
class Painting:
    """One output that a thing becomes."""

    look: Look
    encoding: Encoding
    names: tuple[str, ...]
    """Of its styles, for the output's name."""


@dataclass(frozen=True, slots=True)
class Ready:
    """It can be painted."""

    thing: Thing
    clip: Clip
    suffix: str
    """Of its outputs; empty for a folder."""
    content: str
    """The same for files of the same content, and sometimes for others; empty where it is not known."""
    paintings: tuple[Painting, ...]
    asked: Asked


@dataclass(frozen=True, slots=True)
class Wanting:
    """Something is missing."""

    thing: Thing
    reason: str
    again: bool = False
    """It may come right by itself: worth another look in a while."""


@dataclass(frozen=True, slots=True)
class Refused:
    thing: Thing
    reason: str


Verdict = Ready | Wanting | Refused | None
"""None: it is another thing by now."""


class Examiner:
    """Examines in a few lanes at once. `asked` is what the command line asks for; style pictures are kept below `kept`, as
    they are at that moment: one that changes later applies to later clips only.
    """

    def __init__(self, place: Place, asked: Asked, config: Config, kept: Path) -> None:
        self._place, self._asked, self._config, self._kept = place, asked, config, kept
        self._lanes = ThreadPoolExecutor(LANES, thread_name_prefix="examine")
        self._mine = threading.local()
        self._probers: list[Prober] = []
        self._clips: dict[str, tuple[str, Clip, str, str]] = {}
        self._styles: dict[tuple[str, str], Path] = {}
        self._looks: dict[object, Look] = {}

    def start(self, brief: Brief) -> Future[Verdict]:
        return self._lanes.submit(self.examine, brief)

    def compare(self, one: Clip, other: Clip) -> Future[bool]:
        """Whether two clips are the same, byte by byte; of one that is gone, size, time and both ends say so."""
        return self._lanes.submit(_same, one, other)

    def forget(self, path: str) -> None:
        """What is known of a clip is not needed any more."""
        self._clips.pop(path, None)

    def close(self) -> None:
        self._lanes.shutdown(wait=False, cancel_futures=True)
        for prober in self._probers:
            prober.end()
        self._lanes.shutdown(wait=True)
        for prober in self._probers:
            prober.close()

    def examine(self, brief: Brief) -> Verdict:
        """What can be said of it."""
        thing = brief.thing
        try:
            return self._examine(brief)
        except Moved:
            return None
        except BackendError as error:
            return Wanting(thing, _said(error), again=True)
        except (ConfigError, StyleError) as error:
            return Wanting(thing, _said(error))
        except InputError as error:
            return Refused(thing, self._plainly(error, thing))
        except OSError as error:
            return Wanting(thing, f"{thing.path} cannot be read: {error.strerror or error}.", again=True)
        except Exception as error:
            # Whatever it is: one file must not end a watch of a week.
            return Refused(thing, f"{thing.path} cannot be looked at ({type(error).__name__}: {error}).")

    def _plainly(self, error: StylizerError, thing: Thing) -> str:
        """What is wrong, with the path as a person sees it in the inbox."""
        try:
            return _said(error).replace(str(self._place.bring(thing)), thing.path)
        except (Moved, StylizerError):
            return _said(error)

    def _examine(self, brief: Brief) -> Verdict:
        thing = brief.thing
        path = self._place.bring(thing)
        clip, suffix, content = self._probed(thing, path)
        asked = read_sidecar(self._place.bring(brief.sidecar), self._asked) if brief.sidecar else self._asked
        check(asked)
        styles = self._chosen(asked, brief)
        if not styles:
            return Wanting(thing, NO_STYLE)
        groups = [styles] if asked.blend else [[style] for style in styles]
        stems = Counter(style.stem for style in styles)
        moving = clip.kind is MediaKind.VIDEO
        encoding = Encoding(asked.codec if moving else "", asked.crf if moving and asked.crf >= 0 else None)
        self._prober().encoding(path.with_name(f"painting{suffix}"), encoding.codec, encoding.crf)
        paintings = tuple(
            Painting(self._look(group, asked), encoding, tuple(s.stem if stems[s.stem] == 1 else s.name for s in group))
            for group in groups
        )
        self._place.bring(thing)
        return Ready(thing, clip, suffix, content, paintings, asked)

    def _probed(self, thing: Thing, path: Path) -> tuple[Clip, str, str]:
        mark, clip, suffix, content = self._clips.get(thing.path, ("", None, "", ""))
        if mark != thing.mark or clip is None:
            clip, suffix = self._prober().clip(path, thing.size)
            content = "" if thing.kind is Kind.SEQUENCE else _content(path)
            self._place.bring(thing)
            self._clips[thing.path] = thing.mark, clip, suffix, content
        return clip, suffix, content

    def _chosen(self, asked: Asked, brief: Brief) -> list[Path]:
        """The styles, as they are now: of the sidecar or the command line, else the nearest, else those of the config."""
        if asked.styles or not brief.styles:
            return [self._keep(Path(style).expanduser()) for style in asked.styles or self._config.watch.styles]
        return [self._keep(self._place.bring(style)) for style in sorted(brief.styles, key=lambda style: style.path)]

    def _keep(self, style: Path) -> Path:
        """A copy that stays as it is, whatever becomes of the picture."""
        try:
            facts = style.stat()
        except OSError as error:
            raise StyleError(f"The style {style} cannot be read: {error.strerror}.", hint="Check the path.") from None
        if facts.st_size > MOST_STYLE or not style.is_file():
            raise StyleError(f"The style {style} is no picture.", hint="Name a JPEG, PNG, WebP or TIFF.")
        which = str(style), f"{facts.st_size}-{facts.st_mtime_ns}"
        copy = self._styles.get(which)
        if copy is None or not copy.exists():
            copy = self._kept / digest_of(style)[:16] / style.name
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                part = copy.with_name(f"{threading.get_ident()}.part")
                shutil.copyfile(style, part)
                settle(part, copy)
            self._styles[which] = copy
        return copy

    def _look(self, styles: Sequence[Path], asked: Asked) -> Look:
        wanted = {
            name: getattr(asked, name) for name in ("blend", "strength", "brush", "keep_color", "quality", "size", "seed")
        }
        which = tuple(styles), tuple(wanted.values())
        if which not in self._looks:
            try:
                self._looks[which] = self._prober().look(styles, self._config.look, **wanted)
            except StylizerError as error:
                # A person knows the picture by its own place, not by that of our copy.
                origins = {str(copy): origin for (origin, _), copy in self._styles.items()}
                message = error.message
                for copy in map(str, styles):
                    message = message.replace(copy, origins[copy])
                raise type(error)(message, hint=error.hint) from None
        return self._looks[which]

    def _prober(self) -> Prober:
        """The one of this lane."""
        if not hasattr(self._mine, "prober"):
            self._mine.prober = Prober(self._config.limits)
            self._probers.append(self._mine.prober)
        prober: Prober = self._mine.prober
        return prober


NO_STYLE = "There is no style for it. Put a picture named style.jpg beside it or above it, or start with --style."


def check(asked: Asked) -> None:
    """ConfigError if it asks for a machine that there is not."""
    for key, value, known in (
        ("backend", asked.backend, ["auto", *names()]),
        ("precision", asked.precision, ["auto", "fp32", "bf16", "fp16"]),
        ("quality", asked.quality, CHOICES["quality"]),
    ):
        if value not in known:
            raise ConfigError(f"The {key} {value!r} is not one of {', '.join(known)}.")


def _content(path: Path) -> str:
    """A hash of a file's size and both ends: cheap, and different for most files that differ."""
    size = path.stat().st_size
    whole = hashlib.sha256(f"{size} ".encode())
    with path.open("rb") as stream:
        whole.update(stream.read(ENDS))
        stream.seek(max(0, size - ENDS))
        whole.update(stream.read(ENDS))
    return whole.hexdigest()[:32]


def _same(one: Clip, other: Clip) -> bool:
    try:
        return filecmp.cmp(one.path, other.path, shallow=False)
    except OSError:
        # Renamed, most likely: a move keeps all of these.
        return one.fingerprint == other.fingerprint


def _said(error: StylizerError) -> str:
    return f"{error.message} {error.hint}".strip()
