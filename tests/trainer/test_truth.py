"""Which flows of a recording are attacks."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.errors import TableError
from trainer.datasets.endpoints import ENDS
from trainer.datasets.truth import TAIL_S, Campaign, Truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SECOND_US = 1_000_000
START_US = 1_700_000_000 * SECOND_US
END_US = START_US + 60 * SECOND_US
ATTACKER, VICTIM, STRANGER = "10.44.0.66", "10.44.0.20", "10.44.9.9"


def facts(**changes: Any) -> dict[str, Any]:
    """A truth file with one scan of ports 23 and 1-1024, with changes to the campaign."""
    campaign = {
        "id": "a03",
        "tool": "nmap",
        "family": "scan",
        "label": "nmap-syn-scan",
        "command": "nmap -sS",
        "start_us": START_US,
        "end_us": END_US,
        "attackers": [ATTACKER],
        "victims": ["10.44.0.0/24"],
        "protocol": 6,
        "ports": [8080, [1, 1024]],
    } | changes
    return {
        "schema_version": 1,
        "session": "session-a",
        "capture": "capture.pcap.gz",
        "start_us": START_US - 600 * SECOND_US,
        "end_us": END_US + 600 * SECOND_US,
        "hosts": {},
        "infected": [],
        "campaigns": [campaign],
    }


def load(folder: Path, content: object) -> Truth:
    path = folder / "truth.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Truth.load(path)


@dataclass(frozen=True)
class Flow:
    """Addresses as integers, each with its port."""

    source: tuple[int, int]
    destination: tuple[int, int]
    protocol: int
    start_us: int

    @property
    def connection(self) -> tuple[object, ...]:
        return *sorted((self.source, self.destination)), self.protocol


def ends(flows: Sequence[Flow]) -> NDArray[Any]:
    rows = [
        (source, destination, source_port, destination_port, one.protocol, one.start_us)
        for one in flows
        for source, source_port in [one.source]
        for destination, destination_port in [one.destination]
    ]
    return np.array(rows, dtype=ENDS)


def flow(
    start_us: int = START_US,
    source: str = ATTACKER,
    destination: str = VICTIM,
    port: int = 80,
    protocol: int = 6,
    source_port: int = 40000,
) -> Flow:
    return Flow(
        source=(int(IPv4Address(source)), source_port),
        destination=(int(IPv4Address(destination)), port),
        protocol=protocol,
        start_us=start_us,
    )


def turned(one: Flow) -> Flow:
    return Flow(one.destination, one.source, one.protocol, one.start_us)


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return load(tmp_path, facts())


def is_attack(truth: Truth, *flows: Flow) -> list[bool]:
    return [number >= 0 for number in truth.match(ends(flows)).tolist()]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (flow(), True),
        (flow(start_us=END_US), True),
        (flow(start_us=START_US - 1), False),
        (flow(start_us=END_US + 1), False),
        (flow(source=STRANGER), False),
        (flow(destination=STRANGER), False),
        (flow(port=1024), True),
        (flow(port=1025), False),
        (flow(port=8080), True),
        (flow(protocol=17), False),
        # The port is the victim's: the attacker's own port says nothing.
        (flow(port=5000, source_port=80), False),
    ],
)
def test_a_flow_and_its_mirror_image(truth: Truth, one: Flow, expected: bool) -> None:
    assert is_attack(truth, one) == [expected]
    assert is_attack(truth, turned(one)) == [expected]


def test_any_protocol_and_any_port(tmp_path: Path) -> None:
    truth = load(tmp_path, facts(protocol=None, ports=None))
    assert is_attack(truth, flow(port=60000, protocol=17), flow(port=1)) == [True, True]


def test_the_first_campaign_in_the_file_decides(tmp_path: Path) -> None:
    content = facts()
    content["campaigns"].append(content["campaigns"][0] | {"id": "a04", "label": "second"})
    assert load(tmp_path, content).match(ends([flow()])).tolist() == [0]


def test_the_tail_of_a_long_flow_belongs_to_its_attack(truth: Truth) -> None:
    during = flow(start_us=END_US - SECOND_US)
    tail = flow(start_us=END_US + int(TAIL_S * SECOND_US))
    assert is_attack(truth, tail) == [False]
    assert is_attack(truth, tail, during) == [True, True]
    assert is_attack(truth, turned(tail), during) == [True, True]


def test_the_tail_ends(truth: Truth) -> None:
    during = flow(start_us=END_US - SECOND_US)
    late = flow(start_us=END_US + int(TAIL_S * SECOND_US) + 1)
    assert is_attack(truth, during, late) == [True, False]


def test_another_connection_is_no_tail(truth: Truth) -> None:
    during = flow(start_us=END_US - SECOND_US)
    other = flow(start_us=END_US + SECOND_US, source_port=40001)
    assert is_attack(truth, during, other) == [True, False]


def test_an_earlier_benign_row_makes_no_tail(tmp_path: Path) -> None:
    truth = load(tmp_path, facts(end_us=START_US))
    before = flow(start_us=START_US - SECOND_US)
    after = flow(start_us=START_US + SECOND_US)
    assert is_attack(truth, before, after) == [False, False]


def test_the_body_of_another_attack_makes_no_tail(tmp_path: Path) -> None:
    content = facts(end_us=START_US + 10 * SECOND_US)
    later = {
        "id": "a04",
        "start_us": START_US + 30 * SECOND_US,
        "end_us": START_US + 40 * SECOND_US,
    }
    content["campaigns"].append(content["campaigns"][0] | later)
    truth = load(tmp_path, content)
    during, tail = flow(), flow(start_us=START_US + 42 * SECOND_US)
    assert is_attack(truth, during, tail) == [True, False]
    second = flow(start_us=START_US + 35 * SECOND_US)
    assert truth.match(ends([during, tail, second])).tolist() == [0, 1, 1]


addresses = st.sampled_from([ATTACKER, VICTIM, STRANGER, "10.44.0.255", "10.44.1.0"])
flows = st.builds(
    flow,
    start_us=st.integers(START_US - 10 * SECOND_US, END_US + 10 * SECOND_US),
    source=addresses,
    destination=addresses,
    port=st.sampled_from([0, 1, 80, 1024, 1025, 8080, 65535]),
    protocol=st.sampled_from([6, 17]),
    source_port=st.sampled_from([80, 40000, 40001]),
)


def plainly(campaign: Campaign, one: Flow) -> bool:
    """The rule without tails, spelled out."""
    low, high = int(IPv4Address("10.44.0.0")), int(IPv4Address("10.44.0.255"))
    attacker = int(IPv4Address(ATTACKER))
    return (
        campaign.start_us <= one.start_us <= campaign.end_us
        and one.protocol == 6
        and any(
            near[0] == attacker
            and low <= far[0] <= high
            and (far[1] == 8080 or 1 <= far[1] <= 1024)
            for near, far in ((one.source, one.destination), (one.destination, one.source))
        )
    )


@pytest.fixture(scope="module")
def module_truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return load(tmp_path_factory.mktemp("truth"), facts())


@given(many=st.lists(flows, max_size=12))
def test_rule_and_tail_against_the_plain_rule(module_truth: Truth, many: list[Flow]) -> None:
    [campaign] = module_truth.campaigns
    for one, match in zip(many, module_truth.match(ends(many)).tolist(), strict=True):
        if plainly(campaign, one):
            assert match == 0
        elif match >= 0:
            # Only a tail may be an attack beyond the plain rule, and a tail has a body.
            assert campaign.end_us < one.start_us <= campaign.end_us + TAIL_S * SECOND_US
            assert any(
                plainly(campaign, other) and other.connection == one.connection for other in many
            )


def one_by_one(truth: Truth, many: list[Flow]) -> list[int]:
    """`Truth.match` as its module's head describes it: in order of time, each flow by itself."""
    labelled: dict[tuple[object, ...], set[int]] = {}
    result = [-1] * len(many)
    for index in sorted(range(len(many)), key=lambda index: many[index].start_us):
        one = many[index]
        earlier = labelled.setdefault(one.connection, set())
        concerned = [
            number
            for number, campaign in enumerate(truth.campaigns)
            if plainly(replace(campaign, start_us=0, end_us=2**62), one)
        ]
        for is_tail in (False, True):
            for number in concerned:
                campaign = truth.campaigns[number]
                start_us, end_us = campaign.start_us, campaign.end_us
                if is_tail:
                    start_us, end_us = end_us + 1, end_us + int(TAIL_S * SECOND_US)
                fits = start_us <= one.start_us <= end_us and (not is_tail or number in earlier)
                if fits and result[index] < 0:
                    result[index] = number
        if result[index] >= 0:
            earlier.add(result[index])
    return result


@given(
    many=st.lists(flows, max_size=12),
    windows=st.lists(st.tuples(st.integers(-10, 60), st.integers(0, 9)), max_size=4),
)
def test_arrays_say_what_flows_one_by_one_do(
    module_truth: Truth, many: list[Flow], windows: list[tuple[int, int]]
) -> None:
    [campaign] = module_truth.campaigns
    campaigns = tuple(
        replace(
            campaign,
            start_us=START_US + start_s * SECOND_US,
            end_us=START_US + (start_s + length_s) * SECOND_US,
        )
        for start_s, length_s in windows
    )
    truth = replace(module_truth, campaigns=campaigns)
    assert truth.match(ends(many)).tolist() == one_by_one(truth, many)


@given(many=st.lists(flows, max_size=12), order=st.randoms())
def test_order_and_direction_do_not_matter(
    module_truth: Truth, many: list[Flow], order: Any
) -> None:
    expected = dict(zip(map(repr, many), is_attack(module_truth, *many), strict=True))
    shuffled = list(many)
    order.shuffle(shuffled)
    mirrored = is_attack(module_truth, *map(turned, shuffled))
    assert dict(zip(map(repr, shuffled), mirrored, strict=True)) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "schema_version None"),
        (facts() | {"schema_version": 2}, "schema_version 2"),
        ({key: value for key, value in facts().items() if key != "campaigns"}, "campaigns"),
        (facts(victims=["10.44.0.0/99"]), "'10.44.0.0/99' is no IPv4 address"),
        (facts(ports=[70000]), "70000 is no port"),
        (facts(ports=[[10, 1]]), "no port or range"),
        (facts(end_us=START_US - 1), "ends before it starts"),
        (facts(start_us="soon"), "garbled"),
    ],
)
def test_what_is_no_truth_file(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(TableError, match=r"truth\.json") as caught:
        load(tmp_path, content)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_campaign_is_named_by_its_place(tmp_path: Path) -> None:
    content = facts()
    broken = dict(content["campaigns"][0])
    del broken["family"]
    content["campaigns"].append(broken)
    with pytest.raises(TableError) as caught:
        load(tmp_path, content)
    assert caught.value.where == "campaign 2"
    assert "family" in caught.value.problem


def test_a_truth_file_of_another_time(truth: Truth, tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcap"
    truth.check_overlap(truth.end_us, truth.end_us + 1, capture)
    with pytest.raises(TableError, match="2023-11-14") as caught:
        truth.check_overlap(truth.end_us + 1, truth.end_us + 2, capture)
    assert str(capture) in str(caught.value)


def test_a_missing_truth_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        Truth.load(tmp_path / "truth.json")
