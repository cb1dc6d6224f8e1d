"""Our own Azure Batch, over real HTTP, for the real SDK.

    with Emulator(scale=60) as batch:                                  # 60 virtual seconds in a real one
        client = BatchClient(batch.url, AzureNamedKeyCredential(batch.account.name, batch.account.key))
        client.create_pool(...)                                        # nodes boot, and really run command lines
        ...
        assert batch.violations == []                                  # of the API's contract, by either side
        batch.calls["list_tasks"], batch.cost(), batch.node_seconds(), batch.clock.now()

`Emulator(scale=0)` stands still between calls of `batch.advance(seconds)`. `batch.script` says how long machines take,
which of them fail, and (`script.task`) how tasks go without being run; `batch.quota` what the account may have;
`batch.faults.add(Fault("create_task*", status=503, rate=0.1))` what goes wrong. `batch.preempt(task_id=...)` takes a node
away. `Emulator(tls=True)` accepts bearer tokens: `BatchClient(batch.url, credential, connection_verify=str(batch.cert))`.
`trust` is the certificate of a storage service over TLS that nodes read and write (`azurite(oauth=True).cert`).

Times in answers, and the Date header, are virtual; they begin at the real time. Signatures are checked against real time,
and so are links by the storage service. `python -m tests.emulator --port 8740` runs it on its own.

Nodes are folders of this machine. A command line sees Batch's variables, PATH with this Python's folder in front, and no
other variable of the machine; of a container's settings nothing is done but run the command line.

What no emulator can show, and this one does not try to:
  - how long allocation, boot, image pulls and drivers take, how often Spot nodes are taken away, what anything costs today:
    all that is the word of `Script` and `SIZES`;
  - when the service takes its samples, and whether its formulas treat the ternary as lazily as ours;
  - that counts, states and role assignments take a while to be seen everywhere: here all is consistent at once;
  - who may do what: a signature or a token is right or wrong, roles are not looked at, identities and VNets do nothing;
  - which limits of requests a second the service really has; it throttles when `faults` say so;
  - GPUs, containers, mounts, several nodes a task, application packages, job schedules, preparation and release tasks, node
    users, remote login, extensions, deallocation: those operations answer InvalidUri, those settings change nothing;
  - letter case: the service takes ids in any, this one as they are written; files stay as long as their node does.
Not in any document, and so guesses: the status of a range beyond a file's end (416), whether a task that is ended by
request counts as failed for the job's exit options (it does), and that a task's time-out is not tried again.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.emulator.account import Account
from tests.emulator.certificate import self_signed
from tests.emulator.clock import Clock
from tests.emulator.contract import Contract
from tests.emulator.faults import Faults
from tests.emulator.official import Official, published
from tests.emulator.script import Quota, Script
from tests.emulator.wire import Connection


class Emulator:
    """A Batch account in this process, serving on 127.0.0.1 until the block ends."""

    def __init__(
        self,
        *,
        scale: float = 60.0,
        script: Script | None = None,
        quota: Quota | None = None,
        tls: bool = False,
        trust: Path | None = None,
        port: int = 0,
        account: str = "stylizertests",
        key: str | None = None,
        seed: int = 0,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="batch-")).resolve()
        self.script = script or Script()
        self.quota = quota or Quota()
        self.violations: list[str] = []
        """What either side said that the API does not allow, and mistakes of the emulator's or its script's own."""
        self.clock = Clock(scale, lambda error: self.violations.append(f"emulator: {error!r}"))
        key = key or base64.b64encode(secrets.token_bytes(64)).decode()
        self.account = Account(account, key, self.clock, self.script, self.quota, self.folder / "nodes")
        self.account.trust = str(trust) if trust else True
        self.faults = Faults(seed)
        official = published()
        self.contracts: list[Contract | Official] = [Contract(), *([official] if official else [])]
        """Whatever is asked and answered is held to all of them."""
        self.calls: Counter[str] = Counter()
        """Requests by operation, refused ones too."""
        self.answers: Counter[tuple[str, int]] = Counter()
        """Answers by operation and status; a dropped connection counts as status 0."""
        self.shared_key = True
        """False: the account takes bearer tokens only."""
        self.accept_token: Callable[[str], bool] = bool
        self.skew = 0.0
        """Seconds that the service's clock is ahead of the real one."""
        self.connections: set[socket.socket] = set()
        self.tls = tls
        self.cert: Path | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Connection)
        self._server.daemon_threads = True
        self._server.emulator = self  # type: ignore[attr-defined]
        if tls:
            self.cert, private = self_signed(self.folder)
            secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            secure.load_cert_chain(self.cert, private)
            self._server.socket = secure.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self.account.url = self.url
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self.clock.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        with self.clock.lock:
            for pool in self.account.pools.values():
                for node in pool.nodes.values():
                    node.halt()
        self.clock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass at once, with all that happens in it."""
        self.clock.advance(seconds)

    def wait(self, condition: Callable[[], bool], deadline: float = 30.0) -> None:
        """Wait, in real seconds, until the condition holds under the lock; AssertionError after the deadline."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            with self.clock.lock:
                self.clock.catch_up()
                if condition():
                    return
            time.sleep(0.005)
        raise AssertionError(f"not within {deadline} s")

    def preempt(self, node_id: str = "", task_id: str = "") -> str:
        """Take a Spot node away: this one, or the one that runs this task. Returns its id."""
        with self.clock.lock:
            nodes = [node for pool in self.account.pools.values() for node in pool.nodes.values()]
            for node in nodes:
                if node.id == node_id or any(task.id == task_id for task in node.tasks.values()):
                    node.preempt()
                    return node.id
        raise KeyError(node_id or task_id)

    def node_seconds(self, pool: str | None = None) -> float:
        """Billed virtual seconds of all nodes so far, those of deleted pools too."""
        with self.clock.lock:
            self.clock.catch_up()
            return self.account.bill.node_seconds(self.clock.seconds, pool)

    def cost(self, pool: str | None = None) -> Decimal:
        """Dollars so far, at the prices of `script.SIZES`."""
        with self.clock.lock:
            self.clock.catch_up()
            return self.account.bill.cost(self.clock.seconds, pool)

    def forget_calls(self) -> None:
        self.calls.clear()
        self.answers.clear()
