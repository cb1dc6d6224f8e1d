"""config.toml to a frozen Config, and where our files live.

Defaults live in `Config` alone. The config.toml at the root of the project is the commented example with every key at
its default (a test holds it to that). Unknown keys are errors that name the nearest key. Secrets are never in here.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import platformdirs

from stylizer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LookDefaults:
    strength: float = 1.0
    brush: float = 1.0
    keep_color: bool = False
    quality: str = "standard"
    size: int = 0
    """0 is the source's."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EncodingDefaults:
    codec: str = ""
    """Empty: what suits the container."""
    crf: int = -1
    """-1: what suits the codec."""


@dataclass(frozen=True, slots=True)
class RunDefaults:
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    chunk_seconds: float = 10.0
    """A chunk is about this many seconds of the clip, longer where its frames are few."""
    retries: int = 2
    """Times that a failed chunk is tried again."""
    stall_seconds: float = 600.0
    """A worker that says nothing for so long is ended and its chunk tried again."""


@dataclass(frozen=True, slots=True)
class PlaceDefaults:
    """Which machine paints what, for jobs whose backend is auto."""

    burst: str = "when-late"
    """never: only here. when-late: chunks that would miss the deadline here go to the cloud. always: both, whenever
    there is room."""
    deadline_hours: float = 0.0
    """A clip should be done so many hours after it was added; 0: whenever."""
    max_cost: float = 0.0
    """Money that the cloud may cost for one clip, in the currency of the prices; 0: no limit."""
    max_cost_day: float = 0.0
    """The same for all clips of one day."""


@dataclass(frozen=True, slots=True)
class WatchDefaults:
    """How a drop folder is watched."""

    output: str = ""
    """Where results go, mirroring the tree: a folder or az://account/container/prefix; empty: outbox beside the inbox."""
    styles: tuple[str, ...] = ()
    """Style pictures for clips that have none in their folder; several: one output each."""
    quiet_seconds: float = 5.0
    """A file has settled when its size and time stand still for so long."""
    scan_seconds: float = 10.0
    """The folder is looked through at least so often, whatever the system says of changes in it."""
    polling: bool = False
    """Do not rely on the system's word of changes (network folders)."""
    files_per_hour: int = 0
    """More wait for the next hour; 0: no limit."""


@dataclass(frozen=True, slots=True)
class NotifyDefaults:
    """Who is told when a job is done or has failed."""

    desktop: bool = False
    to: tuple[str, ...] = ()
    """Addresses as Apprise knows them (https://appriseit.com); env:NAME takes one from the environment, for those that
    hold a secret."""
    when_done: str = ""
    """A command that is run with the output's path when a job is done."""


@dataclass(frozen=True, slots=True)
class AzureDefaults:
    """Where and how Azure Batch renders; `stylizer azure init` writes it. Nothing in here is a secret."""

    batch: str = ""
    """https://NAME.REGION.batch.azure.com; empty: Azure is not set up."""
    media: str = ""
    """https://NAME.blob.core.windows.net, for sources, styles and results."""
    logs: str = ""
    """The same for code and logs, where what writes media cannot touch them; empty: as media."""
    container: str = "stylizer"
    identity: str = ""
    """Resource id of the user-assigned identity that the pool's nodes have; empty: short-lived links instead."""
    shared_key: bool = False
    """Sign with the keys in STYLIZER_AZURE_BATCH_KEY and STYLIZER_AZURE_STORAGE_KEY instead of Entra."""
    subscription: str = ""
    resource_group: str = ""
    """With the subscription: where quotas are looked up."""
    region: str = ""
    pool: str = ""
    """A pool of that name is used and kept; empty: one that lives as long as the job."""
    vm_size: str = "Standard_NC4as_T4_v3"
    nodes: int = 4
    """At most."""
    spot: bool = True
    image: str = ""
    """Container image with the worker; empty: nodes install the wheel that we upload."""
    python: str = ""
    """The interpreter of nodes whose own image has stylizer; empty: the one of `image`, or one that we install."""
    start: str = ""
    """What a node does first, for bash; empty: see that the GPU answers and install what is missing."""
    subnet: str = ""
    wall_clock_hours: float = 6.0
    """No Batch job outlives this; short-lived links end with it."""
    keep_warm_minutes: float = 0.0
    """How long an idle node of a named pool is kept."""
    telemetry: bool = False
    """Send what runs go through to Application Insights or an OpenTelemetry collector, as the environment says."""
    mounts: tuple[str, ...] = ()
    """Folders here that nodes mount: "FOLDER = nfs HOST:/EXPORT", "FOLDER = blob URL", "FOLDER = files URL"."""
    chunk_seconds: float = 0.0
    """Of the clip in a chunk, for jobs bound to Azure; 0: as long as is best by what was measured."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused, with a sentence."""

    pixels: int = 8192 * 8192
    """Of one frame or picture."""
    frames: int = 2_000_000
    seconds: float = 12 * 3600.0
    tracks: int = 64
    file_gigabytes: float = 200.0
    reference_hours: float = 2.0
    """A painting in quality reference that would take longer; --yes does it all the same."""


CHOICES = {
    "burst": ("never", "when-late", "always"),
    "quality": ("draft", "standard", "high"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}
"""What keys may say that take one of a few words."""


@dataclass(frozen=True, slots=True)
class Config:
    look: LookDefaults = field(default_factory=LookDefaults)
    encoding: EncodingDefaults = field(default_factory=EncodingDefaults)
    run: RunDefaults = field(default_factory=RunDefaults)
    place: PlaceDefaults = field(default_factory=PlaceDefaults)
    watch: WatchDefaults = field(default_factory=WatchDefaults)
    notify: NotifyDefaults = field(default_factory=NotifyDefaults)
    azure: AzureDefaults = field(default_factory=AzureDefaults)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Places:
    """Where our files live. STYLIZER_HOME puts all of them under one folder."""

    config: Path
    """config.toml"""
    store: Path
    """The job store (SQLite)."""
    work: Path
    """Chunk files of unfinished jobs, one folder a job."""
    cache: Path
    """Fitted checkpoints; may be deleted at any time."""
    logs: Path

    @property
    def teacher(self) -> Path:
        """VGG-16, for the quality reference."""
        return self.store.with_name("vgg16.safetensors")


def places() -> Places:
    """Our folders on this machine; nothing is created."""
    home = os.environ.get("STYLIZER_HOME")
    if home:
        root = Path(home).expanduser().absolute()
        return Places(root / "config.toml", root / "jobs.db", root / "work", root / "cache", root / "logs")
    data = Path(platformdirs.user_data_dir("stylizer", appauthor=False))
    return Places(
        Path(platformdirs.user_config_dir("stylizer", appauthor=False)) / "config.toml",
        data / "jobs.db",
        data / "work",
        Path(platformdirs.user_cache_dir("stylizer", appauthor=False)),
        Path(platformdirs.user_log_dir("stylizer", appauthor=False)),
    )


def example() -> str:
    """The commented config.toml with every key at its default: in an installed package, or at the root of a checkout."""
    here = Path(__file__).parent
    found = next((path for path in (here / "config.toml", here.parent / "config.toml") if path.is_file()), None)
    return found.read_text(encoding="utf-8") if found else ""


def load_config(path: Path) -> Config:
    """The config in `path`, or the defaults if there is no such file; ConfigError for anything that is not understood."""
    if not path.exists():
        return Config()
    loaded: Config = checked(Config, read_toml(path), path)
    return loaded


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says; ConfigError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The config {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The config {path} is not valid TOML: {error}.", hint="Mend that line.") from None


def checked(kind: Any, raw: dict[str, Any], path: Path) -> Any:
    """What the file `path` says as an instance of the dataclass `kind`; ConfigError for what it does not know."""
    return _section(kind, raw, path, "")


def _section(kind: Any, raw: dict[str, Any], path: Path, prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = prefix + key
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f"Did you mean {prefix + near[0]!r}?" if near else f"Known here: {', '.join(known)}."
            raise ConfigError(f"The config {path} has an unknown key {name!r}.", hint=hint)
        expected = hints[key]
        if is_dataclass(expected):
            if not isinstance(value, dict):
                raise ConfigError(f"The config {path}: {name!r} is a section, write [{name}].")
            value = _section(expected, value, path, name + ".")
        elif expected == tuple[str, ...]:
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise ConfigError(f"The config {path}: {name!r} must be a list of texts in quotes, not {value!r}.")
            value = tuple(value)
        else:
            if expected is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
                raise ConfigError(f"The config {path}: {name!r} must be {_said(expected)}, not {value!r}.")
        if key in CHOICES and value not in CHOICES[key]:
            raise ConfigError(f"The config {path}: {name!r} is {' or '.join(CHOICES[key])}, not {value!r}.")
        values[key] = value
    return kind(**values)


def _said(kind: type) -> str:
    return {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, kind.__name__)
