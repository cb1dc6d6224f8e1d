"""Sources that nodes read where they already are: folders here that are an NFS export, a Blob container or an Azure Files
share.

Each of `azure.mounts` names one: "/mnt/studio = nfs nas.example.org:/studio", "/mnt/clips = blob
https://NAME.blob.core.windows.net/clips", "/mnt/share = files https://NAME.file.core.windows.net/share". A source below such
a folder is not uploaded; its content hash still is checked on the node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from azure.batch import models as m

from backends.azure.storage import Container, storage_credential
from stylizer.config import AzureDefaults, Config
from stylizer.errors import ConfigError

FILES_KEY = "STYLIZER_AZURE_FILES_KEY"
"""Environment variable with the key of the account of Azure Files shares, which cannot be mounted with Entra."""
PLACES = {
    "nfs": re.compile(r"(?P<source>[\w.-]+:/\S*)"),
    "blob": re.compile(r"(?P<url>https?://(?P<account>[a-z0-9]+)\.[\w.-]+)/(?P<share>[a-z0-9-]+)"),
    "files": re.compile(r"(?P<url>https://(?P<account>[a-z0-9]+)\.[\w.-]+/(?P<share>[a-z0-9-]+))"),
}
READ_ONLY = {"nfs": "-o vers=4,minorversion=1,sec=sys,ro", "blob": "-o ro", "files": "-o vers=3.1.1,ro,serverino"}


@dataclass(frozen=True, slots=True)
class Mount:
    name: str
    """Of its folder below the mounts of a node."""
    folder: Path
    """Here."""
    kind: str
    place: re.Match[str]


def mounts_of(settings: AzureDefaults) -> Iterator[Mount]:
    """What the settings say. ConfigError if it is not understood."""
    for number, text in enumerate(settings.mounts):
        folder, _, rest = (part.strip() for part in text.partition("="))
        kind, _, place = (part.strip() for part in rest.partition(" "))
        found = PLACES[kind].fullmatch(place.rstrip("/")) if kind in PLACES else None
        if not found or not Path(folder).is_absolute():
            raise ConfigError(
                f"The config's azure.mounts has {text!r}, which is not understood.",
                hint='Write it as "/a/folder/here = nfs HOST:/EXPORT", or blob or files with an https address.',
            )
        yield Mount(f"mount-{number}", Path(folder), kind, found)


def mounted(settings: AzureDefaults, path: Path) -> str:
    """Where nodes have a file, as NAME/its/path below their mounts; empty if on none."""
    real = path.resolve()
    for mount in mounts_of(settings):
        if real.is_relative_to(mount.folder.resolve()):
            return "/".join((mount.name, *real.relative_to(mount.folder.resolve()).parts))
    return ""


def definitions(config: Config, expires: datetime) -> list[m.MountConfiguration] | None:
    """What a pool is told to mount, to read only: as its identity, or by a link that ends then. ConfigError where a key is
    missing.
    """
    return [_definition(config, mount, expires) for mount in mounts_of(config.azure)] or None


def _definition(config: Config, mount: Mount, expires: datetime) -> m.MountConfiguration:
    settings, place, options = config.azure, mount.place, READ_ONLY[mount.kind]
    if mount.kind == "nfs":
        nfs = m.NfsMountConfiguration(source=place["source"], relative_mount_path=mount.name, mount_options=options)
        return m.MountConfiguration(nfs_mount_configuration=nfs)
    if mount.kind == "blob":
        blob = m.AzureBlobFileSystemConfiguration(
            account_name=place["account"],
            container_name=place["share"],
            relative_mount_path=mount.name,
            blobfuse_options=options,
        )
        if settings.identity and settings.pool:
            blob.identity_reference = m.BatchNodeIdentityReference(resource_id=settings.identity)
        else:
            container = Container(place["url"], place["share"], storage_credential(config))
            blob.sas_key = container.browse_link(expires).partition("?")[2]
        return m.MountConfiguration(azure_blob_file_system_configuration=blob)
    key = os.environ.get(FILES_KEY, "")
    if not key:
        raise ConfigError(
            f"Azure Files cannot be mounted without its account's key, and {FILES_KEY} is not set.",
            hint="Set it for this command, or mount the share by NFS.",
        )
    share = m.AzureFileShareConfiguration(
        account_name=place["account"],
        account_key=key,
        azure_file_url=place["url"],
        relative_mount_path=mount.name,
        mount_options=options,
    )
    return m.MountConfiguration(azure_file_share_configuration=share)
