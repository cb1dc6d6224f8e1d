"""The commands around Azure: set up, look, clean up. Joined into cli.py."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from stylizer import console, edit_config, screen
from stylizer import options as o
from stylizer.config import Config, load_config, places
from stylizer.errors import ConfigError, StylizerError
from stylizer.options import settings
from stylizer.wire import hear

if TYPE_CHECKING:
    from backends.azure.account import Account
    from backends.azure.overview import Found

FOLLOW_SECONDS = 3.0
ADDRESS = re.compile(r"https?://([a-z0-9]+@)?[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?(/[a-z0-9]+)?", re.IGNORECASE)
"""Of an account; an emulator's may have the account's name in it. No secret fits in."""

app = typer.Typer(help="Rented GPUs: set up, look, clean up.", no_args_is_help=True)


@app.callback()
def azure() -> None:
    pass


def _flag(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, show_default=False)


@app.command()
def init(
    batch: Annotated[str, _flag("https://NAME.REGION.batch.azure.com", "--batch")] = "",
    media: Annotated[str, _flag("https://NAME.blob.core.windows.net, for sources and results.", "--media")] = "",
    logs: Annotated[str, _flag("The same for code and logs; as --media by default.", "--logs")] = "",
    container: Annotated[str, _flag("Container in it.", "--container")] = "",
    identity: Annotated[str, _flag("Resource id of the nodes' identity, for a pool that has one.", "--identity")] = "",
    subscription: Annotated[str, _flag("Where quotas are looked up.", "--subscription")] = "",
    resource_group: Annotated[str, _flag("Where quotas are looked up.", "--resource-group")] = "",
    region: Annotated[str, _flag("For prices; the one in --batch by default.", "--region")] = "",
    pool: Annotated[str, _flag("A pool to use and keep; one for each job by default.", "--pool")] = "",
    vm_size: Annotated[str, _flag("Standard_NC4as_T4_v3, …", "--vm-size")] = "",
    nodes: Annotated[int | None, _flag("At most so many.", "--nodes")] = None,
    spot: Annotated[bool | None, _flag("Cheap machines that may be taken away.", "--spot/--no-spot")] = None,
    image: Annotated[str, _flag("Container image with the worker; none: nodes install it.", "--image")] = "",
    shared_key: Annotated[
        bool | None, _flag("Sign with keys from the environment instead of Entra.", "--shared-key/--no-shared-key")
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Write to the config where your Batch account and storage are. No secret is asked for or kept."""
    path = places().config
    known = load_config(path).azure
    if not batch:
        batch = known.batch or typer.prompt("Batch account (https://NAME.REGION.batch.azure.com)")
        media = media or known.media or typer.prompt("Storage account (https://NAME.blob.core.windows.net)")
        if spot is None:
            spot = typer.confirm(
                "Use Spot machines (a fraction of the price; what is taken away starts anew)?", default=True
            )
    values: dict[str, object] = {
        "batch": _address(batch, "Batch account"),
        "media": _address(media or known.media, "storage account"),
        "region": _plain(region) or known.region or _region(batch),
    }
    words = {"logs": logs, "container": container, "identity": identity, "subscription": subscription, "pool": pool}
    words |= {"resource_group": resource_group, "vm_size": vm_size, "image": image}
    values |= {key: word for key, word in words.items() if word}
    values |= {
        key: flag for key, flag in {"nodes": nodes, "spot": spot, "shared_key": shared_key}.items() if flag is not None
    }
    known_settings = {setting.name: setting for setting in edit_config.settings(load_config(path))}
    for key, value in values.items():
        edit_config.change(path, known_settings[f"azure.{key}"], edit_config.written(value))
    if as_json:
        console.answer(path=str(path), azure=values)
    else:
        console.line(str(path))
        console.talk("Next: stylizer doctor --backend azure", "dim")


def _address(text: str, what: str) -> str:
    """An account's address, with https:// where it was left out."""
    text = text.strip().rstrip("/")
    text = text if "://" in text else f"https://{text}"
    if not ADDRESS.fullmatch(text):
        raise ConfigError(
            f"{text!r} is not the address of a {what}.", hint="Copy it from the portal; it begins with https://."
        )
    return text


def _plain(region: str) -> str:
    """eastus for East US"""
    return region.replace(" ", "").lower()


def _region(batch: str) -> str:
    """eastus of https://name.eastus.batch.azure.com"""
    found = re.fullmatch(r"[^.]+\.([a-z0-9]+)\.batch\.azure\.[a-z]+", urllib.parse.urlsplit(batch).hostname or "")
    return found[1] if found else ""


def _open() -> tuple[Account, Config]:
    from backends.azure.account import open_account

    config, _ = settings()
    return open_account(config), config


@app.command("ls")
def list_(as_json: o.AsJson = False) -> None:
    """What of stylizer's is in your account, and what it costs now."""
    from backends.azure.overview import look, unpriced

    account, config = _open()
    found = list(look(account, config.azure))
    if as_json:
        console.answer(found=[_values(one) for one in found])
    elif found:
        console.show(_table(found))
        for size in sorted({one.unpriced for one in found if one.unpriced}):
            console.talk(f"Not counted: {unpriced(size)}.", "yellow")
    else:
        console.talk("Nothing of stylizer's is in this account.")


def _values(one: Found) -> dict[str, object]:
    waiting, running, complete = one.tasks
    return {
        "kind": one.kind,
        "name": one.name,
        "state": one.state,
        "job": one.job,
        "own": one.is_own,
        "tasks": {"waiting": waiting, "running": running, "complete": complete},
        "nodes": one.nodes,
        "per_hour": str(one.per_hour),
        "spent": None if one.spent is None else str(one.spent),
        "currency": one.currency,
        "since": one.since,
        "unpriced": one.unpriced,
    }


def _table(found: list[Found]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, where in (("", "left"), ("job", "right"), ("state", "left"), ("tasks", "right"), ("nodes", "right")):
        table.add_column(name, justify=where)  # type: ignore[arg-type]
    for name in ("an hour", "so far", "since"):
        table.add_column(name, justify="right")
    for one in sorted(found, key=lambda each: (not each.costs, each.name)):
        waiting, running, complete = one.tasks
        tone = "yellow" if one.costs else ""
        table.add_row(
            Text(one.name if one.is_own else f"{one.name} (another computer's)", tone),
            str(one.job or ""),
            one.state,
            f"{complete}/{waiting + running + complete}" if one.kind == "job" and any(one.tasks) else "",
            str(one.nodes or ""),
            (f"{screen.amount(one.per_hour)} {one.currency}" if one.currency else "?") if one.costs else "",
            "" if one.spent is None else screen.amount(one.spent),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(one.since)),
        )
    return table


@app.command()
def logs(
    job: o.Job,
    chunk: Annotated[int | None, typer.Argument(help="One chunk of it; all by default.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they are written.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """What the nodes of a job wrote and went through, in the order in which it came; or all of one chunk's log."""
    from backends.azure.reading import Reader

    reader, told = Reader(_open()[0], job, chunk), False
    while True:
        for name, text in reader.read():
            told = True
            if as_json:
                console.object_line({"of": name, "text": text})
            else:
                console.line(f"{name}  {screen.plain(_words(text))}")
        if not follow:
            break
        time.sleep(FOLLOW_SECONDS)
    if not told and not as_json:
        console.talk(f"Azure has no logs of job {job}.", "dim")


def _words(text: str) -> str:
    """A line of a log for a person: what is ours in words, what libraries printed as it is."""
    line = hear(text)
    if line is None:
        return _node_words(text)
    if line.kind == "progress":
        return f"{line.done} of {line.total}" + (f", {line.fps:g} fps" if line.fps else "")
    if line.kind == "finished":
        return f"finished: {line.frames} in {line.seconds:.1f} s"
    return f"{line.kind}: {line.text or line.message} {line.hint}".rstrip()


def _node_words(text: str) -> str:
    """A line of a run's log that no worker said: what a node went through, how long frames took."""
    try:
        found = json.loads(text)
        if found["kind"] == "node":
            return str(found["state"])
        if found["kind"] == "frames":
            times = [float(one) for one in found["ms"]]
            first = int(found["first"])
            mean = sum(times) / len(times)
            return f"frames {first} to {first + len(times) - 1}: {mean:.0f} ms each, the slowest {max(times):.0f}"
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        pass
    return text


@app.command()
def clean(every: o.All = False, as_json: o.AsJson = False) -> None:
    """Forget this computer's runs in Azure that are over, and their files; painted files here stay."""
    from backends.azure.overview import clean as clean_up

    account, config = _open()
    gone: list[str] = []
    clean_up(account, config.azure, everything=every, each=gone.append)
    _tell("deleted", gone, as_json=as_json)


@app.command()
def down(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """End everything of stylizer's in your account that costs money, other computers' too."""
    from backends.azure.overview import down as end

    account, config = _open()
    if not yes and not as_json:
        typer.confirm("End all runs of stylizer in this account, and its pools?", abort=True)
    gone: list[str] = []
    end(account, config.azure, gone.append)
    _tell("ended", gone, as_json=as_json)


def _tell(what: str, gone: list[str], *, as_json: bool) -> None:
    if as_json:
        console.answer(**{what: gone})
        return
    for name in gone:
        console.talk(f"{name}  {what}")
    if not gone:
        console.talk("There is nothing to do.", "dim")


def before(config: Config) -> Iterator[str]:
    """What a person should know before more is rented, in sentences: what a warm pool costs, what earlier runs have left
    that costs money, or what keeps us from knowing.
    """
    from backends.azure.account import open_account
    from backends.azure.overview import leftovers
    from backends.azure.planner import warmth

    try:
        if words := warmth(config.azure):
            yield words
        yield from leftovers(open_account(config), config.azure)
    except StylizerError as error:
        yield f"What is left in Azure could not be looked up: {error.message}"


def in_region(config: Config, region: str) -> tuple[Config, str]:
    """The config with the region that is asked for, and a sentence where the account is in another one: that one counts,
    for that is where its machines are.
    """
    own, asked = _region(config.azure.batch), _plain(region or config.azure.region)
    words = f"Your Batch account is in {own}, not in {asked}: prices and machines are those of {own}."
    found = replace(config, azure=replace(config.azure, region=own or asked))
    return found, words if own and asked and own != asked else ""
