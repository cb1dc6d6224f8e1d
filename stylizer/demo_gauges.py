"""The demo's GPUs: their speeds, and gauges that go up and down as if they painted."""

from __future__ import annotations

import math
import time

from stylizer.gauges import Gauge, Gauges

GPUS = {"cuda:0 (NVIDIA RTX 4090)": 92.0, "cuda:1 (NVIDIA RTX 3060)": 41.0}
"""Frames a second of each."""


class ImaginedGauges:
    """The gauges of the imagined GPUs, that go up and down, and of this machine's processor."""

    def __init__(self) -> None:
        self._real = Gauges()

    def read(self) -> tuple[Gauge, ...]:
        """As stylizer.gauges reads them."""
        now, cards = time.time(), []
        for number, label in enumerate(GPUS):
            device, _, model = label.partition(" ")
            sway = math.sin(now / (7 + 3 * number)) * 0.5 + math.sin(now / 2.3 + number) * 0.2
            used, total = (9.1 + 0.4 * sway, 24.0) if number == 0 else (6.2 + 0.2 * sway, 12.0)
            load, warm, watts = 0.9 + 0.08 * sway, 66 - 9 * number + 3 * sway, 360 - 220 * number + 25 * sway
            memory = int(used * 1e9), int(total * 1e9)
            cards.append(Gauge(device, model.strip("()"), load, *memory, warm, watts))
        return (*cards, *[gauge for gauge in self._real.read() if gauge.device == "cpu"])

    def close(self) -> None:
        self._real.close()
