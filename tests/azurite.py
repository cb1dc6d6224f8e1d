"""A real Azurite (Microsoft's storage emulator) for tests and demos: `with azurite() as storage: ...`.

It is found through the environment variable STYLIZER_AZURITE, the folder whose node_modules holds azurite 3.37 (and,
if there, the npm package `node`), or else on PATH. It needs Node 22 or newer. To get both from npm:
`npm install node@22 azurite@3.37`. Tests say `@needs_azurite`, which skips them with the reason where it is absent.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.storage.blob import BlobServiceClient

from tests.emulator.certificate import self_signed


class AzuriteMissing(RuntimeError):
    """Azurite, or a Node that can run it, is not installed; the message says what to do."""


@dataclass(frozen=True)
class Azurite:
    """A running blob service; it forgets everything when it ends."""

    endpoint: str
    """For example http://127.0.0.1:36867/stylizertests, with https when `cert` is set."""
    account: str
    key: str
    """The account's shared key, base64."""
    cert: Path | None
    """What clients trust (`connection_verify=str(cert)`) when the service runs over TLS and accepts bearer tokens."""

    def client(self, **options: Any) -> BlobServiceClient:
        """A client that signs with the shared key."""
        verify: dict[str, Any] = {"connection_verify": str(self.cert)} if self.cert else {}
        shared_key = {"account_name": self.account, "account_key": self.key}
        return BlobServiceClient(self.endpoint, credential=shared_key, **verify, **options)


class Login:
    """A credential whose tokens look like Entra's; Azurite reads the claims and cannot check the signature."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        expires = int(time.time()) + 3600
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
            "tid": "11111111-1111-1111-1111-111111111111",
            "oid": "22222222-2222-2222-2222-222222222222",
            "nbf": expires - 7200,
            "iat": expires - 7200,
            "exp": expires,
        }
        parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        encoded = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"unsigned")]
        return AccessToken(".".join(encoded), expires)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        token = self.get_token(*scopes)
        return AccessTokenInfo(token.token, token.expires_on)


def find_azurite() -> list[str]:
    """The command that starts Azurite's blob service, or AzuriteMissing."""
    within = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
    folder = os.environ.get("STYLIZER_AZURITE", "")
    script = Path(folder, within)
    if not folder:
        found = shutil.which("azurite-blob")
        if found is None:
            raise AzuriteMissing("Azurite is not on PATH and STYLIZER_AZURITE does not name its folder")
        # npm links to the script, on Windows it writes a .cmd beside its node_modules
        script = Path(found).resolve() if Path(found).is_symlink() else Path(found).parent / within
    if not script.is_file():
        raise AzuriteMissing(f"there is no {script}")
    own = (Path(folder, "node_modules", "node", "bin", name) for name in ("node", "node.exe"))
    node = next((str(path) for path in own if folder and path.is_file()), None) or shutil.which("node")
    if node is None:
        raise AzuriteMissing("Node is not on PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30).stdout.strip()
    if not version.startswith("v") or int(version[1:].split(".")[0]) < 22:
        raise AzuriteMissing(f"Azurite 3.37 needs Node 22 or newer; {node} is {version or 'broken'}")
    return [node, str(script)]


def missing() -> str:
    """Why Azurite cannot run here; empty if it can."""
    try:
        find_azurite()
    except AzuriteMissing as reason:
        return str(reason)
    return ""


needs_azurite = pytest.mark.skipif(bool(_reason := missing()), reason=_reason)


@contextlib.contextmanager
def azurite(oauth: bool = False, deadline: float = 60.0) -> Iterator[Azurite]:
    """Run a blob service in memory on a free port, with a fresh account, until the block ends.

    oauth: over TLS with a certificate of its own, accepting bearer tokens (`Login()`) and so user-delegation links.
    Raises AzuriteMissing, or RuntimeError with its log if it has not started within `deadline` seconds.
    """
    command = [*find_azurite(), "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
    command += ["--disableTelemetry", "--silent", "--skipApiVersionCheck"]
    account, key = "stylizertests", base64.b64encode(secrets.token_bytes(64)).decode()
    with tempfile.TemporaryDirectory(prefix="azurite-", ignore_cleanup_errors=True) as folder:
        cert = None
        if oauth:
            cert, private = self_signed(Path(folder))
            command += ["--oauth", "basic", "--cert", str(cert), "--key", str(private)]
        log = Path(folder, "azurite.log")
        with log.open("wb") as output:
            environment = {**os.environ, "AZURITE_ACCOUNTS": f"{account}:{key}"}
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=environment)
            try:
                address = _address(process, log, time.monotonic() + deadline)
                yield Azurite(f"{address}/{account}", account, key, cert)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _address(process: subprocess.Popen[bytes], log: Path, deadline: float) -> str:
    """What it says once it listens."""
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines(keepends=True):
            if "successfully listens on" in line and line.endswith("\n"):
                return line.split()[-1]
        time.sleep(0.05)
    raise RuntimeError(f"Azurite did not start:\n{log.read_text(errors='replace')}")
