"""How busy this machine is: processor and memory, and NVIDIA cards where their library is there. Imports no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from stylizer.machine import processor

Ask = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a device says of itself now; None is what it does not say."""

    device: str
    """As torch and --device call it: cuda:0, cpu."""
    model: str
    load: float | None = None
    """0..1"""
    memory_used: int | None = None
    """Bytes, by all processes."""
    memory_total: int | None = None
    temperature: float | None = None
    """Degrees Celsius."""
    watts: float | None = None

    @property
    def label(self) -> str:
        """As a worker on it is called."""
        return f"{self.device} ({self.model})"


class Gauges:
    """Reads the gauges of this machine; each reading takes a few milliseconds."""

    def __init__(self) -> None:
        self._nvml, self._cards = _cards()
        # The first answer would be for no time at all.
        psutil.cpu_percent()

    def read(self) -> tuple[Gauge, ...]:
        """NVIDIA cards as CUDA numbers them, then the processor. Never raises."""
        return (*(self._card(number, card) for number, card in enumerate(self._cards)), _processor())

    def close(self) -> None:
        if self._nvml:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
        self._nvml, self._cards = None, []

    def _card(self, number: int, card: Any) -> Gauge:
        nvml = self._nvml
        name = self._ask(nvml.nvmlDeviceGetName, card)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, card)
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, card)
        power = self._ask(nvml.nvmlDeviceGetPowerUsage, card)
        warmth = self._ask(nvml.nvmlDeviceGetTemperature, card, nvml.NVML_TEMPERATURE_GPU)
        return Gauge(
            f"cuda:{number}",
            name.decode() if isinstance(name, bytes) else name or "GPU",
            None if rates is None else rates.gpu / 100,
            None if memory is None else memory.used,
            None if memory is None else memory.total,
            None if warmth is None else float(warmth),
            None if power is None else power / 1000,
        )

    def _ask(self, ask: Ask, *what: Any) -> Any:
        try:
            return ask(*what)
        except self._nvml.NVMLError:
            return None


def _cards() -> tuple[Any, list[Any]]:
    """NVIDIA's library and the cards that CUDA may use; (None, []) without either."""
    try:
        import pynvml  # noqa: PLC0415  # of nvidia-ml-py, which not every system has

        pynvml.nvmlInit()
    except Exception:  # whatever a driver says: without gauges all else still works
        return None, []
    try:
        cards = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        cards = []
    return pynvml, _visible(cards)


def _visible(cards: list[Any]) -> list[Any]:
    """Those that CUDA_VISIBLE_DEVICES lets us see, in its order; all where it names them otherwise than by number."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = [one.strip() for one in named.split(",") if one.strip()] if named is not None else None
    if chosen is None or not all(one.isdigit() for one in chosen):
        return cards
    return [cards[int(one)] for one in chosen if int(one) < len(cards)]


def _processor() -> Gauge:
    memory = psutil.virtual_memory()
    load = psutil.cpu_percent() / 100
    return Gauge("cpu", processor(), load, memory.total - memory.available, memory.total, _warmth())


def _warmth() -> float | None:
    """The hottest sensor of the processor, where the system tells."""
    if sys.platform != "linux":
        return None
    found = psutil.sensors_temperatures()
    warm = [one.current for chip in ("coretemp", "k10temp", "cpu_thermal") for one in found.get(chip, ())]
    return max(warm, default=None)
