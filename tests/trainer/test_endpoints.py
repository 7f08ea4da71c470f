"""Between whom flows ran, as arrays."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.flow.rows import FlowRow, FlowRows
from trainer.datasets.endpoints import (
    address_span,
    clock,
    connections,
    ends_of,
    hosts,
    inside,
    port_span,
    turned,
)
from trainer.datasets.flows import address_ids

addresses = st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number)))
few = st.sampled_from(["10.0.0.1", "10.0.0.2", "200.1.2.3"])
ports = st.sampled_from([0, 1, 80, 65_535])


def rows_of(source: str, port: int, destination: str, other: int, protocol: int = 6) -> FlowRow:
    return FlowRow(source, port, destination, other, protocol, 5, 6, 7, (1.0,))


rows = st.builds(rows_of, few | addresses, ports, few | addresses, ports, st.sampled_from([6, 17]))


@given(many=st.lists(rows, min_size=1, max_size=20))
def test_ends_say_what_rows_do(many: list[FlowRow]) -> None:
    ends = ends_of(FlowRows.of(many, 1).about)
    assert [str(IPv4Address(one)) for one in ends["source"].tolist()] == [
        row.source_address for row in many
    ]
    assert [str(IPv4Address(one)) for one in turned(ends)["source"].tolist()] == [
        row.destination_address for row in many
    ]
    assert turned(ends)["source_port"].tolist() == [row.destination_port for row in many]
    assert np.array_equal(turned(turned(ends)), ends)
    for name in ("source_port", "destination_port", "protocol", "start_us"):
        assert ends[name].tolist() == [getattr(row, name) for row in many]


@given(many=st.lists(rows, min_size=1, max_size=20))
def test_connections_are_five_tuples_whichever_way_round(many: list[FlowRow]) -> None:
    ends = ends_of(FlowRows.of(many, 1).about)
    found = connections(ends).tolist()
    keys = [
        (
            row.protocol,
            *sorted(
                [
                    (row.source_address, row.source_port),
                    (row.destination_address, row.destination_port),
                ]
            ),
        )
        for row in many
    ]
    assert len({*zip(found, keys, strict=True)}) == len({*found}) == len({*keys})
    assert sorted({*found}) == list(range(len({*keys})))
    assert connections(turned(ends)).tolist() == found


@given(many=st.lists(rows, min_size=1, max_size=20))
def test_hosts_are_those_of_other_kinds_of_file(many: list[FlowRow]) -> None:
    found = hosts(ends_of(FlowRows.of(many, 1).about))
    assert found.tolist() == address_ids([row.source_address for row in many]).tolist()


@given(text=addresses, length=st.integers(0, 32), other=addresses)
def test_networks_hold_their_addresses(text: str, length: int, other: str) -> None:
    span = address_span(f"{text}/{length}")
    network = IPv4Network(f"{text}/{length}", strict=False)
    numbers = np.array([int(IPv4Address(one)) for one in (text, other)], dtype=np.uint32)
    assert inside(numbers, [span]).tolist() == [True, IPv4Address(other) in network]
    assert not inside(numbers, []).any()


@pytest.mark.parametrize("entry", [65_536, -1, True, "80", [1], [2, 1], [1, 2, 3], 1.0, None])
def test_what_is_no_port(entry: object) -> None:
    with pytest.raises(ValueError, match="is no port or range of ports"):
        port_span(entry)


def test_times_as_people_read_them() -> None:
    assert clock(1_499_170_672_838_272) == "2017-07-04 12:17:52 UTC"
    # A damaged capture may hold any time.
    assert clock(2**62) == "9999-12-31 23:59:59 UTC"
