"""A folder in which arm64 programs run on this machine: Debian's Python and the interpreter.

Nothing of the host is changed: apt gets a configuration, lists and a cache of its own, packages are
unpacked and never installed, and QEMU looks for the guest's files in the folder first (`-L`). No
root is needed.

The folder holds

    root/       Debian's arm64 packages, unpacked, and what the guest shall see of its processor
    packages/   numpy and the interpreter, from wheels
    made.json   what they were made from; written last, so that half a folder is never taken
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import EdgeIdsError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_RECIPE_VERSION: Final = 1
_PROGRAMS: Final = {"qemu-aarch64": "qemu-user", "apt-get": "apt", "dpkg-deb": "dpkg"}
# Whatever these need comes with them: the C library, compression, hashes.
_DEBIAN: Final = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
_WHEELS: Final = ("numpy", "ai-edge-litert")
# The processor of a Raspberry Pi 4: an ordinary gateway, without the newer dot products.
_PROCESSOR: Final = "cortex-a72"
# manylinux tags up to Debian 12's C library; pip takes only those that it is given.
_GLIBC_MINORS: Final = range(17, 37)
# A download of 16 MB and one of 30 MB: a network that needs longer is broken.
_STEP_TIMEOUT_S: Final = 600

# QEMU 7 shows the guest the host's /proc/cpuinfo. The interpreter's processor detection finds no
# Arm core in it and crashes (ai-edge-litert 2.2 and 2.3), so the guest gets a processor to read.
GUEST_FILES: Final = {
    "proc/cpuinfo": """\
processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

""",
    "sys/devices/system/cpu/possible": "0\n",
    "sys/devices/system/cpu/present": "0\n",
}


class EmulationError(EdgeIdsError):
    """An emulated machine cannot be prepared or does not work."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A prepared folder."""

    folder: Path

    def command(self) -> str:
        """What to give to `edge-convert --interpreter`.

        Raises:
            EmulationError: The folder was not prepared, or QEMU is missing.
        """
        facts = self.facts()
        if facts is None:
            raise EmulationError(
                f"{self.folder} is not prepared; run: python -m benchmarks arm64 prepare"
                f" {shlex.quote(str(self.folder))}"
            )
        require({"qemu-aarch64": _PROGRAMS["qemu-aarch64"]})
        folder = self.folder.resolve()
        root = folder / "root"
        path = os.pathsep.join((str(_CHECKOUT), str(folder / "packages")))
        emulator = ("qemu-aarch64", "-cpu", _PROCESSOR, "-L", str(root))
        python = (str(root / "usr" / "bin" / f"python{facts['python']}"), "-s")
        return shlex.join(("env", f"PYTHONPATH={path}", *emulator, *python))

    def facts(self) -> dict[str, Any] | None:
        """What the folder was made from; None where it is missing, half made, or of old."""
        try:
            facts: dict[str, Any] = json.loads((self.folder / "made.json").read_bytes())
        except (OSError, ValueError):
            return None
        return facts if facts.get("recipe") == recipe() else None

    def check(self) -> None:
        """Let the emulated Python say which interpreters it has.

        Raises:
            EmulationError: It does not start, or has none that works.
        """
        command = shlex.split(self.command())
        told = _run(
            (*command, "-m", "edge_agent.detect.trial", "--runtimes"), "the emulated Python"
        )
        broken = {name: why for name, why in json.loads(told).items() if why is not None}
        if broken or not json.loads(told):
            why = "; ".join(broken.values()).rstrip(".") or "none is installed"
            raise EmulationError(
                f"{self.folder}: no interpreter works there ({why}); remove it and prepare it"
                " again."
            )


def recipe() -> dict[str, Any]:
    """What a folder depends on; another recipe makes another folder."""
    constraints = (_CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {
        "version": _RECIPE_VERSION,
        "debian": list(_DEBIAN),
        "wheels": [line for line in constraints if line.partition("==")[0] in _WHEELS],
    }


def require(programs: dict[str, str]) -> None:
    """Check for programs, given with their Debian packages.

    Raises:
        EmulationError: Some are missing.
    """
    missing = [name for name in programs if shutil.which(name) is None]
    if "apt-get" in missing or "dpkg-deb" in missing:
        raise EmulationError(
            f"{' and '.join(missing)} missing: the arm64 machine is made of Debian's packages;"
            " prepare it on Debian, or in a container of it."
        )
    if missing:
        packages = " ".join(programs[name] for name in missing)
        raise EmulationError(f"{', '.join(missing)} is missing; run: apt-get install {packages}.")


def prepare(folder: Path, tell: Callable[[str], None] = lambda _: None) -> Machine:
    """Make the folder unless it is there, and check that it works.

    Args:
        folder: Where; its parent must exist or be creatable, and it must be new or of an earlier
            call.
        tell: Called with a few words whenever a step begins.

    Raises:
        EmulationError: Something is missing here, cannot be fetched, or does not work.
        OutputError: The folder cannot be written, or holds something else.
    """
    require(_PROGRAMS)
    machine = Machine(folder)
    if machine.facts() is None:
        _refuse_strangers(folder)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                prefix=f".{folder.name}.", dir=folder.parent, ignore_cleanup_errors=True
            ) as name:
                made = Path(name) / "made"
                _make(made, Path(name) / "apt", tell)
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be written ({error.strerror}); choose another folder."
            ) from error
    tell("starting Python under emulation")
    machine.check()
    return machine


def _refuse_strangers(folder: Path) -> None:
    """Only an earlier machine may be replaced."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and not (folder / "made.json").is_file():
        raise OutputError(
            f"{folder}: holds something else than an earlier arm64 machine; name a new folder."
        )


def _make(folder: Path, apt: Path, tell: Callable[[str], None]) -> None:
    root = folder / "root"
    root.mkdir(parents=True)
    tell("fetching Debian's arm64 packages")
    for package in _fetched(apt):
        _run(("dpkg-deb", "-x", str(package), str(root)), "dpkg-deb")
    for name, content in GUEST_FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    python = (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
    tell(f"fetching {' and '.join(_WHEELS)} for Python {python}, arm64")
    _install_wheels(folder / "packages", python)
    facts = {"recipe": recipe(), "python": python}
    (folder / "made.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _fetched(apt: Path) -> list[Path]:
    """Debian's arm64 packages, downloaded from the sources that this host uses."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    # The host's configuration is left out, because its hooks work on the host; how it reaches the
    # network is taken over.
    network = _run(("apt-config", "dump", "--format", '%F "%v";%n', "Acquire"), "apt-config")
    own = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::main": apt / "none",
        "Dir::Etc::parts": apt / "none.d",
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
    }
    config = apt / "apt.conf"
    (apt / "none.d").mkdir()
    lines = (f'{name} "{value}";' for name, value in own.items())
    config.write_text(network + "\n".join(lines) + "\n", encoding="utf-8")
    remedy = "check the network, and that apt's sources are Debian's, which have arm64"
    options = ("--quiet", "--yes", "--no-install-recommends", "--download-only")
    for order in (("update",), (*options, "install", *_DEBIAN)):
        _run(("apt-get", *order), "apt-get", remedy, APT_CONFIG=str(config))
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _install_wheels(target: Path, python: str) -> None:
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in _GLIBC_MINORS]
    arguments = (
        *("install", "--quiet", "--no-compile", "--disable-pip-version-check"),
        *("--target", str(target), "--only-binary", ":all:", "--implementation", "cp"),
        *("--python-version", python),
        *(f"--platform={platform}" for platform in ("manylinux2014_aarch64", *platforms)),
        *("--constraint", str(_CHECKOUT / "constraints.txt")),
        *_WHEELS,
    )
    remedy = "check the network, and that pip is installed here"
    _run((sys.executable, "-m", "pip", *arguments), "pip", remedy)


def _run(
    command: Sequence[str], name: str, remedy: str = "prepare it again", **environment: str
) -> str:
    """Standard output of a program that must succeed.

    Raises:
        EmulationError: It failed or took too long; its last words are told.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_STEP_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EmulationError(
            f"{name} needs more than {_STEP_TIMEOUT_S} s; check the network, and try again."
        ) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["it says nothing"]
        raise EmulationError(
            f"{name} fails with exit code {done.returncode} ({last[0].rstrip('.')}); {remedy}."
        )
    return done.stdout
