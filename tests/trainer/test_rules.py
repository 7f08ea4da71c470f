"""Label rules: which flows they match, and what is no rules file."""

from __future__ import annotations

import csv
import gzip
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from functools import cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.alerts import FAMILIES
from edge_agent.contract.errors import TableError
from edge_agent.contract.profiles import PROFILES
from trainer.datasets.conditions import FEATURE_NUMBERS
from trainer.datasets.endpoints import ENDS
from trainer.datasets.labels import family_of
from trainer.datasets.plausibility import attempts, check_days, doubts
from trainer.datasets.rulefile import SHIPPED, find_labels, is_rules, load_rules
from trainer.datasets.rules import Flows, Labelled, Rules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
START_US = 1_714_557_600 * SECOND_US  # 2024-05-01 10:00 UTC
END_US = START_US + HOUR_US
ATTACKER, VICTIM, STRANGER = "192.0.2.7", "10.0.0.5", "10.9.9.9"

RULE = f"""
[[rule]]
label = "My Attack"
family = "dos"
start = "2024-05-01T10:00:00Z"
end = 2024-05-01T13:00:00+02:00
src = ["{ATTACKER}"]
dst = ["10.0.0.0/24"]
dst_port = [80, [8000, 8100]]
not_src_port = [5555]
protocol = "tcp"
attempted_if = "fwd_payload_bytes == 0"
"""


@dataclass(frozen=True)
class Flow:
    """A flow of a second, 10 packets and 500 bytes each way."""

    start_us: int = START_US
    source: str = ATTACKER
    destination: str = VICTIM
    source_port: int = 40000
    port: int = 80
    protocol: int = 6
    payload: int = 500
    answer: int = 500
    packets: int = 10
    answers: int = 10
    duration_us: int = SECOND_US

    def turned(self) -> Flow:
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.port,
            port=self.source_port,
            payload=self.answer,
            answer=self.payload,
            packets=self.answers,
            answers=self.packets,
        )


def gathered(flows: Sequence[Flow]) -> Flows:
    ends = np.array(
        [
            (
                int(IPv4Address(one.source)),
                int(IPv4Address(one.destination)),
                one.source_port,
                one.port,
                one.protocol,
                one.start_us,
            )
            for one in flows
        ],
        dtype=ENDS,
    )
    columns = {
        "duration_us": "duration_us",
        "fwd_packets": "packets",
        "bwd_packets": "answers",
        "fwd_payload_bytes": "payload",
        "bwd_payload_bytes": "answer",
        "fwd_payload_max_bytes": "payload",
        "bwd_payload_max_bytes": "answer",
    }
    return Flows(
        ends,
        {
            name: np.array([float(getattr(one, field)) for one in flows])
            for name, field in columns.items()
        },
    )


def load(folder: Path, text: str, head: str = "schema = 1\n") -> Rules:
    path = folder / "rules.toml"
    path.write_text(head + text)
    return load_rules(path)


def labels(rules: Rules, *flows: Flow, profile: str = "improved") -> list[str]:
    """Labels of flows; None of those left out."""
    found = rules.match(gathered(flows), profile)
    return [
        "left out" if left_out else found.labels[code]
        for code, left_out in zip(found.label.tolist(), found.left_out.tolist(), strict=True)
    ]


def label(rules: Rules, flow: Flow, profile: str = "improved") -> str:
    return labels(rules, flow, profile=profile)[0]


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        (Flow(), "My Attack"),
        (Flow(start_us=END_US), "My Attack"),
        (Flow(start_us=START_US - 1), "BENIGN"),
        (Flow(start_us=END_US + 1), "BENIGN"),
        (Flow(payload=0), "My Attack - Attempted"),
        (Flow(source=STRANGER), "BENIGN"),
        (Flow(destination=STRANGER), "BENIGN"),
        (Flow(destination="10.0.0.255"), "My Attack"),
        (Flow(destination="10.0.1.0"), "BENIGN"),
        (Flow(port=81), "BENIGN"),
        (Flow(port=8000), "My Attack"),
        (Flow(port=8100), "My Attack"),
        (Flow(port=8101), "BENIGN"),
        (Flow(source_port=5555), "BENIGN"),
        (Flow(protocol=17), "BENIGN"),
        (Flow().turned(), "BENIGN"),
    ],
)
def test_what_a_rule_matches(tmp_path: Path, flow: Flow, expected: str) -> None:
    assert label(load(tmp_path, RULE), flow) == expected


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    second = RULE.replace("My Attack", "Second").replace("dst_port = [80, [8000, 8100]]\n", "")
    rules = load(tmp_path, RULE + second)
    assert labels(rules, Flow(), Flow(port=22)) == ["My Attack", "Second"]
    rules = load(tmp_path, second + RULE)
    assert labels(rules, Flow(), Flow(port=22)) == ["Second", "Second"]


def test_a_rule_may_say_that_flows_are_benign(tmp_path: Path) -> None:
    benign = RULE.replace('label = "My Attack"\nfamily = "dos"', 'label = "Benign"')
    benign += "src_port = [40000]\n"
    rules = load(tmp_path, benign + RULE, "schema = 1\nleave_out_unlabelled_between = true\n")
    assert labels(rules, Flow(), Flow(source_port=40001)) == ["BENIGN", "My Attack"]


def test_a_condition_decides_after_the_endpoints(tmp_path: Path) -> None:
    rules = load(tmp_path, RULE + 'when = "fwd_packets > 20 or src_port == 44464"\n')
    flows = Flow(), Flow(packets=21), Flow(source_port=44464), Flow(packets=21, port=81)
    assert labels(rules, *flows) == ["BENIGN", "My Attack", "My Attack", "BENIGN"]


def test_meters_that_turn_flows_round_match_both_ways(tmp_path: Path) -> None:
    rules = load(tmp_path, RULE)
    silent = Flow(payload=0, source_port=40001)
    turned = Flow().turned(), silent.turned(), Flow(source_port=5555).turned()
    assert labels(rules, *turned, profile="cic2017") == [
        "My Attack",
        "My Attack - Attempted",
        "BENIGN",
    ]
    one_way = load(tmp_path, RULE + "one_way = true\n")
    assert label(one_way, Flow().turned(), "cic2017") == "BENIGN"
    assert label(one_way, Flow(), "cic2017") == "My Attack"


def test_limits_are_for_the_meter_that_they_were_made_for(tmp_path: Path) -> None:
    limited = RULE.replace("fwd_payload_bytes == 0", "fwd_payload_bytes < 32")
    text = limited.replace("My Attack", "Limited") + RULE
    rules = load(tmp_path, text, 'schema = 1\nprofile = "improved"\n')
    assert label(rules, Flow(), "improved") == "Limited"
    assert label(rules, Flow(), "gateway") == "My Attack"
    assert [rule.label for rule in rules.passed_over("gateway")] == ["Limited"]
    assert not rules.passed_over("improved")
    named = limited.replace("My Attack", "Limited") + 'profiles = ["gateway"]\n' + RULE
    rules = load(tmp_path, named, 'schema = 1\nprofile = "improved"\n')
    assert label(rules, Flow(), "improved") == "My Attack"
    assert label(rules, Flow(), "gateway") == "Limited"
    # Without a meter of their own, limits hold for all.
    assert label(load(tmp_path, text), Flow(), "gateway") == "Limited"


def test_what_no_rule_labels_between_attacker_and_victim_is_left_out(tmp_path: Path) -> None:
    rules = load(tmp_path, RULE, "schema = 1\nleave_out_unlabelled_between = true\n")
    flows = (
        Flow(),
        Flow().turned(),
        Flow(port=22, protocol=17),
        Flow(start_us=END_US + 1),
        Flow(source=STRANGER),
    )
    expected = ["My Attack", "left out", "left out", "BENIGN", "BENIGN"]
    assert labels(rules, *flows) == expected
    # Who "anybody" is cannot be left out.
    anybody = RULE.replace(f'src = ["{ATTACKER}"]', "src = []")
    rules = load(tmp_path, anybody, "schema = 1\nleave_out_unlabelled_between = true\n")
    assert label(rules, Flow().turned()) == "BENIGN"


@given(data=st.data())
def test_many_rules_say_what_each_flow_by_itself_is(data: st.DataObject) -> None:
    """Against the description in `rules.py`, spelled out for one flow after the other."""
    rules, _ = shipped()
    profile = data.draw(st.sampled_from(sorted(PROFILES)))
    rule = data.draw(st.sampled_from(rules.rules))
    hosts = [
        str(IPv4Address(side.addresses[0][0] + step))
        for side in (rule.source, rule.destination)
        for step in (0, 1)
        if side.addresses
    ]
    ports = st.sampled_from([80, 21, 22, 444, 8080, 45022, 36180, 36190, 33358, 48678, 44464])
    sizes = st.sampled_from([0, 1, 5, 20, 21, 32, 33, 150, 176, 281, 282, 408, 20514])
    times = st.sampled_from([rule.start_us, rule.end_us]).flatmap(
        lambda edge: st.integers(edge - 2, edge + 2)
    )
    flows = data.draw(
        st.lists(
            st.builds(
                Flow,
                start_us=times,
                source=st.sampled_from(hosts),
                destination=st.sampled_from(hosts),
                source_port=ports,
                port=ports,
                protocol=st.sampled_from([6, 17]),
                payload=sizes,
                answer=sizes,
                packets=sizes,
                answers=sizes,
                duration_us=st.sampled_from([199_799, 199_800, 199_984]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    assert labels(rules, *flows, profile=profile) == [_by_hand(one, profile) for one in flows]


@cache
def shipped() -> tuple[Rules, list[dict[str, Any]]]:
    """The rules that come with edge-ids, understood and as written."""
    path = SHIPPED["cicids2017"]
    return load_rules(path), tomllib.loads(path.read_text())["rule"]


def _by_hand(flow: Flow, profile: str) -> str:
    _, tables = shipped()
    limits = ("<= 32", "199800", "== 5", "< 150", "199984", "< 282")
    between = False
    for table in tables:
        start_us, end_us = (
            round((table[key] - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds() * 1e6)
            for key in ("start", "end")
        )
        if not start_us <= flow.start_us <= end_us:
            continue
        near, far = table["src"], table["dst"]
        between |= flow.source in near and flow.destination in far
        between |= flow.source in far and flow.destination in near
        when = table.get("when", "True")
        if profile != "improved" and any(limit in when for limit in limits):
            continue
        both = profile == "cic2017" and "one_way" not in table
        for one in (flow, flow.turned()) if both else (flow,):
            names = {
                "fwd_payload_bytes": one.payload,
                "bwd_payload_bytes": one.answer,
                "fwd_payload_max_bytes": one.payload,
                "fwd_packets": one.packets,
                "bwd_packets": one.answers,
                "duration_us": one.duration_us,
                "src_port": one.source_port,
                "dst_port": one.port,
            }
            if (
                one.source in near
                and one.destination in far
                and one.source_port in table.get("src_port", [one.source_port])
                and one.source_port not in table.get("not_src_port", [])
                and one.port in table.get("dst_port", [one.port])
                and one.protocol in {"tcp": [6]}.get(table.get("protocol", "any"), [6, 17])
                and eval(when, {}, names)
            ):
                attempted = table.get("attempted_if", "False").replace("always", "True")
                suffix = " - Attempted" if eval(attempted, {}, names) else ""
                return str(table["label"]) + suffix
    return "left out" if between else "BENIGN"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema = 1", "schema = 2", "has schema 2, but 1 is what is known here"),
        ("schema = 1", "schema = 1\nschemas = 2", "the head: the key 'schemas' is none of"),
        ("schema = 1", 'schema = 1\nprofile = "other"', "profile 'other' is none of cic2017"),
        ("schema = 1", "schema =", "is not TOML"),
        ("schema = 1", "schema = 1\nleave_out_unlabelled_between = 1", "neither true nor false"),
        ("protocol =", "prot =", "rule 2 (My Attack): the key 'prot' is none of label, family"),
        ('label = "My Attack"', "", "rule 2: lacks 'label'"),
        ('label = "My Attack"', "label = 3", "rule 2: label is 3, not a text"),
        ('label = "My Attack"', 'label = " "', "is no label"),
        ("My Attack", "My Attack - Attempted", "is no label"),
        ('"dos"', '"flood"', "family 'flood' is none of scan"),
        ('"dos"', '"ddos"', "My Attack is of the family dos in an earlier rule"),
        ('"2024-05-01T10:00:00Z"', '"2024-05-01T10:00:00"', "is no time with its zone"),
        ('"2024-05-01T10:00:00Z"', "2024-05-01T10:00:00", "is no time with its zone"),
        ('"2024-05-01T10:00:00Z"', '"2024-05-01T10:00:00.1234567Z"', "is no time"),
        ('"2024-05-01T10:00:00Z"', '"2024-02-31T10:00:00Z"', "day"),
        ('"2024-05-01T10:00:00Z"', '"2024-05-01T12:00:00Z"', "it ends before it starts"),
        ('["192.0.2.7"]', '["192.0.2.700"]', "'192.0.2.700' is no IPv4 address or network"),
        ('["192.0.2.7"]', '["::1"]', "'::1' is no IPv4 address or network"),
        ('["192.0.2.7"]', "[7]", "7 is no IPv4 address"),
        ('["192.0.2.7"]', '"192.0.2.7"', "src is '192.0.2.7', not a list"),
        ("[5555]", "[65536]", "65536 is no port or range of ports"),
        ("[5555]", "[true]", "True is no port"),
        ("[5555]", "[[9, 1]]", "[9, 1] is no port or range of ports"),
        ("[5555]", '["80"]', "'80' is no port"),
        ('"tcp"', '"icmp"', "protocol 'icmp' is none of tcp, udp, any"),
        ("fwd_payload_bytes == 0", "sometimes", "attempted_if: 'sometimes' is no comparison"),
        ("fwd_payload_bytes == 0", "bytes == 0", "attempted_if: 'bytes' is no quantity"),
        ("attempted_if", 'when = "src_port"\nattempted_if', "when: 'src_port' is no comparison"),
        ("attempted_if", "attempted_category = 7\nattempted_if", "attempted_category 7 is not"),
        ("attempted_if", 'profiles = ["x"]\nattempted_if', "profile 'x' is none of cic2017"),
        ("attempted_if", "one_way = 1\nattempted_if", "one_way is 1, neither true nor false"),
    ],
)
def test_what_is_no_rules_file(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = RULE + (RULE.replace(old, new) if old in RULE else "")
    head = "schema = 1\n".replace(old, new)
    with pytest.raises(TableError, match=r"rules\.toml") as caught:
        load(tmp_path, text, head)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[expected_flows.2024-05-01]\nOther = 3\n", "'Other' of 2024-05-01 is a label that no"),
        ('[expected_flows.2024-05-01]\n"My Attack" = -1\n', "has -1, which is no count"),
        ('[expected_flows.mayday]\n"My Attack" = 1\n', "mayday"),
        ("[expected_flows]\n2024-05-01 = 3\n", "is no table of labels and counts"),
        ("[attempted_categories]\none = 'closed'\n", "one"),
    ],
)
def test_what_is_no_head(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TableError) as caught:
        load(tmp_path, text + RULE)
    assert words in str(caught.value)


def test_files_that_are_no_rules(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"has no \[\[rule\]\]"):
        load(tmp_path, "")
    with pytest.raises(TableError, match="the head: rule is 3, not a list"):
        load(tmp_path, "rule = 3")
    with pytest.raises(TableError, match="rule 1: 3 is no table"):
        load(tmp_path, "rule = [3]")
    with pytest.raises(TableError, match="cannot be read"):
        load_rules(tmp_path / "none.toml")
    (tmp_path / "rules.toml").write_bytes(b"\xff")
    with pytest.raises(TableError, match="is not TOML"):
        load_rules(tmp_path / "rules.toml")
    (tmp_path / "rules.toml").write_text("a = " + "[" * 5000)
    with pytest.raises(TableError, match="is not TOML"):
        load_rules(tmp_path / "rules.toml")


def test_times_are_exact_to_the_microsecond(tmp_path: Path) -> None:
    text = RULE.replace("10:00:00Z", "10:00:00.3Z").replace("13:00:00+02:00", "11:00:00.000001Z")
    [rule] = load(tmp_path, text).rules
    assert (rule.start_us, rule.end_us) == (START_US + 300_000, END_US + 1)


def test_families_that_are_left_out_are_looked_up(tmp_path: Path) -> None:
    def family(name: str) -> str:
        text = RULE.replace('family = "dos"\n', "").replace("My Attack", name)
        [known] = {
            family for label, family in load(tmp_path, text).families.items() if name in label
        }
        return known

    assert family("Portscan") == "scan"
    assert family("My Attack") == "unknown"


def test_files_and_names_that_come_with_edge_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cicids2017").mkdir()
    assert find_labels("cicids2017") == SHIPPED["cicids2017"]
    own = tmp_path / "own.toml"
    own.write_text(RULE)
    assert find_labels(own) == own
    with pytest.raises(TableError, match=r"come with edge-ids: cicids2017\."):
        find_labels("cicids2018")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rules.toml", "", True),
        ("truth.json", "[[rule]]", False),
        ("labels", ' \n{"schema_version": 1}', False),
        ("labels", "schema = 1", True),
    ],
)
def test_rules_and_truth_are_told_apart(
    tmp_path: Path, name: str, content: str, expected: bool
) -> None:
    (tmp_path / name).write_text(content)
    assert is_rules(tmp_path / name) is expected


def test_the_rules_of_cicids2017() -> None:
    rules = load_rules(SHIPPED["cicids2017"])
    assert rules.meter == "improved"
    assert rules.leaves_out
    assert [day.isoformat() for day in rules.days] == [f"2017-07-0{day}" for day in range(3, 8)]
    for name, family in rules.families.items():
        assert family == family_of(name)
        assert family in (*FAMILIES, "benign")
    assert sum(sum(counts.values()) for counts in rules.expected.values()) == 2_099_976
    # Every label that is expected can be given, and every label that can be given is expected
    # once at least, but for attempts of which the data set has none.
    expected = {name for counts in rules.expected.values() for name in counts}
    assert {rule.label for rule in rules.rules} < expected


@cache
def rows_of(path: Path) -> tuple[Flows, list[str]]:
    """Rows of an improved CSV, and their labels."""
    names = {feature.number: feature.name for feature in PROFILES["improved"].features}
    with gzip.open(path, "rt") as stream:
        rows = list(csv.DictReader(stream))
    ends = np.array(
        [
            (
                int(IPv4Address(row["Src IP"])),
                int(IPv4Address(row["Dst IP"])),
                int(row["Src Port"]),
                int(row["Dst Port"]),
                int(row["Protocol"]),
                np.datetime64(row["Timestamp"], "us").astype(np.int64),
            )
            for row in rows
        ],
        dtype=ENDS,
    )
    numbers = {
        name: np.array([float(row[names[number]]) for row in rows])
        for name, number in FEATURE_NUMBERS.items()
    }
    return Flows(ends, numbers), [row["Label"] for row in rows]


@pytest.mark.shared
def test_real_rows_get_the_labels_they_have(shared: Path) -> None:
    flows, expected = rows_of(shared / "data" / "cicids2017" / "improved.csv.gz")
    for path in (SHIPPED["cicids2017"], shared / "spec" / "cicids2017-labels.toml"):
        found = load_rules(path).match(flows, "improved")
        assert [found.labels[code] for code in found.label.tolist()] == expected
    assert len(expected) == 34_566


@pytest.mark.shared
def test_real_rows_of_other_meters_keep_their_classes(shared: Path) -> None:
    """No attack turns BENIGN by what is passed over; what stays unlabelled is left out."""
    flows, expected = rows_of(shared / "data" / "cicids2017" / "improved.csv.gz")
    rules = load_rules(SHIPPED["cicids2017"])
    for profile in ("gateway", "cic2017"):
        found = rules.match(flows, profile)
        wrong = [
            (found.labels[code], name)
            for code, left_out, name in zip(
                found.label.tolist(), found.left_out.tolist(), expected, strict=True
            )
            if found.labels[code] != name and not left_out
        ]
        # The one answer of the web server during the DDoS that is a flow of its own.
        assert wrong in ([], [("DDoS", "BENIGN")])


EXPECTED = """
[expected_flows.2024-05-01]
BENIGN = 1000
"My Attack" = 500
"My Attack - Attempted" = 3
"""


def labelled(rules: Rules, benign: int, attacks: int) -> tuple[Labelled, Any]:
    """Flows of 09:00 to 12:00."""
    times = np.linspace(START_US - HOUR_US, END_US + HOUR_US, benign).astype(int).tolist()
    flows = gathered([Flow(start_us=time, source=STRANGER) for time in times] + [Flow()] * attacks)
    return rules.match(flows, "improved"), flows.ends["start_us"]


def told(rules: Rules, benign: int, attacks: int, profile: str = "improved") -> str:
    found, start_us = labelled(rules, benign, attacks)
    return " ".join(doubts(rules, found, start_us, profile, rules.path.with_name("x.pcap")))


def test_counts_far_from_the_expected_ones_are_told(tmp_path: Path) -> None:
    rules = load(tmp_path, EXPECTED + RULE, 'schema = 1\nprofile = "improved"\n')
    assert told(rules, 900, 700) == ""
    sentence = told(rules, 900, 100)
    assert "x.pcap: the flows of 2024-05-01 are far from what rules.toml expects" in sentence
    assert "(My Attack 100 instead of 500)" in sentence
    assert "BENIGN 3,000 instead of 1,000" in told(rules, 3000, 500)
    # Other meters count other flows, within reason.
    assert told(rules, 3000, 500, "gateway") == ""
    assert "BENIGN 5,000 instead of 1,000" in told(rules, 5000, 500, "gateway")


def test_a_part_of_a_day_is_not_held_against_the_whole(tmp_path: Path) -> None:
    rules = load(tmp_path, EXPECTED + RULE)
    found, start_us = labelled(rules, 20, 10)
    assert doubts(rules, found, start_us, "improved", tmp_path) != []
    late = np.maximum(start_us, START_US + 1)
    assert doubts(rules, found, late, "improved", tmp_path) == []


def test_a_day_without_attacks_is_whole_when_it_is_long(tmp_path: Path) -> None:
    quiet = "[expected_flows.2024-05-02]\nBENIGN = 1000\n"
    rules = load(tmp_path, quiet + RULE)
    start_us = START_US + DAY_US + np.linspace(0, 7 * HOUR_US, 100).astype(np.int64)
    found = rules.match(gathered([Flow(start_us=time) for time in start_us.tolist()]), "gateway")
    assert "BENIGN 100 instead of 1,000" in doubts(rules, found, start_us, "gateway", tmp_path)[0]
    assert doubts(rules, found, start_us // 10 * 9 + start_us[0] // 10, "gateway", tmp_path) != []
    short = start_us[0] + (start_us - start_us[0]) // 2
    assert doubts(rules, found, short, "gateway", tmp_path) == []


def test_attacks_that_no_flow_belongs_to_are_told(tmp_path: Path) -> None:
    rules = load(tmp_path, EXPECTED + RULE)
    assert "no rule of" in told(rules, 100, 0)
    assert "no rule of" not in told(rules, 100, 1)


def test_rules_that_are_passed_over_are_told(tmp_path: Path) -> None:
    text = RULE + 'when = "fwd_packets > 3"\n' + RULE.replace("My Attack", "Other")
    rules = load(tmp_path, text, 'schema = 1\nprofile = "improved"\n')
    assert "1 of 2 rules are passed over" in told(rules, 100, 5, "gateway")
    assert told(rules, 100, 5) == ""


def test_attempts_are_counted_by_their_reason(tmp_path: Path) -> None:
    head = "schema = 1\n[attempted_categories]\n0 = 'no payload'\n"
    rules = load(tmp_path, RULE + "attempted_category = 0\n", head)
    found = rules.match(gathered([Flow(), Flow(payload=0), Flow(payload=0)]), "improved")
    assert attempts(rules, found) == "no payload: 2"
    assert attempts(rules, rules.match(gathered([Flow()]), "improved")) == ""
    rules = load(tmp_path, RULE)
    assert attempts(rules, found) == "no reason given: 2"


def test_rules_of_another_day(tmp_path: Path) -> None:
    rules = load(tmp_path, RULE)
    assert rules.days == (date(2024, 5, 1),)
    midnight = START_US - 10 * HOUR_US
    for first_us, last_us in ((midnight, midnight), (midnight - 1, midnight), (0, 2 * midnight)):
        check_days(rules, first_us, last_us, tmp_path / "x.pcap")
    check_days(rules, midnight + DAY_US - 1, midnight + DAY_US, tmp_path / "x.pcap")
    for first_us, last_us in ((midnight - 2, midnight - 1), (midnight + DAY_US, 2 * midnight)):
        with pytest.raises(TableError, match=r"has rules for 2024-05-01 \(UTC\), but .*x\.pcap"):
            check_days(rules, first_us, last_us, tmp_path / "x.pcap")


def test_days_between_two_windows_belong_to_rules_without_counts(tmp_path: Path) -> None:
    later = RULE.replace("2024-05-01", "2024-05-04")
    quiet = "[expected_flows.2024-05-09]\nBENIGN = 1\n"
    assert [day.day for day in load(tmp_path, RULE + later).days] == [1, 2, 3, 4]
    assert [day.day for day in load(tmp_path, quiet + RULE + later).days] == [1, 4, 9]
