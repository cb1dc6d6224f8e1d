"""Resource files in, output files out, over HTTP with the links that the task brings."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests
import urllib3
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.storage.blob import ContainerClient

from tests.emulator.account import Document

WILD = "*?["
PATIENCE = 60
"""Seconds that a storage service may take to answer."""


def session() -> requests.Session:
    """Tries again, a few times, when storage is busy or the connection breaks."""
    again = urllib3.Retry(total=4, backoff_factor=0.1, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None)
    opened = requests.Session()
    for scheme in ("http://", "https://"):
        opened.mount(scheme, requests.adapters.HTTPAdapter(max_retries=again))
    return opened


class TransferFailed(Exception):
    """In the words of a task's failureInfo. The details name the link, as the service's do: they are not for show."""

    def __init__(self, code: str, message: str, category: str = "usererror", **details: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.category = category
        self.details = details


def download(wanted: Document, folder: Path, trust: str | bool, stopped: threading.Event) -> None:
    """Fetch one resource file, or the blobs of one container, into the folder."""
    path = wanted.get("filePath", "")
    if "httpUrl" in wanted:
        links = {path: wanted["httpUrl"]}
    elif "storageContainerUrl" in wanted:
        names = blobs(wanted["storageContainerUrl"], wanted.get("blobPrefix"), trust)
        container = urlsplit(wanted["storageContainerUrl"])
        links = {
            f"{path}/{name}" if path else name: container._replace(path=f"{container.path}/{quote(name)}").geturl()
            for name in names
        }
    else:
        raise TransferFailed("BlobDownloadMiscError", "The emulator's account has no storage of its own", FilePath=path)
    for name, link in links.items():
        if stopped.is_set():
            return
        target = (folder / name).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise TransferFailed("ResourceFileCreateFailed", "The path is outside of the working directory", FilePath=name)
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(link, target, trust, name)
        target.chmod(int(wanted.get("fileMode", "0770"), 8))


def blobs(container: str, prefix: str | None, trust: str | bool) -> list[str]:
    try:
        with ContainerClient.from_container_url(container, connection_verify=trust, retry_total=2) as client:
            return list(client.list_blob_names(name_starts_with=prefix))
    except (HttpResponseError, ServiceRequestError) as error:
        status = getattr(error, "status_code", None)
        raise refused(status, container, prefix or "") from None


def refused(status: int | None, link: str, path: str) -> TransferFailed:
    if status == 404:
        return TransferFailed(
            "BlobNotFound", "One of the specified Azure Blob(s) is not found", BlobSource=link, FilePath=path
        )
    if status in (401, 403):
        message = "Access for one of the specified Azure Blob(s) is denied"
        return TransferFailed("BlobAccessDenied", message, BlobSource=link, FilePath=path)
    message = "Miscellaneous error encountered while downloading one of the specified Azure Blob(s)"
    return TransferFailed("BlobDownloadMiscError", message, "servererror", BlobSource=link, FilePath=path)


def fetch(link: str, target: Path, trust: str | bool, name: str) -> None:
    try:
        with session() as opened, opened.get(link, verify=trust, timeout=PATIENCE, stream=True) as answer:
            if answer.status_code != 200:
                raise refused(answer.status_code, link, name)
            with target.open("wb") as file:
                for block in answer.iter_content(1 << 20):
                    file.write(block)
    except requests.RequestException:
        raise refused(None, link, name) from None


def upload(wanted: Document, folder: Path, trust: str | bool) -> list[str]:
    """Put all files that the pattern matches; returns what was uploaded, a line each.

    A pattern without wildcards names one file, stored as `path`; with wildcards, `path` is a folder of the container that
    gets the files with their paths from the pattern's fixed part.
    """
    pattern = str(wanted["filePattern"]).replace("\\", "/")
    destination = wanted["destination"]["container"]
    prefix = destination.get("path", "")
    if any(sign in pattern for sign in WILD):
        parts = pattern.split("/")
        fixed = next(index for index, part in enumerate(parts) if any(sign in part for sign in WILD))
        start = folder.joinpath(*parts[:fixed])
        found = sorted(path for path in start.glob("/".join(parts[fixed:])) if path.is_file())
        names = {path: "/".join(filter(None, (prefix, path.relative_to(start).as_posix()))) for path in found}
    else:
        path = folder / pattern
        names = {path: prefix or pattern} if path.is_file() else {}
    return [store(path, name, destination, trust) for path, name in names.items()]


def store(path: Path, name: str, destination: Document, trust: str | bool) -> str:
    container = urlsplit(destination["containerUrl"])
    link = container._replace(path=f"{container.path}/{quote(name)}").geturl()
    headers = {"x-ms-blob-type": "BlockBlob"}
    headers |= {header["name"]: header.get("value", "") for header in destination.get("uploadHeaders", [])}
    # An empty file would be sent in chunks, which storage refuses
    size = path.stat().st_size
    try:
        with session() as opened, path.open("rb") as file:
            answer = opened.put(link, file if size else b"", headers=headers, verify=trust, timeout=PATIENCE)
    except requests.RequestException:
        raise lost(None, name) from None
    if answer.status_code != 201:
        raise lost(answer.status_code, name)
    return f"{name} {size}"


def lost(status: int | None, name: str) -> TransferFailed:
    if status == 404:
        message = "One of the specified Azure container(s) was not found while attempting to upload an output file"
        return TransferFailed("FileUploadContainerNotFound", message, FilePath=name)
    if status in (401, 403):
        message = "Access was denied while attempting to upload an output file"
        return TransferFailed("FileUploadAccessDenied", message, FilePath=name)
    message = "A miscellaneous error was encountered while uploading one of the output files"
    return TransferFailed("FileUploadMiscError", message, "servererror", FilePath=name)
