"""The commands around painting: the queue, the settings, the state of this machine. Joined into cli.py."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stylizer import commands, console, screen, style_verbs, views
from stylizer import options as o
from stylizer.backend import names
from stylizer.config import Config, Places, example, places
from stylizer.errors import ConfigError
from stylizer.jobs import FINISHED, Desired, Job, JobState, RunnerDesired
from stylizer.options import KNOW, QUEUE, one_of, settings
from stylizer.store import Store
from stylizer.wire import pack

app = typer.Typer()
config_app = typer.Typer(help="Settings: what is in force, and where they live.")


@app.command(rich_help_panel=QUEUE)
def status(
    job: Annotated[int | None, typer.Argument(help="One job, with its chunks and its history.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show it until all is done.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Also what long lists leave out.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """What is queued, being painted and done."""
    most = None if every or as_json else screen.MOST_SHOWN
    with Store(settings()[1].store, write=False) as store:
        if job is not None:
            found = views.detail(store, job)
            console.answer(**console.detail_values(found)) if as_json else console.show(screen.detail(found))
        elif follow:
            seen = lambda: (store.data_version(), store.has_runner())  # noqa: E731
            console.follow(partial(views.status, store, most), seen, as_json=as_json)
        elif as_json:
            console.answer(**console.status_values(views.status(store)))
        else:
            console.show(screen.status(views.status(store, most)))


@app.command(rich_help_panel=QUEUE)
def pause(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Hold jobs, or with --all the whole queue; what is being painted is finished first."""
    if every and not jobs:
        _hold(True, "The queue is paused; what is being painted is finished.", as_json)
        return
    _each(
        lambda _: commands.pause, jobs, every, applies=lambda job: job.state not in FINISHED, done="paused", as_json=as_json
    )


@app.command(rich_help_panel=QUEUE)
def resume(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Carry on with paused jobs, or with --all with the whole queue and every job."""
    if every and not jobs:
        with Store(settings()[1].store) as store:
            for job in store.jobs(desired=(Desired.PAUSE,)):
                if job.state not in FINISHED:
                    commands.resume(store, job.id)
        _hold(False, "The queue goes on.", as_json)
        return
    _each(
        lambda _: commands.resume,
        jobs,
        every,
        applies=lambda job: job.desired is Desired.PAUSE,
        done="resumed",
        as_json=as_json,
    )


def _hold(held: bool, words: str, as_json: bool) -> None:
    with Store(settings()[1].store) as store:
        commands.hold(store, held)
    if as_json:
        console.answer(held=held)
    else:
        console.talk(words)


@app.command(rich_help_panel=QUEUE)
def cancel(jobs: o.Jobs = None, every: o.All = False, as_json: o.AsJson = False) -> None:
    """Stop jobs and drop what they have painted so far."""
    act = partial(_with_work, commands.cancel)
    _each(act, jobs, every, applies=lambda job: job.state not in FINISHED, done="cancelled", as_json=as_json)


@app.command(rich_help_panel=QUEUE)
def retry(jobs: o.Jobs = None, every: o.All = False, backend: o.BackendName = "", as_json: o.AsJson = False) -> None:
    """Queue failed or cancelled jobs again; finished chunks are not painted twice."""
    again = (JobState.FAILED, JobState.CANCELLED)
    chosen = one_of("backend", backend, ["auto", *names()]) if backend else ""
    act = partial(commands.retry, backend=chosen)
    _each(lambda _: act, jobs, every, applies=lambda job: job.state in again, done="queued again", as_json=as_json)


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
    place: Annotated[
        int | None, typer.Argument(help="Its new place in the queue; 1 is next.", min=1, show_default=False)
    ] = None,
    priority: o.Priority = None,
    as_json: o.AsJson = False,
) -> None:
    """Change a job's place in the queue, or its priority."""
    if (place is None) == (priority is None):
        raise ConfigError("Say the job's new place, or its --priority.", hint="stylizer move 7 1 makes job 7 the next.")
    with Store(settings()[1].store) as store:
        words = f"now at place {place}" if place is not None else f"now of priority {priority}"
        _tell([commands.move(store, job, place, priority)], words, as_json)


@app.command(rich_help_panel=QUEUE)
def stop(
    now: Annotated[bool, typer.Option("--now", help="Do not finish what is being painted.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """End whoever is painting or watching, here or in the background; the queue stays as it is."""
    with Store(settings()[1].store) as store:
        running = store.has_runner()
        if running:
            store.want_runner(RunnerDesired.STOP if now else RunnerDesired.DRAIN)
    words = "It ends at once." if now else "It ends when what is being painted is finished."
    if as_json:
        console.answer(running=running)
    else:
        console.talk(words if running else "Nobody is painting.")


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
                console.talk("Nobody is painting just now; stylizer work starts it.", "dim")


@app.command(rich_help_panel=KNOW)
def doctor(
    backend: Annotated[str, typer.Option("--backend", help="Look closely at this one: azure.", show_default=False)] = "",
    as_json: o.AsJson = False,
) -> None:
    """Check this machine: what works, what does not, what to do. With --backend azure: sign-in, roles, quotas, prices."""
    from stylizer.doctor import can_paint, examine

    config, here = settings()
    if one_of("backend", backend or "local", ["local", "azure"]) == "azure":
        from backends.azure.doctor import examine_azure

        checks = examine_azure(config)
    else:
        checks = examine(config, here, Path.cwd())
    found = []
    for check in checks:
        found.append(check)
        if not as_json:
            console.show(screen.check(check))
    well = can_paint(found)
    words = "Clips can be painted in the cloud." if backend == "azure" else "A clip can be painted here."
    if as_json:
        console.object_line({"ok": well, "checks": [pack(check) for check in found]})
    else:
        console.talk(words if well else words.replace(" can ", " cannot "), "green" if well else "red")
    raise typer.Exit(0 if well else 1)


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
    path.write_text(example() or screen.toml(Config()) + "\n", encoding="utf-8")
    if as_json:
        console.answer(path=str(path))
    else:
        console.line(str(path))


app.add_typer(style_verbs.app, name="styles", rich_help_panel=KNOW)
app.add_typer(config_app, name="config", rich_help_panel=KNOW)
