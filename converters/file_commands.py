"""Commands of `edge-convert` for a model file that is there. None of them needs TensorFlow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters import diffing, inspecting, verifying
from converters.reading import ModelFile
from edge_agent.console import run_command
from edge_agent.contract.archive import read_model_file
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.files import write_atomically
from edge_agent.signing import PrivateKey, PublicKeys

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = click.Path(path_type=Path, dir_okay=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_DEBUG = click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
_PUBLIC_KEY = click.option(
    "--public-key",
    type=_FILE,
    help="Refuse the file unless it is signed with a key of this file (PEM, one or several).",
)


@click.command(name="inspect")
@click.argument("file", type=_FILE)
@_PUBLIC_KEY
@_JSON
@_DEBUG
def inspect(file: Path, public_key: Path | None, as_json: bool, debug: bool) -> None:
    """Show what the model FILE holds and says of itself.

    Columns, threshold, families, tensors, operators, sizes, figures, the gate's verdict, where it
    comes from, and who signed it; the signature is checked only with --public-key.

    \b
    Example:
      edge-convert inspect model.tflite
      edge-convert inspect model.tflite --json
    """

    def work() -> None:
        facts = inspecting.describe(ModelFile.open(file, _trust(public_key)))
        _print(facts, inspecting.text, as_json=as_json)

    run_command("edge-convert inspect", debug, work)


@click.command(name="verify")
@click.argument("file", type=_FILE)
@_PUBLIC_KEY
@_JSON
@_DEBUG
def verify(file: Path, public_key: Path | None, as_json: bool, debug: bool) -> None:
    """Check everything that can be checked of the model FILE, in each interpreter installed here.

    Exit code 1 where a check fails, 3 where all that failed is the conversion's gate.

    \b
    Example:
      edge-convert verify model.tflite --public-key fleet.key.pub
    """

    def work() -> None:
        made = list(verifying.checks(file, _trust(public_key)))
        if as_json:
            _print_json([check.to_json() for check in made])
        else:
            print(*made, sep="\n")
        # Before the last word, which goes to standard error.
        sys.stdout.flush()
        verifying.conclude(file, made)

    run_command("edge-convert verify", debug, work)


@click.command(name="diff")
@click.argument("first", metavar="A", type=_FILE)
@click.argument("second", metavar="B", type=_FILE)
@_JSON
@_DEBUG
def diff(first: Path, second: Path, as_json: bool, debug: bool) -> None:
    """Show what differs between the model files A and B, and whether B may replace A.

    It may, under a running agent, if both are fed alike. The exit code is 0 whether they differ or
    not; a program reads --json.

    \b
    Example:
      edge-convert diff model.tflite smaller.tflite
    """

    def work() -> None:
        report = diffing.compare_files(ModelFile.open(first), ModelFile.open(second))
        _print(report, diffing.text, as_json=as_json)

    run_command("edge-convert diff", debug, work)


@click.command(name="keygen")
@click.option(
    "-o",
    "--output",
    type=_FILE,
    required=True,
    metavar="KEY",
    help="The private key, for its owner alone; the public one is KEY.pub.",
)
@_DEBUG
def keygen(output: Path, debug: bool) -> None:
    """Make a pair of ed25519 keys to sign model files with, and print its fingerprint.

    KEY stays where models are signed. KEY.pub goes to the gateways, as --public-key. To change
    keys, give gateways a file of both .pub, one after the other, until all models are signed anew.

    \b
    Example:
      edge-convert keygen --output fleet.key
    """

    def work() -> None:
        key = PrivateKey.generate()
        public = key.save(output)
        print(f"{output}, {public}: key {key.key_id}")

    run_command("edge-convert keygen", debug, work)


@click.command(name="sign")
@click.argument("model", type=_FILE)
@click.option(
    "--key", type=_FILE, required=True, help="Private key of edge-convert keygen, mode 0600."
)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    metavar="SIGNED",
    help="Where the signed file goes.  [default: in MODEL's place]",
)
@_DEBUG
def sign(model: Path, key: Path, output: Path | None, debug: bool) -> None:
    """Sign the model file MODEL, every byte of it; an earlier signature is replaced.

    \b
    Example:
      edge-convert sign model.tflite --key fleet.key
      edge-agent replay capture.pcap.gz --model model.tflite --public-key fleet.key.pub
    """

    def work() -> None:
        private = PrivateKey.read(key)
        data = read_model_file(model)
        # A broken file must not get a signature that says it is as it should be.
        Bundle.from_bytes(data, model)
        target = output or model
        write_atomically(target, private.signed(data, model))
        print(f"{target}: signed by the key {private.key_id}")

    run_command("edge-convert sign", debug, work)


def _trust(public_key: Path | None) -> PublicKeys | None:
    return PublicKeys.read(public_key) if public_key else None


def _print(facts: dict[str, Any], text: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    if as_json:
        _print_json(facts)
    else:
        sys.stdout.write(text(facts))


def _print_json(facts: object) -> None:
    sys.stdout.write(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
