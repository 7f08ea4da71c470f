"""`edge-agent`: the command line of the gateway."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
    from collections.abc import Callable, Mapping

    from edge_agent.config import Config
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


_CONFIG = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file (TOML); conf.d/*.toml beside it are read after it.  [default:"
    " /etc/edge-ids/agent.toml, where it exists]",
)
# `checking.CHECKS`, which only that command shall import; a test holds them equal.
_CHECKS = (
    *("privileges", "interfaces", "filter", "offloads", "model", "broker", "clock", "disk"),
    "memory",
)
_BOARD = click.option(
    "--board",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Board profile, such as raspberry-pi-4; auto looks which board this is, none takes none.",
)
_SETTINGS = click.option(
    "--set",
    "settings",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    help="Any other setting; may be given several times.",
)


def _configured(function: Callable[..., None]) -> Callable[..., None]:
    """The options that commands on the configuration share."""
    for option in reversed(
        (
            _CONFIG,
            click.option(
                "-i",
                "--interface",
                "interfaces",
                metavar="NAME",
                multiple=True,
                help="Interface to listen on, or any; may be given several times.",
            ),
            click.option("-m", "--model", metavar="FILE", help="Model file of edge-convert."),
            click.option(
                "--broker", metavar="URL", help="mqtt://[user@]host[:port] or mqtts://..."
            ),
            click.option(
                "--capture-user",
                metavar="NAME",
                help="Become this user once the capture sockets are open.",
            ),
            _BOARD,
            _SETTINGS,
        )
    ):
        function = option(function)
    return function


def _loader(
    config_file: Path | None,
    interfaces: tuple[str, ...],
    model: str | None,
    broker: str | None,
    capture_user: str | None,
    board: str,
    settings: tuple[str, ...],
) -> Callable[[], Config]:
    """What reads the configuration, at the start and at every reload."""
    from edge_agent.config import Config  # noqa: PLC0415

    flags = {
        "--interface": interfaces,
        "--model": model,
        "--broker": broker,
        "--capture-user": capture_user,
        "--set": settings,
    }
    return lambda: Config.load(
        config_file,
        flags,
        os.environ,
        None if board == "none" else board,
    )


@main.command()
@_configured
@click.option("--print-config", is_flag=True, help="Print every setting and its origin, and stop.")
@click.pass_obj
def run(debug: bool, /, print_config: bool, **options: Any) -> None:
    """Watch the network: the service. Ends with SIGTERM or Ctrl-C; SIGHUP reloads.

    Settings come from, later ones win: defaults, board profile, file, conf.d, variables
    EDGE_AGENT_SECTION_KEY, options.

    \b
    Example:
      sudo edge-agent run --interface eth0 --model model.tflite --broker mqtt://localhost
      edge-agent run --config /etc/edge-ids/agent.toml
    """

    def work() -> None:
        load = _loader(**options)
        config = load()
        if print_config:
            print(config.to_toml(with_origins=True), end="")
            return
        from edge_agent.service.service import Service  # noqa: PLC0415

        tell_if_slow("edge-agent run")
        Service(config, load).run()

    run_command("edge-agent run", debug, work)


@main.command()
@_configured
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(_CHECKS),
    help="Leave a check out; may be given several times. The service starts without a broker, so"
    " its unit leaves that one out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def check(debug: bool, /, without: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Look whether the service can run here.

    At privileges, interfaces, offloads, model and signature, broker, clock, disk and memory. Exit
    code 0: it can, perhaps with warnings; 1: it cannot.

    \b
    Example:
      edge-agent check --config /etc/edge-ids/agent.toml
      edge-agent check --interface eth0 --model model.tflite --json
    """

    def work() -> None:
        from edge_agent import checking  # noqa: PLC0415

        findings = checking.run_checks(_loader(**options)(), without=without)
        print(checking.as_json(findings) if as_json else checking.as_table(findings))
        if code := checking.exit_code(findings):
            sys.exit(code)

    run_command("edge-agent check", debug, work)


@main.command()
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def selftest(debug: bool, /, as_json: bool, **options: Any) -> None:
    """Prove that it detects: a recording of real attacks, through the whole agent.

    The recording comes with the agent; the model is the configured one. Exit code 0: every attack
    was told and nobody else accused; 1: not so.

    \b
    Example:
      edge-agent selftest --config /etc/edge-ids/agent.toml
      edge-agent selftest --model model.tflite --json
    """

    def work() -> None:
        from edge_agent.selftest import run_selftest  # noqa: PLC0415
        from edge_agent.service.reload import open_detector  # noqa: PLC0415

        outcome = run_selftest(open_detector(_loader(**options)()))
        if as_json:
            print(json.dumps(outcome.to_json()))
        else:
            for one in outcome.detections:
                told = f"told after {one.delay_s:.1f} s" if one.delay_s is not None else "MISSED"
                print(f"{one.attack:<22} {one.source:<16} {told}")
            print(f"{outcome.line()}.")
        if not outcome.passed:
            sys.exit(1)

    run_command("edge-agent selftest", debug, work)


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


if __name__ == "__main__":
    main()
