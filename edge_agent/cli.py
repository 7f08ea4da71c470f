"""`edge-agent`: the command line of the gateway."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from edge_agent import __version__
from edge_agent.console import run_command
from edge_agent.contract.profiles import PROFILES, Padding
from edge_agent.extraction import extract as write_rows
from edge_agent.metering import CaptureMeter

_CAPTURE = click.Path(path_type=Path, allow_dash=True)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-agent")
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Detect attacks on an IoT network from its packets.

    \b
    Example:
      edge-agent replay capture.pcap.gz --model model.tflite
    """
    context.obj = debug


@main.command()
@click.argument("capture", type=_CAPTURE)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="gateway",
    show_default=True,
    help="; ".join(f"{profile.name}: {profile.summary}" for profile in PROFILES.values()) + ".",
)
@click.option(
    "-o", "--output", type=_CAPTURE, required=True, help="CSV to write; - for standard output."
)
@click.option("--allow-cut", is_flag=True, help="Take a capture that is cut as far as it goes.")
@click.option(
    "--count-padding",
    is_flag=True,
    help="Take Ethernet padding for TCP payload, as the tool did that made the CSVs of 2017.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def extract(
    debug: bool,
    capture: Path,
    profile: str,
    output: Path,
    allow_cut: bool,
    count_padding: bool,
    as_json: bool,
) -> None:
    """Meter a CAPTURE (pcap or pcapng, gzipped or not; - for standard input) into flow rows.

    \b
    Example:
      edge-agent extract capture.pcap --profile improved --output flows.csv
    """

    def work() -> None:
        source = CaptureMeter(
            capture,
            PROFILES[profile],
            allow_cut=allow_cut,
            padding=Padding.COUNT if count_padding else None,
        )
        rows = write_rows(source, output)
        summary = {**source.reader.summary(), "flows": rows}
        if as_json:
            # With the rows on standard output, the summary must not mix with them.
            print(json.dumps(summary), file=sys.stderr if str(output) == "-" else sys.stdout)
        else:
            facts = ", ".join(f"{count:,} {name}" for name, count in summary.items())
            print(f"{capture}: {facts}.", file=sys.stderr)

    run_command("edge-agent extract", debug, work)


if __name__ == "__main__":
    main()
