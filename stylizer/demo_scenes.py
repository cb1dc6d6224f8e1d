"""What the demo's visitors bring: clips as artists call them, and how each is to be painted."""

from __future__ import annotations

from dataclasses import dataclass

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
    Scene(-405, "the long take (final FINAL).mov", 2700, (0, 3), priority=-1),
    Scene(-400, "candle test 02.mov", 26, (7,), quality=Quality.DRAFT),
    Scene(-380, "half a transfer.mov", 74, (3,), backend="local"),
    Scene(-290, "kite festival, wide.mp4", 95, (5,), rate=25, notes=("3 frames repeat their time.",)),
    Scene(-230, "Lucía dances (take 4).mov", 62, (1, 7), rate=30, strength=0.8),
    Scene(-215, "harbour at dusk.mp4", 320, (2,), rate=30),
    Scene(-120, "rain on the window 🌧.mp4", 70, (2,), rate=25, keep_color=True, priority=1),
    Scene(-70, "salt flats, drone [raw].mp4", 180, (7,), rate=60, backend="azure", max_cost=0.5),
    Scene(-66, "train to Porto.mov", 260, (0,), rate=30, sound=2),
    Scene(-60, "ночной трамвай.mkv", 140, (4,), rate=25),
    Scene(-44, "tulips macro.mov", 45, (6,), rate=50, paused=True),
    Scene(-36, "grandmother's hands.mp4", 88, (1,), rate=25, priority=1),
    Scene(-14, "舞踏 rehearsal.mov", 210, (5, 4), quality=Quality.HIGH),
    Scene(-8, "carnival, backstage.mp4", 130, (3,), rate=30, backend="local"),
    Scene(-2, "snow, 4 in the morning.mp4", 66, (4,), rate=25, strength=0.7),
)
LATER = (
    Scene(0, "two bridges.mp4", 55, (6,), rate=25),
    Scene(0, "puppets, act 2.mov", 80, (5,), rate=30),
    Scene(0, "moth at the lamp.mp4", 30, (7,), quality=Quality.DRAFT),
    Scene(0, "wedding — first dance.mp4", 150, (1,), rate=30, keep_color=True),
    Scene(0, "fjord timelapse.mp4", 40, (2,), rate=30),
)
