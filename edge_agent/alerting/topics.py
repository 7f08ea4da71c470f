"""Names below the base topic `edge-ids/<node>`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.contract.alerts import is_node_name, printable

ROOT: Final = "edge-ids"

ONLINE: Final = "online"
STOPPED: Final = "stopped"
OFFLINE: Final = "offline"
STATUSES: Final = (ONLINE, STOPPED, OFFLINE)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one gateway, or of all with the node "+".

    Raises:
        ValueError: The node's name does not fit into a topic.
    """

    node: str

    def __post_init__(self) -> None:
        if self.node != "+" and not is_node_name(self.node):
            raise ValueError(f"not a node name: {printable(repr(self.node), 80)}")

    @property
    def status(self) -> str:
        """Retained: one of `STATUSES`."""
        return f"{ROOT}/{self.node}/status"

    @property
    def info(self) -> str:
        """Retained: version, model, board."""
        return f"{ROOT}/{self.node}/info"

    @property
    def stats(self) -> str:
        """Counters, every now and then."""
        return f"{ROOT}/{self.node}/stats"

    @property
    def alert(self) -> str:
        """One JSON object per event of an incident."""
        return f"{ROOT}/{self.node}/alert"

    @property
    def active(self) -> str:
        """Retained: how many incidents are open."""
        return f"{ROOT}/{self.node}/incident/active"


def split(topic: str) -> tuple[str, str] | None:
    """Node and the name below it ("status", "incident/active"); None for foreign topics."""
    root, _, rest = topic.partition("/")
    node, _, name = rest.partition("/")
    return (node, name) if root == ROOT and is_node_name(node) and name else None
