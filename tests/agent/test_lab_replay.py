"""The agent on a recording that its model has never seen, with whichever interpreter is here."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.demo.outcome import judge
from edge_agent.contract.alerts import Alert
from tests.agent.conftest import LAB_MODEL
from tests.packets import pcap
from trainer.datasets.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent.conftest import Result


@pytest.mark.slow
def test_attacks_of_another_session_are_told_and_benign_traffic_is_not(
    edge_agent: Callable[..., Result], sessions: Path
) -> None:
    folder = sessions / "session-b"
    done = edge_agent("replay", folder / "capture.pcap.gz", "--model", LAB_MODEL)
    assert done.returncode == 0, done.stderr
    alerts = [Alert.from_json(line) for line in done.stdout.splitlines()]
    outcome = judge(alerts, Truth.load(folder / "truth.json"))
    # 21 of 23 were measured (hydra on ssh and the version scan are missed); runtimes differ in a
    # few flows, so a campaign on the edge may go either way.
    assert outcome.detected >= 20
    assert len(outcome.false_incidents) <= 1
    assert len(alerts) < 10 * len(outcome.detections)


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
