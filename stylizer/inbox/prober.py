"""Looks at what people drop here in a process of its own: a file that crashes or hangs a decoder ends only that one.

with Prober(limits) as prober:
    clip, suffix = prober.clip(path)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

from stylizer.config import Limits, LookDefaults
from stylizer.errors import ConfigError, InputError, StyleError, StylizerError
from stylizer.jobs import Clip, Look

SECONDS = 60.0
"""That looking at one thing may take, and the time that reading it once takes at SLOWEST."""
SLOWEST = 4e6
"""Bytes a second of the slowest disk that is waited for."""
TRIES = 2
"""Processes that may end over one thing."""
HINT = "Check that it plays; convert it with another program."
KINDS: dict[str, type[StylizerError]] = {kind.__name__: kind for kind in (ConfigError, InputError, StyleError)}


class Prober:
    """One process that probes, started when it is needed and anew when it dies or hangs. For one thread at a time."""

    def __init__(self, limits: Limits = Limits(), seconds: float = SECONDS) -> None:  # noqa: B008
        self._limits, self._seconds = limits, seconds
        self._process: Any = None
        self._ended = False
        self._line: Connection[Any, Any] | None = None

    def clip(self, path: Path, size: int = 0) -> tuple[Clip, str]:
        """What `video.probe` finds in a file of `size` bytes, and the suffix of its painting. InputError, also if it
        crashes or hangs who looks.
        """
        found: tuple[Clip, str] = self._ask("clip", path, self._seconds + size / SLOWEST)
        return found

    def look(self, styles: Sequence[Path], defaults: LookDefaults, **wanted: Any) -> Look:
        """A checked look, as by `styles.look_from`. ConfigError or StyleError."""
        found: Look = self._ask("look", (tuple(styles), defaults, wanted), self._seconds)
        return found

    def encoding(self, output: Path, codec: str, crf: int | None) -> None:
        """ConfigError if a file of that name cannot be written so, as by `encode.check_encoding`."""
        self._ask("encoding", (output, codec, crf), self._seconds)

    def _ask(self, what: str, about: Any, seconds: float) -> Any:
        names = about if isinstance(about, Path) else about[0]
        name = ", ".join(p.name for p in names) if isinstance(names, tuple) else names.name
        for _ in range(TRIES):
            if self._ended:
                break
            line = self._started()
            try:
                line.send((what, about))
                if not line.poll(seconds):
                    self.close()
                    raise InputError(f"{name} hangs the decoder: nothing came of it in {seconds:.0f} s.", hint=HINT)
                answer = line.recv()
            except (EOFError, OSError):
                # Another may have been the cause, or a lack of memory that is over.
                self.close()
                continue
            if isinstance(answer, _Refusal):
                raise KINDS.get(answer.kind, InputError)(answer.message, hint=answer.hint)
            return answer
        raise InputError(f"{name} crashes the decoder, each of {TRIES} times.", hint=HINT)

    def _started(self) -> Connection[Any, Any]:
        if self._line is None or not self._process.is_alive():
            self.close()
            # Spawned: a fork would take our threads' locks and our store with it.
            context = multiprocessing.get_context("spawn")
            self._line, other = context.Pipe()
            self._process = context.Process(target=serve, args=(other, asdict(self._limits)), daemon=True)
            self._process.start()
            other.close()
        return self._line

    def close(self) -> None:
        """End the process; the next question starts another."""
        if self._line is not None:
            self._line.close()
            self._line = None
            self._process.kill()
            self._process.join()
            self._process.close()

    def end(self) -> None:
        """Let the thread that asks now come back soon, and ask no more. Any thread may call this."""
        self._ended = True
        with suppress(ValueError, AttributeError):
            self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Refusal:
    def __init__(self, kind: str, message: str, hint: str) -> None:
        self.kind, self.message, self.hint = kind, message, hint


def serve(line: Connection[Any, Any], limits: dict[str, Any]) -> None:
    """Answer questions until whoever asks is gone."""
    # Ctrl-C in the terminal reaches us too, and is not meant for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _give_way()
    _die_first()
    _die_with_parent()
    known = Limits(**limits)
    while True:
        try:
            what, about = line.recv()
        except (EOFError, OSError):
            return
        try:
            answer: Any = ANSWERS[what](about, known)
        except StylizerError as error:
            answer = _Refusal(type(error).__name__, error.message, error.hint)
        except MemoryError:
            answer = _Refusal("InputError", f"{about} needs more memory than there is.", HINT)
        line.send(answer)


def _clip(path: Path, limits: Limits) -> tuple[Clip, str]:
    from stylizer.output import output_path  # noqa: PLC0415
    from stylizer.video import probe  # noqa: PLC0415

    clip = probe(path, limits)
    return clip, output_path(clip, ["x"], None).suffix if path.is_file() else ""


def _look(about: tuple[Sequence[Path], LookDefaults, dict[str, Any]], limits: Limits) -> Look:
    from stylizer.styles import look_from  # noqa: PLC0415

    styles, defaults, wanted = about
    return look_from(styles, defaults, limits, **wanted)


def _encoding(about: tuple[Path, str, int | None], _: Limits) -> None:
    from stylizer.encode import check_encoding  # noqa: PLC0415
    from stylizer.jobs import Encoding  # noqa: PLC0415

    check_encoding(about[0], Encoding(about[1], about[2]))


ANSWERS: dict[str, Callable[[Any, Limits], Any]] = {"clip": _clip, "look": _look, "encoding": _encoding}


def _give_way() -> None:
    """Thousands of files that land at once shall slow down neither the runner nor those who paint."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(10)


def _die_first() -> None:
    """Where memory runs out, Linux shall end this process and not the runner."""
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _die_with_parent() -> None:
    """A decoder that hangs does not see that nobody waits any more."""
    above = multiprocessing.parent_process()
    assert above

    def watch() -> None:
        wait([above.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
