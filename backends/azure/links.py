"""Short-lived links to single blobs, signed by a delegation of whoever is signed in, or by the account's key where asked."""

from __future__ import annotations

import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.storage.blob import (
    BlobSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    UserDelegationKey,
    generate_blob_sas,
    generate_container_sas,
)

from backends.azure.faults import speaking
from stylizer.errors import ConfigError

LONGEST = timedelta(days=7)
"""No user-delegation link can live longer."""
SKEW = timedelta(minutes=10)
"""Links are valid from so long ago: clocks differ."""


class Signer:
    """Signs links to blobs of one account. `key`: the account's; empty: a delegation, asked for once for many links."""

    def __init__(self, service: BlobServiceClient, url: str, key: str) -> None:
        self._service, self._url, self._key = service, url, key
        self._delegation: tuple[datetime, UserDelegationKey] | None = None

    def link(
        self, container: str, name: str, expires: datetime, permission: BlobSasPermissions | ContainerSasPermissions
    ) -> str:
        """A URL for that one blob until then, without a name for the container. ConfigError if none can live so long."""
        start = datetime.now(UTC) - SKEW
        if expires > start + LONGEST:
            raise ConfigError(
                "A link to Azure's storage lives seven days at most.", hint="Lower azure.wall_clock_hours in the config."
            )
        signing: dict[str, Any] = (
            {"account_key": self._key} if self._key else {"user_delegation_key": self._delegated(start, expires)}
        )
        signing |= {"permission": permission, "start": start, "expiry": expires}
        signing["protocol"] = "https" if self._url.startswith("https://") else "https,http"
        account = account_of(self._url)
        if not name:
            return f"{self._url}/{container}?{generate_container_sas(account, container, **signing)}"
        return f"{self._url}/{container}/{urllib.parse.quote(name)}?{generate_blob_sas(account, container, name, **signing)}"

    def _delegated(self, start: datetime, expires: datetime) -> UserDelegationKey:
        if self._delegation is None or self._delegation[0] < expires:
            with speaking("a key for short-lived links was asked for"):
                until = min(expires + timedelta(hours=1), start + LONGEST)
                self._delegation = until, self._service.get_user_delegation_key(start, until)
        return self._delegation[1]


def account_of(url: str) -> str:
    """The account's name in its URL: the first label of the host, or for Azurite the first part of the path."""
    parts = urllib.parse.urlsplit(url)
    first = parts.path.strip("/").partition("/")[0]
    return first or (parts.hostname or "").partition(".")[0]
