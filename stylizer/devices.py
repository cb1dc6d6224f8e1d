"""Which devices are here, and which one to paint on. Imports torch only when asked."""

from __future__ import annotations

import ctypes
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stylizer.errors import ConfigError
from stylizer.machine import cores, memory, processor


@dataclass(frozen=True, slots=True)
class Device:
    """A device that torch can paint on here."""

    name: str
    """As torch and --device call it: cuda:0, mps, cpu."""
    model: str
    """As its maker calls it: NVIDIA H100, Apple M3, AMD EPYC 9B14."""
    memory: int
    """Bytes in all; 0 if it does not say."""
    cores: int = 0
    """Processor cores that we may use; 0 for a GPU."""

    @property
    def label(self) -> str:
        return f"{self.name} ({self.model})"


@dataclass(frozen=True, slots=True)
class Choice:
    device: Device
    reason: str


@cache
def devices() -> tuple[Device, ...]:
    """All devices here, fastest kind first: CUDA (ROCm too), then MPS, then the CPU, which is always there."""
    here = Device("cpu", processor(), memory(), cores())
    if not _may_have_gpu():
        return (here,)
    import torch  # noqa: PLC0415  # 2 s, and half a second more when the program ends

    found = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found.append(Device(f"cuda:{index}", facts.name, facts.total_memory))
    if torch.backends.mps.is_available():
        found.append(Device("mps", processor(), memory()))
    return (*found, here)


def _may_have_gpu() -> bool:
    """Whether this system has what torch would reach a GPU by: a driver's library, or Apple's silicon."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if Path("/dev/kfd").exists():  # AMD's, on Linux
        return True
    for driver in ("nvcuda.dll", "amdhip64.dll") if sys.platform == "win32" else ("libcuda.so.1",):
        try:
            ctypes.CDLL(driver)
            return True
        except OSError:
            continue
    return False


def choose(wanted: str) -> Choice:
    """The device for the option `wanted`: auto, cpu, mps, cuda or cuda:N. ConfigError names those that are here."""
    here = devices()
    if wanted in ("", "auto"):
        best = here[0]
        return Choice(best, "the only device here" if len(here) == 1 else "the fastest kind here")
    name = "cuda:0" if wanted == "cuda" else wanted
    for device in here:
        if device.name == name:
            return Choice(device, "as asked for")
    raise ConfigError(
        f"There is no device {wanted!r} here; there {'is' if len(here) == 1 else 'are'} {', '.join(d.label for d in here)}.",
        hint="Choose one of these with --device, or leave it at auto; stylizer doctor says more.",
    )
