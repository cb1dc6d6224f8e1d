"""A whole run on Azure, without Azure: Azurite keeps the files, an emulator of Batch boots nodes that really paint.

    python examples/azure_demo.py [CLIP] [STYLE] [--output PAINTED]

Prints the estimate, the meter as it runs and the final bill beside the emulator's own. Needs Node 22 and Azurite 3.37
(see tests/azurite.py). While machines start, time in the emulated region passes faster than ours, so that it takes seconds.
"""

# ruff: noqa: T201 - it reports to its terminal

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from backends.azure.meter import reopened  # noqa: E402
from backends.azure.planner import plan, plans, trade_off  # noqa: E402
from backends.azure.prices import price_of  # noqa: E402
from stylizer.config import load_config  # noqa: E402
from stylizer.jobs import Look, StyleImage  # noqa: E402
from stylizer.video import probe  # noqa: E402
from tests.azurite import AzuriteMissing, azurite  # noqa: E402
from tests.emulator.script import Script  # noqa: E402
from tests.emulator.server import Emulator  # noqa: E402

HERE = Path(__file__).parent / "out"
SIZE = "Standard_D2s_v3"
STARTING, WORKING = 30.0, 1.0
"""Emulated seconds in one of ours, while machines start and from then on: then what we look at every few seconds is seen as
in earnest.
"""


def main() -> int:
    options = argparse.ArgumentParser(description="A whole run on Azure, without Azure.")
    options.add_argument("clip", nargs="?", type=Path, default=HERE / "clip.mp4")
    options.add_argument("style", nargs="?", type=Path, default=HERE / "art.jpg")
    options.add_argument("--output", type=Path, help="where the painted clip is kept")
    chosen = options.parse_args()
    nodes = Script(node_environment={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    try:
        with azurite() as storage, Emulator(scale=STARTING, script=nodes) as batch, tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            keys = {"STYLIZER_AZURE_BATCH_KEY": batch.account.key, "STYLIZER_AZURE_STORAGE_KEY": storage.key}
            environment = {**os.environ, **keys, "STYLIZER_HOME": folder}
            _configure(home / "config.toml", batch.url.replace("://", f"://{batch.account.name}@"), storage.endpoint)
            _say_estimate(chosen.clip, chosen.style, home)
            output = chosen.output or home / "painted.mp4"
            code = _run(chosen.clip, chosen.style, output, environment, home, batch)
            _say_bill(batch)
            if batch.violations:
                print("\nAgainst the contract of the API:", *batch.violations, sep="\n  ")
            return code
    except AzuriteMissing as error:
        print(f"{error}. See tests/azurite.py.")
        return 2


def _configure(path: Path, batch: str, media: str) -> None:
    path.write_text(
        f"""[azure]
chunk_seconds = 2.0
batch = "{batch}"
media = "{media}"
shared_key = true
vm_size = "{SIZE}"
nodes = 2
python = '{sys.executable}'
start = "true"
""",
        encoding="utf-8",
    )


def _say_estimate(clip: Path, style: Path, home: Path) -> None:
    config, found = load_config(home / "config.toml"), probe(clip)
    look = Look((StyleImage(style, 1.0, ""),))
    whole = plan(found, look, config)
    print(f"Estimate   {whole.sentence}\n           {whole.basis}")
    print("Plans      cheapest first, and where each stands:")
    for one in plans(found, look, config, [SIZE]):
        print(f"           {one.sentence}")
    print("Chunks     fewer start less often, more lose less when a Spot machine is taken away:")
    for length, one in trade_off(found, look, config):
        print(f"           {length:4.0f} s  {one.seconds / 60:5.1f} min  {one.cost:.4f} {one.currency}")


def _run(clip: Path, style: Path, output: Path, environment: dict[str, str], home: Path, batch: Emulator) -> int:
    command = [sys.executable, "-m", "stylizer", "run", str(clip), "--style", str(style), "--quality", "draft"]
    command += ["--backend", "azure", "--output", str(output)]
    print("\nRun        stylizer", *command[3:])
    told = ""
    with subprocess.Popen(command, env=environment, cwd=ROOT) as process:
        while process.poll() is None:
            time.sleep(1.0)
            _keep_pace(batch)
            said = _meter(home, batch)
            if said != told:
                told = said
                print(f"Meter      {said}", flush=True)
    if process.returncode == 0:
        painted = probe(output)
        print(f"Painted    {painted.frames} frames, {painted.width} x {painted.height}")
    return process.returncode


def _keep_pace(batch: Emulator) -> None:
    """Slow down as soon as a machine is ready."""
    with batch.clock.lock:
        states = {node.state for pool in batch.account.pools.values() for node in pool.nodes.values()}
    if batch.clock.scale == STARTING and not states.isdisjoint(("idle", "running")):
        batch.clock.set_scale(WORKING)


def _meter(home: Path, batch: Emulator) -> str:
    now = batch.clock.now().timestamp()
    ledgers = [one for path in (home / "azure").glob("*.meter.json") if (one := reopened(path))]
    spent = sum((one.meter(now).spent for one in ledgers), Decimal(0))
    nodes = sum(len(one.open) for one in ledgers)
    return f"{spent:.6f} USD so far, {nodes} nodes (the emulator's own bill: {batch.cost():.6f})"


def _say_bill(batch: Emulator) -> None:
    """When all machines are gone."""
    batch.wait(lambda: not any(pool.nodes for pool in batch.account.pools.values()), deadline=60)
    seconds = batch.node_seconds()
    price = price_of(SIZE, "", spot=True)
    print(f"Bill       {seconds:.0f} node-seconds, {batch.cost():.6f} USD ({price.basis})")
    print(f"Calls      {sum(batch.calls.values())} of Batch")


if __name__ == "__main__":
    sys.exit(main())
