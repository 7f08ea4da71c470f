"""`truth.json`: writing, reading, and the rule that labels."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lab import truth
from benchmarks.lab.errors import CaptureError
from benchmarks.lab.truth import Wave
from tests.lab.house import house_truth

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = st.tuples(st.integers(0, 255), st.integers(28, 32)).map(
    lambda pair: str(IPv4Network((f"10.1.0.{pair[0]}", pair[1]), strict=False))
)
PORT = st.integers(1, 30)
PORTS = st.none() | st.lists(
    PORT | st.tuples(PORT, PORT).map(lambda p: (min(p), max(p))), min_size=1, max_size=3
).map(tuple)
WAVES = st.builds(
    Wave,
    id=st.text(max_size=5),
    tool=st.text(max_size=5),
    family=st.just("scan"),
    label=st.text(max_size=5),
    command=st.text(max_size=5),
    start_us=st.integers(0, 2**52),
    end_us=st.integers(0, 2**52),
    attackers=st.lists(NETWORKS, min_size=1, max_size=2).map(tuple),
    victims=st.lists(NETWORKS, min_size=1, max_size=2).map(tuple),
    protocol=st.sampled_from([None, 6, 17]),
    ports=PORTS,
    launched_from=st.just(("10.1.0.4",)),
)
END = st.tuples(st.integers(0, 255).map(lambda n: f"10.1.0.{n}"), PORT)


@given(st.lists(WAVES, max_size=3))
def test_what_is_saved_labels_alike_when_loaded(
    tmp_path_factory: pytest.TempPathFactory, waves: list[Wave]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    record = dataclasses.replace(house_truth(), campaigns=tuple(waves))
    record.save(folder / "truth.json")
    loaded = truth.load(folder / "truth.json")
    assert [wave.matcher() for wave in loaded.campaigns] == [wave.matcher() for wave in waves]
    assert loaded.start_us == record.start_us
    assert loaded.hosts == record.hosts
    loaded.save(folder / "again.json")
    assert (folder / "again.json").read_bytes() == (folder / "truth.json").read_bytes()


@given(WAVES, END, END, st.sampled_from([1, 6, 17]))
def test_the_rule_is_the_one_that_the_readme_tells(
    wave: Wave, first: tuple[str, int], second: tuple[str, int], protocol: int
) -> None:
    def inside(address: str, networks: tuple[str, ...]) -> bool:
        return any(IPv4Address(address) in IPv4Network(net) for net in networks)

    def port_matches(port: int) -> bool:
        spans = [(p, p) if isinstance(p, int) else p for p in wave.ports or ((0, 65_535),)]
        return any(low <= port <= high for low, high in spans)

    def aims(attacker: tuple[str, int], victim: tuple[str, int]) -> bool:
        return (
            inside(attacker[0], wave.attackers)
            and inside(victim[0], wave.victims)
            and port_matches(victim[1])
        )

    expected = wave.protocol in (None, protocol) and (aims(first, second) or aims(second, first))
    ends = [(int(IPv4Address(address)), port) for address, port in (first, second)]
    assert wave.matcher().matches((ends[0], ends[1]), protocol) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 1}',
        "no json",
        '{"schema_version": 1, "campaigns": [{}]}',
    ],
)
def test_what_is_no_truth_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(CaptureError, match="cannot read"):
        truth.load(path)


def test_an_unknown_version_or_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    house_truth().save(path)
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {"schema_version": 2}))
    with pytest.raises(CaptureError, match="schema version 2 is unknown"):
        truth.load(path)
    path.write_text(json.dumps(table | {"surprise": 2}))
    with pytest.raises(CaptureError, match="surprise"):
        truth.load(path)
    with pytest.raises(CaptureError, match="FileNotFoundError"):
        truth.load(tmp_path / "none.json")
