"""The image of the worker: its recipe is read, and what it would run is run here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from backends.azure import definitions

ROOT = Path(__file__).parents[1]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of the Dockerfile, by stage."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    found: list[list[tuple[str, str]]] = []
    for line in filter(str.strip, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def test_the_image_is_run_by_nobody_in_particular_and_gets_in_nobodys_way() -> None:
    last = stages()[-1]
    user = [rest for word, rest in last if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user[-1])
    assert last[-1][0] == "USER"
    assert not {word for stage in stages() for word, _ in stage} & {
        "ADD",
        "ENTRYPOINT",
        "HEALTHCHECK",
        "EXPOSE",
        "CMD",
        "VOLUME",
    }


def test_the_image_holds_no_secret_and_fetches_nothing_by_url() -> None:
    for word, rest in (one for stage in stages() for one in stage):
        assert not re.search(r"https?://|curl|wget", rest)
        if word in ("ARG", "ENV"):
            assert not re.search("key|secret|password|token|credential", rest, re.I)
        if word == "FROM":
            assert re.match(r"python:3\.\d+-slim-\w+", rest)


def is_let_through(path: str) -> bool:
    """Whether .dockerignore lets Docker see it: the last rule that names it, or a folder that it is in, decides."""
    verdict = True
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = rule.lstrip("!").removeprefix("**/")
        folders = [path, *(str(parent) for parent in PurePosixPath(path).parents)][:-1]
        if rule and not rule.startswith("#") and any(fnmatch(one, pattern) for one in folders):
            verdict = rule.startswith("!")
    return verdict


def test_what_the_image_is_made_of_is_there_and_let_through() -> None:
    copied = {
        source
        for stage in stages()
        for word, rest in stage
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert {"stylizer", "backends", "pyproject.toml"} <= copied
    for source in copied:
        assert (ROOT / source).exists()
        assert is_let_through(source)
    for needed in (
        "stylizer/transfer.py",
        "stylizer/worker.py",
        "stylizer/weights/stylizer.safetensors",
        "backends/process.py",
    ):
        assert (ROOT / needed).exists()
        assert is_let_through(needed)
    for other in ("config", ".git/config", "tests/media.py", "stylizer/training/loop.py", "demo/clip.mp4", ".env"):
        assert not is_let_through(other)


def test_the_image_installs_what_the_worker_needs_within_the_projects_own_bounds(tmp_path: Path) -> None:
    needs = stages()[0]
    (listed,) = (shlex.split(rest.partition("=")[2])[0] for word, rest in needs if word == "ARG")
    assert tuple(listed.split()) == definitions.NEEDS
    (run,) = (rest for word, rest in needs if word == "RUN")
    code = shlex.split(run)[2]
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    done = subprocess.run([sys.executable, "-c", code, listed], cwd=tmp_path, capture_output=True, text=True, check=True)
    wanted = done.stdout.split("\n")[:-1]
    assert {re.split(r"[^A-Za-z0-9_.-]", one)[0] for one in wanted} == set(definitions.NEEDS)
    assert all(re.search("[<>]=?", one) for one in wanted)


def test_the_worker_runs_without_the_sdk_the_screens_and_the_command_line() -> None:
    absent = ("azure", "textual", "tui", "typer", "rich", "torchvision", "watchdog", "requests", "apprise", "tomlkit")
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        "import stylizer.transfer, stylizer.worker\n"
        "sys.exit(stylizer.transfer.main(['x', 'nothing.json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "nothing.json" in done.stderr
