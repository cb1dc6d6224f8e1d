"""Blobs by short-lived link, with the standard library alone: what a node needs of Azure's storage."""

from __future__ import annotations

import base64
import http.client
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TRIES = 8
"""With waits in between that double from a second: about two minutes in all."""
SECONDS = 60.0
"""That an answer may take."""
BLOCK = 8 << 20
"""Bytes that are sent at once; what a broken connection costs."""
LATER = (408, 429, 500, 502, 503, 504)
"""Answers that mean: try again."""


class Broken(Exception):
    """A transfer did not come about; the text is a sentence without the link's signature."""


def is_there(link: str) -> bool:
    """Whether the blob exists; the link must read it."""

    def look() -> bool:
        try:
            with _open("HEAD", link):
                return True
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise

    return _tried(link, look, TRIES)


def fetch(link: str, path: Path, size: int) -> None:
    """Write the blob's `size` bytes into the file `path`; a connection that breaks goes on where it was."""
    path.unlink(missing_ok=True)
    path.touch()

    def read() -> None:
        start = path.stat().st_size
        with _open("GET", link, {"Range": f"bytes={start}-"} if start else {}) as answer, path.open("ab") as file:
            if start and answer.status != 206:
                file.truncate(0)
            while piece := answer.read(1 << 20):
                file.write(piece)
                if file.tell() > size:
                    raise Broken(f"{_shown(link)} holds more than it should.")
        if path.stat().st_size < size:
            raise ConnectionResetError("it broke off")

    if size:
        _tried(link, read, TRIES)


def put(link: str, content: bytes, facts: Mapping[str, str] | None = None, *, tries: int = TRIES) -> None:
    """Make the blob hold `content`, with these facts (ASCII) as its metadata."""
    headers = {f"x-ms-meta-{key}": value for key, value in (facts or {}).items()}
    _send(link, content, {"x-ms-blob-type": "BlockBlob", **headers}, tries)


def put_file(link: str, path: Path) -> None:
    """Make the blob hold the content of the file."""
    size = path.stat().st_size
    if size <= BLOCK:
        put(link, path.read_bytes())
        return
    names: list[str] = []
    with path.open("rb") as file:
        while content := file.read(BLOCK):
            names.append(base64.b64encode(f"{len(names):06}".encode()).decode())
            _send(f"{link}&comp=block&blockid={urllib.parse.quote(names[-1], safe='')}", content, {}, TRIES)
    listed = "".join(f"<Latest>{name}</Latest>" for name in names)
    content = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
    _send(f"{link}&comp=blocklist", content, {}, TRIES)


def append(link: str, content: bytes) -> None:
    """Add `content`, at most 4 MiB, to the end of an append blob that is there; twice where an answer was lost."""
    _send(f"{link}&comp=appendblock", content, {}, 3)


def _send(link: str, content: bytes, headers: Mapping[str, str], tries: int) -> None:
    def write() -> None:
        # urllib would call it a form.
        with _open("PUT", link, {"Content-Type": "application/octet-stream", **headers}, content):
            pass

    _tried(link, write, tries)


def _open(
    method: str, link: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
) -> http.client.HTTPResponse:
    parts = urllib.parse.urlsplit(link)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")):
        raise Broken(f"{_shown(link)} is not https.")
    request = urllib.request.Request(link, content, dict(headers or {}), method=method)  # noqa: S310  # looked at just now
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
    return answer


def _tried(link: str, act: Callable[[], T], tries: int) -> T:
    """What `act` returns, tried again as long as it may help."""
    for number in range(1, tries + 1):
        try:
            return act()
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.headers.get('x-ms-error-code') or error.reason}"
            error.close()
            if error.code not in LATER:
                hint = " (the link may have expired)" if error.code == 403 else ""
                raise Broken(f"{_shown(link)} was refused: {reason}{hint}.") from None
        except (OSError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {getattr(error, 'reason', error)}"
        if number < tries:
            # Nodes that were throttled together must not come back together.
            time.sleep(min(2.0 ** (number - 1), 32.0) * random.uniform(0.5, 1.0))  # noqa: S311
    raise Broken(f"{_shown(link)} could not be reached: {reason}.")


def _shown(link: str) -> str:
    """The link without its signature."""
    return urllib.parse.urlsplit(link)._replace(query="").geturl()
