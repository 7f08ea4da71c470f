"""Another configuration, another model, while the agent runs: all of it, or nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.alerting.limits import IncidentLimits
from edge_agent.config import reloadable
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import (
    ConfigError,
    EdgeIdsError,
    InterpreterError,
    ModelFileError,
)
from edge_agent.contract.features import CONTEXT
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector
from edge_agent.signing import PublicKeys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.agent import Agent
    from edge_agent.config import Config

_log = logging.getLogger(__name__)

DONE: Final = "done"
FAILED: Final = "failed"

_TRIAL_ROWS: Final = 300
_TRIAL_ALONE: Final = 8
# Multiples of it fill the unit interval evenly; numpy.random would cost a megabyte for this once.
_GOLDEN: Final = 0.6180339887498949


def open_detector(config: Config) -> Detector:
    """Open the configured model and see it work, before anything depends on it.

    Raises:
        ConfigError: There are more metering threads than the model can stand.
        KeyFileError: The public key cannot be used.
        ModelFileError: The model file cannot be used, or is not signed by whom it should be.
        InterpreterError: No interpreter can run it, or it does not do what it should.
    """
    agent = config.agent
    trust = None if agent.public_key is None else PublicKeys.read(agent.public_key)
    bundle = Bundle.open(agent.model, trust)
    of_context = {feature.name for feature in CONTEXT} & set(bundle.feature_names)
    if config.capture.threads > 1 and of_context:
        raise ConfigError(
            "capture.threads",
            "this model looks at a flow's neighbourhood, which one thread must see whole",
            remedy="set it to 1, or use a model without context columns",
        )
    _try(Detector(bundle, interpreter.load(bundle.flatbuffer, agent.runtime)), agent.model)
    # Another one than was tried: that one has memory laid out for batches that may never come.
    model = interpreter.load(bundle.flatbuffer, agent.runtime)
    return Detector(bundle, model, config.detect.threshold)


def _try(detector: Detector, path: Path) -> None:
    # Values of every size that features have, from packets a flow to nanoseconds of months.
    shape = (_TRIAL_ROWS, len(detector.bundle.features))
    rows = 10.0 ** (np.arange(shape[0] * shape[1]).reshape(shape) * _GOLDEN % 1 * 14 - 2)
    outputs = detector.outputs(rows)
    alone = np.concatenate([detector.outputs(rows[i : i + 1]) for i in range(_TRIAL_ALONE)])
    if not np.isfinite(outputs).all() or not np.array_equal(alone, outputs[:_TRIAL_ALONE]):
        raise InterpreterError(
            f"{path}: scores depend on what else is scored, or are no numbers; convert the run"
            " again with edge-convert."
        )


def incident_limits(config: Config) -> IncidentLimits:
    """The configured constants of grouping."""
    alerts = config.alerts
    return IncidentLimits(
        min_flows=alerts.min_flows,
        false_alarm_share=alerts.false_alarm_share,
        distributed_sources=alerts.distributed_sources,
        quiet_s=alerts.quiet_s,
        update_after_s=alerts.update_after_s,
        max_update_after_s=alerts.max_update_after_s,
        max_open=alerts.max_open,
        burst_messages=alerts.burst_messages,
        messages_per_s=alerts.messages_per_s,
    )


class Reloader:
    """Takes new configurations into a running agent.

    Args:
        config: What it runs with.
        load: Reads the configuration again.

    Attributes:
        results: How many reloads were done, and how many failed.
    """

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._config = config
        self._load = load
        self.results = {DONE: 0, FAILED: 0}

    def reload(self, agent: Agent, set_filter: Callable[[str], None]) -> Config:
        """Read the configuration and the model file again, and go on with them.

        What needs a restart is logged and stays as it is. The model file is opened and tried
        beside the one in use, also where only its content has changed.

        Args:
            agent: Gets the model and the constants.
            set_filter: Sets the kernel's filter; raises CaptureError and keeps the former.

        Returns:
            What the agent runs with now.

        Raises:
            EdgeIdsError: Something cannot be used; then nothing has changed.
        """
        try:
            result = reloadable(self._config, self._load())
            config = result.config
            detector = open_detector(config)
            if detector.bundle.profile != agent.detector.bundle.profile:
                raise ModelFileError(
                    config.agent.model,
                    f"is for the profile {detector.bundle.profile.name}, and the meter runs"
                    f" {agent.detector.bundle.profile.name}",
                    remedy="restart the agent to change the profile",
                )
            limits = incident_limits(config)
            if config.capture.filter != self._config.capture.filter:
                set_filter(config.capture.filter)
        except EdgeIdsError:
            self.results[FAILED] += 1
            raise
        former = agent.detector.bundle
        agent.adjust(detector, limits)
        self._config = config
        self.results[DONE] += 1
        for change in result.refused:
            _log.warning("%s stays as it is: %s; restart the agent", change.name, change.why_not)
        for change in result.taken:
            _log.info("%s is now %s", change.name, change.new)
        if detector.bundle.flatbuffer != former.flatbuffer:
            _log.info("the model is now %s", detector.bundle.name)
        return config
