"""`stylizer bench`: small sizes are really measured, the figures are kept for every estimate, and drawn."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from stylizer.bench import LIMIT_SECONDS, Clock, bench
from stylizer.bench_verbs import drawn, measured
from stylizer.errors import JobFailed
from stylizer.estimate import rate_here
from stylizer.speeds import Bench, DeviceSpeed, Speed, Trial
from stylizer.store import Store
from stylizer.wire import pack, unpack

SPEEDS = (
    Speed("540p", 960, 540, paint=12.0, decode=800.0, encode=90.0, whole=10.0, frames=30, memory=600_000_000),
    Speed("1080p", 1920, 1080, paint=3.0, decode=200.0, encode=22.0, whole=2.5, frames=8, memory=900_000_000),
)
TRIALS = (Trial("fp32", 0.2, 0.0), Trial("bf16", 0.1, 0.2))
CPU = DeviceSpeed("cpu (a small processor)", 8 << 30, "bf16", TRIALS, 0.3, 2.0, SPEEDS, ("4K",))
FOUND = Bench(1.0, 41.0, "Linux 6", "2.9", "0.2.0", 2, 8 << 30, 0.05, 3.0, (CPU,), (CPU.label,))


@pytest.fixture(scope="module")
def real() -> tuple[Bench, list[tuple[str, float, float]]]:
    heard: list[tuple[str, float, float]] = []
    found = bench("cpu", sizes={"small": (64, 64)}, load_seconds=1.0, tell=lambda *said: heard.append(said))
    return found, heard


def test_a_small_size_is_measured_by_the_code_that_paints(real: tuple[Bench, list[tuple[str, float, float]]]) -> None:
    found, _ = real
    (device,) = found.devices
    (speed,) = device.speeds
    assert device.label.startswith("cpu (") and device.label in found.here
    assert {one.precision for one in device.trials} >= {"fp32"} and device.precision in {t.precision for t in device.trials}
    assert device.trials[0].off == 0 and device.step_seconds > 0 and device.fit_start_seconds > 0
    assert min(speed.paint, speed.decode, speed.encode, speed.whole) > 0 and speed.frames >= 2
    # What paints with torch in it takes more than 100 MB and less than all that there is.
    assert 100e6 < speed.memory < found.memory


def test_it_says_how_far_it_is_and_what_is_left(real: tuple[Bench, list[tuple[str, float, float]]]) -> None:
    _, heard = real
    assert [part for part, _, _ in heard] == ["trial", "fit", "small"]
    passed = [seconds for _, seconds, _ in heard]
    assert passed == sorted(passed) and all(0 <= left <= LIMIT_SECONDS for _, _, left in heard)


def test_what_is_found_survives_the_way_to_the_command(real: tuple[Bench, list[tuple[str, float, float]]]) -> None:
    assert unpack(Bench, json.loads(json.dumps(pack(real[0])))) == real[0]


def test_time_to_go_follows_the_pace_of_what_is_done() -> None:
    heard: list[float] = []
    times = iter([100.0, 100.0, 100.0, *[102.0] * 9])
    clock = Clock({"one": 1.0, "two": 6.0}, lambda part, passed, left: heard.append(left), lambda: next(times))
    clock.begin("one")
    clock.begin("two")
    # The first part took twice as long as it was expected to.
    assert heard == [pytest.approx(7.0), pytest.approx(12.0)]


def test_estimates_rest_on_it_at_once_whatever_was_known(tmp_path: Path) -> None:
    with Store(tmp_path / "jobs.db") as store:
        for one in replace(
            FOUND, devices=(replace(CPU, speeds=tuple(replace(s, whole=99.0) for s in SPEEDS)),)
        ).measurements():
            store.measure(one)
        for one in FOUND.measurements():
            store.measure(one, share=1.0)
        known = sorted(store.measurements(), key=lambda m: m.width)
    assert [(m.width, m.fps) for m in known] == [(960, 10.0), (1920, 2.5)]
    start = 1.35 * FOUND.load_seconds
    assert {(m.fit_seconds_per_step, m.start_seconds) for m in known} == {(0.3, start)}
    # What comes before a fit's first step grows with the picture.
    assert 2.0 < known[0].fit_start_seconds < 3.0 < known[1].fit_start_seconds < 6.0
    found = rate_here(known, width=1920, height=1080)
    assert found and found[0] == pytest.approx(2.5)


def text(found: Bench) -> str:
    screen = Console(width=110, file=io.StringIO())
    screen.print(drawn(found))
    return screen.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_it_is_drawn() -> None:
    shown = text(FOUND)
    assert "cpu (a small processor)  paints in bf16  (fp32 1.0x · bf16 2.0x)" in shown
    rows = {
        line.split()[0]: line for line in shown.splitlines() if line.split() and line.split()[0] in ("540p", "1080p", "4K")
    }
    assert rows["540p"].count("█") > 3 * rows["1080p"].count("█") > 0
    assert "10.0 fps" in rows["540p"] and "600 MB" in rows["540p"] and "not measured" in rows["4K"]
    assert "a minute of film in 1080p is painted in 9 min 36 s" in shown


def test_cards_of_one_model_are_drawn_once() -> None:
    card = replace(CPU, label="cuda:0 (a card)", memory=1)
    shown = text(replace(FOUND, devices=(card, replace(card, label="cuda:1 (a card)"))))
    assert shown.count("1080p  ") == 1 and "cuda:0 (a card) and 1 more like it" in shown


def test_a_device_that_is_not_here_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="There is no device 'cuda:99' here"):
        measured("cuda:99", lambda *_: None)


def test_the_command_line_does_not_load_torch_for_it(tmp_path: Path) -> None:
    script = "import sys, stylizer.cli, stylizer.bench; print('torch' in sys.modules)"
    environment = {**os.environ, "STYLIZER_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout.strip() == "False", done.stderr
