"""`edge-agent`: the command line of the gateway."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent import service_commands
from edge_agent.alerting.address import PASSWORD_VARIABLE, BrokerAddress, read_password
from edge_agent.capture.problems import STDIN
from edge_agent.console import end_progress, progress_line, run_command
from edge_agent.contract.alerts import is_node_name
from edge_agent.contract.profiles import PROFILES, Padding
from edge_agent.detect.interpreter import RUNTIMES
from edge_agent.extraction import Extraction
from edge_agent.extraction_jobs import Metering
from edge_agent.flow.limits import Limits
from edge_agent.metering import tell_if_slow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.contract.signature import Trust

_CAPTURE = click.Path(path_type=Path, allow_dash=True)
_FILE = click.Path(path_type=Path, dir_okay=False)
# What the compiled meter counts its entries with.
_MAX_FLOWS = 2**28


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edge-ids", prog_name="edge-agent")
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
@click.argument("captures", metavar="CAPTURE...", type=_CAPTURE, nargs=-1, required=True)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="gateway",
    show_default=True,
    help="; ".join(f"{profile.name}: {profile.summary}" for profile in PROFILES.values()) + ".",
)
@click.option(
    "-o",
    "--output",
    type=_CAPTURE,
    required=True,
    help="Table to write: .csv, .csv.gz or .parquet by its ending; - for CSV on standard output.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Meter so many files at once, each by itself: flows then do not go on from file to file.",
)
@click.option("--allow-cut", is_flag=True, help="Take a capture that is cut as far as it goes.")
@click.option(
    "--count-padding",
    is_flag=True,
    help="Take Ethernet padding for TCP payload, as the tool did that made the CSVs of 2017.",
)
@click.option(
    "--max-flows",
    type=click.IntRange(min=1, max=_MAX_FLOWS),
    default=Limits().max_flows,
    show_default=True,
    help="Flows that are open at once, about 500 bytes each; one more pushes another out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def extract(
    debug: bool,
    captures: tuple[Path, ...],
    profile: str,
    output: Path,
    jobs: int,
    allow_cut: bool,
    count_padding: bool,
    max_flows: int,
    as_json: bool,
) -> None:
    """Meter CAPTURES (pcap or pcapng, compressed or not; - for standard input) into flow rows.

    Several files are one capture, in the order given, unless there are --jobs. Writing is ten times
    faster, and Parquet possible, after pip install 'edge-ids[extract]'.

    \b
    Example:
      edge-agent extract capture.pcap --profile improved --output flows.csv
      edge-agent extract monday-*.pcap.gz --jobs 4 --output flows.parquet
    """

    def work() -> None:
        tell_if_slow("edge-agent extract")
        metering = Metering(
            PROFILES[profile],
            allow_cut=allow_cut,
            padding=Padding.COUNT if count_padding else None,
            limits=Limits(max_flows=max_flows),
        )
        summary = Extraction(captures, output, metering, jobs).run()
        # With the rows on standard output, the summary must not mix with them.
        _report(
            captures[0] if len(captures) == 1 else f"{len(captures)} captures",
            summary,
            as_json=as_json and output != STDIN,
        )

    run_command("edge-agent extract", debug, work)


_MODEL = click.option(
    "-m",
    "--model",
    type=_FILE,
    required=True,
    help="Model file of edge-convert; gives profile, features, scaling and threshold.",
)
_RUNTIME = click.option(
    "--runtime",
    type=click.Choice(["auto", *RUNTIMES]),
    default="auto",
    show_default=True,
    help="TFLite interpreter; auto takes the first that is installed.",
)

_PUBLIC_KEY = click.option(
    "--public-key",
    type=_FILE,
    help="Load the model file only if it is signed with a key of this file (PEM, one or several);"
    " see edge-convert keygen and sign.",
)


@main.command()
@click.argument("flows", type=_FILE)
@_MODEL
@_PUBLIC_KEY
@click.option("-o", "--output", type=_FILE, required=True, help="CSV to write; .gz compresses.")
@_RUNTIME
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def score(
    debug: bool,
    flows: Path,
    model: Path,
    public_key: Path | None,
    output: Path,
    runtime: str,
    as_json: bool,
) -> None:
    """Score the rows of a FLOWS CSV of the model's profile.

    Adds columns score and verdict, and family where the model names attack families.

    \b
    Example:
      edge-agent score flows.csv --model model.tflite --output scores.csv
    """

    def work() -> None:
        # Imported where they are used, here and below: the commands start without each other.
        from edge_agent.detect.detector import Detector  # noqa: PLC0415
        from edge_agent.detect.table import score_table  # noqa: PLC0415

        detector = Detector.open(model, runtime, _trust(public_key))
        summary = score_table(
            flows, detector, output, lambda rows: progress_line(f"{flows}: {rows:,} rows")
        )
        end_progress()
        _report(flows, asdict(summary), as_json=as_json)

    run_command("edge-agent score", debug, work)


@main.command()
@click.argument("capture", type=_CAPTURE)
@_MODEL
@_PUBLIC_KEY
@click.option(
    "--broker",
    metavar="URL",
    help="Publish alerts over MQTT: mqtt://[user@]host[:port] or mqtts://... Without it they are"
    " printed, one JSON object a line.",
)
@click.option("--node", default="replay", show_default=True, help="Name in topics and alerts.")
@click.option(
    "--password-file",
    type=_FILE,
    help=f"The broker user's password.  [default: variable {PASSWORD_VARIABLE}]",
)
@click.option("--ca-file", type=_FILE, help="Certificates to trust instead of the system's.")
@click.option(
    "--allow-plaintext", is_flag=True, help="Permit mqtt:// to a broker that is not this machine."
)
@_RUNTIME
@click.option("--allow-cut", is_flag=True, help="Take a capture that is cut as far as it goes.")
@click.option("--json", "as_json", is_flag=True, help="With --broker: print the summary as JSON.")
@click.pass_obj
def replay(
    debug: bool,
    capture: Path,
    model: Path,
    public_key: Path | None,
    broker: str | None,
    node: str,
    password_file: Path | None,
    ca_file: Path | None,
    allow_plaintext: bool,
    runtime: str,
    allow_cut: bool,
    as_json: bool,
) -> None:
    """Send a CAPTURE through the whole agent: meter, model, incidents, alerts.

    Runs as fast as it can; times in alerts are the capture's.

    \b
    Example:
      edge-agent replay capture.pcap.gz --model model.tflite
      edge-agent replay capture.pcap.gz --model model.tflite --broker mqtt://localhost
    """
    if not is_node_name(node):
        raise click.BadParameter(
            "a node name has letters, digits, '.', '_' and '-' only", param_hint="--node"
        )

    def work() -> None:
        from edge_agent.replaying import Replay  # noqa: PLC0415

        address = None
        if broker is not None:
            address = BrokerAddress.parse(
                broker,
                password=read_password(password_file, os.environ),
                ca_file=ca_file,
                allow_plaintext=allow_plaintext,
            )
        tell_if_slow("edge-agent replay")
        trust = _trust(public_key)
        summary = Replay(capture, model, node, address, runtime, allow_cut, trust).run()
        _report(capture, summary, as_json=as_json and broker is not None)

    run_command("edge-agent replay", debug, work)


def _trust(public_key: Path | None) -> Trust | None:
    if public_key is None:
        return None
    from edge_agent.signing import PublicKeys  # noqa: PLC0415

    return PublicKeys.read(public_key)


def _report(what: Path | str, summary: Mapping[str, int], *, as_json: bool) -> None:
    """Counts: for programs on standard output, else for people beside the results."""
    if as_json:
        print(json.dumps(summary))
    else:
        facts = ", ".join(f"{count:,} {name}" for name, count in summary.items())
        print(f"{what}: {facts}.", file=sys.stderr)


for _command in service_commands.COMMANDS:
    main.add_command(_command)


if __name__ == "__main__":
    main()
