"""What the machine must have before a recording starts, told in one sentence if it does not."""

from __future__ import annotations

import os
import shutil
import subprocess

from benchmarks.lab.errors import PreflightError

# program: Debian package, for the remedy and for the versions in truth.json
PROGRAMS = {
    "ip": "iproute2", "ethtool": "ethtool", "sysctl": "procps", "tcpdump": "tcpdump",
    "nmap": "nmap", "hping3": "hping3", "slowhttptest": "slowhttptest", "hydra": "hydra",
    "mosquitto": "mosquitto", "mosquitto_pub": "mosquitto-clients", "nginx": "nginx-light",
    "sshd": "openssh-server", "ssh": "openssh-client", "sshpass": "sshpass", "vsftpd": "vsftpd",
    "telnetd": "inetutils-telnetd", "telnet": "inetutils-telnet", "inetd": "openbsd-inetd",
    "dnsmasq": "dnsmasq-base", "dig": "bind9-dnsutils", "chronyd": "chrony", "curl": "curl",
    "openssl": "openssl", "ping": "iputils-ping", "login": "login",
}  # fmt: skip
REMEDY = "apt-get install --no-install-recommends"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check() -> None:
    """Raise PreflightError if a recording cannot work here."""
    missing = {name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None}
    if missing:
        packages = " ".join(sorted({PROGRAMS[name] for name in missing}))
        raise PreflightError(
            f"these programs are missing: {', '.join(sorted(missing))}; run: {REMEDY} {packages}"
        )
    if os.geteuid() != 0:
        raise PreflightError("network namespaces need root: run the same command with sudo")
    name = f"ids-preflight-{os.getpid()}"
    made = subprocess.run(("ip", "netns", "add", name), check=False, capture_output=True, text=True)
    if made.returncode:
        raise PreflightError(
            f"this kernel or container allows no network namespaces ({made.stderr.strip()}); "
            "use a machine or a privileged container that does"
        )
    subprocess.run(("ip", "netns", "delete", name), check=False, capture_output=True)


def versions() -> dict[str, str]:
    """Versions of the programs, without the distribution's own suffix."""
    packages = sorted(set(PROGRAMS.values()))
    done = subprocess.run(
        ("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages),
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    pairs = (line.split(" ") for line in done.stdout.splitlines() if " " in line)
    return {name: version.split(":")[-1].rsplit("-", 1)[0] for name, version in pairs}
