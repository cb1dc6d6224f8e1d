"""The commands of `stylizer styles`: list, show, fit and remove fitted styles. Joined into cli.py by verbs.py."""

# ruff: noqa: PLC0415 - imports wait until they are needed

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylizer import console, screen
from stylizer import options as o
from stylizer.config import Config, Places
from stylizer.errors import ConfigError, JobFailed
from stylizer.options import settings
from stylizer.store import Store

if TYPE_CHECKING:
    from stylizer.jobs import Clip, Look
    from stylizer.styles import Fitted
    from stylizer.wire import FitSpec

app = typer.Typer(help="Fitted styles: what there is, where it came from, how big it is.")

Name = Annotated[str, typer.Argument(help="As in stylizer styles.", show_default=False)]
Names = Annotated[list[str] | None, typer.Argument(help="As in stylizer styles.", show_default=False)]


@app.callback(invoke_without_command=True)
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


@app.command("show")
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


@app.command("fit")
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


@app.command("rm")
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


@app.command("teacher")
def styles_teacher(
    weights: Annotated[
        Path | None, typer.Argument(help="torchvision's vgg16-397923af.pth, or a safetensors file.", show_default=False)
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download torchvision's (528 MB, once).")] = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """VGG-16, which --quality reference looks through: where it is, bring it, fetch it. It does not ship with stylizer."""
    place = settings()[1].teacher
    if weights and fetch:
        raise ConfigError("Name a file or say --fetch, not both.")
    if fetch:
        from stylizer.reference import fetch_teacher

        with console.Bar("VGG-16", shown=not as_json and not quiet) as bar:
            fetch_teacher(place, bar.update)
    elif weights:
        from stylizer.reference import keep_teacher

        keep_teacher(weights, place)
    elif not place.is_file():
        raise ConfigError("There is no teacher yet.", hint="stylizer styles teacher --fetch downloads it, 528 MB.")
    if as_json:
        console.answer(teacher=str(place))
    elif not quiet:
        console.line(str(place))


def before_reference(
    clips: Sequence[Clip],
    look: Look,
    config: Config,
    here: Places,
    teacher: Path | None,
    *,
    device: str,
    precision: str,
    yes: bool,
    quiet: bool,
) -> None:
    """Keep the teacher if one is named, time it, and tell how long these clips will take in quality reference.

    StyleError without a usable teacher; ConfigError if it would take longer than the settings allow and `yes` is not said.
    """
    from stylizer.devices import choose
    from stylizer.reference import FINE, keep_teacher, load_teacher, seconds_a_frame
    from stylizer.stylize import best_precision
    from stylizer.video import output_size

    if teacher:
        if teacher.suffix != ".safetensors":
            raise ConfigError(
                f"--teacher {teacher} is not a safetensors file.", hint=f"Convert it once: stylizer styles teacher {teacher}"
            )
        keep_teacher(teacher, here.teacher)
    eye = load_teacher(here.teacher)
    place = choose(device or config.run.device).device
    exact = best_precision(place.name) if precision == "auto" else precision
    sizes = [output_size(clip, look.size) for clip in clips]
    seconds = sum(
        clip.frames * seconds_a_frame(eye, height, width, device=place.name, precision=exact)
        for clip, (width, height) in zip(clips, sizes, strict=True)
    )
    frames = sum(clip.frames for clip in clips)
    words = f"{screen.duration(seconds)} for {frames} {'frame' if frames == 1 else 'frames'} on {place.label}"
    if seconds > config.limits.reference_hours * 3600 and not yes:
        raise ConfigError(
            f"In quality reference this takes about {words}; the limit is {config.limits.reference_hours:g} hours.",
            hint="Choose a shorter clip, a smaller --size or --quality high; or say --yes.",
        )
    large = any(width * height > FINE for width, height in sizes)
    finer = " Strokes are laid out at 1.5 megapixels; what is finer comes from the network." if large else ""
    if not quiet:
        console.talk(f"Every frame is optimised on its own: about {words}, as timed just now, and the fit before it.{finer}")
        if frames > len(clips):
            console.talk("It comes nearest to the style, and flickers more than the other qualities.", "yellow")


def _fitted_values(one: Fitted) -> dict[str, object]:
    return {
        "name": one.name,
        "path": str(one.path),
        "size": one.size,
        "modified": one.modified,
        "facts": one.facts,
        "problem": one.problem,
    }
