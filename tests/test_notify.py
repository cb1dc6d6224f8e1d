"""Who is told of what: real commands, a real HTTP server, a real store."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from stylizer import commands
from stylizer.config import NotifyDefaults
from stylizer.errors import ConfigError
from stylizer.jobs import Encoding, Job, JobState
from stylizer.notify import Command, Notifier, carry_out, split
from stylizer.store import Store
from tests import jobs_for_tests as small

SECRET = "hush-hush"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "jobs.db") as made:
        yield made


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An address for Apprise, and what was sent to it."""
    heard: list[dict[str, str]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Listener) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"json://user:{SECRET}@127.0.0.1:{made.server_port}/", heard
        made.shutdown()
        thread.join()


def add(store: Store, root: Path, name: str = "clip.mp4") -> Job:
    clip = small.clip(root, name)
    return commands.add(store, clip, small.look(root), Encoding(), root / f"{name}.out.mp4")


def finish(store: Store, job: Job, state: JobState = JobState.DONE) -> None:
    for step in (JobState.RENDERING, JobState.ASSEMBLING):
        store.move(job.id, step, "It goes on.")
    store.move(job.id, state, f"{job.output.name} is {state}.")


def told(store: Store) -> str:
    return "\n".join(event.text for event in store.events() if event.kind == "notify")


def test_a_job_that_is_done_is_told_once_across_restarts(
    store: Store, tmp_path: Path, server: tuple[str, list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, heard = server
    monkeypatch.setenv("WHERE", address)
    config = NotifyDefaults(to=("env:WHERE",))
    finish(store, add(store, tmp_path, "before.mp4"))
    with Notifier(store, config) as notifier:
        finish(store, add(store, tmp_path))
        notifier.turn()
    with Notifier(store, config) as notifier:
        notifier.turn()
        finish(store, add(store, tmp_path, "other.mp4"), JobState.FAILED)
    with Notifier(store, config) as notifier:
        notifier.turn()
    assert [(one["title"], one["message"]) for one in heard] == [
        ("stylizer: done", "clip.mp4.out.mp4 is done."),
        ("stylizer: failed", "other.mp4.out.mp4 is failed."),
    ]


def test_what_ended_while_nobody_ran_is_told_at_the_next_start(
    store: Store, tmp_path: Path, server: tuple[str, list[dict[str, str]]]
) -> None:
    config = NotifyDefaults(to=(server[0],))
    job = add(store, tmp_path)
    with Notifier(store, config) as notifier:
        notifier.turn()
    finish(store, job)
    with Notifier(store, config) as notifier:
        notifier.turn()
    assert len(server[1]) == 1


def test_messages_that_were_not_wanted_do_not_come_later(
    store: Store, tmp_path: Path, server: tuple[str, list[dict[str, str]]]
) -> None:
    with Notifier(store, NotifyDefaults(to=(server[0],))):
        pass
    with Notifier(store, NotifyDefaults()) as notifier:
        notifier.turn()
        finish(store, add(store, tmp_path))
    with Notifier(store, NotifyDefaults(to=(server[0],))) as notifier:
        notifier.turn()
    assert server[1] == []


def test_two_runners_do_not_tell_twice(store: Store, tmp_path: Path, server: tuple[str, list[dict[str, str]]]) -> None:
    config = NotifyDefaults(to=(server[0],))
    with Store(store.path) as other, Notifier(other, config) as second:
        with Notifier(store, config) as first:
            first.turn()
            finish(store, add(store, tmp_path))
        second.turn()
    assert len(server[1]) == 1


def test_many_at_once_are_one_message(store: Store, tmp_path: Path, server: tuple[str, list[dict[str, str]]]) -> None:
    with Notifier(store, NotifyDefaults(to=(server[0],))) as notifier:
        notifier.turn()
        for number in range(7):
            finish(store, add(store, tmp_path, f"{number}.mp4"), JobState.FAILED if number == 3 else JobState.DONE)
    (only,) = server[1]
    assert only["title"] == "stylizer: 6 done, 1 failed" and "3.mp4.out.mp4 is failed." in only["message"]


def test_an_address_that_does_not_answer_is_an_event_without_its_secret(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Notifier(store, NotifyDefaults(to=(f"json://user:{SECRET}@127.0.0.1:9/",))) as notifier:
        notifier.turn()
        finish(store, add(store, tmp_path))
    assert told(store) == "A message could not be sent to json://…."
    assert SECRET not in "".join(capfd.readouterr()) + store.path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("address", ["nonsense", f"foo://user:{SECRET}@host", "env:NOT_THERE"])
def test_an_address_that_is_none_is_said_at_the_start_without_its_secret(store: Store, address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Notifier(store, NotifyDefaults(to=(address,)))
    assert SECRET not in caught.value.message + caught.value.hint


def script(path: Path, text: str) -> str:
    path.write_text(text)
    return f'"{sys.executable}" "{path}"'


SAY = "import json, os, sys\nopen({!r}, 'a').write(json.dumps([sys.argv[1:], os.environ['STYLIZER_JOB']]) + '\\n')\n"


@pytest.mark.parametrize(("words", "expected"), [("", ["{output}"]), (" --to {output} now", ["--to", "{output}", "now"])])
def test_a_command_runs_with_the_output_of_each_job_that_is_done(
    store: Store, tmp_path: Path, words: str, expected: list[str]
) -> None:
    said = tmp_path / "said"
    command = script(tmp_path / "say.py", SAY.format(str(said))) + words
    with Notifier(store, NotifyDefaults(), command) as notifier:
        notifier.turn()
        job = add(store, tmp_path, "a clip; rm -rf $HOME.mp4")
        finish(store, job)
        finish(store, add(store, tmp_path, "bad.mp4"), JobState.FAILED)
    (line,) = said.read_text().splitlines()
    assert json.loads(line) == [[word.replace("{output}", str(job.output)) for word in expected], str(job.id)]
    assert told(store) == ""


def test_a_command_that_fails_or_is_not_there_is_an_event(store: Store, tmp_path: Path) -> None:
    with Notifier(store, NotifyDefaults(when_done=script(tmp_path / "bad.py", "raise SystemExit(3)"))) as notifier:
        notifier.turn()
        finish(store, add(store, tmp_path))
    with Notifier(store, NotifyDefaults(when_done="no-such-program")) as notifier:
        notifier.turn()
        finish(store, add(store, tmp_path, "other.mp4"))
    assert "ended with code 3" in told(store) and "no-such-program could not be started" in told(store)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    inner = "import time; time.sleep(600)"
    text = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "child.wait()\n"
    )
    result: list[str] = []
    command = Command(1, (*split(script(tmp_path / "hang.py", text)),), {})
    thread = threading.Thread(target=lambda: result.append(carry_out(command, 3.0)))
    thread.start()
    thread.join(30)
    assert "was not done after 3 s" in result[0]
    small.until(lambda: not any(psutil.pid_exists(int(pid)) and _lives(int(pid)) for pid in pids.read_text().split()))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_slow_command_does_not_hold_up_the_loop(store: Store, tmp_path: Path) -> None:
    command = script(tmp_path / "slow.py", "import time\ntime.sleep(1)")
    with Notifier(store, NotifyDefaults(), command) as notifier:
        finish(store, add(store, tmp_path))
        notifier._looked_at = 0.0
        began = time.monotonic()
        notifier.turn()
        assert time.monotonic() - began < 0.8
        small.until(notifier._given.empty)


def test_a_desktop_that_is_not_there_is_an_event(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("there is a desktop here")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    with Notifier(store, NotifyDefaults(desktop=True)) as notifier:
        notifier.turn()
        finish(store, add(store, tmp_path))
    assert "no desktop session" in told(store)


def test_quotes_that_do_not_match_are_said(store: Store) -> None:
    with pytest.raises(ConfigError, match="not complete"):
        Notifier(store, NotifyDefaults(when_done='open "this'))
