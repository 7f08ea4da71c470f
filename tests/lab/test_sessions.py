"""The committed recordings: complete, exactly labelled, small, and different from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.lab import bounds, truth, verify
from benchmarks.lab.plan import load
from benchmarks.lab.session import CAPTURE, PLAN, TRUTH

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("session-a", "session-b", "session-c")
MOST_BYTES = 12_000_000


@pytest.fixture(scope="module", params=NAMES)
def report(request: pytest.FixtureRequest, sessions: Path) -> verify.Report:
    return verify.check(sessions / str(request.param))


def test_a_session_passes_the_check(report: verify.Report) -> None:
    assert report.faults == []
    assert report.duplicates <= verify.DUPLICATE_SHARE * report.packets
    assert report.merged_frames == 0


def test_every_flow_has_exactly_one_explanation(report: verify.Report) -> None:
    """No benign flow lies inside a campaign's rule, and no attack outside of one."""
    assert report.benign_flows + report.attack_flows == report.flows
    assert sum(wave.flows for wave in report.waves) == report.attack_flows
    attack_packets = sum(wave.packets for wave in report.waves)
    counted = report.benign_packets + attack_packets + report.packets_not_ipv4
    assert counted == report.packets
    assert min(report.benign_flows, *(wave.flows for wave in report.waves)) > 0


def test_the_readme_tells_these_figures(report: verify.Report, sessions: Path) -> None:
    readme = (sessions.parent / "README.md").read_text()
    section = readme.partition(f"### {report.session}\n")[2].partition("###")[0]
    assert (
        f"{report.seconds:.0f} s, {report.packets:,} packets, {report.capture_bytes / 1e6:.2f} MB. "
        f"Benign: {report.benign_flows:,} flows ({report.resets_in_benign_flows} with a reset), "
        f"{report.benign_packets:,} packets. Attacks: {report.attack_flows:,} flows."
    ) in section
    for wave in report.waves:
        row = next(line for line in section.splitlines() if line.startswith(f"| {wave.id} "))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:3] == [wave.id, wave.label, wave.family]
        assert cells[6:] == [f"{wave.packets:,}", f"{wave.flows:,}"]


def test_together_they_are_small(sessions: Path) -> None:
    assert sorted(path.name for path in sessions.iterdir()) == list(NAMES)
    files = [path for path in sessions.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {CAPTURE, PLAN, TRUTH}
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_plan_is_safe_and_is_what_was_recorded(sessions: Path, name: str) -> None:
    plan, record = load(sessions / name / PLAN), truth.load(sessions / name / TRUTH)
    bounds.check(plan)
    assert (plan.session, record.session, record.capture) == (name, name, CAPTURE)
    assert record.hosts == {host: str(address) for host, address in plan.addresses.items()}
    assert list(record.infected) == [host.name for host in plan.hosts if host.infected]
    for campaign, wave in zip(plan.campaigns, record.campaigns, strict=True):
        matcher = wave.matcher()
        strikers = bounds.attackers(plan, campaign)
        victims = [plan.network(victim) for victim in campaign.victims]
        assert matcher.attackers == tuple((int(net[0]), int(net[-1])) for net in strikers)
        assert matcher.victims == tuple((int(net[0]), int(net[-1])) for net in victims)
        assert (matcher.protocol, matcher.ports) == (campaign.protocol, campaign.ports)
        assert (wave.end_us - wave.start_us) / 1e6 < bounds.MOST_SECONDS


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_truth_survives_reading_and_writing(
    sessions: Path, tmp_path: Path, name: str
) -> None:
    path = sessions / name / TRUTH
    truth.load(path).save(tmp_path / TRUTH)
    assert (tmp_path / TRUTH).read_bytes() == path.read_bytes()


def test_sessions_share_neither_addresses_nor_seeds(sessions: Path) -> None:
    plans = [load(sessions / name / PLAN) for name in NAMES]
    assert len({plan.seed for plan in plans}) == len(plans)
    houses = {plan.lan for plan in plans}
    assert len(houses) == len(plans)
    assert not any(a.overlaps(b) for a in houses for b in houses if a != b)
