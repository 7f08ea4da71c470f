from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from edge_agent.capture import offloads
from edge_agent.contract.errors import CaptureError
from tests.capture.network import Space

FEATURES = {
    "gro": "generic-receive-offload",
    "lro": "large-receive-offload",
    "tso": "tx-tcp-segmentation",
    "gso": "generic-segmentation-offload",
}


def by_ethtool(space: Space, interface: str) -> dict[str, bool]:
    if not shutil.which("ethtool"):
        pytest.skip("ethtool is not installed")
    with space.entered():
        shown = subprocess.run(
            ("ethtool", "-k", interface), check=True, capture_output=True, text=True
        ).stdout
    lines = dict(line.strip().split(": ", 1) for line in shown.splitlines() if ": " in line)
    return {name: lines[long].startswith("on") for name, long in FEATURES.items()}


def test_they_are_what_ethtool_says(space: Space) -> None:
    with space.entered():
        for interface in ("near", "lo"):
            assert offloads.read(interface) == by_ethtool(space, interface)


def test_they_are_turned_off(space: Space) -> None:
    with space.entered():
        before = offloads.read("near")
        assert before["tso"]
        assert before["gso"]
        turned_off = offloads.turn_off("near")
        assert turned_off == [name for name, on in before.items() if on]
        assert offloads.read("near") == dict.fromkeys(FEATURES, False)
        assert by_ethtool(space, "near") == dict.fromkeys(FEATURES, False)
        assert offloads.turn_off("near") == []
        assert offloads.read("far") == by_ethtool(space, "far")


def test_without_the_capability_they_are_read_and_stay(space: Space) -> None:
    with space.entered():
        before = offloads.read("near")
        os.seteuid(65534)
        try:
            assert offloads.read("near") == before
            with pytest.raises(CaptureError, match="CAP_NET_ADMIN"):
                offloads.turn_off("near")
        finally:
            os.seteuid(0)
        assert offloads.read("near") == before


@pytest.mark.parametrize("name", ["no-such-thing", "far-too-long-for-a-name", "\udc80", ""])
def test_an_interface_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(CaptureError, match="there is no such interface"):
        offloads.read(name)
