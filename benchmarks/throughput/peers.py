"""Other flow meters: how to run them, whether they are there, and how to install them.

Python packages live in a virtual environment of their own under the benchmark's folder, apart from
everything of ours; the other programs are Debian's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.throughput.contenders import TCPDUMP
from benchmarks.throughput.measure import ROOT, Contender
from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.throughput.traces import Trace

NFSTREAM: Final = "NFStream"

# cicflowmeter 0.2.0 hooks into sessions of scapy that 2.6 changed: with a later one it runs through
# a capture and finds nothing.
REQUIREMENTS: Final = ("nfstream==6.6.0", "cicflowmeter==0.2.0", "scapy==2.5.0")
PACKAGES: Final = ("softflowd", "nfdump", "tshark")

_ALL: Final = sys.maxsize

# Where softflowd sends its records: nobody listens, as on a gateway whose collector is down. UDP's
# discard port.
_NOWHERE: Final = "127.0.0.1:9"


class InstallError(EdgeIdsError):
    """A peer could not be installed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another meter.

    Attributes:
        name: For tables and JSON.
        program: Its executable or package.
        what: The command as it is run, for people.
        share: Packets it is given at most: slow ones take the first part of the trace.
        command: Command line from an executable, a capture and a folder for results.
        package: The Python package it comes in; None for a program of the system.
        flows: Number of flows, from its standard output and the folder.
    """

    name: str
    program: str
    what: str
    share: int
    command: Callable[[str, Path, Path], Sequence[str]]
    package: str | None = None
    flows: Callable[[str, Path], int | None] = lambda _said, _folder: None


def _csv_rows(_said: str, folder: Path) -> int:
    with (folder / "cicflowmeter.csv").open("rb") as stream:
        return sum(1 for _ in stream) - 1


def _softflowd_flows(said: str, _folder: Path) -> int | None:
    found = re.search(r"Flows expired: (\d+)", said)
    return int(found[1]) if found else None


def _nfpcapd(program: str, capture: Path, folder: Path) -> tuple[str, ...]:
    output = folder / "nfpcapd"
    output.mkdir(exist_ok=True)
    return (program, "-r", str(capture), "-w", str(output))


PEERS: Final = (
    Peer(
        NFSTREAM,
        "nfstream",
        "NFStreamer(statistical_analysis=True, n_dissections=0, n_meters=1), flows counted",
        300_000,
        lambda python, capture, _: (
            python,
            str(ROOT / "benchmarks" / "throughput" / "nfstream_child.py"),
            str(capture),
        ),
        package="nfstream",
        # Warnings come first.
        flows=lambda said, _: int(said.split()[-1]),
    ),
    Peer(
        "cicflowmeter",
        "cicflowmeter",
        "cicflowmeter -f CAPTURE -c FLOWS.csv (the Python one)",
        10_000,
        lambda python, capture, folder: (
            python,
            "-m",
            "cicflowmeter.sniffer",
            "-f",
            str(capture),
            "-c",
            str(folder / "cicflowmeter.csv"),
        ),
        package="cicflowmeter",
        flows=_csv_rows,
    ),
    Peer(
        "softflowd",
        "softflowd",
        "softflowd -r CAPTURE -a -d -b -v 10 -m 1000000, IPFIX over UDP to nobody",
        _ALL,
        lambda program, capture, folder: (
            program,
            *("-r", str(capture), "-a", "-d", "-b", "-v", "10", "-m", "1000000", "-n", _NOWHERE),
            # Without -c none, reading a file now and then ends in waiting on the control socket.
            *("-c", "none", "-p", str(folder / "softflowd.pid")),
        ),
        flows=_softflowd_flows,
    ),
    Peer(
        "nfpcapd",
        "nfpcapd",
        "nfpcapd -r CAPTURE -w FOLDER",
        _ALL,
        _nfpcapd,
    ),
    Peer(
        "tshark",
        "tshark",
        "tshark -r CAPTURE -q -z conv,tcp -z conv,udp",
        300_000,
        lambda program, capture, _: (
            *(program, "-r", str(capture), "-q", "-z", "conv,tcp", "-z", "conv,udp"),
        ),
        flows=lambda said, _: said.count("<->"),
    ),
)


def python_of(folder: Path) -> Path:
    """The interpreter of the peers' environment, whether or not it is there."""
    return folder / "peers" / "bin" / "python"


def version(peer: Peer, folder: Path) -> str | None:
    """What is installed of a peer; None if nothing is, "" if it cannot be told."""
    if peer.package is None:
        return system_version(peer.program)
    question = f"from importlib.metadata import version; print(version({peer.package!r}))"
    try:
        done = subprocess.run(
            [python_of(folder), "-I", "-c", question], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def system_version(program: str) -> str | None:
    """The version of the Debian package that a program is from; None if it is not installed."""
    path = _which(program)
    if path is None:
        return None
    if shutil.which("dpkg-query") is None:
        return ""
    # Where /usr is merged, dpkg may know the file under its old name alone.
    for name in (path, path.removeprefix("/usr")):
        owner = _answer("dpkg-query", "--search", name).partition(":")[0]
        if owner:
            return _answer("dpkg-query", "--showformat=${Version}", "--show", owner)
    return ""


def _answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _which(program: str) -> str | None:
    # softflowd is in a folder that only root's path has.
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def contender(peer: Peer, trace: Trace, folder: Path, scratch: Path) -> Contender:
    """A peer that is installed, on its share of the trace.

    Args:
        peer: The peer.
        trace: No longer than its share.
        folder: The benchmark's folder, with the peers' environment.
        scratch: Where the peer may write.
    """
    program = str(python_of(folder)) if peer.package else _which(peer.program) or peer.program
    return Contender(
        peer.name,
        trace,
        lambda capture: peer.command(program, capture, scratch),
        lambda said: peer.flows(said, scratch),
        TCPDUMP,
        needs_flows=peer.name != "nfpcapd",
    )


def install(folder: Path) -> None:
    """Install all peers.

    Raises:
        InstallError: pip or apt-get failed; it has said why.
    """
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    call(sys.executable, "-m", "venv", str(folder / "peers"))
    call(str(python_of(folder)), *pip, *REQUIREMENTS)
    if shutil.which("apt-get") is None:
        raise InstallError(f"there is no apt-get here; install {', '.join(PACKAGES)} yourself.")
    root = () if os.geteuid() == 0 else ("sudo",)
    call(*root, "apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES)


def call(*command: str) -> None:
    """Run an installer.

    Raises:
        InstallError: It failed; it has said why.
    """
    # Our own pins are not theirs.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    environment.pop("PIP_CONSTRAINT", None)
    try:
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InstallError(f"{' '.join(command)} failed: {error}.") from error
