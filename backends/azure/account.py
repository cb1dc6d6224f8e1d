"""The account that a config names: its Batch, its storage, and what this installation is called in it. Made without I/O."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from backends.azure.client import Batch, open_batch
from backends.azure.storage import Container, storage_credential
from stylizer.config import Config, places
from stylizer.errors import BackendRejected
from stylizer.files import settle


@dataclass(frozen=True, slots=True)
class Account:
    batch: Batch
    media: Container
    logs: Container
    """For code and logs, where what writes media cannot touch them."""
    node_logs: Container
    """For what nodes bring that are of no use; nothing else is in it."""
    installation: str
    """Tells our runs from those of other computers."""
    ledgers: Path
    """Folder of what our runs have cost."""
    cache: Path
    """Folder of prices that were asked for."""


def open_account(config: Config, home: Path | None = None) -> Account:
    """The account of the config; `home` is where the installation's name is kept. BackendRejected if none is set up."""
    home = home or places().store.parent / "azure"
    settings = config.azure
    batch = open_batch(config)
    if not settings.media:
        raise BackendRejected("Azure has no storage set up.", hint="Run stylizer azure init; it asks for what it needs.")
    credential = storage_credential(config)
    media = Container(settings.media, settings.container, credential)
    # One container for both would let a link for media be signed for code; the name keeps them apart in one account.
    logs = Container(settings.logs or settings.media, f"{settings.container}-logs", credential)
    node_logs = Container(settings.logs or settings.media, f"{logs.name}-nodes", credential)
    return Account(batch, media, logs, node_logs, _installation(home), home, places().cache)


def _installation(home: Path) -> str:
    """Eight letters, drawn once for each place where jobs are kept."""
    file = home / "installation"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"installation.{os.getpid()}.part")
        part.write_text(secrets.token_hex(4), encoding="ascii")
        settle(part, file)
    return file.read_text(encoding="ascii").strip()
