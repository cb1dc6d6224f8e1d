"""The command line: parse, call a command, hand the value to console. The only place that wires the parts together.

Nothing heavy is imported until a command needs it, so `--help` and `status` answer at once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from stylizer import console
from stylizer.config import Config, Places, load_config, places
from stylizer.errors import ConfigError, StylizerError

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's own complaint, wherever this version of Typer keeps it."""

app = typer.Typer(
    name="stylizer",
    help="Turns video into moving painting.",
    add_completion=True,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
styles_app = typer.Typer(help="Fitted styles: what is known, where it came from, how big it is.", invoke_without_command=True)
config_app = typer.Typer(help="Settings: what is in force, and where they live.", invoke_without_command=True)
app.add_typer(styles_app, name="styles", rich_help_panel="Look around")
app.add_typer(config_app, name="config", rich_help_panel="Look around")

PAINT, QUEUE, LOOK_AROUND = "Paint", "Queue", "Look around"
LOOK, FILE, WHERE, TALK = "Look", "Output", "Machine", "Talk"

Sources = Annotated[list[Path], typer.Argument(help="A clip, a picture, or a folder of numbered pictures.", show_default=False)]
Styles = Annotated[list[Path], typer.Option("--style", "-s", help="A style picture; give several to blend.", rich_help_panel=LOOK)]
Blend = Annotated[str, typer.Option(help="Share of each style, as 0.7,0.3.", show_default=False, rich_help_panel=LOOK)]
Strength = Annotated[float | None, typer.Option(help="0 is the photograph, 1 the painting.", rich_help_panel=LOOK)]
Brush = Annotated[float | None, typer.Option(help="Stroke size, 0.25 to 4.", rich_help_panel=LOOK)]
KeepColor = Annotated[bool | None, typer.Option("--keep-color/--no-keep-color", help="Keep the clip's own colours.", rich_help_panel=LOOK)]
Quality = Annotated[str, typer.Option(help="draft, standard or high.", show_default=False, rich_help_panel=LOOK)]
Size = Annotated[int | None, typer.Option(help="Long side in pixels; 0 is the source's.", rich_help_panel=LOOK)]
Seed = Annotated[int | None, typer.Option(help="Another number, another hand.", rich_help_panel=LOOK)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; beside the source by default.", rich_help_panel=FILE)]
Codec = Annotated[str, typer.Option(help="h264, hevc, av1, vp9, prores, …", show_default=False, rich_help_panel=FILE)]
Crf = Annotated[int | None, typer.Option(help="Lower is finer and bigger; -1 suits the codec.", rich_help_panel=FILE)]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda:0, …", show_default=False, rich_help_panel=WHERE)]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.", show_default=False, rich_help_panel=WHERE)]
BackendName = Annotated[str, typer.Option("--backend", help="auto, local, …", show_default=False, rich_help_panel=WHERE)]
AsJson = Annotated[bool, typer.Option("--json", help="Speak JSON, one object a line.", rich_help_panel=TALK)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.", rich_help_panel=TALK)]
Jobs = Annotated[list[int] | None, typer.Argument(help="Job numbers, as in status.", metavar="JOB…", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Every job that this can be done to.")]


def version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as installed

        console.line(f"stylizer {installed('stylizer')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    _version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        context.get_help()


@app.command(rich_help_panel=PAINT)
def run(
    sources: Sources,
    style: Styles,
    blend: Blend = "",
    output: Output = None,
    strength: Strength = None,
    brush: Brush = None,
    keep_color: KeepColor = None,
    quality: Quality = "",
    size: Size = None,
    seed: Seed = None,
    codec: Codec = "",
    crf: Crf = None,
    device: Device = "",
    precision: Precision = "",
    backend: BackendName = "",
    again: Annotated[bool, typer.Option("--again", help="Paint anew, even if it is done already.", rich_help_panel=FILE)] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Paint clips, pictures or folders of pictures. The same command again carries on where it stopped."""


@app.command(rich_help_panel=PAINT)
def preview(
    clip: Annotated[Path, typer.Argument(help="A clip, a picture, or a folder of numbered pictures.", show_default=False)],
    style: Annotated[list[Path], typer.Option("--style", "-s", help="A style picture; one row each.", rich_help_panel=LOOK)],
    frames: Annotated[int, typer.Option(help="Pictures a row, spread over the clip.", min=1, max=12)] = 4,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The sheet, a PNG; CLIP.preview.png by default.")] = None,
    strength: Strength = None,
    brush: Brush = None,
    keep_color: KeepColor = None,
    device: Device = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """A contact sheet in seconds: frames of the clip in each style, and how long the whole clip would take."""


@app.command(rich_help_panel=QUEUE)
def status(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing until nothing is left to do.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is queued, being painted and done."""


@app.command(rich_help_panel=QUEUE)
def pause(jobs: Jobs = None, every: All = False, as_json: AsJson = False) -> None:
    """Hold jobs; chunks that are being painted are finished first."""


@app.command(rich_help_panel=QUEUE)
def resume(jobs: Jobs = None, every: All = False, as_json: AsJson = False) -> None:
    """Carry on with paused jobs."""


@app.command(rich_help_panel=QUEUE)
def cancel(jobs: Jobs = None, every: All = False, as_json: AsJson = False) -> None:
    """Stop jobs; what they have painted so far is kept for a retry."""


@app.command(rich_help_panel=QUEUE)
def retry(jobs: Jobs = None, every: All = False, as_json: AsJson = False) -> None:
    """Try failed or cancelled jobs again; finished chunks are not painted twice."""


@app.command(rich_help_panel=QUEUE)
def redo(
    job: Annotated[int, typer.Argument(help="The job.", show_default=False)],
    chunks: Annotated[list[int] | None, typer.Argument(help="Chunks, as in status; all by default.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Paint a job, or some of its chunks, anew."""


@app.command(rich_help_panel=QUEUE)
def rm(jobs: Jobs = None, every: All = False, as_json: AsJson = False) -> None:
    """Forget jobs that are finished or failed; painted files stay."""


@app.command(rich_help_panel=QUEUE)
def move(
    job: Annotated[int, typer.Argument(help="The job.", show_default=False)],
    place: Annotated[int, typer.Argument(help="Its new place in the queue; 1 is next.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Change a job's place in the queue."""


@app.command(rich_help_panel=LOOK_AROUND)
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: what works, what does not, what to do."""


@styles_app.callback()
def styles_list(context: typer.Context, as_json: AsJson = False) -> None:
    """The fitted styles in the cache."""


@styles_app.command("show")
def styles_show(name: Annotated[str, typer.Argument(help="As in stylizer styles.", show_default=False)], as_json: AsJson = False) -> None:
    """One fitted style: its picture and its facts."""


@styles_app.command("fit")
def styles_fit(
    clip: Annotated[Path, typer.Argument(help="The clip to fit to.", show_default=False)],
    style: Styles,
    blend: Blend = "",
    brush: Brush = None,
    keep_color: KeepColor = None,
    quality: Quality = "",
    size: Size = None,
    seed: Seed = None,
    device: Device = "",
    precision: Precision = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit a style to a clip now, without painting; a later run finds it ready."""


@styles_app.command("rm")
def styles_rm(
    names: Annotated[list[str] | None, typer.Argument(help="As in stylizer styles.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove fitted styles; they are fitted again when needed."""


@config_app.callback()
def config_default(context: typer.Context, as_json: AsJson = False) -> None:
    """The settings in force."""


@config_app.command("show")
def config_show(as_json: AsJson = False) -> None:
    """The settings in force."""


@config_app.command("path")
def config_path(as_json: AsJson = False) -> None:
    """Where the settings live."""


@config_app.command("init")
def config_init() -> None:
    """Write a commented config.toml to change."""



def main() -> None:
    """Run the command line. Everything expected ends as one sentence and its exit code; only bugs show a traceback."""
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
    except StylizerError as error:
        code = console.failure(error, as_json=as_json)
    except UsageError as error:
        code = console.failure(ConfigError(*_usage(error)), as_json=as_json)
    except BrokenPipeError:
        code = console.hung_up()
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
