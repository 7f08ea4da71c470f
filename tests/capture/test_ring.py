from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.ring import MAX_SNAP_BYTES, CompiledBlocks, PlainBlocks, RingWalk
from edge_agent.contract.frames import FRAME
from tests.capture.ring_blocks import (
    LINK_AT,
    LOOPBACK,
    OUTGOING,
    RADIOTAP,
    TAG_TYPE_VALID,
    TAG_VALID,
    TUNNEL,
    Held,
    ring_block,
)
from tests.packets import both_forms, needs_library

Result = tuple[list[Any], dict[str, int], bytes]
S = 1_000_000
YEAR_US = 365 * 24 * 3600 * S
NOW_US = 1_700_000_000 * S
MACS = bytes(range(12))
IPV4 = b"\x08\x00" + bytes(range(40))


def walked(
    block: bytearray, *, compiled: bool, room: int = 100, **told: int
) -> tuple[list[Any], RingWalk, bytes]:
    """What a walk finds, and the block behind it."""
    settings = {"latest_us": 2**61, "earliest_us": -(2**61), "snap_bytes": MAX_SNAP_BYTES, **told}
    walk = RingWalk(**settings)
    memory = np.frombuffer(bytearray(block), np.uint8)
    frames = np.zeros(room, FRAME)
    blocks = CompiledBlocks if compiled else PlainBlocks
    blocks(memory, len(block)).index(0, frames, walk)
    return frames[: walk.frames].tolist(), walk, memory.tobytes()


def bytes_of(found: tuple[list[Any], RingWalk, bytes]) -> list[bytes]:
    frames, _, memory = found
    return [memory[at : at + kept] for _, at, kept, _, _ in frames]


@both_forms
def test_frames_lie_where_the_kernel_put_them(compiled: bool) -> None:
    one, other = MACS + IPV4, MACS + b"\x08\x06" + bytes(28)
    block = ring_block(Held(one, NOW_US, length=1514), Held(other, NOW_US + 7))
    frames, walk, memory = walked(block, compiled=compiled)
    second = 48 + len(Held(one).record()) + LINK_AT
    assert frames == [
        (NOW_US, 48 + LINK_AT, len(one), 1514, 1),
        (NOW_US + 7, second, len(other), len(other), 1),
    ]
    assert memory == bytes(block)
    assert (walk.broken, walk.unsupported, walk.last_us) == (0, 0, NOW_US + 7)


@both_forms
def test_a_tag_that_the_kernel_took_out_is_put_back(compiled: bool) -> None:
    held = [
        Held(MACS + IPV4, tag=7),  # an old kernel says nothing of validity
        Held(MACS + IPV4, tag=0, status=1 | TAG_VALID),
        Held(MACS + IPV4, tag=9, tag_type=0x88A8, status=1 | TAG_VALID | TAG_TYPE_VALID),
        Held(MACS + IPV4),
        Held(MACS[:11], tag=7),  # cut: there is no place for it
    ]
    found = walked(ring_block(*held), compiled=compiled)
    assert bytes_of(found) == [
        MACS + b"\x81\x00\x00\x07" + IPV4,
        MACS + b"\x81\x00\x00\x00" + IPV4,
        MACS + b"\x88\xa8\x00\x09" + IPV4,
        MACS + IPV4,
        MACS[:11],
    ]
    lengths = [frame[3] for frame in found[0]]
    assert lengths == [len(data) for data in bytes_of(found)]


@both_forms
def test_a_tag_without_room_before_the_frame_is_left_out(compiled: bool) -> None:
    found = walked(ring_block(Held(MACS + IPV4, tag=7, link_at=71)), compiled=compiled)
    assert bytes_of(found) == [MACS + IPV4]


@both_forms
def test_the_snap_length_counts_the_tag(compiled: bool) -> None:
    block = ring_block(Held(MACS + IPV4, tag=7), Held(MACS + IPV4))
    found = walked(block, compiled=compiled, snap_bytes=20)
    assert bytes_of(found) == [MACS + b"\x81\x00\x00\x07" + IPV4[:4], (MACS + IPV4)[:20]]
    assert [frame[3] for frame in found[0]] == [58, 54]


@both_forms
def test_loopback_is_seen_once(compiled: bool) -> None:
    leaving = Held(MACS + b"\x08\x00leaves", device=LOOPBACK, direction=OUTGOING)
    coming = Held(MACS + b"\x08\x00comes", device=LOOPBACK)
    found = walked(ring_block(leaving, coming), compiled=compiled)
    assert bytes_of(found) == [coming.data]


@both_forms
def test_what_leaves_an_ethernet_is_seen(compiled: bool) -> None:
    leaving = Held(MACS + IPV4, direction=OUTGOING)
    assert bytes_of(walked(ring_block(leaving), compiled=compiled)) == [leaving.data]


@both_forms
def test_other_links_are_raw_ip_or_not_supported(compiled: bool) -> None:
    header = b"four"
    held = [
        Held(header + IPV4[2:], device=TUNNEL, network_at=LINK_AT + 4, tag=7),
        Held(IPV4[2:], device=TUNNEL, network_at=LINK_AT, protocol=0x86DD),
        Held(IPV4[2:], device=TUNNEL, network_at=LINK_AT, protocol=0x8863),
        Held(b"ab", device=TUNNEL, network_at=LINK_AT + 4, length=44),
        Held(bytes(60), device=RADIOTAP, protocol=0x0004),
    ]
    found = walked(ring_block(*held), compiled=compiled)
    assert bytes_of(found) == [IPV4[2:], IPV4[2:], b""]
    assert {frame[4] for frame in found[0]} == {101}
    assert [frame[3] for frame in found[0]] == [40, 40, 42]
    assert found[1].unsupported == 2
    assert found[1].broken == 0


@both_forms
@pytest.mark.parametrize("step_us", [30 * YEAR_US, -30 * YEAR_US, 3 * S, -3 * S])
def test_frames_of_before_and_after_a_step_keep_their_distance(
    compiled: bool, step_us: int
) -> None:
    # The second frame was stamped after the wall clock had stepped.
    held = Held(MACS + IPV4, NOW_US), Held(MACS + IPV4, NOW_US + 10 + step_us)
    frames, walk, _ = walked(
        ring_block(*held),
        compiled=compiled,
        shift_us=-step_us,
        former_shift_us=0,
        earliest_us=NOW_US - S,
        latest_us=NOW_US + S,
    )
    assert [frame[0] for frame in frames] == [NOW_US, NOW_US + 10]
    assert walk.last_us == NOW_US + 10


@both_forms
def test_a_stamp_that_fits_no_shift_is_taken_to_be_of_now(compiled: bool) -> None:
    found = walked(
        ring_block(Held(MACS + IPV4, 5)),
        compiled=compiled,
        earliest_us=NOW_US - S,
        latest_us=NOW_US,
    )
    assert found[0][0][0] == NOW_US


def _poke(block: bytearray, at: int, code: str, value: int) -> None:
    struct.pack_into(code, block, at, value)


SECOND = 48 + len(Held(MACS + IPV4).record())
LIES: dict[str, Callable[[bytearray], None]] = {
    "the next begins beyond the block": lambda block: _poke(block, 48, "=I", 4096 - 48 - 60),
    "the next begins inside the head": lambda block: _poke(block, 48, "=I", 60),
    "there is no next": lambda block: _poke(block, 48, "=I", 0),
    "more frames than there are": lambda block: _poke(block, 12, "=I", 0xFFFF_FFFF),
    "a frame that ends beyond the block": lambda block: _poke(block, SECOND + 12, "=I", 4000),
    "a length that wraps around": lambda block: _poke(block, SECOND + 12, "=I", 0xFFFF_FFFF),
    "a frame inside its head": lambda block: _poke(block, SECOND + 24, "=H", 40),
    "a frame longer than on the wire": lambda block: _poke(block, SECOND + 16, "=I", 3),
}


@both_forms
@pytest.mark.parametrize("lie", LIES)
def test_a_block_that_lies_is_read_up_to_the_lie(compiled: bool, lie: str) -> None:
    block = ring_block(Held(MACS + IPV4), Held(MACS + IPV4))
    LIES[lie](block)
    frames, walk, _ = walked(block, compiled=compiled)
    assert walk.broken == 1
    assert len(frames) < 3
    assert all(at + kept <= len(block) for _, at, kept, _, _ in frames)


@both_forms
@pytest.mark.parametrize("first", [0, 47, 4090, 0xFFFF_FFFF])
def test_a_first_frame_outside_the_block_is_a_lie(compiled: bool, first: int) -> None:
    block = ring_block(Held(MACS + IPV4))
    _poke(block, 16, "=I", first)
    frames, walk, _ = walked(block, compiled=compiled)
    assert (frames, walk.broken) == ([], 1)


@both_forms
def test_a_block_has_an_owner(compiled: bool) -> None:
    memory = np.frombuffer(ring_block() + ring_block(), np.uint8)
    memory[8:12] = 0
    blocks = (CompiledBlocks if compiled else PlainBlocks)(memory, 4096)
    assert [blocks.ready(0), blocks.ready(1)] == [False, True]
    blocks.release(1)
    assert not blocks.ready(1)
    memory[8:12] = np.frombuffer(struct.pack("=I", 1 | 1 << 5), np.uint8)  # handed over in time
    assert blocks.ready(0)


held_frames = st.builds(
    Held,
    data=st.binary(max_size=90),
    wall_us=st.integers(0, 2**32 * S - 1),
    length=st.none() | st.integers(0, 2**32 - 1),
    status=st.sampled_from([1, 1 | TAG_VALID, 1 | TAG_VALID | TAG_TYPE_VALID]),
    tag=st.sampled_from([0, 0, 5, 0xFFFF_FFFF]),
    tag_type=st.sampled_from([0, 0x8100, 0x88A8]),
    device=st.sampled_from([1, 1, LOOPBACK, TUNNEL, RADIOTAP]),
    direction=st.sampled_from([0, OUTGOING]),
    protocol=st.sampled_from([0x0800, 0x86DD, 0x0806]),
    link_at=st.integers(68, 100),
    network_at=st.integers(0, 130),
)
pokes = st.lists(
    st.tuples(st.integers(0, 700), st.sampled_from([0, 1, 4, 60, 68, 86, 255])), max_size=6
)
steady = st.integers(-(2**53), 2**53)


@needs_library
@given(
    st.lists(held_frames, max_size=8),
    pokes,
    st.fixed_dictionaries(
        {
            "shift_us": steady,
            "former_shift_us": steady,
            "earliest_us": steady,
            "latest_us": steady,
            "snap_bytes": st.sampled_from([1, 14, 60, MAX_SNAP_BYTES]),
        }
    ),
    st.integers(0, 9),
)
def test_both_forms_find_the_same_in_hostile_blocks(
    held: list[Held], poked: list[tuple[int, int]], told: dict[str, int], room: int
) -> None:
    block = ring_block(*held)
    for at, value in poked:
        block[at] = value
    frames, walk, memory = walked(block, compiled=True, room=room, **told)
    plain_frames, plain_walk, plain_memory = walked(block, compiled=False, room=room, **told)
    assert frames == plain_frames
    assert memory == plain_memory
    for field in RingWalk._fields_:
        assert getattr(walk, field[0]) == getattr(plain_walk, field[0]), field[0]
    assert all(at + kept <= len(block) for _, at, kept, _, _ in frames)
