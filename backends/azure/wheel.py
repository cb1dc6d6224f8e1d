"""The installed stylizer as a wheel, so that a node can install the very code that runs here, with no registry."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import backends
import stylizer

LEFT_OUT = ("__pycache__", "training")


def build_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; the same code makes the same bytes."""
    here = distribution("stylizer")
    facts = f"stylizer-{here.version}.dist-info"
    content: dict[str, bytes] = {}
    for package in (stylizer, backends):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root.parent)
            if path.is_file() and not any(part in LEFT_OUT for part in inside.parts):
                content[inside.as_posix()] = path.read_bytes()
    content[f"{facts}/METADATA"] = (here.read_text("METADATA") or "").encode()
    content[f"{facts}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: stylizer\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},sha256={_hash(data)},{len(data)}\n" for name, data in content.items())
    content[f"{facts}/RECORD"] = (record + f"{facts}/RECORD,,\n").encode()
    wheel = folder / f"stylizer-{here.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return wheel


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
