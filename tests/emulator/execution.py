"""What a node does for one task: fetch its resource files, run its command line, upload its output files."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.emulator.account import Document
from tests.emulator.clock import Alarm
from tests.emulator.script import Simulated
from tests.emulator.transfer import TransferFailed, download, upload

if TYPE_CHECKING:
    from tests.emulator.nodes import Node

KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS")
"""All that a command line sees of the machine on which the emulator runs; no credential of its user gets in."""


@dataclass(frozen=True)
class Outcome:
    """How a command line ended. `condition` names the exit condition when it is not the exit code."""

    exit_code: int | None = None
    failure: Document | None = None
    condition: str = ""

    def document(self) -> Document:
        """The part of executionInfo that it decides."""
        shown: Document = {"result": "failure" if self.failure else "success"}
        if self.exit_code is not None:
            shown["exitCode"] = self.exit_code
        if self.failure:
            shown["failureInfo"] = self.failure
        return shown


def failure(code: str, message: str, category: str = "usererror", **details: str) -> Document:
    listed = [{"name": name, "value": value} for name, value in details.items()]
    return {"category": category, "code": code, "message": message, "details": listed}


class Run:
    """One go at a command line on a node; `ended` hears of it under the clock's lock, unless it was stopped."""

    def __init__(
        self,
        node: Node,
        spec: Document,
        folder: Path,
        environment: Mapping[str, str],
        simulated: Simulated | None,
        ended: Callable[[Outcome], None],
        began: Callable[[], None] = lambda: None,
    ) -> None:
        self.node = node
        self.spec = spec
        self.folder = folder
        self.work = folder / "wd"
        self.environment = environment
        self.simulated = simulated
        self.ended = ended
        self.began = began
        self.stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._alarm: Alarm | None = None

    def start(self) -> None:
        clock, simulated = self.node.account.clock, self.simulated
        shutil.rmtree(self.folder, ignore_errors=True)
        if simulated and not simulated.effect and not simulated.files and not self.spec.get("outputFiles"):
            self.began()
            self._alarm = clock.after(simulated.seconds, lambda: self.ended(exited(simulated.exit_code)))
        elif simulated:
            self.began()
            self._alarm = clock.after(simulated.seconds, self._in_thread)
        else:
            self._in_thread()

    def stop(self) -> None:
        """Kill it, with all that it started; nothing more is heard of it."""
        self.stopped.set()
        if self._alarm:
            self._alarm.cancel()
        if self._process is not None:
            kill(self._process)

    def _in_thread(self) -> None:
        threading.Thread(target=self._carry_out, name=f"node {self.node.id}", daemon=True).start()

    def _carry_out(self) -> None:
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            outcome = self._pretend(self.simulated) if self.simulated else self._do()
        except Exception as error:  # a node's own fault must not leave its task running for ever
            outcome = Outcome(failure=failure("Unknown", str(error), "servererror"), condition="preProcessingError")
        if outcome.condition != "preProcessingError" and not self.stopped.is_set():
            outcome = self._upload(outcome)
        with self.node.account.clock.lock:
            if not self.stopped.is_set():
                self.stopped.set()
                self.ended(outcome)

    def _pretend(self, simulated: Simulated) -> Outcome:
        for name, content in {"../stdout.txt": b"", "../stderr.txt": b"", **simulated.files}.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if simulated.effect:
            try:
                simulated.effect(self.work)
            except Exception as error:  # the script's own failing is the task's
                (self.folder / "stderr.txt").write_text(repr(error))
                return exited(1)
        return exited(simulated.exit_code)

    def _do(self) -> Outcome:
        account = self.node.account
        try:
            for wanted in self.spec.get("resourceFiles", []):
                download(wanted, self.work, account.trust, self.stopped)
        except TransferFailed as error:
            problem = failure(error.code, error.message, error.category, **error.details)
            return Outcome(failure=problem, condition="preProcessingError")
        with account.clock.lock:
            if self.stopped.is_set():
                return Outcome()
            self.began()
            try:
                self._process = self._launch()
            except OSError as error:
                code = "CommandProgramNotFound" if isinstance(error, FileNotFoundError) else "CommandLaunchFailed"
                problem = failure(code, "The specified command program is not found", Message=str(error))
                return Outcome(failure=problem, condition="preProcessingError")
        return exited(self._process.wait())

    def _launch(self) -> subprocess.Popen[bytes]:
        command: str | list[str] = self.spec["commandLine"]
        if os.name != "nt":
            command = shlex.split(self.spec["commandLine"])
        elif self.spec["commandLine"].startswith("/bin/bash "):
            # Nodes are Linux; Git's bash stands in where the emulator runs on Windows
            command = [shutil.which("bash") or "bash", *shlex.split(self.spec["commandLine"])[1:]]
        with (self.folder / "stdout.txt").open("wb") as out, (self.folder / "stderr.txt").open("wb") as err:
            return subprocess.Popen(
                command,
                cwd=self.work,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def _variables(self) -> dict[str, str]:
        node, account = self.node, self.node.account
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        settings = {item["name"]: item.get("value", "") for item in self.spec.get("environmentSettings", [])}
        for name in ("shared", "startup/wd"):
            (node.folder / name).mkdir(parents=True, exist_ok=True)
        return {
            **kept,
            "HOME": str(self.work),
            "TMPDIR": str(self.work),
            **account.script.node_environment,
            "AZ_BATCH_ACCOUNT_NAME": account.name,
            "AZ_BATCH_ACCOUNT_URL": account.url + "/",
            "AZ_BATCH_POOL_ID": node.pool.id,
            "AZ_BATCH_NODE_ID": node.id,
            "AZ_BATCH_NODE_IS_DEDICATED": str(node.dedicated).lower(),
            "AZ_BATCH_NODE_ROOT_DIR": str(node.folder),
            "AZ_BATCH_NODE_SHARED_DIR": str(node.folder / "shared"),
            "AZ_BATCH_NODE_STARTUP_DIR": str(node.folder / "startup"),
            "AZ_BATCH_TASK_DIR": str(self.folder),
            "AZ_BATCH_TASK_WORKING_DIR": str(self.work),
            **self.environment,
            **settings,
        }

    def _upload(self, outcome: Outcome) -> Outcome:
        conditions = {"taskcompletion", "taskfailure" if outcome.failure else "tasksuccess"}
        log: list[str] = []
        try:
            for wanted in self.spec.get("outputFiles", []):
                if wanted["uploadOptions"]["uploadCondition"] in conditions:
                    log += upload(wanted, self.work, self.node.account.trust)
        except TransferFailed as error:
            (self.folder / "fileuploaderr.txt").write_text(f"{error.code}: {error.message}\n")
            if outcome.failure:
                return outcome
            problem = failure(error.code, error.message, error.category, **error.details)
            return Outcome(outcome.exit_code, problem, "fileUploadError")
        finally:
            if log:
                (self.folder / "fileuploadout.txt").write_text("".join(f"{line}\n" for line in log))
        return outcome


def exited(code: int) -> Outcome:
    """The outcome of a command line that ran; one that a signal ended counts as 128 and more, as in a shell."""
    code = code if code >= 0 else 128 - code
    if code == 0:
        return Outcome(0)
    message = "The task exited with an exit code representing a failure"
    return Outcome(code, failure("FailureExitCode", message, Message="The task process exited with an unexpected exit code"))


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it and everything that it started."""
    if process.poll() is not None:
        return
    if os.name != "nt":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
