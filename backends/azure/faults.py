"""What goes wrong between us and Azure, as our own errors: one sentence each, and never a secret in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from stylizer.errors import BackendError, BackendRejected, BackendUnavailable

# Without a handler of ours, Python prints what the SDKs warn of between the lines of a terminal interface.
logging.getLogger("azure").addHandler(logging.NullHandler())

SKEW_SECONDS = 300.0
"""Our clock may differ so much from Azure's before it is at fault for a refusal."""
PASSING = (408, 429, 500, 502, 503, 504)
"""Answers that mean: later."""


class Missing(BackendRejected):
    """What was asked for is not there."""


@contextmanager
def speaking(doing: str) -> Iterator[None]:
    """Turn what the SDKs raise into BackendUnavailable (wait) or BackendRejected (needs a person). `doing` completes the
    sentence "Azure … while …", as in "the clip was uploaded".
    """
    try:
        yield
    except BackendError:
        raise
    except AzureError as error:
        raise translated(error, doing) from None
    except (OSError, EOFError) as error:
        # requests and urllib3 raise these while a body is read.
        if getattr(error, "filename", None) is not None:
            raise
        raise BackendUnavailable(f"The connection to Azure broke while {doing}: {clean(str(error))}.") from None


def translated(error: AzureError, doing: str) -> BackendError:
    """Our error for one of the SDKs'."""
    if isinstance(error, HttpResponseError) and error.status_code:
        return _of_answer(error, doing)
    if isinstance(error, ClientAuthenticationError):
        return BackendRejected(
            f"Azure does not know you: {clean(error.message)}.",
            hint="Sign in with az login (or give the environment an identity), then try again.",
        )
    return BackendUnavailable(f"Azure cannot be reached while {doing}: {clean(str(error))}.")


def _of_answer(error: HttpResponseError, doing: str) -> BackendError:
    status, code = error.status_code or 0, code_of(error)
    words = clean(error.message.removeprefix(f"({code})"))
    said = f"{code}: {words}" if code else words
    if status in PASSING:
        return BackendUnavailable(f"Azure is busy or unwell while {doing} (HTTP {status}, {said}).")
    if isinstance(error, ResourceNotFoundError):
        return Missing(f"Azure does not have what was asked for while {doing} ({said}).", hint="See stylizer azure ls.")
    if isinstance(error, ResourceModifiedError):
        return BackendRejected(f"It changed in Azure while {doing}.", hint="Try again.")
    if status in (401, 403):
        if seconds := _skew(error):
            return BackendRejected(
                f"Azure refuses us while {doing}: the clock here is {abs(seconds) / 60:.0f} min "
                f"{'ahead' if seconds > 0 else 'behind'}.",
                hint="Set the clock of this machine by the network, then try again.",
            )
        if status == 401 or code == "AuthenticationFailed":
            return BackendRejected(
                f"Azure does not take our sign-in while {doing} ({said}).",
                hint="Sign in again with az login; with keys, check that they are the accounts' own.",
            )
        return BackendRejected(
            f"Azure refuses us while {doing} ({said}).",
            hint="Check your roles with stylizer doctor --backend azure; a role that was just given takes some minutes.",
        )
    return BackendRejected(f"Azure does not accept what was asked while {doing} ({said}).")


def code_of(error: HttpResponseError) -> str:
    """The service's word for what went wrong, as TaskExists or BlobNotFound; empty if it did not say."""
    # Batch has it in the model that it parsed, Blob on the exception itself.
    for found in (getattr(error, "error_code", None), getattr(getattr(error, "error", None), "code", None)):
        if found:
            return str(getattr(found, "value", found))
    return ""


def clean(text: str) -> str:
    """The first line of a message, at most 300 characters, without signatures, tokens or keys."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    first = re.sub(r"\?[^\s'\"]*\bsig=[^\s'\"]*", "?…", first)
    first = re.sub(r"(?i)\b(bearer|sharedkey)\s+\S+", r"\1 …", first)
    first = re.sub(r"(?i)\b((?:account_?key|sig|token|secret|password)=)[^\s&;'\"]+", r"\1…", first)
    return first[:300].rstrip(". ")


def said(value: object) -> str:
    """The service's word for a state; the SDK has an enum for those that it knows."""
    return str(getattr(value, "value", value) or "").lower()


def _skew(error: HttpResponseError) -> float:
    """Seconds that our clock is ahead of Azure's, where that is too much; else 0."""
    try:
        there = parsedate_to_datetime(error.response.headers["Date"])  # type: ignore[union-attr]
    except (AttributeError, KeyError, TypeError, ValueError):
        return 0.0
    ahead = (datetime.now(UTC) - there).total_seconds()
    return ahead if abs(ahead) > SKEW_SECONDS else 0.0
