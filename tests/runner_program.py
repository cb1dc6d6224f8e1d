"""A runner as a process of its own: python -m tests.runner_program ROOT. For tests that kill it."""

import sys
from pathlib import Path

from backends.local import LocalBackend
from stylizer.backend import Backend
from stylizer.devices import Device
from stylizer.runner import Runner
from stylizer.store import Store
from tests.jobs_for_tests import config, media, places

WORKER = Path(__file__).with_name("fake_worker.py")


def main(root: Path) -> None:
    settings = config()
    device = Device("cpu", "a small processor", 1 << 30, 2)

    def backends(name: str) -> Backend:
        assert name == "local"
        return LocalBackend(settings, command=[sys.executable, str(WORKER)], devices=lambda: (device,), logs=root / "logs")

    with Store(root / "jobs.db") as store:
        runner = Runner(store, settings, places(root), media=media(root), backends=backends)
        print("ready", flush=True)
        runner.run()
    print("finished", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
