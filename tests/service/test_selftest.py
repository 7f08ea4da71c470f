"""The built-in proof of detection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.agent.conftest import LAB_MODEL, edge_agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Result

__all__ = ["edge_agent"]


def test_every_attack_is_told(edge_agent: Callable[..., Result]) -> None:
    done = edge_agent("selftest", "--model", LAB_MODEL, "--board", "none")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("5 of 5 detections fired.\n")


def test_an_agent_that_does_not_detect_fails_it(edge_agent: Callable[..., Result]) -> None:
    # An int8 score ends at 255/256.
    done = edge_agent("selftest", "--model", LAB_MODEL, "--set", "detect.threshold=1.0", "--json")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert not outcome["passed"]
    assert [detection["fired"] for detection in outcome["detections"]] == [False] * 5


def test_a_model_that_accuses_everybody_fails_it(edge_agent: Callable[..., Result]) -> None:
    done = edge_agent("selftest", "--model", LAB_MODEL, "--set", "detect.threshold=0.0", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["false_incidents"] > 0
