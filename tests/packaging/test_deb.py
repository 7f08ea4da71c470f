"""The Debian packages: what is in them, for whom, and that the same sources give the same bytes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGING = _CHECKOUT / "packaging"
_PYPROJECT = (_CHECKOUT / "pyproject.toml").read_text("utf-8")
_VERSION = re.findall(r'^version = "(.+)"$', _PYPROJECT, re.MULTILINE)[0]
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# The field e_machine of an ELF file.
_ELF_MACHINES = {"amd64": 62, "arm64": 183}
_COMPILERS = [f"{machine}-linux-gnu-gcc" for machine in _MACHINES.values()]

_missing = [
    name
    for name in (*_COMPILERS, "dpkg-deb", "readelf", "unzip", "git")
    if shutil.which(name) is None
]
pytestmark = [
    pytest.mark.skipif(
        os.environ.get("EDGE_IDS_TEST_PACKAGES") != "1",
        reason="takes minutes, root and Debian's packages: make test-deb",
    ),
    pytest.mark.skipif(bool(_missing), reason=f"{', '.join(_missing)} missing"),
    # Wheels are fetched, a root is made, and systemd takes its time to give up.
    pytest.mark.timeout(900),
]


def build(architecture: str, folder: Path) -> Path:
    subprocess.run(
        [str(_PACKAGING / "build-deb"), architecture, str(folder)],
        env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return folder / f"edge-ids_{_VERSION}_{architecture}.deb"


def unpacked(package: Path, folder: Path) -> Path:
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(folder)], check=True)
    return folder


def field(package: Path, name: str) -> str:
    command = ["dpkg-deb", "--field", str(package), name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session", params=list(_MACHINES))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def package(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(architecture, tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="session")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(package, tmp_path_factory.mktemp("tree") / "root")


def test_the_fields_say_what_it_is(package: Path, architecture: str) -> None:
    assert field(package, "Package") == "edge-ids"
    assert field(package, "Version") == _VERSION
    assert field(package, "Architecture") == architecture
    needed = field(package, "Depends").split(", ")
    # The wheels are for Debian 12's Python alone.
    assert {"python3 (>= 3.11)", "python3 (<< 3.12)", "python3-venv"} <= set(needed)


def test_every_file_is_listed_and_root_s(package: Path) -> None:
    told = subprocess.run(
        ["dpkg-deb", "--contents", str(package)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {line.split()[1] for line in told} == {"root/root"}
    files = {line.split()[5].removeprefix(".") for line in told if not line.startswith("d")}
    wheels = {name for name in files if name.startswith("/usr/lib/edge-ids/wheels/")}
    assert files - wheels == {
        "/etc/edge-ids/agent.toml",
        "/lib/systemd/system/edge-agent.service",
        "/lib/systemd/system/edge-agent-retry.timer",
        "/usr/bin/edge-agent",
        "/usr/lib/sysusers.d/edge-ids.conf",
        "/usr/lib/tmpfiles.d/edge-ids.conf",
        "/usr/share/doc/edge-ids/README.md",
        "/usr/share/doc/edge-ids/changelog.gz",
        "/usr/share/doc/edge-ids/copyright",
        "/usr/share/lintian/overrides/edge-ids",
    }


def test_the_configuration_is_a_conffile(tree: Path) -> None:
    assert (tree / "DEBIAN/conffiles").read_text("utf-8") == "/etc/edge-ids/agent.toml\n"


def test_checksums_cover_every_file(tree: Path) -> None:
    lines = (tree / "DEBIAN/md5sums").read_text("utf-8").splitlines()
    told = {line[34:]: line[:32] for line in lines}
    found = {
        str(path.relative_to(tree)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink() and path.parent.name != "DEBIAN"
    }
    assert told == found


def test_pinned_wheels_of_the_base_install_and_of_signing(tree: Path, architecture: str) -> None:
    pins = dict(
        line.split("==")
        for line in (_CHECKOUT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    pinned = {re.sub(r"[-_.]+", "_", name).lower(): version for name, version in pins.items()}
    found = {}
    for wheel in (tree / "usr/lib/edge-ids/wheels").iterdir():
        name, version, *_, platform = wheel.stem.split("-")
        found[re.sub(r"[-_.]+", "_", name).lower()] = version
        assert platform == "any" or platform.endswith(_MACHINES[architecture]), wheel.name
    assert found.pop("edge_ids") == _VERSION
    assert {"ai_edge_litert", "click", "cryptography", "numpy", "paho_mqtt"} <= set(found)
    assert found == {name: pinned[name] for name in found}
    assert "tensorflow" not in found


def test_the_meter_is_compiled_for_the_gateway(tree: Path, architecture: str) -> None:
    (wheel,) = (tree / "usr/lib/edge-ids/wheels").glob("edge_ids-*.whl")
    assert wheel.stem.endswith(f"-cp310-abi3-linux_{_MACHINES[architecture]}")
    with zipfile.ZipFile(wheel) as archive:
        library = archive.read("edge_agent/native/_library.abi3.so")
    elf = BytesIO(library)
    assert elf.read(4) == b"\x7fELF"
    elf.seek(18)
    assert int.from_bytes(elf.read(2), "little") == _ELF_MACHINES[architecture]
    # Debian 12 has 2.36; a newer builder would make a library that does not load there.
    needed = [int(minor) for minor in re.findall(rb"GLIBC_2\.([0-9]+)", library)]
    assert max(needed) <= 36


def test_the_same_sources_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    again = build(field(package, "Architecture"), tmp_path)
    assert (
        hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(package.read_bytes()).digest()
    )


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is missing")
def test_lintian_has_nothing_to_say(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing")
def test_the_scripts_are_sound() -> None:
    scripts = [
        path
        for path in (*_PACKAGING.iterdir(), *(_PACKAGING / "debian").iterdir())
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))
    ]
    assert len(scripts) >= 8
    done = subprocess.run(
        ["shellcheck", *map(str, scripts)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where roots are kept as tar files; making one takes minutes."""
    return Path(os.environ.get("EDGE_IDS_ROOTS", tmp_path_factory.getbasetemp() / "roots"))


def tried(script: str, package: Path, roots: Path) -> str:
    """What a script says that tries the package out in a root of this machine's architecture."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root and mmdebstrap")
    command = ["dpkg", "--print-architecture"]
    here = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if field(package, "Architecture") != here:
        pytest.skip("needs emulation; make test-arm64 installs it there")
    done = subprocess.run(
        [str(_PACKAGING / script), str(package), str(roots)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_installed_and_purged_in_a_debian_root(package: Path, roots: Path) -> None:
    assert tried("try-deb", package, roots).endswith(": nothing is left\n")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("systemd-nspawn") is None, reason="systemd-nspawn is missing (systemd-container)"
)
def test_the_life_of_the_service_under_systemd(package: Path, roots: Path) -> None:
    """Ready, confined, reloaded, killed, hanging, misconfigured, stopped, upgraded, purged."""
    assert tried("try-systemd", package, roots).endswith("every step passed\n")
