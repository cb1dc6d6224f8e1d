"""How right are the estimates? Ten varied clips, each painted by the real command; what was said before, and at a tenth.

    python -m tests.accuracy [--clips N] [--home FOLDER]

The machine is measured first (stylizer bench). Then for each clip: what `stylizer estimate` says before the start, how long
`stylizer run` takes from the command to its end, and what it said would be left when a tenth of that had passed. Clips come
from ../shared/clips where they are, and are made where they are not. A machine that does other things meanwhile is no ground
truth: the load is shown beside the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import psutil
from rich.console import Console
from rich.table import Table

from stylizer.demo_pictures import HANDS, style
from tests.media import SHARED, make_clip

BEFORE, AT_A_TENTH = 0.20, 0.10
"""How far off an estimate may be: the one before the start, and what is said to be left when a tenth has passed."""


@dataclass(frozen=True)
class Case:
    """A clip (of ../shared/clips; else one of that size is made), the frames of it that are painted, and how."""

    clip: str
    frames: int
    width: int
    height: int
    codec: str = "libx264"
    size: int = 0
    quality: str = "draft"


CASES = (
    Case("mdn_rabbit320.webm", 234, 320, 240, "libvpx"),
    Case("mmaction_demo.mp4", 280, 340, 256, quality="standard"),
    Case("exo_video_desks.3gp", 71, 352, 288, "mpeg4"),
    Case("drew_with-gps.mov", 120, 568, 320),
    Case("capvst_04.avi", 50, 1024, 436, "mpeg4"),
    Case("mdn_elf.mp4", 241, 720, 480, quality="standard"),
    Case("chthomos_bbb-480p-30s.mp4", 480, 854, 480),
    Case("sam2_bedroom.mp4", 200, 960, 540, size=480),
    Case("imageio_cockatoo.mp4", 120, 1280, 720, quality="standard"),
    Case("media3_sample_edit_list.mp4", 77, 1920, 1080, "libx265"),
)


@dataclass(frozen=True)
class Outcome:
    """Seconds: what was said, and what it took."""

    name: str
    what: str
    before: dict[str, float]
    """The estimate before the start: start, fit, paint, join."""
    parts: dict[str, float]
    """What these took: start and fit together as `begin`, paint, join, and until the command ended."""
    took: float
    at_a_tenth: float | None
    """In all, as it was told when a tenth of it had passed."""
    basis: str
    load: float

    @property
    def expected(self) -> float:
        return sum(self.before.values())


def main() -> int:
    parser = argparse.ArgumentParser(description="How right are the estimates?")
    parser.add_argument("--clips", type=int, default=len(CASES))
    parser.add_argument("--home", type=Path, default=None, help="keep the store here, and rest on what it knows")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stylizer-accuracy-"))
    environment = {**os.environ, "STYLIZER_HOME": str(arguments.home or folder / "home")}
    try:
        art = folder / "art.png"
        style(HANDS[0], 1).save(art)
        if not (arguments.home and (arguments.home / "jobs.db").exists()):
            asked(["bench", "--json"], environment)
        found = [painted(case, folder, art, environment) for case in CASES[: arguments.clips]]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report(found)


def asked(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """The last thing that a command says in JSON."""
    command = [sys.executable, "-m", "stylizer", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def painted(case: Case, folder: Path, art: Path, environment: dict[str, str]) -> Outcome:
    """Paint one clip by the real command and take the time."""
    clip = cut(case, folder)
    look = ["--quality", case.quality, *(["--size", str(case.size)] if case.size else [])]
    offer = asked(["estimate", str(clip), *look, "--backend", "local", "--json"], environment)["places"][0]
    command = [
        sys.executable,
        "-m",
        "stylizer",
        "run",
        str(clip),
        "--style",
        str(art),
        *look,
        "--backend",
        "local",
        "--json",
    ]
    began, told, last = time.time(), [], {}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            last = json.loads(line)
            if last.get("event") == "progress" and last["eta"] is not None:
                told.append((last["at"] - began, last["eta"]))
    took = time.time() - began
    job = last["jobs"][0]["id"]
    when = {event["kind"]: event["at"] - began for event in asked(["status", str(job), "--json"], environment)["events"]}
    parts = {
        "begin": when["rendering"],
        "paint": when["assembling"] - when["rendering"],
        "join": when["done"] - when["assembling"],
        "end": took - when["done"],
    }
    late = [at + eta for at, eta in told if at >= took / 10]
    sized = f"{case.quality}, {case.frames} frames, {case.size or case.width}"
    load = psutil.getloadavg()[0]
    return Outcome(case.clip, sized, offer["parts"], parts, took, late[0] if late else None, offer["basis"], load)


def cut(case: Case, folder: Path) -> Path:
    """The first frames of a clip, as they are coded; or a clip of that size."""
    source, codec = SHARED / "clips" / case.clip, case.codec
    target = folder / case.clip
    if not source.is_file():
        return make_clip(target, times=range(case.frames), size=(case.width, case.height), codec=codec)
    with av.open(str(source), metadata_errors="ignore") as given, av.open(str(target), "w") as out:
        video = given.streams.video[0]
        copied = out.add_stream_from_template(video)
        for packet in islice((packet for packet in given.demux(video) if packet.size), case.frames):
            packet.stream = copied
            out.mux(packet)
    return target


def report(found: list[Outcome]) -> int:
    """The table; 1 if a bar is missed."""
    console = Console(width=150)
    table = Table(title="Estimates and what it took; ratios of said to true")
    for name in ("clip", "what", "said before", "took", "ratio", "at a tenth", "begin", "paint", "join", "end", "load"):
        table.add_column(name, justify="left" if name in ("clip", "what") else "right")
    for one in found:
        begin = (one.before["start"] + one.before["fit"], one.parts["begin"])
        pairs = [begin, *((one.before[name], one.parts[name]) for name in ("paint", "join"))]
        tenth = "-" if one.at_a_tenth is None else f"{one.at_a_tenth / one.took:.2f}"
        cells = [one.name, one.what, f"{one.expected:.1f} s", f"{one.took:.1f} s", f"{one.expected / one.took:.2f}", tenth]
        cells += [f"{said:.1f}/{true:.1f}" for said, true in pairs]
        table.add_row(*cells, f"{one.parts['end']:.1f}", f"{one.load:.1f}")
    console.print(table)
    before = [abs(one.expected / one.took - 1) for one in found]
    tenths = [abs(one.at_a_tenth / one.took - 1) for one in found if one.at_a_tenth is not None]
    cores = psutil.cpu_count()
    for name, off, bar in (("before the start", before, BEFORE), ("at a tenth", tenths, AT_A_TENTH)):
        words = f"median {statistics.median(off):.0%}, worst {max(off):.0%}" if off else "never told"
        console.print(f"{name}: {words} off; the bar is {bar:.0%}")
    console.print(f"{cores} cores, load {statistics.mean(one.load for one in found):.1f} on the average; {found[0].basis}")
    return 0 if tenths and max(before) <= BEFORE and max(tenths) <= AT_A_TENTH else 1


if __name__ == "__main__":
    sys.exit(main())
