"""Several captures that share the frames of the same interfaces."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from edge_agent.capture.live import ANY, Fanout
from tests.capture.network import (
    Space,
    awaited,
    datagram,
    everything_until,
    frames_in,
    opened,
    payloads,
)
from tests.packets import Segment

LAST = datagram(60_000)


@pytest.mark.parametrize(("members", "interface"), [(2, "near"), (3, "near"), (2, ANY)])
def test_both_directions_of_a_flow_meet_in_one_ring(
    space: Space, members: int, interface: str
) -> None:
    there = [Segment(0, "10.0.0.1", 1000 + n, "10.0.0.2", 80, "PA", 9) for n in range(60)]
    back = [Segment(0, "10.0.0.2", 80, "10.0.0.1", 1000 + n, "A", 1) for n in range(60)]
    frames = [segment.frame() for segment in there + back]
    # As they leave one end, and as they come in at the other.
    expected = frames * 2 if interface == ANY else frames
    with contextlib.ExitStack() as stack:
        captures = [
            stack.enter_context(opened(space, interface, fanout=Fanout(4711)))
            for _ in range(members)
        ]
        space.send("far", *frames)
        seen: list[list[bytes]] = [[] for _ in captures]

        def all_came() -> bool:
            for each, capture in zip(seen, captures, strict=True):
                each.extend(payloads(frames_in(capture, 0.1)))
            return sum(len(each) for each in seen) >= len(expected)

        awaited(all_came, "every frame came to one of them")
    assert all(seen)
    assert sorted(itertools.chain(*seen)) == sorted(expected)
    for forth, reply in zip(there, back, strict=True):
        assert len([each for each in seen if forth.frame() in each or reply.frame() in each]) == 1


def test_a_fanout_takes_no_frames_of_other_interfaces(space: Space) -> None:
    space.pair("near2", "far2")
    with opened(space, fanout=Fanout(4712)) as capture:
        space.send("far2", datagram(1))
        space.send("far", LAST)
        assert everything_until(capture, LAST) == []
