"""Costs of processes, rounds and targets; nothing here asserts how fast something is."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.throughput import contenders, instructions, measure, peers, report, targets
from benchmarks.throughput.traces import Trace, large_trace
from edge_agent.contract.profiles import PROFILES
from edge_agent.metering import CaptureMeter
from edge_agent.native import library

PACKETS = 5_000

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return large_trace(tmp_path_factory.mktemp("traces"), PACKETS)


# --- what a process costs ---

SPIN = "import time\nwhile time.process_time() < 0.2: pass\n"


def test_processor_time_is_counted() -> None:
    cost, _ = measure.launch([sys.executable, "-c", SPIN])
    assert cost.cpu_s >= 0.2
    assert cost.wall_s > 0


def test_what_a_command_leaves_behind_is_waited_for_and_counted() -> None:
    orphan = f"import os\nif os.fork() == 0:\n os.setsid()\n exec({SPIN!r})\n"
    cost, _ = measure.launch([sys.executable, "-c", orphan])
    assert cost.cpu_s >= 0.2


def test_peak_memory_is_the_command_s_and_not_ours() -> None:
    ballast = bytearray(b"x") * 200_000_000
    assert measure.floor_bytes() < 50_000_000
    hungry, _ = measure.launch([sys.executable, "-c", "x = bytearray(b'x') * 100_000_000"])
    assert 100_000_000 < hungry.peak_bytes < len(ballast)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["false"], "failed: it said nothing"),
        (["edge-ids-nowhere"], "failed: edge-ids-nowhere: No such file"),
        ([sys.executable, "-c", "raise SystemExit('no luck')"], "failed: no luck"),
        (["sleep", "60"], "took longer than 0.2 s"),
    ],
)
def test_a_command_that_fails_says_why(command: list[str], why: str) -> None:
    with pytest.raises(measure.ContenderError, match=why):
        measure.launch(command, limit_s=0.2 if command[0] == "sleep" else 60)


# --- rounds and figures ---


def fake_trace(name: str, packets: int) -> Trace:
    return Trace(Path(f"{name}.pcap"), packets, 10, 60 * packets, 340 * packets, 1.0, "00")


def contender(name: str, packets: int = 1000, baseline: str | None = None) -> measure.Contender:
    trace = fake_trace(f"trace-{packets}", packets)
    return measure.Contender(name, trace, lambda _: ("true",), baseline=baseline)


def turn(cpu_s: float, start_s: float = 0.0, peak: int = 1) -> measure.Turn:
    return measure.Turn(
        measure.Cost(cpu_s, cpu_s, peak, 7), measure.Cost(start_s, start_s, 1, None)
    )


def test_contenders_take_turns_and_every_second_round_goes_the_other_way() -> None:
    order = []

    def run(item: measure.Contender) -> measure.Turn:
        order.append(item.name)
        return turn(len(order))

    turns = measure.take_turns([contender(name) for name in "abc"], 3, run)
    assert order == list("abccbaabc")
    assert [item.trace.cpu_s for item in turns["a"]] == [1, 6, 7]


def test_ratios_are_formed_within_a_round() -> None:
    # The machine was four times slower in the second round: the ratio does not care.
    found = measure.figures(
        [contender("base"), contender("ours", 500, "base")],
        {"base": [turn(1.0), turn(4.0)], "ours": [turn(1.0), turn(4.0, peak=9)]},
    )
    assert found["ours"]["times_baseline"] == {"median": 0.5, "lowest": 0.5, "highest": 0.5}
    assert found["ours"]["packets_per_cpu_s"] == {"median": 312.5, "lowest": 125, "highest": 500}
    assert found["ours"]["peak_bytes"] == 9
    assert found["base"]["times_baseline"] is None


def test_the_start_is_left_out_only_where_it_is_clear() -> None:
    found = measure.figures(
        [contender("long"), contender("short")],
        {"long": [turn(3.0, 1.0)], "short": [turn(1.2, 1.0)]},
    )
    assert found["long"]["packets_per_cpu_s_beyond_start"]["median"] == 500
    assert found["short"]["packets_per_cpu_s_beyond_start"] is None


def test_a_program_that_finds_nothing_has_failed(tmp_path: Path) -> None:
    silent = measure.Contender(
        "silent", fake_trace("x", 1), lambda _: ("true",), lambda _: 0, needs_flows=True
    )
    with pytest.raises(measure.ContenderError, match="silent found no flows in x"):
        measure.turn(silent, tmp_path)


# --- targets and tables ---


def fake_report(rate: float = 1000.0, times: float | None = 0.8) -> dict[str, Any]:
    def figures(name: str, factor: float) -> dict[str, Any]:
        spread = {"median": factor * rate, "lowest": rate / 2, "highest": 2 * rate}
        return {
            "ours": name != contenders.TCPDUMP,
            "trace": "large-1000.pcap",
            "packets": 1000,
            "flows": None,
            "packets_per_cpu_s": spread,
            "packets_per_cpu_s_beyond_start": spread,
            "baseline": contenders.TCPDUMP,
            "times_baseline": times and {"median": times, "lowest": times, "highest": times},
            "wall_s": spread,
            "cpu_s": spread,
            "start_cpu_s": 0.2,
            "peak_bytes": 64_000_000,
        }

    names = [contenders.TCPDUMP, contenders.CSV]
    names += [contenders.meter_name(profile) for profile in PROFILES]
    found = {name: figures(name, 1.0) for name in names}
    flood = contenders.meter_name("gateway", "flood")
    milliseconds = {"median": 50.1, "lowest": 50.0, "highest": 51.0}
    return {
        "rounds": 5,
        "cpu": 1,
        "floor_bytes": 8_000_000,
        "left_out": {"tshark": "is not installed"},
        "contenders": {**found, flood: figures(flood, 0.9)},
        "import_ms": {"beyond_numpy": milliseconds, "with_numpy": milliseconds},
    }


def test_targets_pass_fail_or_were_not_measured() -> None:
    held = {target.what: target.verdict for target in targets.of_meter(fake_report())}
    assert held["meter, gateway: its rate by tcpdump's, beyond start"] == "pass"
    assert held["meter, gateway: rate on flood by rate on large, beyond start"] == "fail"
    assert held["meter, gateway: peak memory, MB, the higher of both traces"] == "pass"
    assert held["meter, improved: rate on flood by rate on large, beyond start"] == "not measured"
    assert held["import of the meter beyond numpy, ms"] == "fail"
    assert held["extract to CSV, improved: its rate by tcpdump's"] == "pass"
    slow = fake_report(times=0.5)
    for profile in PROFILES:
        slow["contenders"][contenders.meter_name(profile)] |= {
            "packets_per_cpu_s_beyond_start": {"median": 500.0}
        }
    verdicts = [t.verdict for t in targets.of_meter(slow) if "tcpdump" in t.what]
    assert verdicts == ["fail"] * 3 + ["pass"]


def test_targets_beside_nfstream() -> None:
    verdicts = [t.verdict for t in targets.of_peers({"improved": 25.0, "cic2017": None})]
    assert verdicts == ["pass", "not measured"]
    assert "not measured" in targets.summary(targets.of_peers({"improved": None}))


def test_the_table_names_everything() -> None:
    text = report.summary(fake_report())
    assert all(name in text for name in (*fake_report()["contenders"], "Left out: tshark"))
    assert "64.0" in text
    low = fake_report()
    low["contenders"][contenders.TCPDUMP]["peak_bytes"] = 8_100_000
    assert "under 9" in report.summary(low)


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.plot(fake_report(), tmp_path / "folder" / "chart.png")
    assert (tmp_path / "folder" / "chart.png").read_bytes()[:4] == b"\x89PNG"


# --- peers ---


def test_peers_say_how_many_flows_they_found(tmp_path: Path) -> None:
    by_name = {peer.name: peer for peer in peers.PEERS}
    (tmp_path / "cicflowmeter.csv").write_text("head\nflow\nflow\n")
    said = {
        peers.NFSTREAM: "WARNING: something\n41\n",
        "cicflowmeter": "",
        "softflowd": "Flows expired: 41 (0 forced)",
        "nfpcapd": "whatever",
        "tshark": "a:1 <-> b:2\na:3 <-> b:4\n",
    }
    found = {name: by_name[name].flows(text, tmp_path) for name, text in said.items()}
    assert found == {
        peers.NFSTREAM: 41,
        "cicflowmeter": 2,
        "softflowd": 41,
        "nfpcapd": None,
        "tshark": 2,
    }


def test_peers_that_are_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert {peers.version(peer, tmp_path) for peer in peers.PEERS} == {None}


def test_each_peer_reads_the_capture(tmp_path: Path) -> None:
    for peer in peers.PEERS:
        found = peers.contender(peer, fake_trace("x", 1), tmp_path, tmp_path)
        assert "x.pcap" in found.command(Path("x.pcap"))
        assert found.baseline == contenders.TCPDUMP


# --- instructions ---


@needs_compiler
def test_the_driver_meters_as_the_agent_does(large: Trace, tmp_path: Path) -> None:
    driver = instructions.build(tmp_path)
    for profile in PROFILES.values():
        numbers = map(str, instructions.options(profile))
        _, said = measure.launch([str(driver), str(large.path), *numbers])
        ours = CaptureMeter([large.path], profile)
        rows = sum(map(len, ours.batches()))
        assert list(map(int, said.split())) == [next(iter(ours.counts().values())), rows]


def test_growth_is_told_by_trace_and_profile() -> None:
    now = {"large": {"improved": 103.0, "new": 5.0}, "flood": {"improved": 1.0}}
    kept = {"large": {"improved": 100.0}}
    [(trace, profile, share)] = instructions.growth(now, kept)
    assert (trace, profile, round(share, 9)) == ("large", "improved", 0.03)
    assert "+3.00%" in instructions.summary(now, kept)


@pytest.mark.skipif(instructions.missing() is not None, reason=str(instructions.missing()))
@pytest.mark.slow
def test_instructions_per_packet_do_not_grow(tmp_path: Path) -> None:
    kept = instructions.kept()
    if kept["compiler"] != instructions.compiler():
        pytest.skip(f"the figures that are kept are of another compiler: {kept['compiler']}")
    figures = instructions.count(tmp_path)
    known = kept["instructions_per_packet"]
    grown = [share for _, _, share in instructions.growth(figures, known)]
    assert len(grown) == 2 * len(PROFILES)
    advice = f"\n{instructions.summary(figures, known)}\nIf this is as it should be or less:"
    assert max(grown) <= instructions.TOLERATED, f"{advice} {instructions.UPDATE}"


# --- commands ---


@pytest.mark.parametrize("command", ["meter", "peers"])
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "Example:\n" in result.stdout


@pytest.mark.parametrize("command", ["meter", "peers"])
def test_without_tcpdump_there_is_nothing_to_compare_to(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, [command, "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "tcpdump is not installed" in result.stderr
    assert result.stderr.count("\n") == 1


def test_keeping_goes_with_counting() -> None:
    result = CliRunner().invoke(main, ["meter", "--keep"])
    assert result.exit_code == 2


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump")
@pytest.mark.skipif(library is None, reason="needs the compiled meter")
@pytest.mark.slow
def test_meter_measures_all_of_ours(tmp_path: Path) -> None:
    arguments = ["meter", "--packets", "3000", "--rounds", "1", "--folder", str(tmp_path)]
    result = CliRunner().invoke(main, [*arguments, "--json", "-"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    measured = {*found["contenders"], *found["left_out"]}
    assert {contenders.TCPDUMP, contenders.REFERENCE, contenders.CSV, contenders.PARQUET} < measured
    assert {contenders.meter_name(profile) for profile in PROFILES} < measured
    assert found["contenders"][contenders.meter_name("improved")]["flows"] > 100
    assert {trace["packets"] for trace in found["traces"].values()} == {3000}
    assert {target["verdict"] for target in found["targets"]} <= {"pass", "fail", "not measured"}
