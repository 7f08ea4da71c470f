"""`edge-agent run`, `check` and `selftest`: the commands that a configuration drives."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edge_agent.console import run_command
from edge_agent.metering import tell_if_slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config import Config

_CONFIG = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file (TOML); conf.d/*.toml beside it are read after it.  [default:"
    " /etc/edge-ids/agent.toml, where it exists]",
)
# The names in `checking.CHECKS`, which only that command shall import; a test holds them equal.
CHECKS: Final = (
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


@click.command()
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


@click.command()
@_configured
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(CHECKS),
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


@click.command()
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


COMMANDS: Final = (run, check, selftest)
"""What `edge-agent` takes over."""
