"""Do to the program what a week can do to it, and see that nothing is lost: python -m tests.torture [--seconds N]."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.ordeal import Ordeal

LONG = 60.0
"""Seconds after which everything must have happened."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--clips", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        ordeal = Ordeal(Path(folder), seed=given.seed, clips=given.clips)
        try:
            ordeal.calm()
            ordeal.mad(given.seconds, tell=lambda text: print(text, flush=True))
        finally:
            ordeal.close()
        losses = ordeal.losses()
    print(f"\nseed {given.seed}, {given.seconds:.0f} s")
    for name, count in ordeal.toll.items():
        print(f"  {name:<44} {count:>6}")
    for loss in losses:
        print(f"  LOST: {loss}")
    print(f"  {'losses':<44} {len(losses):>6}")
    idle = [name for name in ("workers killed", "attempts that failed and were made again") if not ordeal.toll[name]]
    if given.seconds >= LONG and idle:
        print(f"  This was no ordeal: {' and '.join(idle)}: 0")
    return 1 if losses or (given.seconds >= LONG and idle) else 0


if __name__ == "__main__":
    sys.exit(main())
