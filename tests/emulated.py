"""A run on the emulator of Batch, on a clock that moves as fast as it can: what it took and cost, beside what was foretold.

The pool, its formula and its tasks are those that the Azure backend asks for; how machines behave is the emulator's word.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.batch import models as m

from backends.azure import definitions, planner
from backends.azure.definitions import File
from backends.azure.prices import size_of
from stylizer.config import AzureDefaults
from stylizer.simulate import Forecast, Machines, Part, Work, forecast
from tests.emulator.clients import client
from tests.emulator.nodes import Node
from tests.emulator.script import SIZES, Quota, Script, Simulated
from tests.emulator.server import Emulator

LOOK_SECONDS = 5.0
"""Between two looks at a run, as the backend looks."""
SETUP_SECONDS = 60.0
"""Of the start task."""
ALLOCATING, CREATING, BOOTING, AWAY, LEAVING = 30.0, 30.0, (60.0, 100.0, 120.0, 180.0, 240.0), 300.0, 20.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What is run."""

    chunks: int
    nodes: int
    chunk_seconds: float
    taken_per_hour: float = 0.0
    fit_seconds: float = 0.0
    """On a node, before all chunks; 0: it was fitted before."""
    size: str = "Standard_NC4as_T4_v3"

    @property
    def spot(self) -> bool:
        return self.taken_per_hour > 0

    @property
    def words(self) -> str:
        fit = f", a fit of {self.fit_seconds:.0f} s" if self.fit_seconds else ""
        taken = f"{self.taken_per_hour:g} taken an hour" if self.spot else "dedicated"
        machines = f"{self.nodes} x {self.size.removeprefix('Standard_')}"
        return f"{self.chunks} chunks of {self.chunk_seconds:.0f} s on {machines}, {taken}{fit}"


@dataclass(frozen=True, slots=True)
class Emulated:
    seconds: float
    """From the making of the job until the last chunk is done."""
    cost: float
    again: int
    """Chunks that were begun anew."""


def foretell(setting: Setting) -> Forecast:
    """What the simulator says of it."""
    size = size_of(setting.size)
    prices = SIZES[setting.size.lower()]
    machines = Machines(
        setting.size,
        setting.nodes,
        seconds_a_frame=1.0,
        slots=max(1, size.gpus),
        asked_seconds=ALLOCATING,
        boots=tuple(CREATING + booting + SETUP_SECONDS for booting in BOOTING),
        taken_per_hour=setting.taken_per_hour,
        away_seconds=AWAY,
        kept_seconds=60 * planner.KEPT_MINUTES,
        leave_seconds=LEAVING + 10.0,
        per_hour=float(prices.spot if setting.spot else prices.dedicated),
    )
    chunks = (setting.chunk_seconds,) * setting.chunks
    work = Work((Part(chunks, (machines,)),), setting.fit_seconds, fits_there=True)  # type: ignore[arg-type]
    return forecast(work, trials=100)


def emulate(setting: Setting, seed: int) -> Emulated:
    """The same on the emulator; machines are taken away at any moment of their lives, busy or not."""
    dice = random.Random(seed)
    settings = AzureDefaults(vm_size=setting.size, nodes=setting.nodes, spot=setting.spot, start="true", python="python3")
    script = Script(
        allocation_seconds=ALLOCATING,
        creating_seconds=CREATING,
        leave_seconds=LEAVING,
        restore_seconds=AWAY,
        start_task=lambda node: Simulated(SETUP_SECONDS),
        task=lambda task, node: Simulated(setting.fit_seconds if task.id == "fit" else setting.chunk_seconds),
    )

    def boot(node: Node) -> float:
        if setting.taken_per_hour:
            # It was allocated CREATING seconds ago; what would have come before that comes at once.
            batch.clock.after(dice.expovariate(setting.taken_per_hour / 3600) - CREATING, node.preempt)
        return dice.choice(BOOTING)

    script.boot_seconds = boot
    plenty = Quota(spot_cores=1_000_000, dedicated_cores=1_000_000)
    with Emulator(scale=0, script=script, quota=plenty) as batch, client(batch) as sdk:
        first = 1 if setting.fit_seconds else setting.chunks
        wanted = definitions.wanted_nodes(settings, first)
        now = batch.clock.now().astimezone(UTC)
        made = definitions.pool(settings, None, wanted, now, spot=setting.spot)
        sdk.create_job(definitions.job(settings, "job", {}, made))
        job = batch.account.jobs["job"]
        errands = File("errands.json", "https://example.org/errands.json")
        if setting.fit_seconds:
            sdk.create_tasks("job", definitions.tasks(settings, ["fit"], errands))
            while job.tasks["fit"].state != "completed":
                batch.advance(LOOK_SECONDS)
            most = definitions.wanted_nodes(settings, setting.chunks)
            if most > wanted and job.pool:
                said = definitions.formula(settings, most, batch.clock.now().astimezone(UTC), spot=setting.spot)
                sdk.enable_pool_auto_scale(job.pool.id, m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=said))
        names = [f"{n:05}" for n in range(setting.chunks)]
        for start in range(0, len(names), 100):
            sdk.create_tasks("job", definitions.tasks(settings, names[start : start + 100], errands))
        done = m.BatchJobUpdateOptions(all_tasks_complete_mode=m.BatchAllTasksCompleteMode.TERMINATE_JOB)
        sdk.update_job("job", done)
        while batch.account.pools:
            batch.advance(LOOK_SECONDS)
            assert batch.clock.seconds < timedelta(days=3).total_seconds(), "it does not end"
        ends = [datetime.fromisoformat(task.execution["endTime"]) for task in job.tasks.values()]
        assert batch.violations == []
        return Emulated(
            (max(ends) - now).total_seconds(),
            float(batch.cost()),
            sum(task.execution["requeueCount"] for task in job.tasks.values()),
        )


@dataclass(frozen=True, slots=True)
class Beside:
    """A setting as it was foretold and as it went, in the median of its runs."""

    setting: Setting
    told: Forecast
    seconds: float
    cost: float

    @property
    def off_seconds(self) -> float:
        """Share by which the time was foretold too long (or, below 0, too short)."""
        return self.told.seconds / self.seconds - 1

    @property
    def off_cost(self) -> float:
        return self.told.cost / self.cost - 1


def beside(setting: Setting, runs: int) -> Beside:
    """Both, the emulator `runs` times"""
    found = [emulate(setting, seed) for seed in range(runs)]
    seconds, costs = (statistics.median(values) for values in zip(*((one.seconds, one.cost) for one in found), strict=True))
    return Beside(setting, foretell(setting), seconds, costs)
