"""Files in Azure Blob Storage: content that is uploaded once, downloaded whole or not at all, and short-lived links to it.

container, prefix = open_container("az://account/container/prefix", config)
container.upload(path, f"{prefix}/clip.mp4")
"""

from __future__ import annotations

import hashlib
import os
import threading
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobLeaseClient,
    BlobProperties,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ExponentialRetry,
)

from backends.azure.faults import Missing, code_of, speaking
from backends.azure.links import Signer, account_of
from stylizer.config import Config
from stylizer.errors import BackendRejected, BackendUnavailable, ConfigError
from stylizer.files import digest_of, settle

STORAGE_KEY = "STYLIZER_AZURE_STORAGE_KEY"
ENDPOINT = "STYLIZER_AZURE_STORAGE_ENDPOINT"
"""Where all accounts are, instead of at Azure: http://127.0.0.1:10000/devstoreaccount1 is Azurite."""
BLOCK = 8 << 20
"""Bytes of a block; what a broken upload loses at most of each of LANES."""
MOST_BLOCKS = 50_000
LANES = 4
"""Blocks that travel at once."""
LEASE_SECONDS = 60
MOST_TEXT = 4 << 20
"""Bytes of a text blob that are read."""
DIGEST = "sha256"
"""Metadata key of a blob's content hash."""


@dataclass(frozen=True, slots=True)
class Blob:
    name: str
    size: int
    etag: str
    modified: float
    """Unix time."""
    metadata: Mapping[str, str] = field(default_factory=dict)


class Container:
    """One container of a storage account. `credential` is a token credential or, where asked for, an account key.

    No call is made before the first verb. Every verb raises BackendUnavailable or BackendRejected, never the SDK's errors;
    what is not there is `Missing`, a BackendRejected.
    """

    def __init__(self, account_url: str, container: str, credential: TokenCredential | str) -> None:
        if not isinstance(credential, str) and not account_url.startswith("https://"):
            raise ConfigError(f"{account_url} is not https, and tokens are never sent in the open.", hint="Say https://….")
        self.url, self.name = account_url.rstrip("/"), container
        self._credential = credential
        self._stopped = threading.Event()

    @cached_property
    def _service(self) -> BlobServiceClient:
        # The default policy waits 15 s before it tries again for the first time.
        retry = ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=6, random_jitter_range=1)
        credential: Any = self._credential
        if isinstance(credential, str):
            credential = {"account_name": account_of(self.url), "account_key": credential}
        return BlobServiceClient(
            self.url,
            credential=credential,
            retry_policy=retry,
            connection_timeout=20,
            read_timeout=60,
            max_single_put_size=BLOCK,
            max_single_get_size=BLOCK,
            max_chunk_get_size=BLOCK,
        )

    @cached_property
    def _client(self) -> ContainerClient:
        return self._service.get_container_client(self.name)

    def _blob(self, name: str) -> BlobClient:
        return self._client.get_blob_client(name)

    def stop(self) -> None:
        """Break off uploads, at the next block."""
        self._stopped.set()

    def create(self) -> None:
        """Make the container if it is not there. Who may only use one that is there is not asked for more."""
        with speaking(f"the container {self.name} was made"):
            if self._client.exists():
                return
            try:
                self._client.create_container()
            except ResourceExistsError as error:
                if code_of(error) == "ContainerBeingDeleted":
                    raise BackendUnavailable(f"The container {self.name} is being deleted.", hint="Wait a minute.") from None

    def list(self, prefix: str, *, metadata: bool = False) -> Iterator[Blob]:
        """The blobs whose names begin so, in order of their names; 5,000 a call. `metadata`: with theirs."""
        with speaking(f"{self.name}/{prefix} was listed"):
            found = self._client.list_blobs(name_starts_with=prefix, include=["metadata"] if metadata else None)
            for one in found:
                yield _blob_of(one)

    def exists(self, name: str) -> bool:
        with speaking(f"{name} was looked for"):
            return bool(self._blob(name).exists())

    def facts(self, name: str) -> Blob:
        """What is known of a blob, its metadata too."""
        with speaking(f"{name} was looked at"):
            return _blob_of(self._blob(name).get_blob_properties())

    def delete(self, name: str) -> None:
        """Repeatable: what is not there is deleted."""
        with speaking(f"{name} was deleted"):
            try:
                self._blob(name).delete_blob(delete_snapshots="include")
            except ResourceNotFoundError:
                return

    # ---- content ----

    def download(self, name: str, path: Path, *, etag: str | None = None, digest: str = "", most: int = 1 << 40) -> Path:
        """Make the blob's content exist at `path`, whole or not at all. BackendRejected if it is another version than
        `etag`, has another SHA-256 than `digest`, or is larger than `most` bytes.
        """
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        match: dict[str, Any] = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified} if etag else {}
        try:
            with speaking(f"{name} was downloaded"):
                stream = self._blob(name).download_blob(max_concurrency=LANES, **match)
                if stream.size > most:
                    raise BackendRejected(f"{name} has {stream.size:,} bytes; at most {most:,} are taken.")
                with part.open("wb") as file:
                    got = stream.readinto(file)
            if got != stream.size:
                raise BackendUnavailable(f"{name} broke off after {got:,} of {stream.size:,} bytes.")
            if digest and digest_of(part) != digest:
                raise BackendRejected(f"{name} is not the file that was written: its hash differs.")
            settle(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def upload(self, path: Path, name: str, *, digest: str = "") -> bool:
        """Make the blob hold the content of `path`; whether anything had to be sent. A blob that holds it already is left
        alone, and an upload that broke goes on where it was. `digest`: the SHA-256 of the file, where it is known.
        """
        digest = digest or digest_of(path)
        size = path.stat().st_size
        facts = {DIGEST: digest}
        with speaking(f"{path.name} was uploaded"):
            blob = self._blob(name)
            if size > BLOCK:
                if self._holds(name, digest):
                    return False
                blob.commit_block_list([*self._stage(blob, path, size, digest)], metadata=facts)
                return True
            content = path.read_bytes()
            try:
                blob.upload_blob(content, metadata=facts, overwrite=False)
            except ResourceExistsError:
                if self._holds(name, digest):
                    return False
                blob.upload_blob(content, metadata=facts, overwrite=True)
            return True

    def _holds(self, name: str, digest: str) -> bool:
        try:
            return self.facts(name).metadata.get(DIGEST) == digest
        except Missing:
            return False

    def _stage(self, blob: BlobClient, path: Path, size: int, digest: str) -> Sequence[BlobBlock]:
        """Send the blocks that are not there yet; their names hold the content's hash, so that no other file's are taken."""
        length = max(BLOCK, -(-size // MOST_BLOCKS))
        names = [_block(digest, at) for at in range(-(-size // length))]
        try:
            there = {one.id for one in blob.get_block_list("uncommitted")[1]}
        except ResourceNotFoundError:
            there = set()

        def send(at: int) -> None:
            if self._stopped.is_set():
                raise BackendUnavailable(f"The upload of {path.name} was stopped; it goes on where it was.")
            with path.open("rb") as file:
                file.seek(at * length)
                content = file.read(length)
            blob.stage_block(names[at], content, length=len(content))

        with ThreadPoolExecutor(LANES) as lanes:
            for _ in lanes.map(send, (at for at, one in enumerate(names) if one not in there)):
                pass
        return [BlobBlock(one) for one in names]

    def put_text(self, name: str, text: str, *, metadata: Mapping[str, str] | None = None, overwrite: bool = True) -> bool:
        """Write a small blob; False if it is there already and may not be overwritten."""
        with speaking(f"{name} was written"):
            try:
                self._blob(name).upload_blob(text.encode(), metadata=dict(metadata or {}), overwrite=overwrite)
            except ResourceExistsError:
                return False
            return True

    def get_text(self, name: str, *, most: int = MOST_TEXT) -> str:
        """The first `most` bytes of a small blob."""
        with speaking(f"{name} was read"):
            return bytes(self._blob(name).download_blob().read(most)).decode("utf-8", "replace")

    def tail(self, name: str, start: int, *, most: int = MOST_TEXT) -> bytes:
        """Bytes of a blob from `start` on; empty where there are none, or no blob yet."""
        with speaking(f"{name} was read"):
            blob = self._blob(name)
            try:
                if start and blob.get_blob_properties().size <= start:
                    return b""
                # A range of an empty blob is refused, the whole of it is not.
                return bytes(blob.download_blob(start or None).read(most))
            except ResourceNotFoundError:
                return b""

    # ---- logs that grow ----

    def begin_log(self, name: str) -> None:
        """Make an empty blob to add to, if it is not there."""
        with speaking(f"{name} was begun"), suppress(ResourceExistsError):
            self._blob(name).create_append_blob(match_condition=MatchConditions.IfMissing)

    def append(self, name: str, text: str) -> None:
        """Add to a blob that was begun; twice where an answer was lost."""
        with speaking(f"{name} was added to"):
            self._blob(name).append_block(text.encode())

    # ---- who drives ----

    def lease(self, name: str, holder: str) -> None:
        """Hold the blob (made if need be) for LEASE_SECONDS; the same holder may ask again at any time. BackendRejected
        while somebody else holds it.
        """
        with speaking(f"{name} was taken hold of"):
            lease = BlobLeaseClient(self._blob(name), lease_id=_lease_id(holder))
            for _ in range(2):
                try:
                    lease.acquire(lease_duration=LEASE_SECONDS)
                    return
                except ResourceNotFoundError:
                    self._blob(name).upload_blob(b"", overwrite=True)
                except ResourceExistsError as error:
                    if code_of(error) != "LeaseAlreadyPresent":
                        raise
                    raise BackendRejected(
                        "Another stylizer drives this run in Azure.",
                        hint=f"Let that one finish or stop it; {LEASE_SECONDS} s after its end this one may go on.",
                    ) from None

    def release(self, name: str, holder: str) -> None:
        """Let go of it; repeatable."""
        with speaking(f"{name} was let go of"):
            try:
                BlobLeaseClient(self._blob(name), lease_id=_lease_id(holder)).release()
            except (ResourceNotFoundError, ResourceExistsError):
                return

    # ---- links ----

    def read_link(self, name: str, expires: datetime) -> str:
        """A URL that reads this one blob until then, for who has no credential."""
        return self._signer.link(self.name, name, expires, BlobSasPermissions(read=True))

    def write_link(self, name: str, expires: datetime) -> str:
        """A URL that writes this one blob until then, and reads nothing."""
        return self._signer.link(self.name, name, expires, BlobSasPermissions(create=True, write=True))

    def append_link(self, name: str, expires: datetime) -> str:
        """A URL that adds to this one blob until then, and neither reads nor changes what is in it."""
        return self._signer.link(self.name, name, expires, BlobSasPermissions(add=True))

    def browse_link(self, expires: datetime) -> str:
        """A URL that lists and reads this container until then."""
        return self._signer.link(self.name, "", expires, ContainerSasPermissions(read=True, list=True))

    def drop_link(self, expires: datetime) -> str:
        """A URL that writes blobs into this container until then, and reads, lists and deletes nothing."""
        return self._signer.link(self.name, "", expires, ContainerSasPermissions(create=True, write=True))

    @cached_property
    def _signer(self) -> Signer:
        return Signer(self._service, self.url, self._credential if isinstance(self._credential, str) else "")


def _blob_of(found: BlobProperties) -> Blob:
    # Some answers have the quotes of the header in the etag, some have not; keys come in any case.
    facts = {key.lower(): value for key, value in (found.metadata or {}).items()}
    return Blob(found.name, found.size, found.etag.strip('"'), found.last_modified.timestamp(), facts)


def _block(digest: str, at: int) -> str:
    return f"{digest[:32]}-{at:05}"


def _lease_id(holder: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"stylizer:{holder}"))


def storage_credential(config: Config) -> TokenCredential | str:
    """How we sign in: Entra, or the account's key from the environment where the config asks for it."""
    if not config.azure.shared_key:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415

        found: TokenCredential = DefaultAzureCredential()
        return found
    key = os.environ.get(STORAGE_KEY, "")
    if not key:
        raise ConfigError(
            f"azure.shared_key is set, but {STORAGE_KEY} is not in the environment.",
            hint="Put the storage account's key there, or set azure.shared_key = false and sign in with az login.",
        )
    return key


def open_container(address: str, config: Config) -> tuple[Container, str]:
    """The container of an address az://account/container/prefix, and the prefix (without slashes at its ends)."""
    parts = urllib.parse.urlsplit(address)
    names = [part for part in parts.path.split("/") if part]
    if parts.scheme != "az" or not parts.netloc or not names:
        raise ConfigError(f"{address} is no address of a container.", hint="Write az://account/container/folder.")
    url = os.environ.get(ENDPOINT) or _known(parts.netloc, config) or f"https://{parts.netloc}.blob.core.windows.net"
    return Container(url, names[0], storage_credential(config)), "/".join(names[1:])


def _known(account: str, config: Config) -> str:
    """The URL that the config has for that account: there are clouds where it is not the usual one."""
    return next((url for url in (config.azure.media, config.azure.logs) if url and account_of(url) == account), "")


def content_hash(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
