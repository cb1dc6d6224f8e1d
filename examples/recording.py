"""Records a session of the studio for the README: the demo, driven by keys, in a terminal of its own.

    python -m examples.recording [FOLDER]

writes demo.cast (asciinema's format 2: asciinema play demo.cast) and demo.webp, the same as moving picture, to FOLDER
(docs/screens). Not for Windows, which has no pty. What moves in the demo moves here too: each run is another moment.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SIZE = (110, 32)
WIDTH = 1000
"""Pixels of the moving picture."""
RATE = 5.0
"""Frames a second of it."""
IDLE = 1.2
"""Seconds; where nothing moves for longer, that is left out."""
TYPING = 0.09
BEGIN = b"clip"
"""Is on the screen when the studio is there."""
ENTER, ESCAPE, TAB, RIGHT = "\r", "\x1b", "\t", "\x1b[C"
KEYS: Sequence[tuple[float, str]] = (
    (7.0, "j"),
    (0.8, "j"),
    (0.8, ENTER),
    (6.0, RIGHT),
    (0.5, RIGHT),
    (0.5, RIGHT),
    (1.5, ESCAPE),
    (1.0, ESCAPE),
    (1.5, "2"),
    (5.0, "3"),
    (4.0, "1"),
    (1.5, "n"),
    (2.0, "clips/kit"),
    (0.8, TAB),
    (1.2, ENTER),
    (0.5, "styles/ni"),
    (0.8, TAB),
    (3.0, "\x12"),
    (28.0, "\x13"),
    (9.0, "q"),
    (1.0, ""),
)
"""Seconds to wait, then what is pressed: look around, open a job, the cloud, the devices, paint a preview, make a job."""


def show(frames: Path) -> None:
    """The demo, each of its frames as SVG in a file that is named after the time."""
    from stylizer.demo import demo  # noqa: PLC0415  # for the process that shows the studio alone
    from stylizer.demo_gauges import ImaginedGauges  # noqa: PLC0415  # same
    from tui.app import Studio  # noqa: PLC0415  # same

    class Filmed(Studio):
        # Textual looks for it beside the file of the class.
        CSS_PATH = Path(str(sys.modules[Studio.__module__].__file__)).with_name("app.tcss")

        def on_mount(self) -> None:
            # Textual calls that of Studio itself.
            self.set_interval(1 / RATE, self._shoot)

        def _shoot(self) -> None:
            shot = self.export_screenshot(title="stylizer demo")
            (frames / f"{time.monotonic():015.3f}.svg").write_text(shot, encoding="utf-8")

    with demo() as here:
        # So that paths are short.
        os.chdir(here.store.parent)
        Filmed(here, gauges=ImaginedGauges, passing=True).run()


def record(frames: Path) -> list[tuple[float, bytes]]:
    """Drive it by KEYS; returns what it wrote to its terminal, and when."""
    import fcntl  # noqa: PLC0415  # not on Windows
    import pty  # noqa: PLC0415  # same
    import termios  # noqa: PLC0415  # same

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    command = [sys.executable, "-m", "examples.recording", "show", str(frames)]
    shown = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True)
    os.close(theirs)
    said: list[tuple[float, bytes]] = []
    begun = threading.Event()

    def listen() -> None:
        with suppress(OSError):
            while some := os.read(ours, 1 << 16):
                said.append((time.monotonic(), some))
                if BEGIN in some:
                    begun.set()

    threading.Thread(target=listen, daemon=True).start()
    if not begun.wait(60):
        shown.kill()
        raise SystemExit("The demo did not open.")
    for pause, keys in KEYS:
        time.sleep(pause)
        for key in [keys] if keys.startswith("\x1b") else keys:
            os.write(ours, key.encode())
            time.sleep(TYPING)
    shown.wait(30)
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
    """Format 2 of asciinema: a header, then a line for each piece of output."""
    import codecs  # noqa: PLC0415  # a piece may end within a letter

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    header = {"version": 2, "width": SIZE[0], "height": SIZE[1], "title": "stylizer demo", "idle_time_limit": IDLE}
    lines = [json.dumps({**header, "env": {"TERM": "xterm-256color"}})]
    for at, (_, some) in zip(shortened([at for at, _ in said]), said, strict=True):
        lines.append(json.dumps([round(at, 3), "o", decoder.decode(some)], ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_picture(frames: Path, path: Path) -> None:
    """A moving WebP of all frames; those that look as the one before only make that last longer."""
    import resvg_py  # noqa: PLC0415  # for this alone
    from PIL import Image  # noqa: PLC0415  # same

    kept: list[tuple[float, str]] = []
    for file in sorted(frames.glob("*.svg")):
        shot = re.sub(r"terminal-\d+", "terminal", file.read_text(encoding="utf-8"))
        # It would have to be fetched from elsewhere.
        shot = re.sub(r"@font-face \{[^}]*\}", "", shot)
        if not kept or kept[-1][1] != shot:
            kept.append((float(file.stem), shot))
    times = shortened([at for at, _ in kept])
    lasts = [round(1000 * (after - now)) for now, after in zip(times, [*times[1:], times[-1] + 2.0], strict=True)]
    pictures = []
    for _, shot in kept:
        drawn = bytes(resvg_py.svg_to_bytes(svg_string=shot, width=WIDTH, monospace_family="DejaVu Sans Mono"))
        pictures.append(Image.open(io.BytesIO(drawn)).convert("RGB"))
    first, *rest = pictures
    first.save(path, save_all=True, append_images=rest, duration=lasts, loop=0, quality=62, method=4, minimize_size=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        frames = Path(temporary)
        write_cast(record(frames), folder / "demo.cast")
        write_picture(frames, folder / "demo.webp")
    for name in ("demo.cast", "demo.webp"):
        print(f"{folder / name}  {(folder / name).stat().st_size / 1e6:.1f} MB")  # noqa: T201  # the result


if __name__ == "__main__":
    if sys.argv[1:2] == ["show"]:
        show(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "screens")
