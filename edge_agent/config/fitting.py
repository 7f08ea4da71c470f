"""Values that are right each by itself, and do not fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.alerting.address import BrokerAddress
from edge_agent.contract.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from edge_agent.config.configuration import Config

# Two are the least with which the kernel fills one while the agent reads the other.
_MIN_BLOCKS = 2


def check_fit(config: Config) -> None:
    """Make sure that values fit together.

    Raises:
        ConfigError: Two do not; the one that was given last is named, with its place.
    """
    ring, block = config.capture.ring_bytes, config.capture.block_bytes
    if ring % block:
        raise _error(
            config,
            ("capture.ring_bytes", "capture.block_bytes"),
            f"capture.ring_bytes, {ring:,}, is not a multiple of capture.block_bytes, {block:,}",
            f"write for instance ring_bytes = {max(round(ring / block), _MIN_BLOCKS) * block}",
        )
    if ring < _MIN_BLOCKS * block:
        raise _error(
            config,
            ("capture.ring_bytes", "capture.block_bytes"),
            f"capture.ring_bytes, {ring:,}, has not room for {_MIN_BLOCKS} blocks of {block:,}",
            "make the ring larger or the blocks smaller",
        )
    batch, queue = config.detect.batch_rows, config.detect.queue_rows
    if queue < batch:
        raise _error(
            config,
            ("detect.queue_rows", "detect.batch_rows"),
            f"detect.queue_rows, {queue:,}, is below detect.batch_rows, {batch:,}",
            "make the queue larger",
        )
    first, longest = config.alerts.update_after_s, config.alerts.max_update_after_s
    if longest < first:
        raise _error(
            config,
            ("alerts.max_update_after_s", "alerts.update_after_s"),
            f"alerts.max_update_after_s, {longest:g}, is below alerts.update_after_s, {first:g}",
            "make it at least as long",
        )
    _check_broker(config)


def _check_broker(config: Config) -> None:
    mqtt = config.mqtt
    if mqtt.broker is None:
        for name in ("mqtt.password_file", "mqtt.ca_file"):
            if config.value(name) is not None:
                raise _error(
                    config,
                    (name,),
                    f"{name} is set, but no mqtt.broker",
                    "name the broker, or leave it out",
                )
        return
    try:
        BrokerAddress.parse(
            mqtt.broker,
            # Only whether there is one: the file may not be readable for who looks.
            password=None if mqtt.password_file is None else "",
            ca_file=mqtt.ca_file,
            allow_plaintext=mqtt.allow_plaintext,
        )
    except BrokerError as error:
        problem, _, remedy = str(error).rpartition("; ")
        names = ("mqtt.broker", "mqtt.password_file", "mqtt.ca_file", "mqtt.allow_plaintext")
        raise _error(config, names, f"mqtt.broker {problem}", remedy.rstrip(".")) from error


def _error(config: Config, names: tuple[str, ...], problem: str, remedy: str) -> ConfigError:
    """An error at the place of the one that was given last."""
    order: list[Any] = list(config.origins)
    last = max(names, key=order.index)
    return config.origins[last].error(problem, remedy)
