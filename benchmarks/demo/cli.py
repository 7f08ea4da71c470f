"""`python -m benchmarks demo`: the whole path on two recordings of the lab, alerts on screen.

Everything runs as a user would run it: the three commands, each in a process of its own, and a
subscriber that knows nothing but the broker's address.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.tables import NOTHING
from edge_agent.console import run_command
from edge_agent.contract.alerts import format_time
from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.demo.outcome import Outcome
    from edge_agent.contract.alerts import Alert

_SESSIONS: Final = Path(__file__).resolve().parent.parent / "lab" / "sessions"
_NAMES: Final = ("session-a", "session-b", "session-c")
_NODE: Final = "demo"
# The last alerts are on their way when the agent has said "stopped".
_PATIENCE_S: Final = 10.0


@click.command()
@click.option("--train-on", type=click.Choice(_NAMES), default="session-a", show_default=True)
@click.option("--detect-in", type=click.Choice(_NAMES), default="session-b", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the run, the model and outcome.json.  [default: a temporary one]",
)
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one sentence.")
def demo(
    train_on: str, detect_in: str, epochs: int, seed: int, keep: Path | None, debug: bool
) -> None:
    """Train on one recording, convert, and detect the attacks of another.

    \b
    Example:
      python -m benchmarks demo --detect-in session-c
    """

    def work() -> None:
        with _folder(keep) as folder:
            _demo(train_on, detect_in, epochs, seed, folder)

    run_command("benchmarks demo", debug, work)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="edge-ids-demo-") as name:
        yield Path(name)


def _demo(train_on: str, detect_in: str, epochs: int, seed: int, folder: Path) -> None:
    from benchmarks.demo.outcome import judge
    from trainer.datasets.truth import Truth

    begun = time.monotonic()
    run, model = folder / "run", folder / "model.tflite"
    _title(f"1. Train the CNN-LSTM on {train_on}")
    capture = _SESSIONS / train_on / "capture.pcap.gz"
    options = ("--epochs", str(epochs), "--seed", str(seed), "--force")
    _call("edge-train", "--data", str(capture), *options, "--output", str(run))
    _title("2. Convert it to int8 and hold it against the full model")
    _call("edge-convert", "--int8", str(run), "--output", str(model))
    _title(f"3. Send {detect_in} through the agent; a subscriber prints the alerts")
    alerts, summary, replay_s = _replay(_SESSIONS / detect_in / "capture.pcap.gz", model)
    _title("4. What was it worth?")
    outcome = judge(alerts, Truth.load(_SESSIONS / detect_in / "truth.json"))
    conversion = json.loads((folder / "conversion.json").read_text())
    print(report(outcome, conversion, train_on, detect_in))
    print(
        f"\n{summary['packets']:,} packets, {summary['flows']:,} flows and {summary['alerts']:,}"
        f" alerts in {replay_s:.0f} s; the demo took {time.monotonic() - begun:.0f} s."
    )
    facts = {
        "trained_on": train_on,
        "detected_in": detect_in,
        "campaigns": {d.campaign.id: d.delay_s for d in outcome.detections},
        "detected": outcome.detected,
        "false_alerts_per_hour": outcome.false_alerts_per_hour,
        "families": {d.campaign.id: d.named for d in outcome.detections},
        "named_right": outcome.named_right,
        "replay": summary,
    }
    (folder / "outcome.json").write_text(json.dumps(facts, indent=1) + "\n")


def _installed(command: str) -> str:
    """A command of this environment, whether or not the environment is on the path."""
    return str(Path(sys.executable).with_name(command))


def _call(command: str, *arguments: str) -> None:
    """Run one of the commands; what it says goes to the screen.

    Raises:
        EdgeIdsError: It failed. It has said why.
    """
    code = subprocess.run([_installed(command), *arguments], check=False).returncode
    if code:
        raise EdgeIdsError(f"{command} ended with exit code {code}; see its message above.")


def _replay(capture: Path, model: Path) -> tuple[list[Alert], dict[str, int], float]:
    """Replay a capture through broker and subscriber; returns alerts, counts and seconds."""
    from benchmarks.demo.broker import EmbeddedBroker
    from edge_agent.alerting.address import BrokerAddress
    from edge_agent.alerting.subscriber import AlertSubscriber
    from edge_agent.alerting.topics import STOPPED

    alerts: list[Alert] = []
    stopped = threading.Event()

    def show(_node: str, alert: Alert) -> None:
        alerts.append(alert)
        print(alert_line(alert), flush=True)

    def note(_node: str, status: str) -> None:
        if status == STOPPED:
            stopped.set()

    command = [_installed("edge-agent"), "replay", str(capture)]
    with EmbeddedBroker() as broker:
        address = BrokerAddress.parse(broker.url)
        with AlertSubscriber(address, show, note, node=_NODE):
            begun = time.monotonic()
            done = subprocess.run(
                [*command, "-m", str(model), "--broker", broker.url, "--node", _NODE, "--json"],
                check=False,
                stdout=subprocess.PIPE,
                text=True,
            )
            took_s = time.monotonic() - begun
            if done.returncode:
                raise EdgeIdsError(
                    f"edge-agent ended with exit code {done.returncode}; see its message above."
                )
            stopped.wait(_PATIENCE_S)
    summary: dict[str, int] = json.loads(done.stdout)
    if len(alerts) != summary["alerts"]:
        raise EdgeIdsError(
            f"the agent published {summary['alerts']} alerts, the subscriber got {len(alerts)};"
            " please report this."
        )
    return alerts, summary, took_s


def alert_line(alert: Alert) -> str:
    """An alert on one line of a terminal."""
    clock = format_time(alert.time_us)[11:19]
    return f"{clock}  {alert.event:6}  {alert.severity:8}  {alert.explanation}"


def report(outcome: Outcome, conversion: dict[str, Any], train_on: str, detect_in: str) -> str:
    """The closing table."""
    families = bool(conversion.get("families"))
    title = f"{'named':14}" if families else ""
    lines = [f"{'campaign':28}{'family':14}{title}first alert after"]
    for detection in outcome.detections:
        delay = "not detected" if detection.delay_s is None else f"{detection.delay_s:.1f} s"
        named = f"{detection.named or NOTHING:14}" if families else ""
        lines.append(f"{detection.campaign.label:28}{detection.campaign.family:14}{named}{delay}")
    full, converted = conversion["full"], conversion["converted"]
    latency = conversion["latency_us_per_flow"]
    lines += [
        "",
        (
            f"campaigns detected             {outcome.detected} of {len(outcome.detections)}"
            f" (trained on {train_on}, detected in {detect_in})"
        ),
        *(
            [f"families named right           {outcome.named_right} of {outcome.detected}"]
            if families
            else []
        ),
        (
            f"false alerts per hour          {outcome.false_alerts_per_hour:.1f}"
            f" ({len(outcome.false_incidents)} in {outcome.hours * 60:.0f} minutes)"
        ),
        "",
        f"{'on held-out rows':30} {'full model':>14} {'int8 file':>14}",
    ]
    for name, key in (
        ("accuracy", "accuracy"),
        ("F1", "f1"),
        ("false-alarm rate", "false_alarm_rate"),
    ):
        lines.append(f"{name:30} {full[key]:>14.3%} {converted[key]:>14.3%}")
    for batch in ("1", "64"):
        ours, theirs = latency["converted"][batch]["p50"], latency["full"][batch]["p50"]
        lines.append(f"{f'µs per flow, batch {batch}':30} {theirs:>14,.1f} {ours:>14,.1f}")
    sizes = conversion["size_bytes"]
    lines.append(f"{'bytes':30} {sizes['keras']:>14,} {sizes['file']:>14,}")
    return "\n".join(lines)


def _title(text: str) -> None:
    print(f"\n── {text} ──", flush=True)
