"""Who may call: shared keys, and bearer tokens over TLS."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl

from tests.emulator.errors import ServiceError

SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
TOLERANCE = timedelta(minutes=15)


def check_shared_key(
    method: str, path: str, query: str, headers: Mapping[str, str], account: str, key: str, skew: float
) -> None:
    """Recompute the signature of the request. `headers` by lower-case name; `skew`: seconds the server's clock is ahead."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme != "SharedKey" or not given.startswith(f"{account}:"):
        raise ServiceError("AuthenticationFailed", AuthenticationErrorDetail="The account is not known")
    try:
        sent = parsedate_to_datetime(headers.get("ocp-date") or headers["date"])
    except (KeyError, ValueError):
        raise ServiceError("AuthenticationFailed", AuthenticationErrorDetail="The request has no date") from None
    if abs(datetime.now(UTC) + timedelta(seconds=skew) - sent) > TOLERANCE:
        detail = f"The specified date {sent} is more than 15 minutes from the server's time"
        raise ServiceError("AuthenticationFailed", AuthenticationErrorDetail=detail)
    lines = [method, *(headers.get(name, "") for name in SIGNED)]
    if method not in ("GET", "HEAD") and "content-length" not in headers:
        lines[SIGNED.index("content-length") + 1] = "0"
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("ocp-")]
    lines.append(f"/{account}{path}")
    lines += [f"{name}:{value}" for name, value in sorted(parse_qsl(query)) if value]
    digest = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(base64.b64encode(digest).decode(), given.removeprefix(f"{account}:")):
        detail = "The MAC signature found in the HTTP request is not the same as any computed signature"
        raise ServiceError("AuthenticationFailed", AuthenticationErrorDetail=detail)
