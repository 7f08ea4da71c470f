"""`edge-convert`: a trained model becomes one checked model file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from converters.conversion import convert
from converters.file_commands import diff, inspect, keygen, sign, verify
from converters.formats import Changes, Format, Recurrence
from converters.gate import DEFAULT_MAX_F1_DROP_POINTS
from converters.request import Request
from converters.results import to_json
from converters.several import convert_all, sweep_shares
from converters.telling import summary
from edge_agent import __version__
from edge_agent.console import end_progress, progress_line, run_command

if TYPE_CHECKING:
    from collections.abc import Callable

_AUTO: Final = "auto"
_ALL: Final = "all"
_TOOLS: Final = {command.name: command for command in (inspect, verify, diff, sign, keygen)}


class _WithTools(click.Command):
    """A command whose first argument may instead be one of `_TOOLS`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """As click's; of the tool that is named, if one is."""
        tool = _TOOLS.get(args[0]) if args else None
        if tool is None:
            return super().make_context(info_name, args, parent, **extra)
        of_tool: click.Context = tool.make_context(
            f"{info_name} {args[0]}", args[1:], parent, **extra
        )
        return of_tool

    def invoke(self, ctx: click.Context) -> Any:
        """Run whichever command the context is of."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the tools below the options."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Commands for model files (each has --help)"):
            formatter.write_dl(
                [(str(name), tool.get_short_help_str(limit=100)) for name, tool in _TOOLS.items()]
            )


def _shares(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Shares that stand between commas, in ascending order, each once."""
    if text is None:
        return None
    try:
        shares = tuple(sorted({float(share) for share in text.split(",")}))
    except ValueError:
        shares = ()
    if not shares or not all(0 <= share < 1 for share in shares):
        raise click.BadParameter(f"{text!r} is no list of shares such as 0,0.25,0.5,0.75")
    return shares


def _share(name: str, to: str, text: str) -> Callable[[Any], Any]:
    return click.option(
        name,
        to,
        type=click.FloatRange(min=0, max=1, max_open=True),
        default=0.0,
        metavar="SHARE",
        help=text,
    )


@click.command(cls=_WithTools, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--int8",
    "form",
    flag_value=Format.INT8.value,
    default=True,
    help="Whole model in 8-bit integers (the default): smallest, and made for the agent.",
)
@click.option("--float32", "form", flag_value=Format.FLOAT32.value, help="Weights as trained.")
@click.option("--float16", "form", flag_value=Format.FLOAT16.value, help="Weights in half floats.")
@click.option(
    "--dynamic-range",
    "form",
    flag_value=Format.DYNAMIC_RANGE.value,
    help="8-bit weights, float arithmetic.",
)
@click.option(
    "--all",
    "form",
    flag_value=_ALL,
    help="Every format of every network of the run, in one table; --output is then a folder.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="MODEL",
    help="The model file; conversion.json is written beside it.",
)
@click.option(
    "--model",
    metavar="NAME",
    help="Which model of the run; by default its first network, edge size first.",
)
@click.option(
    "--lstm",
    type=click.Choice([_AUTO, *(recurrence.value for recurrence in Recurrence)]),
    default=_AUTO,
    show_default=True,
    help="Lay an LSTM out step by step, as one operator, or as measured to be faster.",
)
@_share(
    "--shrink",
    "shrink_share",
    "Remove this share of filters and units and teach the rest: smaller and faster.",
)
@_share(
    "--prune",
    "prune_share",
    "Set this share of the weights to zero and fine-tune: packs better, runs alike.",
)
@click.option(
    "--cluster",
    "clusters",
    type=click.IntRange(min=2, max=256),
    metavar="N",
    help="Leave each kernel N distinct weights and fine-tune: packs better, runs alike.",
)
@click.option(
    "--sweep",
    callback=_shares,
    metavar="SHARE,...",
    help="Shrink and prune to each of these shares, and draw F1, size and latency; --output is"
    " then a folder.",
)
@click.option(
    "--max-f1-drop",
    type=click.FloatRange(min=0),
    default=DEFAULT_MAX_F1_DROP_POINTS,
    show_default=True,
    metavar="POINTS",
    help="Points of F1 (hundredths) on the test rows that the conversion may cost.",
)
@click.option(
    "--interpreter",
    "interpreters",
    multiple=True,
    metavar="PYTHON",
    help="Try the file out in the interpreters of this Python, too; may be given several times.",
)
@click.option(
    "--c-array",
    is_flag=True,
    help="Write model and scaler as C source, too, for TensorFlow Lite Micro; int8 only.",
)
@click.option("--json", "as_json", is_flag=True, help="Print conversion.json instead of a table.")
@click.option("--debug", is_flag=True, help="Show TensorFlow's log, and tracebacks.")
@click.version_option(__version__, prog_name="edge-convert")
def main(
    run: Path,
    form: str,
    output: Path,
    model: str | None,
    lstm: str,
    shrink_share: float,
    prune_share: float,
    clusters: int | None,
    sweep: tuple[float, ...] | None,
    max_f1_drop: float,
    interpreters: tuple[str, ...],
    c_array: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Convert a model of the run folder RUN into one file for the agent.

    The file is tried out on the run's test rows in every interpreter that is installed, through the
    agent's own code, beside the full model. Where it differs too much, or any property is broken,
    no file is written and the exit code is 3.

    \b
    Examples:
      edge-convert --int8 runs/first --output model.tflite
      edge-convert --int8 --shrink 0.5 --max-f1-drop 0.2 runs/first --output small.tflite
      edge-convert --all runs/first --output formats/
      edge-convert --sweep 0,0.25,0.5,0.75 runs/first --output sweep/
      edge-convert inspect model.tflite
    """
    if sweep and form == _ALL:
        raise click.UsageError("--sweep is for one format, so --all does not go with it.")
    if sweep and (shrink_share or prune_share):
        raise click.UsageError(
            "--sweep sets the shares, so --shrink and --prune do not go with it."
        )
    if c_array and (form != Format.INT8.value or sweep):
        raise click.UsageError("--c-array is for one int8 file: it goes with --int8 alone.")
    several = form == _ALL or bool(sweep)
    if output.is_file() if several else output.is_dir():
        there_is = "a file, and a folder" if several else "a folder, and a file"
        raise click.UsageError(f"--output {output} is {there_is} is to be written.")
    request = Request(
        run=run,
        model=model,
        changes=Changes(prune_share, shrink_share, clusters or 0),
        recurrence=None if lstm == _AUTO else Recurrence(lstm),
        max_f1_drop_points=max_f1_drop,
        interpreters=interpreters,
        show_log=debug,
        tell=lambda words: progress_line(f"{words} ..."),
    )

    def work() -> None:
        if several:
            made = (
                sweep_shares(request, Format(form), sweep, output)
                if sweep
                else convert_all(request, output)
            )
            report, text, refused = made.report, made.text, made.refused
        else:
            report, refused = convert(request, Format(form), output, c_array=c_array), None
            text = summary(report)
        end_progress()
        sys.stdout.write(to_json(report).decode() + "\n" if as_json else text)
        sys.stdout.flush()
        if refused:
            raise refused

    run_command("edge-convert", debug, work)
