"""Private system files for the programs of a session.

Real servers log in real accounts: the lab must neither add users to the machine nor write to its
logs. Every program is started through a small script that, in the private mount namespace which
`ip netns exec` gives it, covers a few files of /etc and the log folder and makes everything else
but the session's own folder read-only: the programs run as root, and one that removes "its" pid
file or log must not be able to remove one of the machine's. All of it ends with the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab.namespaces import namespace
from benchmarks.lab.tools.guard import NAMESPACE_VARIABLE, NETWORKS_VARIABLE

if TYPE_CHECKING:
    from benchmarks.lab.plan import Plan

ENTER = """set -e
mkdir -p /run/sshd
mount --bind "$1" "$1"
while read -r device place kind rest; do
    case "$place $kind" in
        "$1 "*|*" proc"|*" sysfs"|*" devpts"|*" cgroup"*|*" nsfs") ;;
        *) mount -o remount,bind,ro "$place" || true ;;
    esac
done < /proc/self/mounts
for file in "$1"/jail/etc/*; do mount --bind "$file" "/etc/${file##*/}"; done
mount -t tmpfs -o size=16m tmpfs /var/log
cd "$1"
shift
exec "$@"
"""
REPOSITORY = Path(__file__).resolve().parents[2]
FIRST_USER_ID = 24001


class Jail:
    """The session's covered files, and the way to start a program behind them."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self.plan = plan
        self.work = work
        self.folder = work / "jail"
        self.script = self.folder / "enter.sh"

    def build(self) -> None:
        """Write the files that cover those of the machine."""
        etc, home = self.folder / "etc", self.folder / "home"
        for path in (etc, home, self.folder / "tmp"):
            path.mkdir(parents=True)
        self.script.write_text(ENTER)
        accounts = self.plan.accounts
        logins = {accounts.user: accounts.password, accounts.telnet_user: accounts.telnet_password}
        passwd, shadow = Path("/etc/passwd").read_text(), Path("/etc/shadow").read_text()
        for number, (name, password) in enumerate(logins.items(), FIRST_USER_ID):
            own = home / name
            own.mkdir()
            os.chown(own, number, number)
            passwd += f"{name}:x:{number}:{number}::{own}:/bin/sh\n"
            shadow += f"{name}:{password_hash(password)}:19000:0:99999:7:::\n"
        (etc / "passwd").write_text(passwd)
        (etc / "shadow").write_text(shadow)
        (etc / "shadow").chmod(0o600)
        (etc / "resolv.conf").write_text(f"nameserver {self.plan.gateway.address}\n")
        (etc / "nsswitch.conf").write_text("passwd: files\nshadow: files\nhosts: files dns\n")

    def command(self, host: str, *arguments: str) -> list[str]:
        """The command line which runs a program on a host."""
        space = namespace(self.plan.session, host)
        return ["ip", "netns", "exec", space, "sh", str(self.script), str(self.work), *arguments]

    def environment(self, host: str) -> dict[str, str]:
        """Environment of a program on a host; what the tools' guard asks for is set here."""
        plan = self.plan
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            NAMESPACE_VARIABLE: namespace(plan.session, host),
            NETWORKS_VARIABLE: ",".join(str(net) for net in (plan.lan, plan.wan, plan.dark)),
        }


def module(name: str, *arguments: str) -> list[str]:
    """The command line which runs a module of the lab."""
    return [sys.executable, "-m", f"benchmarks.lab.{name}", *arguments]


def password_hash(password: str) -> str:
    """Hash a password the way the login programs of the lab read it."""
    done = subprocess.run(
        ("openssl", "passwd", "-6", "-stdin"),
        input=password + "\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()
