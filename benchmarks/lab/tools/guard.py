"""Every attack tool asks here first: am I inside the lab, and is my target inside it too?

Three things must agree: the namespace's name in the environment, the namespace this process really
runs in, and the networks that the recorder allows. A variable set by hand is not enough.
"""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

NAMESPACE_VARIABLE = "EDGE_IDS_LAB_NAMESPACE"
NETWORKS_VARIABLE = "EDGE_IDS_LAB_NETWORKS"
NAMESPACE_PREFIX = "ids-"


def require_lab(targets: list[IPv4Address | IPv4Network]) -> None:
    """End the process unless it runs in a lab namespace and all targets are lab addresses."""
    name = os.environ.get(NAMESPACE_VARIABLE, "")
    handle = Path("/run/netns") / name
    if not name.startswith(NAMESPACE_PREFIX) or not handle.exists():
        sys.exit("refused: this program runs only inside a network namespace of the lab")
    own = Path("/proc/self/ns/net").stat()
    if (handle.stat().st_ino, handle.stat().st_dev) != (own.st_ino, own.st_dev):
        sys.exit(f"refused: this process is not in the lab's namespace {name}")
    allowed = [IPv4Network(text) for text in os.environ.get(NETWORKS_VARIABLE, "").split(",")]
    for target in targets:
        network = target if isinstance(target, IPv4Network) else IPv4Network(target)
        if not any(network.subnet_of(lab) for lab in allowed):
            sys.exit(f"refused: {target} is not an address of the lab")
