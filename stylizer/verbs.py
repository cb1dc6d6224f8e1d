"""The commands around painting: the queue, fitted styles, the settings, the state of this machine. Joined into cli.py."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylizer import commands, console, screen
from stylizer import options as o
from stylizer.config import Config, Places, places
from stylizer.errors import ConfigError, JobFailed
from stylizer.jobs import FINISHED, Desired, Job, JobState
from stylizer.options import KNOW, QUEUE, settings
from stylizer.store import Store
from stylizer.wire import pack

if TYPE_CHECKING:
    from stylizer.styles import Fitted
    from stylizer.wire import FitSpec

app = typer.Typer()
styles_app = typer.Typer(help="Fitted styles: what there is, where it came from, how big it is.")
config_app = typer.Typer(help="Settings: what is in force, and where they live.")

Name = Annotated[str, typer.Argument(help="As in stylizer styles.", show_default=False)]
Names = Annotated[list[str] | None, typer.Argument(help="As in stylizer styles.", show_default=False)]


@app.command(rich_help_panel=QUEUE)
def status(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show it until all is done.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """What is queued, being painted and done."""
    with Store(settings()[1].store, write=False) as store:
        if follow:
            console.follow(lambda: commands.status(store), as_json=as_json)
        elif as_json:
            console.answer(**console.status_values(commands.status(store)))
        else:
            console.show(screen.status(commands.status(store)))


@app.command(rich_help_panel=QUEUE)
def pause(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Hold jobs; what is being painted is finished first."""
    _each(
        lambda _: commands.pause, jobs, every, applies=lambda job: job.state not in FINISHED, done="paused", as_json=as_json
    )


@app.command(rich_help_panel=QUEUE)
def resume(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Carry on with paused jobs."""
    _each(
        lambda _: commands.resume,
        jobs,
        every,
        applies=lambda job: job.desired is Desired.PAUSE,
        done="resumed",
        as_json=as_json,
    )


@app.command(rich_help_panel=QUEUE)
def cancel(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Stop jobs and drop what they have painted so far."""
    act = partial(_with_work, commands.cancel)
    _each(act, jobs, every, applies=lambda job: job.state not in FINISHED, done="cancelled", as_json=as_json)


@app.command(rich_help_panel=QUEUE)
def retry(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Queue failed or cancelled jobs again; finished chunks are not painted twice."""
    again = (JobState.FAILED, JobState.CANCELLED)
    _each(
        lambda _: commands.retry, jobs, every, applies=lambda job: job.state in again, done="queued again", as_json=as_json
    )


@app.command(rich_help_panel=QUEUE)
def redo(
    job: o.Job,
    chunk: Annotated[int | None, typer.Argument(help="One chunk of it; all by default.", show_default=False)] = None,
    as_json: o.AsJson = False,
) -> None:
    """Queue a job, or one chunk of it, to be painted anew."""
    with Store(settings()[1].store) as store:
        _tell([commands.redo(store, job, chunk)], "queued to be painted anew", as_json)


@app.command(rich_help_panel=QUEUE)
def rm(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Forget finished jobs; painted files stay."""
    act = partial(_with_work, commands.remove)
    _each(act, jobs, every, applies=lambda job: job.state in FINISHED, done="forgotten", as_json=as_json)


@app.command(rich_help_panel=QUEUE)
def move(
    job: o.Job,
    place: Annotated[int, typer.Argument(help="Its new place in the queue; 1 is next.", min=1, show_default=False)],
    as_json: o.AsJson = False,
) -> None:
    """Change a job's place in the queue."""
    with Store(settings()[1].store) as store:
        _tell([commands.move(store, job, place)], f"now at place {place}", as_json)


def _with_work(verb: Callable[[Store, int, Path], Job | None], here: Places) -> Callable[[Store, int], Job | None]:
    return lambda store, job: verb(store, job, here.work)


def _each(
    act: Callable[[Places], Callable[[Store, int], Job | None]],
    jobs: Sequence[int] | None,
    every: bool,
    *,
    applies: Callable[[Job], bool],
    done: str,
    as_json: bool,
) -> None:
    """Do something to the named jobs, or to every job that it applies to."""
    if bool(jobs) == every:
        raise ConfigError("Name the jobs, or say --all.", hint="See stylizer status for the jobs that there are.")
    _, here = settings()
    with Store(here.store) as store:
        chosen = [store.job(number) for number in jobs] if jobs else [job for job in store.jobs() if applies(job)]
        verb = act(here)
        _tell([verb(store, job.id) or job for job in chosen], done, as_json)


def _tell(jobs: Sequence[Job], done: str, as_json: bool) -> None:
    if as_json:
        console.answer(jobs=[{"id": job.id, "state": str(job.state), "desired": str(job.desired)} for job in jobs])
        return
    for job in jobs:
        console.talk(f"job {job.id}  {job.clip.path.name}  {done}")
    if not jobs:
        console.talk("There is no job that this can be done to.", "dim")
    elif any(job.state is JobState.QUEUED and job.desired is Desired.RUN for job in jobs):
        with Store(settings()[1].store, write=False) as store:
            if not store.has_runner():
                console.talk("Nobody is painting just now; stylizer run with the same clip starts it.", "dim")


@app.command(rich_help_panel=KNOW)
def doctor(as_json: o.AsJson = False) -> None:
    """Check this machine: what works, what does not, what to do."""
    from stylizer.doctor import can_paint, examine

    config, here = settings()
    found = []
    for check in examine(config, here, Path.cwd()):
        found.append(check)
        if not as_json:
            console.show(screen.check(check))
    well = can_paint(found)
    if as_json:
        console.object_line({"ok": well, "checks": [pack(check) for check in found]})
    else:
        console.talk("A clip can be painted here." if well else "A clip cannot be painted here.", "green" if well else "red")
    raise typer.Exit(0 if well else 1)


@styles_app.callback(invoke_without_command=True)
def styles_list(context: typer.Context, as_json: o.AsJson = False) -> None:
    """Fitted styles: what there is, where it came from, how big it is."""
    if context.invoked_subcommand:
        return
    from stylizer.styles import fitted

    found = fitted(settings()[1].cache)
    if as_json:
        console.answer(styles=[_fitted_values(one) for one in found])
    else:
        console.show(screen.styles(found))


@styles_app.command("show")
def styles_show(name: Name, as_json: o.AsJson = False) -> None:
    """One fitted style: its picture and its facts."""
    from stylizer.styles import find_fitted, load_style

    one = find_fitted(settings()[1].cache, name)
    if as_json:
        console.answer(**_fitted_values(one))
        return
    if console.can_show_pictures():
        for path in _pictures_of(one):
            console.picture(load_style(path, 48))
    pairs = [("name", one.name), ("file", str(one.path)), ("size", screen.size(one.size))]
    pairs += [("problem", one.problem)] if one.problem else []
    hidden = ("format", "version", "dims", "digests", "paths")
    pairs += [(key.replace("_", " "), value) for key, value in one.facts.items() if key not in hidden]
    console.show(screen.facts(pairs))


def _pictures_of(one: Fitted) -> list[Path]:
    """The style pictures of a checkpoint that a job knows the place of, and that are unchanged."""
    from stylizer.files import digest_of

    wanted = one.facts.get("digests", "").split(", ")
    with Store(settings()[1].store, write=False) as store:
        known = {image.digest: image.path for job in store.jobs() for image in job.look.styles}
    found = [known[digest] for digest in wanted if digest in known]
    return [path for path in found if path.is_file() and digest_of(path) in wanted]


@styles_app.command("fit")
def styles_fit(
    clip: o.Source,
    style: o.Styles,
    blend: o.Blend = "",
    brush: o.Brush = None,
    keep_color: o.KeepColor = None,
    quality: o.Quality = "",
    size: o.Size = None,
    seed: o.Seed = None,
    device: o.Device = "",
    precision: o.Precision = "",
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Fit a style to a clip now, without painting; a later run finds it ready."""
    from stylizer.styles import checkpoint_path, look_from, weights_digest
    from stylizer.video import probe
    from stylizer.wire import FitSpec

    config, here = settings()
    look = look_from(
        style,
        config.look,
        config.limits,
        blend=blend,
        brush=brush,
        keep_color=keep_color,
        quality=quality,
        size=size,
        seed=seed,
    )
    found = probe(clip, config.limits)
    path = checkpoint_path(found, look, weights_digest(), here.cache)
    if not path.exists():
        spec = FitSpec("fit", found, look, path, device or config.run.device, precision or config.run.precision)
        with console.Bar("fit", shown=not as_json and not quiet) as bar:
            _fit(spec, config, bar)
    if as_json:
        console.answer(checkpoint=str(path))
    elif not quiet:
        console.line(str(path))


def _fit(spec: FitSpec, config: Config, bar: console.Bar) -> None:
    """Have a worker of this machine's backend carry out a fit; JobFailed says why it did not."""
    from stylizer.backend import Phase, load

    backend = load("local", config)
    try:
        backend.submit([spec])
        while True:
            report = backend.poll([spec.id])[0]
            bar.update(report.done, report.total)
            if report.phase is Phase.DONE:
                return
            if report.phase in (Phase.FAILED, Phase.LOST):
                raise JobFailed(report.error or "The worker was lost.", hint=report.hint or "Try again.")
            time.sleep(0.1)
    finally:
        backend.close()


@styles_app.command("rm")
def styles_rm(
    names: Names = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Remove fitted styles; they are fitted again when needed."""
    from stylizer.styles import find_fitted, fitted, remove_fitted

    if bool(names) == every:
        raise ConfigError("Name the fitted styles, or say --all.", hint="See stylizer styles for those that are there.")
    cache = settings()[1].cache
    chosen = [find_fitted(cache, name) for name in names] if names else fitted(cache)
    for one in chosen:
        remove_fitted(one)
        if not as_json:
            console.talk(f"{one.name}  {one.title}  removed")
    if as_json:
        console.answer(removed=[one.name for one in chosen])


def _fitted_values(one: Fitted) -> dict[str, object]:
    return {
        "name": one.name,
        "path": str(one.path),
        "size": one.size,
        "modified": one.modified,
        "facts": one.facts,
        "problem": one.problem,
    }


@config_app.callback(invoke_without_command=True)
def config_default(context: typer.Context) -> None:
    """Settings: what is in force, and where they live."""
    if not context.invoked_subcommand:
        config_show()


@config_app.command("show")
def config_show(as_json: o.AsJson = False) -> None:
    """The settings in force, as TOML."""
    config, _ = settings()
    if as_json:
        console.answer(config=pack(config))
    else:
        console.line(screen.toml(config))


@config_app.command("path")
def config_path(as_json: o.AsJson = False) -> None:
    """Where the settings and everything else of ours live."""
    here = settings()[1]
    if as_json:
        console.answer(**pack(here))
    else:
        console.line(str(here.config))


@config_app.command("init")
def config_init(as_json: o.AsJson = False) -> None:
    """Write a config.toml with every setting at its default, to change."""
    path = places().config
    if path.exists():
        raise ConfigError(f"There is a config already: {path}.", hint="Change that one, or move it away first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_example(), encoding="utf-8")
    if as_json:
        console.answer(path=str(path))
    else:
        console.line(str(path))


def _example() -> str:
    """The commented example: it lies in an installed package, and at the root of a checkout."""
    here = Path(__file__).parent
    for path in (here / "config.toml", here.parent / "config.toml"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return screen.toml(Config()) + "\n"


app.add_typer(styles_app, name="styles", rich_help_panel=KNOW)
app.add_typer(config_app, name="config", rich_help_panel=KNOW)
