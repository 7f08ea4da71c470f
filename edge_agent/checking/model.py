"""Can the model be loaded, is it who it should be from, does it score?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.checking.findings import Finding, Verdict
from edge_agent.contract.errors import (
    EdgeIdsError,
    KeyFileError,
    SignatureError,
    SigningUnavailable,
)
from edge_agent.detect.detector import Detector
from edge_agent.signing import PublicKeys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.checking.host import Host
    from edge_agent.config import Config

_LIVE_PROFILE: Final = "gateway"


def check_model(config: Config, _host: Host) -> Iterator[Finding]:
    """Open the model file as the agent would, and score one batch."""
    agent = config.agent
    try:
        trust = None if agent.public_key is None else PublicKeys.read(agent.public_key)
        detector = Detector.open(agent.model, agent.runtime, trust)
    except (SignatureError, KeyFileError, SigningUnavailable) as error:
        yield Finding.of_error("signature", error)
        return
    except EdgeIdsError as error:
        yield Finding.of_error("model", error)
        return
    if agent.public_key is None:
        yield Finding("signature", Verdict.OK, "Not asked for: agent.public_key is not set.")
    else:
        yield Finding("signature", Verdict.OK, f"Signed by a key of {agent.public_key}.")
    yield _scored(config, detector)


def _scored(config: Config, detector: Detector) -> Finding:
    bundle = detector.bundle
    rows = np.zeros((config.detect.batch_rows, len(bundle.features)))
    try:
        scores = detector.score(rows)
    except EdgeIdsError as error:
        return Finding.of_error("model", error)
    if not np.isfinite(scores).all():
        return Finding(
            "model",
            Verdict.FAIL,
            f"{config.agent.model}: gives scores that are no numbers.",
            "convert the run again with edge-convert",
        )
    if bundle.profile.name != _LIVE_PROFILE:
        return Finding(
            "model",
            Verdict.WARN,
            f"{config.agent.model}: is for the profile {bundle.profile.name}, whose flows are given"
            " out only after minutes.",
            f"train on rows of the profile {_LIVE_PROFILE} to detect within seconds",
        )
    threshold = config.detect.threshold
    source = "the model's own" if threshold is None else "configured"
    return Finding(
        "model",
        Verdict.OK,
        f"{config.agent.model}: {bundle.name} scored {len(rows)} flows; threshold"
        f" {bundle.threshold if threshold is None else threshold:.3f} ({source}).",
    )
