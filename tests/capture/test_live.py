"""Live capture against real traffic in network namespaces."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_agent.capture import packet_socket
from edge_agent.capture.clock import SteadyClock
from edge_agent.capture.live import ANY, CaptureOptions, Fanout, LiveCapture
from edge_agent.capture.pcap import read_frames
from edge_agent.contract.errors import CaptureError
from tests.capture.network import (
    Seen,
    Space,
    awaited,
    collected,
    datagram,
    everything_until,
    frames_in,
    opened,
    payloads,
)
from tests.packets import Segment, both_forms, needs_library

LAST = datagram(60_000)
# Two sockets stamp a frame one after the other; a virtual machine may lose its processor between.
STAMPS_US = 1_000_000


def varied(seed: int, count: int) -> list[bytes]:
    """Frames of all lengths, with none, one or two VLAN tags, of IPv4 and of other things."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        macs = b"\x02" + draw.randbytes(5) + b"\x02" + draw.randbytes(5)
        tags = draw.choice(
            (b"", b"", b"\x81\x00" + draw.randbytes(2), b"\x88\xa8\0\5\x81\0\0\6", b"\x81\0\0\0")
        )
        body = Segment(0, "10.0.0.1", 1024 + number, "10.0.0.2", 53, payload=3, protocol=17).ip()
        rest = draw.choice((b"\x08\x00" + body, b"\x08\x06", b"\x86\xdd\x60", b"\x88\xcc"))
        made.append((macs + tags + rest + draw.randbytes(draw.randrange(1400))).ljust(60, b"\0"))
    return made


@contextlib.contextmanager
def tcpdump(space: Space, interface: str, file: Path, *options: str) -> Iterator[None]:
    """Tcpdump beside us, from when it listens until all it saw is written."""
    program = shutil.which("tcpdump")
    if program is None:
        pytest.skip("tcpdump is not installed")
    # Root's, so that it may write where pytest lets only us.
    command = (program, "-i", interface, "-w", str(file), "-U", "-Z", "root", *options)
    with space.entered():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening on" in line:
                break
        yield
    finally:
        process.terminate()
        process.communicate()


def written(file: Path) -> list[Seen]:
    return [
        (frame.time_us, frame.link_type, frame.wire_length_bytes, frame.data)
        for frame in read_frames(file)
    ]


def assert_same(ours: Sequence[Seen], theirs: Sequence[Seen]) -> None:
    assert [frame[1:] for frame in ours] == [frame[1:] for frame in theirs]
    apart_us = [abs(our[0] - their[0]) for our, their in zip(ours, theirs, strict=True)]
    assert max(apart_us) < STAMPS_US


@both_forms
@pytest.mark.parametrize("snap", [0, 70])
def test_frames_are_those_that_tcpdump_writes(
    space: Space, tmp_path: Path, snap: int, compiled: bool
) -> None:
    file = tmp_path / "tcpdump.pcap"
    incoming, outgoing = varied(1, 300), varied(2, 100)
    length = ["-s", str(snap)] if snap else []
    options = CaptureOptions(snap_length_bytes=snap)
    with (
        opened(space, options=options, compiled=compiled) as capture,
        tcpdump(space, "near", file, *length),
    ):
        space.send("far", *incoming)
        seen = collected(capture, len(incoming))
        space.send("near", *outgoing)
        seen += collected(capture, len(outgoing))
        awaited(lambda: len(written(file)) == 400, "tcpdump wrote all")
    assert_same(seen, written(file))
    if not snap:
        assert payloads(seen) == incoming + outgoing


def test_tagged_frames_of_any_are_whole(space: Space) -> None:
    tagged = datagram(1)[:12] + b"\x81\x00\x20\x05" + datagram(1)[12:]
    with opened(space, ANY) as capture:
        space.send("far", tagged)
        # As it leaves one end, and as it comes in at the other.
        assert payloads(collected(capture, 2)) == [tagged, tagged]
        assert capture.counts()[ANY].up


@pytest.mark.parametrize("interface", ["lo", ANY])
def test_loopback_is_seen_once(space: Space, tmp_path: Path, interface: str) -> None:
    file = tmp_path / "tcpdump.pcap"
    with opened(space, interface) as capture, tcpdump(space, "lo", file):
        with space.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(5):
                sender.sendto(bytes((number,)), ("127.0.0.1", 7))
        # Each is answered by "port unreachable".
        seen = collected(capture, 10)
        awaited(lambda: len(written(file)) == 10, "tcpdump wrote all")
    assert_same(seen, written(file))


def test_links_without_ethernet_are_raw_ip(space: Space) -> None:
    with space.entered():
        try:
            tunnel = os.open("/dev/net/tun", os.O_RDWR)
        except OSError:
            pytest.skip("this machine has no /dev/net/tun")
        import fcntl

        fcntl.ioctl(tunnel, 0x400454CA, struct.pack("16sH22x", b"tunnel", 0x1001))  # TUN, no head
    space.ip("link set dev tunnel up")
    inner = datagram(3)[14:]
    try:
        with opened(space, "tunnel") as capture, opened(space, ANY) as everything:
            os.write(tunnel, inner)
            for seen in (collected(capture, 1), collected(everything, 1)):
                assert [frame[1:] for frame in seen] == [(101, len(inner), inner)]
    finally:
        os.close(tunnel)


def test_several_interfaces_are_captured_in_turn(space: Space) -> None:
    space.pair("near2", "far2")
    options = CaptureOptions(block_bytes=64 * 1024, block_timeout_ms=5)
    with opened(space, "near", "near2", options=options) as capture:
        space.send("far", *(datagram(1, 1400) for _ in range(300)))
        space.send("far2", datagram(2))
        # The block of the second is handed over when its time is out, without anybody looking.
        awaited(
            lambda: all(packets._blocks.ready(0) for packets in capture._sockets), "blocks of both"
        )
        ports = [
            int.from_bytes(block.data[at + 34 : at + 36].tobytes(), "big") - 1024
            for block in capture.blocks(0)
            for at in block.frames["offset"][:1]
        ]
        assert 2 in ports[:2]
        assert ports.count(1) > 2

        def frames() -> tuple[int, int]:
            frames_in(capture, 0.1)
            counts = capture.counts()
            return counts["near"].frames, counts["near2"].frames

        awaited(lambda: frames() == (300, 1), "each frame is counted with its interface")


@needs_library
def test_blocks_are_views_of_the_ring(space: Space) -> None:
    with opened(space) as capture:
        space.send("far", datagram(1))
        taken = 0
        while not taken:
            for block in capture.blocks(0.2):
                taken += len(block.frames)
                assert np.shares_memory(block.data, capture._sockets[0]._ring)


def test_a_ring_goes_round_many_times(space: Space) -> None:
    options = CaptureOptions(ring_bytes=256 * 1024, block_bytes=64 * 1024, block_timeout_ms=5)
    sent = [datagram(number, 1000) for number in range(2_000)]
    seen: list[Seen] = []
    with opened(space, options=options) as capture:
        for begin in range(0, len(sent), 100):
            space.send("far", *sent[begin : begin + 100])
            seen += collected(capture, 100)
        assert capture.counts()["near"].dropped == 0
    assert payloads(seen) == sent


def test_a_reader_that_sleeps_is_told_what_it_missed(space: Space) -> None:
    options = CaptureOptions(ring_bytes=128 * 1024, block_bytes=64 * 1024)
    with opened(space, options=options) as capture:
        space.send("far", *(datagram(number, 500) for number in range(1_000)))
        awaited(lambda: capture.counts()["near"].freezes > 0, "the ring was full")
        # Whatever is in flight: one that is dropped, or one that has room again.
        seen: list[Seen] = []

        def all_known() -> bool:
            seen.extend(frames_in(capture, 0.1))
            return len(seen) + capture.counts()["near"].dropped == 1_000

        awaited(all_known, "every frame was handed on or counted")
        assert 100 < len(seen) == capture.counts()["near"].frames < 900
        space.send("far", LAST)
        assert payloads(collected(capture, 1)) == [LAST]


def test_a_wait_can_be_ended(space: Space) -> None:
    with opened(space) as capture:
        capture.wake()
        assert list(capture.blocks(3600)) == []
        waiting = threading.Thread(target=lambda: list(capture.blocks(3600)))
        waiting.start()
        capture.wake()
        waiting.join()
        assert list(capture.blocks(0)) == []


def test_a_wait_can_be_ended_by_a_signal(space: Space) -> None:
    with opened(space) as capture:
        before = signal.signal(signal.SIGUSR1, lambda *_: capture.wake())
        try:
            sender = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGUSR1))
            sender.start()
            assert list(capture.blocks(3600)) == []
            sender.join()
        finally:
            signal.signal(signal.SIGUSR1, before)


def test_a_reader_that_leaves_early_gives_its_block_back(space: Space) -> None:
    options = CaptureOptions(ring_bytes=256 * 1024, block_bytes=64 * 1024, block_timeout_ms=5)
    with opened(space, options=options) as capture:
        for number in range(9):  # more than there are blocks
            space.send("far", datagram(number))
            found = None
            while found is None:
                for block in capture.blocks(0.2):
                    found = block.data[block.frames["offset"][0] :][: len(datagram(0))].tobytes()
                    break
            assert found == datagram(number)


@needs_library
def test_a_block_outlives_its_capture(space: Space) -> None:
    capture = opened(space)
    space.send("far", datagram(1))
    kept = None
    while kept is None:
        kept = next(capture.blocks(0.2), None)
    capture.close()
    capture.close()
    at = int(kept.frames["offset"][0])
    assert kept.data[at : at + len(datagram(1))].tobytes() == datagram(1)


@pytest.mark.parametrize("fanout", [None, Fanout(4716)], ids=["alone", "shared"])
def test_nothing_slips_in_before_the_filter_is_there(
    space: Space, monkeypatch: pytest.MonkeyPatch, fanout: Fanout | None
) -> None:
    space.pair("near2", "far2")
    bind = packet_socket._bind

    def bind_and_send(packets: socket.socket, index: int) -> None:
        bind(packets, index)
        space.send("far", datagram(1))
        space.send("far2", datagram(2))

    monkeypatch.setattr(packet_socket, "_bind", bind_and_send)
    with opened(space, fanout=fanout) as capture:
        space.send("far", LAST)
        assert everything_until(capture, LAST) == []


@both_forms
@pytest.mark.parametrize("years", [50, -30])
def test_times_go_on_when_the_wall_clock_is_set(space: Space, years: int, compiled: bool) -> None:
    wrong_ns = years * 365 * 24 * 3600 * 10**9
    clock = SteadyClock(wall_ns=lambda: time.time_ns() + wrong_ns)
    with space.entered():
        capture = LiveCapture(["near"], CaptureOptions(), clock, compiled=compiled)
    with capture:
        # What the kernel stamps with is now right, and our wall clock is the kernel's.
        wrong_ns = 0
        begin_us = clock.now_us()
        space.send("far", datagram(1))
        seen = collected(capture, 1)
    assert [frame[3] for frame in seen] == [datagram(1)]
    assert begin_us - STAMPS_US <= seen[0][0] <= clock.now_us() + STAMPS_US
    assert abs(clock.wall_us(seen[0][0]) - time.time_ns() // 1000) < 100 * STAMPS_US


def refused(space: Space, *interfaces: str, options: CaptureOptions | None = None) -> str:
    with pytest.raises(CaptureError) as caught:
        opened(space, *interfaces, options=options).close()
    return str(caught.value)


def test_what_cannot_be_opened_is_said_in_a_sentence(space: Space) -> None:
    assert refused(space, "eth7") == (
        "eth7: there is no such interface; give one of lo, far, near, any."
    )
    assert "name one or all" in refused(space, "near", ANY)
    with pytest.raises(CaptureError, match="no interface is named"):
        LiveCapture([], CaptureOptions(), SteadyClock())
    small = CaptureOptions(ring_bytes=64 * 1024, block_bytes=64 * 1024)
    assert "more ring_bytes" in refused(space, options=small)
    assert "a power of two" in refused(space, options=CaptureOptions(block_bytes=100_000))
    assert "fewer ring_bytes" in refused(space, options=CaptureOptions(ring_bytes=2**40))


def test_without_memory_a_smaller_ring_is_asked_for(space: Space) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 8 * 1024 * 1024, limits[1]))
    try:
        said = refused(space, options=CaptureOptions(ring_bytes=32 * 1024 * 1024))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert said == "near: there is not enough memory for its ring; give a smaller ring_bytes."


def test_without_privileges_the_capability_is_named(space: Space) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(CaptureError, match="CAP_NET_RAW"):
            LiveCapture(["lo"], CaptureOptions(), SteadyClock())
    finally:
        os.seteuid(0)


def test_a_capture_that_fails_leaves_nothing_open(space: Space) -> None:
    before = list(Path("/proc/self/fd").iterdir())
    refused(space, "near", "eth7")
    refused(space, options=CaptureOptions(filter="no such thing"))
    assert list(Path("/proc/self/fd").iterdir()) == before
