"""What is not needed is not imported: help and status answer at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "av", "numpy", "azure", "textual")


def imported_by(arguments: list[str], home: Path) -> set[str]:
    script = (
        "import json, sys\n"
        "from stylizer.cli import main\n"
        f"sys.argv = ['stylizer', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        "print('\\n' + json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "STYLIZER_HOME": str(home)},
    )
    code, names = json.loads(done.stdout.splitlines()[-1])
    assert not code, done.stderr
    return set(names)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["status"], ["status", "--json"], ["config"]]
)
def test_nothing_heavy_is_imported_to_answer_quickly(arguments: list[str], tmp_path: Path) -> None:
    assert not imported_by(arguments, tmp_path) & set(HEAVY)
