"""An Azure account in this machine: Azurite for Blob, the emulator for Batch, and a backend that works with both."""

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backends.azure import AzureBackend
from stylizer.backend import Phase, Report
from stylizer.config import AzureDefaults, Config, RunDefaults
from stylizer.errors import BackendUnavailable
from stylizer.jobs import Clip
from tests.azurite import Azurite
from tests.emulator.script import Script
from tests.emulator.server import Emulator
from tests.jobs_for_tests import unchanged, until

ROOT = Path(__file__).parent.parent
FAKE_NODE = Path(__file__).with_name("fake_node.py")
SIZE = "Standard_D2s_v3"


@dataclass
class Cloud:
    """`batch` and `storage` as one account; each `backend` is another client of it."""

    batch: Emulator
    storage: Azurite
    folder: Path
    made: list[AzureBackend] = field(default_factory=list)

    def settings(self, **changes: object) -> AzureDefaults:
        command = f"{shlex.quote(sys.executable)} {shlex.quote(str(FAKE_NODE))}"
        plain = AzureDefaults(
            batch=self.batch.url.replace("://", f"://{self.batch.account.name}@"),
            media=self.storage.endpoint,
            container=f"t{abs(hash(self.folder)):x}"[:20],
            shared_key=True,
            vm_size=SIZE,
            nodes=2,
            python=command,
            start="true",
        )
        return replace(plain, **changes)  # type: ignore[arg-type]

    def backend(self, home: str = "here", pace: float = 0.05, **changes: object) -> AzureBackend:
        config = Config(run=RunDefaults(stall_seconds=60.0), azure=self.settings(**changes))
        made = AzureBackend(config, check=unchanged_if_fake, pace=pace, home=self.folder / home)
        self.made.append(made)
        return made

    def tell_workers(self, **told: object) -> None:
        """What the fake workers on all nodes are told from now on."""
        self.batch.script.node_environment = {
            **self.batch.script.node_environment,
            "STYLIZER_FAKE": json.dumps({"notes": str(self.folder / "notes"), **told}),
        }


def unchanged_if_fake(clip: Clip) -> None:
    """The clips of these tests are no media, most of them."""
    if clip.fingerprint.startswith("mark"):
        unchanged(clip)


def quick() -> Script:
    """Machines that are there at once."""
    return Script(
        allocation_seconds=1.0,
        creating_seconds=1.0,
        boot_seconds=1.0,
        leave_seconds=1.0,
        delete_seconds=1.0,
        node_environment={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


@contextlib.contextmanager
def cloud(storage: Azurite, folder: Path, monkeypatch: pytest.MonkeyPatch, scale: float = 60.0) -> Iterator[Cloud]:
    """An account of its own on that storage, until the block ends."""
    with Emulator(scale=scale, script=quick()) as batch:
        monkeypatch.setenv("STYLIZER_AZURE_BATCH_KEY", batch.account.key)
        monkeypatch.setenv("STYLIZER_AZURE_STORAGE_KEY", storage.key)
        made = Cloud(batch, storage, folder)
        made.tell_workers()
        yield made
        for backend in made.made:
            backend.close()


def ended(backend: AzureBackend, names: list[str], seconds: float = 30.0) -> dict[str, Report]:
    """What became of these; an account that is busy is asked again."""
    found: dict[str, Report] = {}

    def all_ended() -> bool:
        try:
            found.update({report.id: report for report in backend.poll(names)})
        except BackendUnavailable:
            return False
        return all(report.phase not in (Phase.WAITING, Phase.RUNNING) for report in found.values())

    until(all_ended, seconds)
    return found
