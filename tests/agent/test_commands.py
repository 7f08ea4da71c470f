"""`edge-agent` from the outside: what it prints, writes, refuses and leaves behind."""

from __future__ import annotations

import csv
import gzip
import io
import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_agent.contract.alerts import Alert
from edge_agent.contract.profiles import PROFILES
from tests.agent.conftest import LAB_MODEL
from tests.detect.conftest import FAMILIES_MODEL
from tests.packets import Segment, pcap, write_capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent.conftest import Result

    EdgeAgent = Callable[..., Result]

SYN = Segment(1_700_000_000_000_000, "10.0.0.66", 40000, "10.0.0.1", 1, "S", window=1024, header=24)


def scan(count: int) -> list[Segment]:
    """A SYN scan of closed ports, a hundred a second."""
    segments = []
    for port in range(1, count + 1):
        time_us = SYN.time_us + port * 10_000
        probe = replace(SYN, time_us=time_us, destination_port=port)
        answer = replace(
            probe,
            time_us=time_us + 200,
            source=probe.destination,
            source_port=port,
            destination=probe.source,
            destination_port=probe.source_port,
            flags="RA",
            header=20,
            window=0,
        )
        segments += [probe, answer]
    return segments


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "scan.pcap", scan(300))


@pytest.mark.parametrize("profile", PROFILES)
def test_extract_writes_the_published_columns(
    edge_agent: EdgeAgent, capture: Path, tmp_path: Path, profile: str
) -> None:
    done = edge_agent("extract", capture, "--profile", profile, "--output", tmp_path / "flows.csv")
    assert (done.returncode, done.stdout) == (0, "")
    with (tmp_path / "flows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 300
    wanted = ["Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Start us"]
    wanted += [name for name in PROFILES[profile].columns if name not in wanted]
    wanted.append("IP Version")
    assert list(rows[0]) == wanted
    assert {row["Flow Duration"] for row in rows} == {"200"}
    assert int(rows[0]["Start us"]) == SYN.time_us + 10_000


def test_extract_reads_standard_input_and_writes_standard_output(
    edge_agent: EdgeAgent, capture: Path
) -> None:
    packed = gzip.compress(capture.read_bytes())
    done = edge_agent("extract", "-", "--profile", "improved", "-o", "-", stdin=packed)
    assert done.returncode == 0
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 300
    assert done.stderr == "-: 600 packets, 300 flows.\n"


def test_score_reads_what_extract_writes(
    edge_agent: EdgeAgent, capture: Path, tmp_path: Path
) -> None:
    flows, scores = tmp_path / "flows.csv", tmp_path / "scores.csv"
    assert edge_agent("extract", capture, "--output", flows).returncode == 0
    done = edge_agent("score", flows, "--model", LAB_MODEL, "--output", scores, "--json")
    assert done.returncode == 0
    summary = json.loads(done.stdout)
    with scores.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert summary["rows"] == len(rows) == 300
    assert summary["attacks"] == sum(row["verdict"] == "attack" for row in rows) > 250
    assert all(0 <= float(row["score"]) <= 1 for row in rows)


def test_replay_tells_of_a_scan_in_a_few_messages(edge_agent: EdgeAgent, capture: Path) -> None:
    done = edge_agent("replay", capture, "--model", LAB_MODEL, "--node", "attic")
    assert done.returncode == 0
    alerts = [Alert.from_json(line) for line in done.stdout.splitlines()]
    assert 2 <= len(alerts) <= 6
    assert {alert.id for alert in alerts} == {alerts[0].id}
    assert [alerts[0].event, alerts[-1].event] == ["new", "end"]
    assert {alert.source for alert in alerts} == {"10.0.0.66"}
    assert alerts[-1].targets == ("10.0.0.1",)
    assert alerts[-1].port_count > 250
    # The capture's clock, not ours.
    assert SYN.time_us < alerts[0].time_us < SYN.time_us + 10_000_000


def test_replay_names_the_family(edge_agent: EdgeAgent, tmp_path: Path) -> None:
    # Nobody answers, so that the source looks as in `tests.detect.synthetic`.
    probes = [segment for segment in scan(300) if segment.source == SYN.source]
    path = write_capture(tmp_path / "scan.pcap", probes)
    done = edge_agent("replay", path, "--model", FAMILIES_MODEL)
    assert done.returncode == 0
    alerts = [Alert.from_json(line) for line in done.stdout.splitlines()]
    assert len({alert.id for alert in alerts}) == 1
    assert alerts[-1].family == "scan"
    assert alerts[-1].explanation.startswith("looks like a scan: ")
    # A model of format version 1 names none.
    old = edge_agent("replay", path, "--model", LAB_MODEL)
    families = {Alert.from_json(line).family for line in old.stdout.splitlines()}
    assert families == {"unknown"}


BROKEN = [
    pytest.param(pcap([(0, b"x" * 80)])[:-5], "is cut: 5 bytes are missing", id="cut"),
    pytest.param(pcap([(0, b"x" * 80)], link_type=105), "link type 105", id="link type"),
    pytest.param(b"GIF89a not a capture", "is not a capture", id="no capture"),
    pytest.param(b"", "is empty", id="empty"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN)
@pytest.mark.parametrize("command", ["extract", "replay"])
def test_a_broken_capture_is_one_sentence(
    edge_agent: EdgeAgent, tmp_path: Path, command: str, content: bytes, words: str
) -> None:
    path = tmp_path / "broken.pcap"
    path.write_bytes(content)
    output = tmp_path / "out" / "flows.csv"
    options = ("--output", output) if command == "extract" else ("--model", LAB_MODEL)
    done = edge_agent(command, path, *options)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
    assert len(said) == 1
    assert said[0].startswith(f"edge-agent {command}: error: {path}")
    assert words in said[0]
    assert done.stdout == ""
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_allow_cut_takes_what_is_whole(edge_agent: EdgeAgent, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(write_capture(path, scan(10)).read_bytes()[:-5])
    done = edge_agent("extract", path, "--output", tmp_path / "flows.csv", "--allow-cut")
    assert done.returncode == 0
    assert "19 packets" in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda data: data[:-100], "truncated or altered", id="truncated"),
        pytest.param(
            lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
            "altered",
            id="altered",
        ),
        pytest.param(lambda _: b"rubbish", "is not a TFLite model", id="no model"),
    ],
)
@pytest.mark.parametrize("command", ["score", "replay"])
def test_a_broken_model_is_one_sentence(
    edge_agent: EdgeAgent,
    capture: Path,
    tmp_path: Path,
    command: str,
    change: Callable[[bytes], bytes],
    words: str,
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(change(LAB_MODEL.read_bytes()))
    output = tmp_path / "scores.csv"
    options = ("--output", output) if command == "score" else ()
    done = edge_agent(command, capture, "--model", model, *options)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert str(model) in said
    assert words in said
    assert not output.exists()


def test_rows_of_another_profile_are_refused(
    edge_agent: EdgeAgent, capture: Path, tmp_path: Path
) -> None:
    flows, scores = tmp_path / "flows.csv", tmp_path / "scores.csv"
    edge_agent("extract", capture, "--profile", "cic2017", "--output", flows)
    done = edge_agent("score", flows, "--model", LAB_MODEL, "--output", scores)
    assert done.returncode == 1
    assert "cic2017" in done.stderr
    assert "gateway" in done.stderr
    assert not scores.exists()


@pytest.mark.parametrize("url", ["mqtt://127.0.0.1:{port}", "mqtt://192.0.2.1", "http://x", "x"])
def test_a_broker_that_is_no_use_is_one_sentence(
    edge_agent: EdgeAgent, capture: Path, url: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = url.format(port=closed.getsockname()[1])
        done = edge_agent("replay", capture, "--model", LAB_MODEL, "--broker", url)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
    assert len(said) == 1
    assert said[0].startswith("edge-agent replay: error: ")
    assert done.stdout == ""


def test_an_output_that_cannot_be_written_is_one_sentence(
    edge_agent: EdgeAgent, capture: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = edge_agent("extract", capture, "--output", tmp_path / "file" / "flows.csv")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_a_device_as_output_stays_a_device(edge_agent: EdgeAgent, capture: Path) -> None:
    assert edge_agent("extract", capture, "--output", "/dev/stdout").stdout.startswith("Src IP,")


@pytest.mark.parametrize(
    "arguments", [("extract",), ("replay", "x.pcap"), ("nonsense",), ("extract", "x", "--profile")]
)
def test_wrong_usage_is_exit_code_2(edge_agent: EdgeAgent, arguments: tuple[str, ...]) -> None:
    done = edge_agent(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr


@pytest.mark.parametrize("command", [(), ("extract",), ("score",), ("replay",)])
def test_help_has_an_example(edge_agent: EdgeAgent, command: tuple[str, ...]) -> None:
    done = edge_agent(*command, "--help")
    assert done.returncode == 0
    assert "Example:\n" in done.stdout
