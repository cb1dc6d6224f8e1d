"""Which devices are here, and which one to paint on. Imports torch only when asked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stylizer.errors import ConfigError


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
    import torch  # noqa: PLC0415  # 2 s

    found = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found.append(Device(f"cuda:{index}", facts.name, facts.total_memory))
    if torch.backends.mps.is_available():
        found.append(Device("mps", _processor(), _memory()))
    return (*found, Device("cpu", _processor(), _memory(), cores()))


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


def cores() -> int:
    """Processor cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """What the processor is called."""
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith(("model name", "Model")):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        if asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine() or "processor"


def _memory() -> int:
    """Bytes of main memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
