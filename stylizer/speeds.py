"""What `stylizer bench` finds out about a machine, and what estimates take from it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from stylizer.estimate import PIXELS_STEPS, Measurement

FIT_SIZE = 640, 360
"""Of the frames that a fit is timed on."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A small picture painted in one precision."""

    precision: str
    seconds: float
    off: float
    """Mean distance from float32, in levels of 8 bits."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a device does at one size. All are frames a second."""

    name: str
    width: int
    height: int
    paint: float
    """The network and the conversion of colours, alone."""
    decode: float
    encode: float
    whole: float
    """As a worker paints a chunk: reading, decoding, painting, encoding, writing."""
    frames: int
    """So many were painted for `whole`."""
    memory: int
    """Bytes of the process while it did, at most."""
    device_memory: int = 0
    """The same of the device's own memory, where it has its own."""


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    label: str
    memory: int
    """Bytes that it has."""
    precision: str
    """The one that `auto` means here."""
    trials: tuple[Trial, ...]
    step_seconds: float
    """Of a step of a fit."""
    fit_start_seconds: float
    """Of a fit, before its first step."""
    speeds: tuple[Speed, ...]
    left_out: tuple[str, ...] = ()
    """Sizes that would have taken too long."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What was found out about a machine."""

    at: float
    """When (Unix time)."""
    seconds: float
    """How long it took."""
    system: str
    torch: str
    stylizer: str
    cores: int
    memory: int
    busy: float
    """Share of the processor that other programs took just before, 0..1: the more, the lower are the figures."""
    load_seconds: float
    """Until Python and the libraries of a worker are loaded."""
    devices: tuple[DeviceSpeed, ...]
    here: tuple[str, ...]
    """Labels of all devices here; those that `auto` would not paint on are measured only where they are named."""

    def measurements(self) -> list[Measurement]:
        """What estimates are to rest on."""
        found = []
        for device in self.devices:
            for speed in device.speeds:
                more = PIXELS_STEPS * (speed.width * speed.height - FIT_SIZE[0] * FIT_SIZE[1]) * device.step_seconds
                found.append(
                    Measurement(
                        device.label,
                        "auto",
                        speed.width,
                        speed.height,
                        speed.whole,
                        device.step_seconds,
                        self.at,
                        fit_start_seconds=max(device.step_seconds, device.fit_start_seconds + more),
                        start_seconds=1.35 * self.load_seconds,
                    )
                )
        return found
