"""What the demo's visitors bring: clips as artists call them, and how each is to be painted."""

from __future__ import annotations

from dataclasses import dataclass

from backends.fake import Fate
from stylizer.backend import Phase
from stylizer.jobs import Quality


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip that somebody brings, and how it is to be painted."""

    at: float
    """Seconds from when the studio is shown; before that if negative."""
    name: str
    seconds: float
    styles: tuple[int, ...]
    rate: int = 24
    backend: str = "auto"
    quality: Quality = Quality.STANDARD
    strength: float = 1.0
    keep_color: bool = False
    priority: int = 0
    max_cost: float = 0.0
    paused: bool = False
    notes: tuple[str, ...] = ()
    sound: int = 1


SCENES = (
    Scene(-410, "swim meet b-roll.mp4", 48, (0,), rate=30),
    Scene(-405, "the long take (final FINAL).mov", 3600, (0, 3), backend="local", priority=-1),
    Scene(-400, "candle test 02.mov", 26, (7,), quality=Quality.DRAFT),
    Scene(-380, "half a transfer.mov", 74, (3,), backend="local"),
    Scene(-290, "kite festival, wide.mp4", 95, (5,), rate=25, notes=("3 frames repeat their time.",)),
    Scene(-200, "Lucía dances (take 4).mov", 62, (1, 7), rate=30, strength=0.8),
    Scene(-140, "harbour at dusk.mp4", 240, (2,), rate=30),
    Scene(-75, "rain on the window 🌧.mp4", 70, (2,), rate=25, keep_color=True, priority=1),
    Scene(-38, "salt flats, drone [raw].mp4", 290, (7,), rate=60, backend="azure", max_cost=0.18),
    Scene(-30, "tulips macro.mov", 45, (6,), rate=50, paused=True),
    Scene(-24, "train to Porto.mov", 110, (0,), rate=30, sound=2),
    Scene(-5, "grandmother's hands.mp4", 88, (1,), rate=25, priority=1),
    Scene(-4, "ночной трамвай.mkv", 90, (4,), rate=25, backend="local"),
    Scene(-3, "舞踏 rehearsal.mov", 120, (5, 4), quality=Quality.HIGH),
    Scene(-2, "carnival, backstage.mp4", 70, (3,), rate=30),
    Scene(16, "snow, 4 in the morning.mp4", 66, (4,), rate=25, strength=0.7),
)
LATER = (
    Scene(34, "two bridges.mp4", 95, (6,), rate=25),
    Scene(9, "puppets, act 2.mov", 80, (5,), rate=30),
    Scene(12, "moth at the lamp.mp4", 50, (7,), quality=Quality.DRAFT, backend="local"),
    Scene(7, "wedding — first dance.mp4", 210, (1,), rate=30, keep_color=True),
    Scene(20, "fjord timelapse.mp4", 60, (2,), rate=30),
    Scene(6, "the baker, 5 a.m..mov", 100, (3,), rate=25, backend="azure", max_cost=0.1),
)
"""What comes after them, over and over: `at` is here the seconds from the one before. They come in waves, so that rented
machines come and go.
"""
TROUBLES = (
    "The worker ended without a word, killed by signal 9: the machine's memory was full.",
    "cuda:1 had no memory left for a frame of this size.",
    "The chunk file had 239 frames instead of 240.",
)
POISON = Fate(
    Phase.FAILED,
    0.35,
    "Frame 1204 cannot be decoded: the file ends in the middle of it. Copy the clip anew.",
    retryable=False,
)
"""What goes wrong with a chunk now and then, and with a clip that is damaged."""
