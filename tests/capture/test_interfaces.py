from __future__ import annotations

import socket

import pytest

from edge_agent.capture import interfaces
from tests.capture.network import Space


def test_interfaces_are_those_of_the_namespace(space: Space) -> None:
    with space.entered():
        assert sorted(interfaces.names()) == ["far", "lo", "near"]
        assert interfaces.exists("near")
        assert interfaces.index("near") == socket.if_nametoindex("near")
        assert interfaces.link_type("near") == interfaces.ETHERNET
        assert interfaces.link_type("lo") == interfaces.LOOPBACK
        inside = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with inside:
        assert interfaces.exists("near", inside)
        assert not interfaces.exists("near")


def test_an_interface_is_up_or_not(space: Space) -> None:
    with space.entered():
        assert interfaces.is_up("near")
        space.ip("link set dev near down")
        assert not interfaces.is_up("near")
        assert interfaces.exists("near")


@pytest.mark.parametrize("name", ["", "no-such-thing", "sixteen-letters-", "a\0b", "\udc80", "any"])
def test_what_cannot_be_a_name_is_no_interface(name: str) -> None:
    assert interfaces.index(name) is None
    assert not interfaces.exists(name)
    assert not interfaces.is_up(name)
    assert interfaces.link_type(name) is None
