"""This machine's processor: what it is called, its cores and its memory. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def processor() -> str:
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


def cores() -> int:
    """Processor cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of main memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def keep_memory() -> None:
    """Have this process keep the memory that it frees, for the next frame.

    glibc gives large pieces back at once, and the system clears every page anew: a sixth of the time of a frame in 4K
    (docs/decisions/0017-memory-is-kept.md). Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    top_pad, trim_threshold, mmap_max, arena_max = -2, -1, -4, -8  # as in malloc.h
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((mmap_max, 0), (trim_threshold, 1 << 30), (top_pad, 64 << 20), (arena_max, 1)):
            mallopt(option, value)
