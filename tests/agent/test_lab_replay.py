"""The agent on a recording that its model has never seen, with whichever interpreter is here."""

from __future__ import annotations

import gzip
import json
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.contract.alerts import MANY_SOURCES, Alert
from tests.agent.conftest import LAB_MODEL
from tests.packets import pcap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent.conftest import Result

_TAIL_US = 5_000_000


def _about(alert: Alert, campaign: dict[str, Any]) -> bool:
    attackers = [ip_network(text, strict=False) for text in campaign["attackers"]]
    return (
        alert.last_seen_us >= campaign["start_us"]
        and alert.first_seen_us <= campaign["end_us"] + _TAIL_US
        and (
            alert.source == MANY_SOURCES
            or any(ip_address(alert.source) in network for network in attackers)
        )
    )


@pytest.mark.slow
def test_attacks_of_another_session_are_told_and_benign_traffic_is_not(
    edge_agent: Callable[..., Result], sessions: Path
) -> None:
    folder = sessions / "session-b"
    truth = json.loads((folder / "truth.json").read_text())
    done = edge_agent("replay", folder / "capture.pcap.gz", "--model", LAB_MODEL)
    assert done.returncode == 0, done.stderr
    alerts = [Alert.from_json(line) for line in done.stdout.splitlines()]
    heard = {
        campaign["id"]
        for campaign in truth["campaigns"]
        if any(_about(alert, campaign) for alert in alerts)
    }
    # 21 of 23 were measured (hydra on ssh and the version scan are missed); runtimes differ in a
    # few flows, so a campaign on the edge may go either way.
    assert len(heard) >= 20
    false = {
        alert.id
        for alert in alerts
        if not any(_about(alert, campaign) for campaign in truth["campaigns"])
    }
    assert len(false) <= 1
    assert len(alerts) < 10 * len(truth["campaigns"])


def test_a_quiet_network_is_quiet(
    edge_agent: Callable[..., Result], sessions: Path, tmp_path: Path
) -> None:
    # The minutes before the first campaign: benign traffic only.
    from edge_agent.capture.pcap import read_frames

    folder = sessions / "session-b"
    first = min(
        campaign["start_us"]
        for campaign in json.loads((folder / "truth.json").read_text())["campaigns"]
    )
    frames = []
    for frame in read_frames(folder / "capture.pcap.gz"):
        if frame.time_us >= first:
            break
        # Lengths on the wire count: cut-off payload comes back as zeros.
        frames.append((frame.time_us, frame.data.ljust(frame.wire_length_bytes, b"\0")))
    path = tmp_path / "benign.pcap.gz"
    path.write_bytes(gzip.compress(pcap(frames), 1))
    done = edge_agent("replay", path, "--model", LAB_MODEL)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(frames) > 1000
