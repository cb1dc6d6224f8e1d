"""What a node is given for a spec: the spec with plain names instead of our paths, its files by content hash, its links.

Blobs, in the media container:      in the container for code and logs:

    content/SHA-256                     RUN/errands/….json
    RUN/results/ID                      RUN/state/ID.progress, .failed, .done
                                        RUN/logs/ID.log
                                        RUN/logs/run.jsonl: all of them, and what nodes went through, as it came
                                        RUN/lock
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from backends.azure.storage import Container
from stylizer.jobs import MediaKind
from stylizer.transfer import VERSION, Errand, Input
from stylizer.wire import FitSpec, Spec, dumps, pack

CHECKPOINT, OUTPUT = "fitted.safetensors", "painted"
PLAIN = re.compile(r"(?!fitted\.|painted|target|logs$|errands|file-)[^\W_][^/\\:\0]{0,100}")
"""Names that mean the same everywhere and are none of ours."""
PROGRESS_SECONDS = 5.0
"""Between two words of a node on how far it is."""


def files(spec: Spec) -> Iterator[tuple[str, Path, str]]:
    """The files that a spec reads: plain name, path, and what changes when the content does."""
    clip, names = spec.clip, _names(spec)
    # The node unpacks pictures into the folder of that name.
    yield names[0] + (".zip" if clip.kind is MediaKind.SEQUENCE else ""), clip.path, clip.fingerprint
    if isinstance(spec, FitSpec):
        for name, style in zip(names[1:], spec.look.styles, strict=True):
            yield name, style.path, style.digest
    else:
        facts = spec.checkpoint.stat()
        yield CHECKPOINT, spec.checkpoint, f"{facts.st_size} {facts.st_mtime_ns}"


def portable(spec: Spec) -> Spec:
    """The spec with plain names where our paths were: what a node has is in its working folder, and it learns no more."""
    source, *names = (Path(name) for name in _names(spec))
    clip = replace(spec.clip, path=source)
    styles = tuple(replace(style, path=name) for style, name in zip(spec.look.styles, names, strict=True))
    look = replace(spec.look, styles=styles)
    output = Path(OUTPUT + _suffix(spec.output))
    if isinstance(spec, FitSpec):
        return replace(spec, clip=clip, look=look, output=output)
    target = Path("target" + _suffix(spec.target))
    return replace(spec, clip=clip, look=look, output=output, checkpoint=Path(CHECKPOINT), target=target)


def _names(spec: Spec) -> list[str]:
    """Plain names for the source and the styles: their own, which a checkpoint remembers, where they are plain."""
    wanted = [spec.clip.path, *(style.path for style in spec.look.styles)]
    names = [path.name if PLAIN.fullmatch(path.name) else f"file-{n}{_suffix(path)}" for n, path in enumerate(wanted)]
    if len({name.casefold() for name in names}) == len(names):
        return names
    return [f"file-{n}{_suffix(path)}" for n, path in enumerate(wanted)]


def errand(
    spec: Spec,
    inputs: tuple[Input, ...],
    run: str,
    media: Container,
    logs: Container,
    expires: datetime,
    *,
    gpus: int,
    stall_seconds: float,
) -> Errand:
    """All that a node needs for one spec."""
    state = f"{run}/state/{spec.id}"
    return Errand(
        spec=dumps(portable(spec)),
        inputs=inputs,
        device="cuda:0" if gpus else "cpu",
        gpus=gpus,
        stall_seconds=stall_seconds,
        progress_seconds=PROGRESS_SECONDS,
        result=media.write_link(result_name(run, spec.id), expires),
        log=logs.write_link(log_name(run, spec.id), expires),
        run_log=logs.append_link(run_log_name(run), expires),
        progress=logs.write_link(f"{state}.progress", expires),
        failed=logs.write_link(f"{state}.failed", expires),
        done=logs.write_link(f"{state}.done", expires),
        is_done=logs.read_link(f"{state}.done", expires),
    )


def errands_text(errands: dict[str, Errand]) -> str:
    return json.dumps({"version": VERSION, "errands": {name: pack(one) for name, one in errands.items()}})


def result_name(run: str, name: str) -> str:
    return f"{run}/results/{name}"


def log_name(run: str, name: str) -> str:
    return f"{run}/logs/{name}.log"


def run_log_name(run: str) -> str:
    return f"{run}/logs/run.jsonl"


def _suffix(path: Path) -> str:
    """The file name's ending, if it is a plain one."""
    return path.suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,12}", path.suffix) else ""
