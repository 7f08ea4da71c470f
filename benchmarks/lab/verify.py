"""Checks a recording against its truth and its plan, and counts what it holds.

The heart is that every flow must have exactly one explanation: the label of one campaign, or a
conversation which the plan lists as benign. A flow with none is an attack that escaped its label
(or a mistake in the plan); a flow with two would be labelled wrongly.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from benchmarks.lab import pcap, truth
from benchmarks.lab.activities import Contact, contacts
from benchmarks.lab.capture import SNAP_BYTES
from benchmarks.lab.errors import CaptureError
from benchmarks.lab.plan import Plan, load

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.lab.truth import Matcher, Truth, Wave

ICMP = 1
MULTICAST = int(IPv4Address("224.0.0.0"))
# A conversation silent this long counts as two flows.
IDLE_US = 60_000_000
# The same bytes again this soon may be one frame seen twice: a retransmission has a new IP
# identification. Frames without one (the kernel's own resets and SYN+ACKs) are left out, for they
# are equal by nature. Two processes of a tool can still send equal packets at once, hence the
# tolerance; a capture that sees frames twice sees all of a path's.
DUPLICATE_US = 300
DUPLICATE_SHARE = 0.0005
MOST_PAYLOAD_BYTES = 1460

End = tuple[int, int]


@dataclass(slots=True)
class Flow:
    """One conversation; `first` sent its first packet."""

    first: End
    second: End
    protocol: int
    begin_us: int
    last_us: int
    packets: int = 0
    closing: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True)
class WaveCount:
    """What one campaign left in the capture."""

    id: str
    label: str
    family: str
    seconds: float
    packets: int
    flows: int

    def as_text(self) -> str:
        """For people."""
        return (
            f"  {self.id}  {self.label:<26} {self.family:<10} {self.seconds:6.1f} s "
            f"{self.packets:6d} packets {self.flows:6d} flows"
        )


@dataclass(slots=True)
class Report:
    """Counts and faults of a recording."""

    session: str
    capture_bytes: int = 0
    seconds: float = 0.0
    packets: int = 0
    packets_not_ipv4: int = 0
    flows: int = 0
    benign_flows: int = 0
    benign_packets: int = 0
    attack_flows: int = 0
    resets_in_benign_flows: int = 0
    duplicates: int = 0
    merged_frames: int = 0
    waves: list[WaveCount] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """For programs."""
        return json.dumps(asdict(self), indent=1)

    def as_text(self) -> str:
        """For people."""
        lines = [
            (
                f"{self.session}: {self.seconds:.0f} s, {self.capture_bytes / 1e6:.2f} MB, "
                f"{self.packets} packets ({self.packets_not_ipv4} not IPv4), {self.flows} flows"
            ),
            (
                f"benign: {self.benign_flows} flows ({self.resets_in_benign_flows} with RST), "
                f"{self.benign_packets} packets; attacks: {self.attack_flows} flows"
            ),
            f"duplicated frames: {self.duplicates}; merged frames: {self.merged_frames}",
        ]
        lines += [wave.as_text() for wave in self.waves]
        lines += [f"FAULT: {text}" for text in self.faults] or ["no faults"]
        return "\n".join(lines)


def check(folder: Path) -> Report:
    """Read a recording and check it; raises LabError if it cannot be read at all."""
    record = truth.load(folder / "truth.json")
    plan = load(folder / "plan.toml")
    report = Report(record.session)
    report.seconds = (record.end_us - record.start_us) / 1e6
    flows = _gather(folder / record.capture, record, report)
    report.capture_bytes = (folder / record.capture).stat().st_size
    _check_truth(record, plan, report)
    _Explainer(record, plan, report).explain(flows)
    return report


def _check_truth(record: Truth, plan: Plan, report: Report) -> None:
    if record.dropped_by_kernel:
        report.faults.append(f"the kernel dropped {record.dropped_by_kernel} packets")
    if not record.campaigns:
        raise CaptureError(f"{record.session} was recorded without campaigns")
    ended_us: dict[str, int] = {}
    last_us = 0
    for wave in record.campaigns:
        if not record.start_us < wave.start_us < wave.end_us < record.end_us:
            report.faults.append(f"{wave.id} does not lie inside the recording")
        if wave.start_us <= last_us:
            report.faults.append(f"{wave.id} began before the campaign before it ended")
        last_us = wave.end_us
        for attacker in wave.launched_from:
            gap_s = (wave.start_us - ended_us.get(attacker, 0)) / 1e6
            if gap_s < 60:
                report.faults.append(f"{wave.id}: {attacker} rested only {gap_s:.1f} s")
            ended_us[attacker] = wave.end_us
    ran, planned = ([(c.id, c.label, c.family) for c in x.campaigns] for x in (record, plan))
    if ran != planned:
        report.faults.append("the plan has other campaigns than the recording")
    quiet_s = (record.campaigns[0].start_us - record.start_us) / 1e6
    rest_s = (record.end_us - record.campaigns[-1].end_us) / 1e6
    if quiet_s < plan.timing.opening_s or rest_s < plan.timing.closing_s:
        report.faults.append(f"benign only for {quiet_s:.0f} s before and {rest_s:.0f} s after")


def _gather(path: Path, record: Truth, report: Report) -> list[Flow]:
    """Read all packets, check each, and put them into flows."""
    flows: list[Flow] = []
    current: dict[tuple[int, End, End], Flow] = {}
    recent: dict[bytes, int] = {}
    before_us = 0
    uncut = wrong_length = unsorted_ = 0
    for packet in pcap.read(path):
        report.packets += 1
        unsorted_ += packet.time_us < before_us
        before_us = packet.time_us
        again = packet.time_us - recent.get(packet.frame, 0) < DUPLICATE_US
        recent[packet.frame] = packet.time_us
        if len(recent) > 5000:
            recent.clear()
        wrong_length += packet.wire_bytes < len(packet.frame)
        segment = pcap.parse(packet.frame)
        if segment is None:
            report.packets_not_ipv4 += 1
            continue
        report.duplicates += again and segment.identification != 0
        cut = min(SNAP_BYTES, len(pcap.cut_to_headers(packet).frame))
        uncut += len(packet.frame) > cut
        report.merged_frames += segment.payload_bytes > MOST_PAYLOAD_BYTES and (
            segment.protocol == pcap.TCP
        )
        wrong_length += packet.wire_bytes < segment.headers_end + segment.payload_bytes
        flow = _flow_of(packet, segment, current, flows)
        flow.reset |= bool(segment.flags & pcap.RST)
        flow.closing |= bool(segment.flags & (pcap.RST | pcap.FIN))
        flow.packets += 1
        flow.last_us = packet.time_us
    report.flows = len(flows)
    if report.packets != record.packets:
        report.faults.append(f"{report.packets} packets, but truth.json says {record.packets}")
    counts = {
        "packets out of order": unsorted_,
        "packets not cut to headers": uncut,
        "packets with a wrong wire length": wrong_length,
        "duplicated frames": report.duplicates
        * (report.duplicates > DUPLICATE_SHARE * report.packets),
        "merged frames": report.merged_frames,
    }
    report.faults += [f"{count} {name}" for name, count in counts.items() if count]
    return flows


def _flow_of(
    packet: pcap.Packet,
    segment: pcap.Segment,
    current: dict[tuple[int, End, End], Flow],
    flows: list[Flow],
) -> Flow:
    first = segment.source, segment.source_port
    second = segment.destination, segment.destination_port
    key = (segment.protocol, min(first, second), max(first, second))
    flow = current.get(key)
    fresh = segment.flags & (pcap.SYN | pcap.ACK) == pcap.SYN
    if (
        flow is None
        or packet.time_us - flow.last_us > IDLE_US
        or (fresh and flow.closing and segment.protocol == pcap.TCP)
    ):
        flow = Flow(first, second, segment.protocol, packet.time_us, packet.time_us)
        current[key] = flow
        flows.append(flow)
    return flow


class _Explainer:
    """Gives every flow its one explanation."""

    def __init__(self, record: Truth, plan: Plan, report: Report) -> None:
        self.report = report
        self.waves: list[tuple[Wave, Matcher]] = [(w, w.matcher()) for w in record.campaigns]
        self.addresses = {name: int(address) for name, address in plan.addresses.items()}
        self.contacts: dict[tuple[int, int], list[Contact]] = {}
        for contact in contacts(plan):
            ends = self.addresses[contact.client], self.addresses[contact.server]
            self.contacts.setdefault(ends, []).append(contact)
        self.lan = plan.lan
        self.plan = plan

    def explain(self, flows: list[Flow]) -> None:
        """Count flows by explanation and note those with none or two."""
        report = self.report
        packets: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        odd: Counter[str] = Counter()
        for flow in flows:
            label = self._label(flow)
            benign = self._is_benign(flow)
            if label is not None:
                counts[label] += 1
                packets[label] += flow.packets
                if benign:
                    odd[f"both {label} and benign: {self._describe(flow)}"] += 1
                continue
            if benign:
                report.benign_flows += 1
                report.benign_packets += flow.packets
                report.resets_in_benign_flows += flow.reset
                continue
            odd[f"unexplained: {self._describe(flow)}"] += 1
        report.attack_flows = sum(counts.values())
        report.faults += [f"{count} flows {text}" for text, count in odd.most_common(30)]
        for wave, _ in self.waves:
            seconds = (wave.end_us - wave.start_us) / 1e6
            count = WaveCount(
                wave.id, wave.label, wave.family, seconds, packets[wave.id], counts[wave.id]
            )
            report.waves.append(count)
            if not count.packets:
                report.faults.append(f"{wave.id} has no packets in its window")

    def _label(self, flow: Flow) -> str | None:
        for wave, matcher in self.waves:
            if wave.start_us <= flow.begin_us <= wave.end_us and matcher.matches(
                (flow.first, flow.second), flow.protocol
            ):
                return wave.id
        return None

    def _is_benign(self, flow: Flow) -> bool:
        if flow.second[0] >= MULTICAST:
            return flow.protocol in (2, 17) and IPv4Address(flow.first[0]) in self.lan
        for client, server in ((flow.first, flow.second), (flow.second, flow.first)):
            for contact in self.contacts.get((client[0], server[0]), ()):
                if flow.protocol == ICMP:
                    return True  # an error about a benign conversation, or a ping
                if flow.protocol == contact.protocol and (
                    contact.ports[0] <= server[1] <= contact.ports[1]
                ):
                    return True
        return False

    def _describe(self, flow: Flow) -> str:
        names = {address: name for name, address in self.addresses.items()}
        ends = [names.get(end[0], pcap.dotted(end[0])) for end in (flow.first, flow.second)]
        ports = flow.first[1], flow.second[1]
        service = min(ports) if flow.protocol in (pcap.TCP, pcap.UDP) else 0
        return f"{ends[0]} to {ends[1]}, protocol {flow.protocol}, port {service}"
