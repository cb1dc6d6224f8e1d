"""Ask for what needs torch, a cloud's library or time: the command line in a process of its own, or a thread."""

from __future__ import annotations

import json
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from textual.widget import Widget


async def asked(command: Sequence[str]) -> dict[str, Any]:
    """What the command said last, one object of JSON; if it said none, one that says what went wrong. Ends the process
    when nobody waits for it any more.
    """
    process = await create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    lines = out.decode("utf-8", "replace").strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        found = {}
    if isinstance(found, dict) and "ok" in found:
        return found
    said = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return {"ok": False, "error": {"message": said or f"It ended with exit code {process.returncode}."}}


def still_open(part: Widget) -> bool:
    """Whether the screen that it is a part of (or is) is still there to be shown an answer. A screen that is left loses its
    parts one by one before its tasks end: what arrives in between would find half of them.
    """
    return part.is_attached and part.screen in part.app.screen_stack


def wrong_words(answer: dict[str, Any]) -> str:
    """What went wrong and what to do."""
    error = answer.get("error", {})
    return f"{error.get('message', '')} {error.get('hint', '')}".strip()
