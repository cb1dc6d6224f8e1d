"""The command line: parse, call a command, hand the value to console. The only place that wires the parts together.

Nothing heavy is imported until a command needs it, so `--help` and `status` answer at once.
"""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylizer import (
    azure_verbs,
    bench_verbs,
    commands,
    console,
    estimate_verbs,
    plan_verbs,
    screen,
    studio_verbs,
    style_verbs,
    verbs,
    views,
    watch_verbs,
)
from stylizer import options as o
from stylizer.config import CHOICES, Places
from stylizer.errors import ConfigError, JobFailed, StylizerError
from stylizer.estimate import Measurement
from stylizer.jobs import Encoding, Job, JobState, Quality
from stylizer.options import CLOUD, PAINT, one_of, settings
from stylizer.store import Store

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's own complaint, wherever this version of Typer keeps it."""

app = typer.Typer(
    name="stylizer",
    help="Turns video into moving painting.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line. What can be expected ends in a sentence and its exit code; only bugs show a traceback."""
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
    except StylizerError as error:
        code = console.failure(error, as_json=as_json)
    except UsageError as error:
        said = str(getattr(error, "format_message", error.__str__)())
        code = console.failure(ConfigError(said, hint="See stylizer --help."), as_json=as_json)
    except BrokenPipeError:
        code = console.hung_up()
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        console.line(f"stylizer {installed('stylizer')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.line(context.get_help())


@app.command(rich_help_panel=PAINT)
def run(
    sources: o.Sources,
    style: o.Styles,
    blend: o.Blend = "",
    strength: o.Strength = None,
    brush: o.Brush = None,
    keep_color: o.KeepColor = None,
    quality: o.Quality = "",
    size: o.Size = None,
    seed: o.Seed = None,
    teacher: o.Teacher = None,
    output: o.Output = None,
    codec: o.Codec = "",
    crf: o.Crf = None,
    again: o.Again = False,
    device: o.Device = "",
    precision: o.Precision = "",
    backend: o.BackendName = "",
    burst: o.Burst = "",
    deadline: o.Deadline = None,
    max_cost: o.MaxCost = None,
    priority: o.Priority = None,
    nodes: o.Nodes = None,
    spot: o.Spot = None,
    vm_size: o.VmSize = "",
    pool: o.Pool = "",
    region: o.Region = "",
    when_done: o.WhenDone = "",
    yes: o.Yes = False,
    tui: Annotated[bool, typer.Option("--tui", help="Look on in the studio.", rich_help_panel=o.TALK)] = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Paint clips, pictures or folders of pictures. The same command again carries on where it stopped."""
    from stylizer.backend import names
    from stylizer.encode import check_encoding
    from stylizer.foreground import work_off
    from stylizer.notify import Notifier
    from stylizer.output import output_path
    from stylizer.runner import Runner
    from stylizer.studio_verbs import open_studio
    from stylizer.styles import look_from
    from stylizer.video import probe

    config, here = settings()
    look = look_from(
        style,
        config.look,
        config.limits,
        blend=blend,
        strength=strength,
        brush=brush,
        keep_color=keep_color,
        quality=quality,
        size=size,
        seed=seed,
    )
    quantizer = config.encoding.crf if crf is None else crf
    encoding = Encoding(codec or config.encoding.codec, None if quantizer < 0 else quantizer)
    place = config.place
    if burst:
        config = replace(config, place=replace(place, burst=one_of("burst", burst, CHOICES["burst"])))
    azure = config.azure
    machines = azure.nodes if nodes is None else nodes, azure.spot if spot is None else spot
    azure = replace(azure, nodes=machines[0], spot=machines[1], vm_size=vm_size or azure.vm_size, pool=pool or azure.pool)
    config, elsewhere = azure_verbs.in_region(replace(config, azure=azure), region)
    hours = place.deadline_hours if deadline is None else deadline
    wanted = one_of("backend", backend or config.run.backend, ["auto", *names()])
    precision = one_of("precision", precision or config.run.precision, ["auto", "fp32", "bf16", "fp16"])
    if output and len(sources) > 1 and not output.is_dir():
        raise ConfigError(f"--output {output} cannot hold {len(sources)} paintings.", hint="Name a folder that exists.")
    planned = []
    for source in sources:
        clip = probe(source, config.limits)
        target = output_path(clip, [image.path.stem for image in look.styles], output)
        check_encoding(target, encoding)
        planned.append((clip, target))
    if look.quality is Quality.REFERENCE:
        clips, silent = [clip for clip, _ in planned], quiet or as_json
        style_verbs.before_reference(
            clips, look, config, here, teacher, device=device, precision=precision, yes=yes, quiet=silent
        )
    with Store(here.store) as store:
        before = {job.id for job in store.jobs((JobState.DONE,))}
        jobs = [
            commands.add(
                store,
                clip,
                look,
                encoding,
                target,
                backend=wanted,
                device=device or config.run.device,
                precision=precision,
                again=again,
                priority=priority or 0,
                max_cost=place.max_cost if max_cost is None else max_cost,
                deadline=time.time() + hours * 3600 if hours else None,
            )
            for clip, target in planned
        ]
        done = {job.id for job in jobs if job.state is JobState.DONE and job.id in before}
        if tui:
            open_studio(here, *(argument for argument in sys.argv[1:] if argument != "--tui"))
            return
        with console.Progress(as_json=as_json, quiet=quiet) as progress:
            for clip, _ in planned:
                for note in clip.notes:
                    progress.remark(f"{clip.path.name}: {note}")
            left = [job.id for job in jobs if job.id not in done]
            if left and wanted == "azure":
                for words in filter(None, (elsewhere, *azure_verbs.before(config))):
                    progress.say(words)
            with Notifier(store, config.notify, when_done) as notifier:
                runner = Runner(store, config, here, adopt=notifier.turn)
                interrupted = bool(left) and work_off(runner, store, progress, left)
        _report(store, jobs, done, interrupted=interrupted, as_json=as_json, quiet=quiet)


def _report(store: Store, jobs: Sequence[Job], done: set[int], *, interrupted: bool, as_json: bool, quiet: bool) -> None:
    """What became of the jobs of a run, and the exit code that says so."""
    found = views.status(store)
    shown = [found.of(number) for number in dict.fromkeys(job.id for job in jobs)]
    failed = [view for view in shown if view.job.state is JobState.FAILED]
    left = [view for view in shown if view.job.state not in (JobState.DONE, JobState.FAILED)]
    for view in shown:
        if view.job.state is JobState.DONE and not as_json and not quiet:
            console.painted(view, before=view.job.id in done)
            if view.money and view.job.id not in done:
                console.talk(screen.bill_words(view), "dim")
    if failed:
        first = failed[0].job
        for view in failed[1:]:
            if not as_json:
                console.talk_error(f"{view.job.clip.path.name}: {view.job.error}", view.job.hint)
        raise JobFailed(f"{first.clip.path.name}: {first.error}", hint=first.hint)
    if left:
        ended = all(view.job.state is JobState.CANCELLED for view in left)
        frames, total = sum(v.tally.frames_done for v in left), sum(v.tally.frames_total for v in left)
        if as_json:
            console.object_line({"ok": False, "error": {"code": "interrupted", "message": "Stopped.", "hint": _again()}})
        elif ended:
            console.talk("Cancelled. To paint it after all, run the same command again.", "yellow")
        elif found.running:
            console.talk("No longer looking on; the other stylizer carries on. See: stylizer status --follow", "yellow")
        else:
            console.talk(f"Stopped with {frames} of {total} frames painted and kept. To go on:\n  {_again()}", "yellow")
        raise typer.Exit(130 if interrupted else 1)
    if as_json:
        console.answer(jobs=[console.job_values(view) for view in shown])


def _again() -> str:
    return shlex.join(["stylizer", *sys.argv[1:]])


@app.command("preview", rich_help_panel=PAINT)
def preview_(
    clip: o.Source,
    style: o.EachStyle,
    blend: o.Blend = "",
    frames: Annotated[int, typer.Option(help="Pictures in a row, spread over the clip.", min=1, max=12)] = 4,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A PNG; CLIP.preview.png by default.")] = None,
    strength: o.Strength = None,
    brush: o.Brush = None,
    keep_color: o.KeepColor = None,
    device: o.Device = "",
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """A contact sheet in seconds: frames of the clip in each style, and how long the whole clip would take."""
    from stylizer.devices import choose
    from stylizer.preview import estimate, preview, sheet, write
    from stylizer.styles import load_style, look_from
    from stylizer.video import probe

    config, here = settings()
    found = probe(clip, config.limits)
    looks = [
        look_from(
            row,
            config.look,
            config.limits,
            blend=blend,
            strength=strength,
            brush=brush,
            keep_color=keep_color,
            quality="draft",
        )
        for row in ([style] if blend else [[one] for one in style])
    ]
    target = (output or found.path.with_name(f"{found.path.stem}.preview.png")).absolute()
    if target.suffix.lower() != ".png" or target in (found.path, *(image.path for look in looks for image in look.styles)):
        raise ConfigError(f"The contact sheet cannot be {target}.", hint="Name another file that ends in .png.")
    with console.Bar("preview", shown=not as_json and not quiet) as bar:
        place = choose(device or config.run.device).device.name
        shown = preview(found, looks, min(frames, found.frames), device=place, progress=bar.update)
    whole = estimate(found, shown, _measurements(here))
    words = f"{screen.duration(whole.seconds)} for all {found.frames} frames and one style, {whole.basis}"
    write(sheet(shown, found.path.name, words), target)
    if as_json:
        cost = None if whole.cost is None else str(whole.cost)
        console.answer(sheet=str(target), frames=whole.frames, seconds=round(whole.seconds, 1), cost=cost, basis=whole.basis)
    elif not quiet:
        if console.can_show_pictures():
            console.picture(load_style(target, console.columns()))
        console.line(str(target))
        console.talk(words, "dim")


def _measurements(here: Places) -> list[Measurement]:
    if not here.store.exists():
        return []
    with Store(here.store, write=False) as store:
        return store.measurements()


# Last, so that painting comes first in the help.
app.add_typer(estimate_verbs.app)
app.add_typer(plan_verbs.app)
app.add_typer(watch_verbs.app)
app.add_typer(verbs.app)
app.add_typer(bench_verbs.app)
app.add_typer(studio_verbs.app)
app.add_typer(azure_verbs.app, name="azure", rich_help_panel=CLOUD)


if __name__ == "__main__":
    main()
