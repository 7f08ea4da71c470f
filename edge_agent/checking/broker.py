"""Does the broker take us?"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from edge_agent.alerting.address import BrokerAddress, read_password
from edge_agent.alerting.mqtt import PahoSession, SessionOptions
from edge_agent.checking.findings import Finding, Verdict
from edge_agent.contract.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.checking.host import Host
    from edge_agent.config import Config


def check_broker(config: Config, host: Host) -> Iterator[Finding]:
    """Connect as the agent would, and leave again."""
    mqtt = config.mqtt
    if mqtt.broker is None:
        yield Finding("broker", Verdict.OK, "None is configured: alerts are printed.")
        return
    if mqtt.password_file is not None and _is_open_to_all(mqtt.password_file):
        yield Finding(
            "password file",
            Verdict.WARN,
            f"{mqtt.password_file}: every user of this machine can read the broker's password.",
            f"chmod o= {mqtt.password_file}",
        )
    # Not the service's own name: the broker would end its session.
    options = SessionOptions(
        client_id=f"edge-ids-{config.agent.node}-check",
        connect_timeout_s=host.broker_timeout_s,
    )
    try:
        address = BrokerAddress.parse(
            mqtt.broker,
            password=read_password(mqtt.password_file, host.environ),
            ca_file=mqtt.ca_file,
            allow_plaintext=mqtt.allow_plaintext,
        )
        session = PahoSession.connect(address, options)
        session.disconnect(host.broker_timeout_s)
    except BrokerError as error:
        yield Finding.of_error("broker", error)
        return
    who = "anonymously" if address.username is None else f"as {address.username}"
    yield Finding("broker", Verdict.OK, f"{address.url} lets us in {who}.")


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        # Reading it says what is wrong.
        return False
