"""The parts of `live` that decide, and all of it on a small scale; nothing asserts a speed."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.live import frames, measuring, network, programs, readings, targets
from benchmarks.live.agent_process import MODEL, added, quantile_s
from benchmarks.live.batches import BATCH
from benchmarks.live.programs import AGENT, TCPDUMP, Counted
from benchmarks.live.searching import RUNG, Trial, highest_borne, ladder
from benchmarks.live.sender import Traffic, paced
from benchmarks.throughput.contenders import require_tcpdump
from benchmarks.throughput.peers import NFSTREAM
from edge_agent.contract.errors import EdgeIdsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def trial(rate: float, *, lost: int = 0, dropped: int = 0, slow: float = 1.0) -> Trial:
    """A second at a rate."""
    return Trial(rate, round(rate), slow, round(rate) - lost, dropped, 0.5, 1_000)


# --- what a trial says ---


def test_a_rate_is_borne_when_nothing_is_lost() -> None:
    assert trial(1000).borne


@pytest.mark.parametrize(
    "spoilt",
    [
        trial(1000, lost=1),
        trial(1000, dropped=1),
        Trial(1000, 0, 1.0, 0, 0, 0.0, 0),
    ],
    ids=["not all was read", "its own counter says so", "nothing was sent"],
)
def test_a_rate_is_not_borne_where_something_is_lost(spoilt: Trial) -> None:
    assert not spoilt.borne


def test_what_was_not_sent_at_its_rate_says_nothing() -> None:
    unsent = trial(1000, slow=1.2)
    assert unsent.complete
    assert not unsent.borne
    assert trial(1000, slow=1.04).borne


def test_costs_are_told_by_what_was_read() -> None:
    assert trial(100_000).cpu_s_per_100k == 0.5
    assert trial(100_000, lost=50_000).cpu_s_per_100k == 1.0
    assert trial(1, lost=1).cpu_s_per_100k is None
    assert trial(1000, lost=250).lost_share == 0.25


# --- the search ---


def test_the_ladder_ends_at_the_highest_rate() -> None:
    rates = ladder(1000, 16_000)
    assert rates[-1] == 16_000
    assert rates[0] == pytest.approx(1000)
    assert len(rates) == 17
    assert np.diff(np.log(rates)) == pytest.approx(np.log(RUNG))
    assert ladder(1000, 1000) == [1000]


def bearing(limit: float) -> tuple[Callable[[float], Trial], list[float]]:
    """A program that bears rates up to a limit, and what it was tried at."""
    tried: list[float] = []

    def attempt(rate: float) -> Trial:
        tried.append(rate)
        return trial(rate, lost=0 if rate <= limit else 1)

    return attempt, tried


@pytest.mark.parametrize("limit", [1_000, 1_500, 8_000, 30_000, 63_999])
def test_the_highest_rung_below_the_limit_is_found(limit: float) -> None:
    rates = ladder(1000, 64_000)
    attempt, tried = bearing(limit + 1e-6)
    best, trials = highest_borne(rates, attempt)
    assert best is not None
    assert best.wanted_rate == max(rate for rate in rates if rate <= limit + 1e-6)
    assert len(trials) == len(tried) <= 12


def test_who_bears_everything_is_tried_once() -> None:
    attempt, tried = bearing(1e9)
    best, _ = highest_borne(ladder(1000, 64_000), attempt)
    assert tried == [64_000]
    assert best is not None
    assert best.wanted_rate == 64_000


def test_who_bears_nothing_has_no_rate() -> None:
    attempt, tried = bearing(0)
    best, _ = highest_borne(ladder(1000, 4_000), attempt)
    assert best is None
    # Each twice, down to the lowest.
    assert tried.count(min(tried)) == 2


def test_one_stall_of_the_machine_is_forgiven() -> None:
    answers = iter([trial(1000, lost=1), trial(1000)])
    best, trials = highest_borne([1000], lambda _: next(answers))
    assert best is trials[1]


def test_unsent_trials_do_not_go_on_for_ever() -> None:
    best, trials = highest_borne([1000], lambda rate: trial(rate, slow=2.0))
    assert best is None
    assert len(trials) == 4


# --- what the turns amount to ---


def turn(rate: float | None, **cost: float) -> measuring.Turn:
    best = None if rate is None else trial(rate)
    own = Trial(100_000, 100_000, 1.0, 100_000, 0, cost.get("cpu_s", 1.0), 2_000)
    return measuring.Turn(best, own, [] if best is None else [best])


def test_ratios_are_formed_within_rounds() -> None:
    turns = {
        AGENT: [turn(1000), turn(4000), turn(9000)],
        TCPDUMP: [turn(500), turn(4000), turn(3000)],
        NFSTREAM: [turn(None), turn(1000), turn(1000)],
    }
    assert measuring.ratio(turns, AGENT, TCPDUMP) == 2
    assert measuring.ratio(turns, AGENT, NFSTREAM) == 6.5
    assert measuring.ratio(turns, AGENT, "another") is None


def test_figures_say_where_the_sender_was_the_limit() -> None:
    found = measuring.figures(
        {AGENT: [turn(8000), turn(8000)], TCPDUMP: [turn(8000), turn(4000)]}, 8000
    )
    assert found[AGENT]["at_top"]
    assert not found[TCPDUMP]["at_top"]
    assert found[AGENT]["times_tcpdump"] == {"median": 1.5, "lowest": 1, "highest": 2}
    assert found[AGENT]["cpu_s_per_100k"]["median"] == 1.0
    json.dumps(found, allow_nan=False)


def test_slow_rates_are_tried_longer() -> None:
    lengths = [measuring.stretch_s(rate, 20_000) for rate in (1_000, 40_000, 1_000_000)]
    assert lengths == [8, 5, 3]


ALONE = {
    "idle_bytes": 60e6,
    "idle_cpu_share": 0.02,
    "full_bytes": 97e6,
    "full_flows": 100,
    "max_flows": 100,
    "start_median_s": 1.5,
}


def test_targets() -> None:
    held = targets.of_live({TCPDUMP: 1.0, NFSTREAM: 4.9}, ALONE)
    assert [target.verdict for target in held] == ["pass", "fail", "pass", "fail", "pass", "fail"]


def test_a_table_that_was_not_full_says_nothing_of_memory() -> None:
    held = targets.of_live({}, {**ALONE, "full_flows": 99})
    assert held[3].verdict == "not measured"
    assert {target.verdict for target in targets.of_live({}, None)} == {"not measured"}


# --- what programs say ---


def test_tcpdump_s_counts() -> None:
    said = "5 packets captured\n7 packets received by filter\n2 packets dropped by kernel\n"
    assert programs.tcpdump_counts(said) == Counted(5, 2)
    assert programs.tcpdump_counts(said + "1 packet dropped by interface\n") == Counted(5, 3)
    with pytest.raises(network.MeasuringError, match="without telling"):
        programs.tcpdump_counts("tcpdump: listening on near")


def test_nfstream_s_last_report_counts() -> None:
    report = {"packets_processed": 3, "packets_ignored": 2, "packets_dropped_filtered_by_kernel": 1}
    said = "\n".join([json.dumps({**report, "packets_processed": 1}), json.dumps(report), "bye"])
    assert programs.nfstream_counts(said) == Counted(5, 1)
    assert programs.nfstream_counts("a warning") == Counted(0, 0)


def test_metrics_are_added_over_labels() -> None:
    found = {'a{of="x"}': 1.0, 'a{of="y"}': 2.0, "a_total": 8.0, "b": 4.0}
    assert added(found, "a") == 3
    assert added(found, "b") == 4


def test_quantiles_of_a_histogram() -> None:
    found = {'d_bucket{le="1"}': 50.0, 'd_bucket{le="3"}': 90.0, 'd_bucket{le="+Inf"}': 100.0}
    found["d_count"] = 100.0
    assert quantile_s(found, "d", 0.5) == 1.0
    assert quantile_s(found, "d", 0.7) == 2.0
    assert quantile_s(found, "d", 0.99) is None
    assert quantile_s({}, "d", 0.5) is None


# --- sending ---


class Clock:
    """Moves when somebody sleeps, and a little with every batch."""

    def __init__(self, batch_s: float = 0.0) -> None:
        self.now = 0.0
        self.batch_s = batch_s
        self.places: list[tuple[int, int]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def send(self, place: int, count: int) -> int:
        self.now += self.batch_s
        self.places.append((place, count))
        return min(count, 10 - place)


def test_frames_leave_at_their_rate_and_again_from_the_first() -> None:
    clock = Clock()
    sent = paced(clock.send, 10, 1000, 0.1, now_s=lambda: clock.now, sleep=clock.sleep)
    assert sent.packets == 100
    assert sent.rate == pytest.approx(1000, rel=0.02)
    assert {place for place, _ in clock.places} <= set(range(10))
    assert max(count for _, count in clock.places) <= BATCH


def test_a_sender_that_is_too_slow_ends_all_the_same() -> None:
    clock = Clock(batch_s=0.01)
    sent = paced(clock.send, 10, 1e6, 1.0, now_s=lambda: clock.now, sleep=clock.sleep)
    assert sent.packets < 2000
    assert sent.seconds < 1.2


@pytest.mark.parametrize("protocol", [frames.TCP, frames.UDP])
def test_made_frames_are_read_as_what_they_are(protocol: int) -> None:
    made = frames.frames(
        frames.Ends(
            np.array([0x0A000001, 0x0A000002], np.uint32),
            np.array([0xC0A80001, 0xC0A80002], np.uint32),
            np.array([1234, 65535]),
            np.array([80, 53]),
        ),
        protocol,
        flags=frames.SYN,
        payload=np.array([0, 300]),
        width=400,
    )
    header = 20 if protocol == frames.TCP else 8
    assert frames.length_bytes(made).tolist() == [60, 14 + 20 + header + 300]
    for row, source, port in zip(made, ("10.0.0.1", "10.0.0.2"), (1234, 65535), strict=True):
        header_sum = int(row[14:34].view(">u2").astype(np.int64).sum())
        assert header_sum % 0xFFFF == 0
        assert socket.inet_ntoa(row[26:30].tobytes()) == source
        assert int(row[34]) << 8 | int(row[35]) == port


# --- all of it ---


@pytest.fixture(scope="module")
def able() -> None:
    """Skips where nothing can be measured."""
    reason = network.missing()
    if not reason:
        try:
            require_tcpdump()
        except EdgeIdsError as error:
            reason = str(error)
    if reason:
        pytest.skip(reason)


def test_small_traffic_reaches_each_program(able: None, tmp_path: Path) -> None:
    path = tmp_path / "flows.pcap"
    number = np.arange(500, dtype=np.int64)
    path.write_bytes(
        frames.capture(
            frames.frames(
                frames.Ends(
                    (0x0A000001 + number).astype(np.uint32),
                    (0x0B000001 + number).astype(np.uint32),
                    1024 + number,
                    1 + number,
                ),
                frames.UDP,
                payload=18,
            )
        )
    )
    everybody: list[programs.Program] = [
        programs.Agent(MODEL, ("--board", "raspberry-pi-zero-2w")),
        programs.Tcpdump(1 << 20),
        programs.SocketLoop(1 << 20),
    ]
    with network.space() as made, Traffic(made, path) as traffic:
        for program in everybody:
            found, metrics = measuring.attempt(program, made, traffic, 500, 1.0)
            assert (found.sent, found.received, found.dropped) == (500, 500, 0), program.name
            assert found.peak_bytes > 1_000_000
            assert bool(metrics) == (program.name == AGENT)


def test_processes_are_found_with_their_children() -> None:
    import os
    import subprocess

    child = subprocess.Popen(["sleep", "20"])
    try:
        assert {os.getpid(), child.pid} <= set(readings.family(os.getpid()))
        assert readings.family(child.pid) == [child.pid]
        assert readings.cpu_s([os.getpid()]) > 0
        peak, now = (read([os.getpid()]) for read in (readings.peak_bytes, readings.resident_bytes))
        assert peak >= now * 0.5 > 0
    finally:
        child.kill()
        child.wait()
    assert readings.peak_bytes([child.pid]) == 0


def test_help_has_an_example() -> None:
    said = CliRunner().invoke(main, ["live", "--help"]).output
    assert "python -m benchmarks live" in said
