"""Clock and disk."""

from __future__ import annotations

import os
import stat
import tempfile
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from edge_agent.checking.findings import Finding, Verdict
from edge_agent.contract.alerts import MAX_JSON_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.checking.host import Host
    from edge_agent.config import Config

# No machine runs this before; one without a battery begins in 1970 or when its system was made.
_FIRST_YEAR: Final = 2026
_LAST_YEAR: Final = 2100

# A new model file and its predecessor are a few megabytes; a card this full fails soon anyway.
_SCARCE_BYTES: Final = 64 * 1024 * 1024


def check_clock(_config: Config, host: Host) -> Iterator[Finding]:
    """Whether alerts will carry the right time.

    A wrong clock is no failure: flows are timed by a clock that does not step, and a gateway
    without an internet connection must detect too.
    """
    now = datetime.fromtimestamp(min(max(host.now_s(), 0), 2**40), tz=timezone.utc)
    if not _FIRST_YEAR <= now.year <= _LAST_YEAR:
        yield Finding(
            "clock",
            Verdict.WARN,
            f"It says {now:%Y-%m-%d %H:%M} UTC: alerts will carry wrong times, and TLS will take no"
            " certificate.",
            "let a time service set it (timedatectl set-ntp true)",
        )
    elif host.is_synchronised() is False:
        yield Finding(
            "clock",
            Verdict.WARN,
            f"It says {now:%Y-%m-%d %H:%M} UTC, and no time service keeps it.",
            "let one set it (timedatectl set-ntp true)",
        )
    else:
        kept = "" if host.is_synchronised() is None else ", kept by a time service"
        yield Finding("clock", Verdict.OK, f"{now:%Y-%m-%d %H:%M} UTC{kept}.")


def check_disk(config: Config, host: Host) -> Iterator[Finding]:
    """Whether the folder of what must survive a restart can be written, and has room."""
    folder = config.agent.state_dir
    problem = _write_problem(folder) or _later_problem(folder, config.agent.capture_user, host)
    if problem is not None:
        yield Finding(
            "disk",
            Verdict.FAIL,
            f"{folder}: cannot be written ({problem}).",
            "make it for the agent's user (systemd does by StateDirectory=), or correct"
            " agent.state_dir",
        )
        return
    free = host.free_bytes(folder)
    needed = config.mqtt.queue_limit * MAX_JSON_BYTES
    if free < needed:
        yield Finding(
            "disk",
            Verdict.FAIL,
            f"{folder}: has {free / 1e6:,.0f} MB free, and alerts that wait need"
            f" {needed / 1e6:,.0f} MB.",
            "make room, or lower mqtt.queue_limit",
        )
    elif free < _SCARCE_BYTES:
        yield Finding(
            "disk", Verdict.WARN, f"{folder}: has {free / 1e6:,.0f} MB free.", "make room"
        )
    else:
        yield Finding("disk", Verdict.OK, f"{folder}: can be written, {free / 1e6:,.0f} MB free.")


def _write_problem(folder: Path) -> str | None:
    try:
        # A file without a name: nothing is left even when the power goes.
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"edge-agent check")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def _later_problem(folder: Path, user: str | None, host: Host) -> str | None:
    """What is in the way of the user that the agent becomes once its sockets are open."""
    entry = None if user is None else host.user(user)
    if entry is None or entry.pw_uid in (0, host.user_id()):
        return None
    facts = folder.stat()
    if facts.st_uid == entry.pw_uid:
        wanted = stat.S_IWUSR | stat.S_IXUSR
    elif facts.st_gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        wanted = stat.S_IWGRP | stat.S_IXGRP
    else:
        wanted = stat.S_IWOTH | stat.S_IXOTH
    return None if facts.st_mode & wanted == wanted else f"Permission denied to {user}"
