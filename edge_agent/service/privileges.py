"""From root to somebody harmless, once the sockets are open."""

from __future__ import annotations

import ctypes
import os
import pwd
from typing import Final

from edge_agent.contract.errors import ConfigError

_PR_SET_NO_NEW_PRIVS: Final = 38


def become(user: str) -> None:
    """Drop all privileges for good: groups, user, and the way back through set-uid programs.

    Raises:
        ConfigError: There is no such user, or we may not.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(
            "agent.capture_user", f"there is no user {user!r}", remedy="create it, or name another"
        ) from error
    if os.geteuid() == entry.pw_uid != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except PermissionError as error:
        raise ConfigError(
            "agent.capture_user",
            f"only root can become {user}",
            remedy="start as root, or leave it out",
        ) from error
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A home that the new user cannot enter would make later look-ups fail in odd ways.
    os.chdir("/")
