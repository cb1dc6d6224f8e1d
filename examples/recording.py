"""Records a session of the studio for the README: the demo, driven by keys, in a terminal of its own.

    python -m examples.recording [FOLDER]

writes demo.cast (asciinema's format 2: asciinema play demo.cast) and demo.webp, the same as a moving picture, to FOLDER
(docs/screens); with a .cast in place of FOLDER it draws that one's picture anew. Not for Windows, which has no pty. What
moves in the demo moves here too: each run is another moment.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyte

SIZE = (110, 32)
WIDTH = 1000
"""Pixels of the moving picture."""
RATE = 3.0
"""Frames a second of it, at most."""
IDLE = 1.2
"""Seconds; where nothing moves for longer, that is left out."""
STEPS = 8.0
"""Changes a second of the recording, at most."""
SETTLED = 0.03
"""Seconds without output after which a screen is whole."""
TYPING = 0.09
PATIENCE = 120.0
"""Seconds that a busy machine may take to show what is waited for."""
PRIVATE = re.compile(rb"\x1b\[[<>=?][\d;]*[$\w]|\x1b[_P].*?\x1b\\\\")
"""Questions to the terminal and the like, which pyte would write out."""
ENTER, ESCAPE, TAB, RIGHT = "\r", "\x1b", "\t", "\x1b[C"
QUIT, GO = "\x11", "\x13"
KEYS: Sequence[tuple[str, float, str]] = (
    ("clip", 7.0, "j"),
    ("", 0.8, "k"),
    ("", 0.8, ENTER),
    ("before", 4.0, RIGHT),
    ("attempt", 0.5, RIGHT),
    ("", 0.5, RIGHT),
    ("", 1.5, ESCAPE),
    ("", 1.0, ESCAPE),
    ("speed", 1.5, "2"),
    ("an hour now", 5.0, "3"),
    ("memory", 4.0, "1"),
    ("speed", 1.5, "n"),
    ("New job", 1.0, "clips/kit"),
    ("clips/kit", 0.8, TAB),
    ("25 fps", 1.2, ENTER),
    ("", 0.5, "styles/ni"),
    ("", 0.8, TAB),
    ("decides", 3.0, GO),
    ("is queued", 9.0, QUIT),
)
"""What must be on the screen, seconds to wait then, what is pressed: look around, open a job, the cloud, the devices, make a
job.
"""


def record() -> list[tuple[float, bytes]]:
    """Drive it by KEYS; returns what it wrote to its terminal, and when."""
    import fcntl  # noqa: PLC0415  # not on Windows
    import pty  # noqa: PLC0415  # same
    import termios  # noqa: PLC0415  # same

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    project = Path(__file__).parent.parent
    command = [sys.executable, "-m", "stylizer", "demo"]
    shown = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True, cwd=project
    )
    os.close(theirs)
    said: list[tuple[float, bytes]] = []
    screen = pyte.Screen(*SIZE)
    stream = pyte.ByteStream(screen)

    def listen() -> None:
        with suppress(OSError):
            while some := os.read(ours, 1 << 16):
                said.append((time.monotonic(), some))
                stream.feed(PRIVATE.sub(b"", some))

    def wait(words: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not any(words in line for line in screen.display):
            if time.monotonic() > deadline:
                shown.kill()
                raise SystemExit(f"{words!r} did not come:\n" + "\n".join(screen.display))
            time.sleep(0.1)

    threading.Thread(target=listen, daemon=True).start()
    for words, pause, keys in KEYS:
        wait(words)
        time.sleep(pause)
        for key in [keys] if keys.startswith("\x1b") else keys:
            os.write(ours, key.encode())
            time.sleep(TYPING)
    shown.wait(PATIENCE)
    os.close(ours)
    return said


def shortened(times: Sequence[float]) -> list[float]:
    """The times from 0 on, without what is idle."""
    found, before = [], times[0]
    at = 0.0
    for now in times:
        at += min(IDLE, now - before)
        found.append(at)
        before = now
    return found


def write_cast(said: Sequence[tuple[float, bytes]], path: Path) -> None:
    """Format 2 of asciinema: a header, then a line for each change; only what really changed of the screen, so that it stays
    small.
    """
    header = {"version": 2, "width": SIZE[0], "height": SIZE[1], "title": "stylizer demo"}
    lines = [json.dumps({**header, "env": {"TERM": "xterm-256color"}}), json.dumps([0.0, "o", "\x1b[?25l\x1b[2J"])]
    screen = pyte.Screen(*SIZE)
    stream = pyte.ByteStream(screen)
    before: dict[tuple[int, int], Any] = {}
    last = -1.0
    times = [*shortened([at for at, _ in said]), math.inf]
    for at, after, (_, some) in zip(times, times[1:], said, strict=False):
        stream.feed(PRIVATE.sub(b"", some))
        if after - last < 1 / STEPS or after - at < SETTLED:
            continue
        last = at
        if text := changes(screen, before):
            lines.append(json.dumps([round(at, 3), "o", text], ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def changes(screen: Any, before: dict[tuple[int, int], Any]) -> str:
    """What a terminal must be sent to show this after that; `before` is then brought up to it."""
    found, style, at = [], "", (-1, -1)
    for row in range(SIZE[1]):
        for column in range(SIZE[0]):
            cell = screen.buffer[row][column]
            if before.get((row, column)) == cell:
                continue
            before[row, column] = cell
            if (row, column) != at:
                found.append(f"\x1b[{row + 1};{column + 1}H")
            tones = [
                f";{kind};2;" + ";".join(str(n) for n in bytes.fromhex(tone)) if len(tone) == 6 else ""
                for kind, tone in ((38, cell.fg), (48, cell.bg))
            ]
            wanted = f"\x1b[0{';1' * cell.bold}{';7' * cell.reverse}{''.join(tones)}m"
            if wanted != style:
                style = wanted
                found.append(wanted)
            found.append(cell.data)
            # The second cell of a wide letter holds nothing.
            at = row, column + 1
    return "".join(found)


def write_picture(cast: Path, path: Path) -> None:
    """A moving WebP of the recording, as a terminal shows it."""
    import resvg_py  # noqa: PLC0415  # for this alone
    from PIL import Image  # noqa: PLC0415  # same

    shots = list(seen(cast))
    lasts = [round(1000 * (after - now)) for (now, _), (after, _) in pairwise([*shots, (shots[-1][0] + 2.0, "")])]
    pictures = []
    for _, shot in shots:
        drawn = resvg_py.svg_to_bytes(svg_string=shot, width=WIDTH, monospace_family="DejaVu Sans Mono")
        pictures.append(Image.open(io.BytesIO(bytes(drawn))).convert("RGB"))
    first, *rest = pictures
    first.save(path, save_all=True, append_images=rest, duration=lasts, loop=0, quality=62, method=4, minimize_size=True)


def seen(cast: Path) -> Iterator[tuple[float, str]]:
    """The recording's screens as SVG, with the seconds from which on each is seen; RATE a second at most."""
    screen = pyte.Screen(*SIZE)
    stream = pyte.ByteStream(screen)
    header, *pieces = (json.loads(line) for line in cast.read_text(encoding="utf-8").splitlines())
    assert (header["width"], header["height"]) == SIZE
    last, told = "", -1.0
    for (at, _, some), (after, *_) in pairwise([*pieces, (pieces[-1][0] + 1.0,)]):
        stream.feed(PRIVATE.sub(b"", some.encode()))
        if after - told >= 1 / RATE and after - at > SETTLED:
            told, shot = at, drawn_as_svg(screen)
            if shot != last:
                last = shot
                yield at, shot


def drawn_as_svg(screen: Any) -> str:
    """What is on pyte's screen."""
    from rich.console import Console  # noqa: PLC0415  # for this alone
    from rich.style import Style  # noqa: PLC0415  # same
    from rich.terminal_theme import TerminalTheme  # noqa: PLC0415  # same
    from rich.text import Text  # noqa: PLC0415  # same

    console = Console(width=SIZE[0], file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor")
    for row in range(SIZE[1]):
        line = Text(no_wrap=True)
        for column in range(SIZE[0]):
            cell = screen.buffer[row][column]
            ink, ground = (None if tone == "default" else f"#{tone}" for tone in (cell.fg, cell.bg))
            line.append(cell.data, Style(color=ink, bgcolor=ground, bold=cell.bold, reverse=cell.reverse))
        console.print(line, soft_wrap=True)
    theme = TerminalTheme((22, 22, 26), (228, 223, 213), [(0, 0, 0)] * 8)
    svg = console.export_svg(title="stylizer demo", theme=theme, unique_id="demo")
    # It would have to be fetched from elsewhere.
    return re.sub(r"@font-face \{[^}]*\}", "", svg)


def main(target: Path) -> None:
    cast = target if target.suffix == ".cast" else target / "demo.cast"
    if cast != target:
        target.mkdir(parents=True, exist_ok=True)
        write_cast(record(), cast)
    picture = cast.with_suffix(".webp")
    write_picture(cast, picture)
    for path in (cast, picture):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")  # noqa: T201  # the result


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "screens")
