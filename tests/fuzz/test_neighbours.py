"""Whatever one host sends, the rows of others stay as they are."""

from __future__ import annotations

import itertools
import random
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.frames import FRAME, FrameBlock
from edge_agent.contract.profiles import PROFILES, Padding
from edge_agent.flow.meter import DISORDER, EVICTED, JUMPS, STRAYS, open_meter
from edge_agent.flow.packets import PacketReader
from tests.flow.traffic import START_US, S, Traffic
from tests.packets import both_forms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.flow.rows import FlowRow

YEAR_US: Final = 365 * 86_400 * S
FRAMES: Final = 300
# Around the time-outs, and together less than what the meter takes for a jump.
PAUSES_S: Final = (1, 3, 5, 15, 60, 120)
HOSTS: Final = 6

profiles = pytest.mark.parametrize("profile", PROFILES)
scenes = given(seed=st.integers(0, 2**32), rate=st.sampled_from([0.2, 3.0, 100.0]))


class _Party(Traffic):
    """Hosts that speak among themselves; addresses of two parties differ in three bytes or more."""

    def __init__(self, seed: int, network: bytes) -> None:
        super().__init__(seed, HOSTS, 1.0)
        self._hosts = [network + bytes([i + 1]) for i in range(HOSTS)]
        self._hosts6 = [network * 5 + bytes([i + 1]) for i in range(HOSTS)]
        self._conversation = (self._hosts[0], 40000, self._hosts[-1], 80, 6)
        self.addresses = {host.ljust(16, b"\0") for host in (*self._hosts, *self._hosts6)}

    def frame(self) -> tuple[bytes, int, int]:
        return self._frame()


@dataclass(frozen=True)
class Sent:
    """A captured frame, and whether it is of those that misbehave."""

    time_us: int
    data: bytes
    link_type: int
    wire_bytes: int
    hostile: bool


@dataclass(frozen=True)
class Scene:
    """Frames of two parties, in order of time, and the addresses of the one that behaves.

    The first and the last frame are of the latter: it starts the clock, and says when it ended.
    """

    frames: list[Sent]
    addresses: set[bytes]


def scene(seed: int, rate: float) -> Scene:
    draw = random.Random(seed)
    hostile, quiet = _Party(seed, b"\x0a\x01\x02"), _Party(seed + 1, b"\xc6\x33\x64")
    now_us, frames = START_US, []
    for number in range(FRAMES):
        is_hostile = number % (FRAMES - 1) != 0 and draw.random() < 0.5
        now_us += int(min(draw.expovariate(rate), 60.0) * S)
        if draw.random() < 0.02:
            now_us += draw.choice(PAUSES_S) * S + draw.choice((-1, 0, 1))
        data, link_type, wire = (hostile if is_hostile else quiet).frame()
        # The clock has to be running behind the first frame, and to be set by the last.
        if number % (FRAMES - 1) == 0:
            data, link_type = _plain(), 1
            wire = len(data)
        frames.append(Sent(now_us, data, link_type, wire, is_hostile))
    return Scene(frames, quiet.addresses)


def _plain() -> bytes:
    ends = b"\xc6\x33\x64\x01" + b"\xc6\x33\x64\x02"
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + ends
    return bytes(12) + b"\x08\x00" + header + struct.pack("!HHHH", 9, 9, 8, 0)


def damaged(sent: Sent, draw: random.Random) -> Sent:
    """Other bytes, another length captured, another on the wire; the stamp is kept."""
    data = bytearray(sent.data)
    for _ in range(draw.choice((0, 1, 1, 2, 8))):
        if data:
            at = draw.randrange(min(len(data), draw.choice((20, 60, 1600))))
            data[at] = draw.choice((0, 255, draw.randrange(256), data[at] ^ 1 << draw.randrange(8)))
    if draw.random() < 0.2:
        del data[draw.randrange(len(data) + 1) :]
    wire = sent.wire_bytes
    if draw.random() < 0.2:
        wire = draw.choice((0, 20, 2**16, 2**20, 2**31, 2**32 - 1, draw.randrange(2**32)))
    link_type = draw.choice((1, 0, 101, 113, 276, 147)) if draw.random() < 0.05 else sent.link_type
    return replace(sent, data=bytes(data), wire_bytes=wire, link_type=link_type)


def block(frames: Iterable[Sent]) -> FrameBlock:
    data, entries = bytearray(), []
    for sent in frames:
        length = len(sent.data)
        entries.append((sent.time_us, len(data), length, sent.wire_bytes, sent.link_type))
        data += sent.data
    return FrameBlock(np.frombuffer(bytes(data), np.uint8), np.array(entries, FRAME))


def is_metered(sent: Sent) -> bool:
    reader = PacketReader(Padding.STRIP)
    return reader.decode(sent.time_us, sent.link_type, sent.data, sent.wire_bytes) is not None


def rows_among(
    addresses: set[bytes], frames: list[Sent], profile: str, *, compiled: bool
) -> tuple[list[FlowRow], dict[str, int]]:
    """Rows whose both ends are of these addresses, every column of them; and the counts."""
    meter = open_meter(PROFILES[profile], compiled=compiled)
    found: list[FlowRow] = []
    # One after the other: a meter may write the next rows where these are.
    for rows in itertools.chain(meter.add(block(frames)), meter.flush()):
        ends = zip(rows.about["source"], rows.about["destination"], strict=True)
        theirs = [{a.tobytes(), b.tobytes()} <= addresses for a, b in ends]
        found += [row for row, is_theirs in zip(rows, theirs, strict=True) if is_theirs]
    counts = meter.counts()
    assert not any(counts[name] for name in (DISORDER, JUMPS, *EVICTED.values()))
    return found, counts


def same(found: list[FlowRow], expected: list[FlowRow]) -> bool:
    """Equal to the last bit; the original tool's columns may be NaN, which equals nothing."""
    return repr(found) == repr(expected)


@profiles
@both_forms
@settings(max_examples=40)
@scenes
def test_a_damaged_packet_changes_no_row_of_others(
    profile: str, compiled: bool, seed: int, rate: float
) -> None:
    before = scene(seed, rate)
    draw = random.Random(seed)
    after = [
        damaged(sent, draw) if sent.hostile and draw.random() < 0.7 else sent
        for sent in before.frames
    ]
    assert after != before.frames
    expected, _ = rows_among(before.addresses, before.frames, profile, compiled=compiled)
    found, _ = rows_among(before.addresses, after, profile, compiled=compiled)
    assert expected
    assert same(found, expected)


@profiles
@both_forms
@settings(max_examples=40)
@scenes
def test_a_stamp_that_is_years_off_changes_no_row_of_others(
    profile: str, compiled: bool, seed: int, rate: float
) -> None:
    before = scene(seed, rate)
    draw = random.Random(seed)
    after, alone = [], False
    for sent in before.frames:
        lies = sent.hostile and alone and draw.random() < 0.3
        years = draw.choice((-50, -3, 1, 30, 4000))
        after.append(replace(sent, time_us=sent.time_us + years * YEAR_US) if lies else sent)
        # Two in a row that agree are what a clock looks like that was set; what is skipped says
        # nothing of the time.
        alone = not lies and (alone or is_metered(sent))
    expected, _ = rows_among(before.addresses, before.frames, profile, compiled=compiled)
    found, counts = rows_among(before.addresses, after, profile, compiled=compiled)
    assert expected
    assert same(found, expected)
    assert counts[STRAYS] > 0
