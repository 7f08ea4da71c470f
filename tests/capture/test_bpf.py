"""Filters: what libpcap and we write, and what the kernel then lets through."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from ipaddress import IPv6Address

import pytest

from edge_agent.capture import bpf
from edge_agent.capture.bpf import (
    Connection,
    Instruction,
    compiled,
    load_libpcap,
    only_from,
    packed,
)
from edge_agent.capture.clock import SteadyClock
from edge_agent.capture.live import CaptureOptions, Fanout, LiveCapture
from edge_agent.contract.errors import CaptureError
from tests.capture.network import Space, collected, datagram, everything_until, payloads
from tests.packets import ETHERNET, Segment

LAST = datagram(60_000)
US, BROKER, OTHER = "10.0.0.1", "10.0.0.9", "10.0.0.2"
US6, BROKER6, OTHER6 = "fd00::1", "fd00::9", "fd00::2"
MQTT = 1883


def absent() -> ctypes.CDLL:
    raise OSError("libpcap.so: cannot open shared object file")


@pytest.fixture
def libpcap() -> None:
    try:
        load_libpcap()
    except OSError:
        pytest.skip("libpcap is not installed")


def tcp(source: str, source_port: int, destination: str, destination_port: int) -> bytes:
    return Segment(0, source, source_port, destination, destination_port, "PA", 30).frame()


def tcp6(source: str, source_port: int, destination: str, destination_port: int) -> bytes:
    ports = struct.pack("!HH", source_port, destination_port)
    segment = ports + struct.pack("!IIBBHHH", 0, 0, 5 << 4, 0x18, 500, 0, 0) + b"payload"
    head = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64)
    addresses = IPv6Address(source).packed + IPv6Address(destination).packed
    return ETHERNET + b"\x86\xdd" + head + addresses + segment


def tagged(frame: bytes) -> bytes:
    return frame[:12] + b"\x81\x00\x00\x07" + frame[12:]


OURS = [tcp(US, 40_000, BROKER, MQTT), tcp(BROKER, MQTT, US, 40_000), tcp(US, 7, BROKER, MQTT)]
OURS6 = [tcp6(US6, 40_000, BROKER6, MQTT), tcp6(BROKER6, MQTT, US6, 40_000)]
THEIRS = [
    tcp(US, 40_000, BROKER, 80),
    tcp(BROKER, 40_000, US, MQTT),  # towards a broker of ours
    tcp(US, MQTT, BROKER, 40_000),
    tcp(OTHER, 40_000, BROKER, MQTT),
    tcp(US, 40_000, OTHER, MQTT),
    Segment(0, US, 40_000, BROKER, MQTT, payload=30, protocol=17).frame(),
    tcp6(OTHER6, 40_000, BROKER6, MQTT),
    tcp6(US6, 40_000, OTHER6, MQTT),
    tcp6(US6, 40_000, BROKER6, 80),
    tcp6(BROKER6, 40_000, US6, MQTT),
    (ETHERNET + b"\x08\x06" + bytes(28)),  # ARP, shorter than what the filter looks at
    (ETHERNET + b"\x08\x00"),
    (ETHERNET + b"\x08\x00\x45"),
    (ETHERNET + b"\x86\xdd\x60" + bytes(20)),
    (ETHERNET + b"\x88\xcc" + bytes(40)),
]
EXCLUDED = (Connection(US, BROKER, MQTT), Connection(US6, BROKER6, MQTT))


def let_through(
    space: Space, options: CaptureOptions, frames: list[bytes], fanout: Fanout | None = None
) -> list[bytes]:
    with space.entered():
        capture = LiveCapture(["near"], options, SteadyClock(), fanout)
    with capture:
        space.send("far", *frames, LAST)
        return payloads(everything_until(capture, LAST))


@pytest.mark.parametrize("fanout", [None, Fanout(4720)], ids=["alone", "shared"])
@pytest.mark.parametrize("tag", [False, True], ids=["untagged", "tagged"])
def test_our_own_connection_is_left_out_without_libpcap(
    space: Space, monkeypatch: pytest.MonkeyPatch, tag: bool, fanout: Fanout | None
) -> None:
    monkeypatch.setattr(bpf, "load_libpcap", absent)
    # The kernel drops a tagged frame that has nothing behind the tag.
    theirs = [tagged(frame) for frame in THEIRS if len(frame) > 15] if tag else THEIRS
    ours = [tagged(frame) for frame in OURS + OURS6] if tag else OURS + OURS6
    options = CaptureOptions(excluded=EXCLUDED)
    assert let_through(space, options, theirs + ours + theirs, fanout) == theirs + theirs


def test_our_own_connection_is_left_out_of_an_expression(space: Space, libpcap: None) -> None:
    frames = THEIRS + OURS + OURS6
    options = CaptureOptions(filter="tcp or udp port 53", excluded=EXCLUDED)
    expected = [*THEIRS[:5], *THEIRS[6:10]]
    assert let_through(space, options, frames) == expected


def test_a_connection_within_one_host_is_left_out_both_ways(space: Space) -> None:
    ours = [tcp(US, 40_000, US, MQTT), tcp(US, MQTT, US, 40_000)]
    other = tcp(US, 40_000, US, 80)
    options = CaptureOptions(excluded=(Connection(US, US, MQTT),))
    assert let_through(space, options, [*ours, other]) == [other]


def test_ipv4_in_ipv6_notation_is_ipv4(space: Space) -> None:
    mapped = Connection(f"::ffff:{US}", f"::ffff:{BROKER}", MQTT)
    assert let_through(space, CaptureOptions(excluded=(mapped,)), [*OURS, THEIRS[0]]) == [THEIRS[0]]


def test_options_and_fragments_do_not_mislead(space: Space) -> None:
    ip = bytearray(OURS[0][14:])
    with_options = bytes([0x46, *ip[1:20]]) + bytes(4) + bytes(ip[20:])
    ip[6:8] = b"\x00\x10"  # a later fragment, whose payload looks like our ports
    fragment = ETHERNET + b"\x08\x00" + bytes(ip)
    ours = ETHERNET + b"\x08\x00" + with_options
    options = CaptureOptions(excluded=EXCLUDED)
    assert let_through(space, options, [ours, fragment]) == [fragment]


EXPRESSIONS = {
    "udp": [Segment(0, US, 1, OTHER, 53, protocol=17, payload=9).frame()],
    "host 10.0.0.9 and tcp port 1883": [*OURS, *THEIRS[1:4]],
    "src host 10.0.0.9 and src port 1883": [OURS[1]],
    "ip6 and dst port 1883": [OURS6[0], *THEIRS[6:8], THEIRS[9]],
    "tcp[tcpflags] & (tcp-push) != 0 and dst port 80": [THEIRS[0]],
    "net 10.0.0.0/24 and ip[8] = 64 and udp": [
        THEIRS[5],
        Segment(0, US, 1, OTHER, 53, protocol=17, payload=9).frame(),
    ],
}


@pytest.mark.parametrize("tag", [False, True], ids=["untagged", "tagged"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_says_what_is_captured(
    space: Space, libpcap: None, expression: str, tag: bool
) -> None:
    wanted = EXPRESSIONS[expression]
    dns = EXPRESSIONS["udp"]
    frames = [*THEIRS, *OURS, *OURS6, *dns]
    if expression == "udp":
        wanted = [THEIRS[5], *dns]
    expected = [frame for frame in frames if frame in wanted]
    assert len(expected) == len(wanted)
    if tag:
        frames, expected = [tagged(f) for f in frames], [tagged(f) for f in expected]
    options = CaptureOptions(filter=f"({expression}) or udp port 53")
    kept = let_through(space, options, frames)
    without_dns = [frame for frame in kept if expression == "udp" or untagged(frame) not in dns]
    assert without_dns == [f for f in expected if expression == "udp" or untagged(f) not in dns]


def untagged(frame: bytes) -> bytes:
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame


def test_a_filter_is_changed_while_frames_come(space: Space, libpcap: None) -> None:
    with space.entered():
        capture = LiveCapture(["near"], CaptureOptions(filter="udp"), SteadyClock())
    sender = threading.Thread(
        target=lambda: space.send("far", *(datagram(number) for number in range(3_000)))
    )
    seen: list[bytes] = []
    with capture:
        sender.start()
        for turn in range(50):
            # Whichever is in force, all that is sent passes; none may be lost between them.
            capture.set_filter(("udp", "udp dst port 53")[turn % 2], ())
            seen += payloads(collected(capture, 0))
        sender.join()
        space.send("far", LAST)
        seen += payloads(everything_until(capture, LAST))
        assert capture.counts()["near"].dropped == 0
    assert seen == [datagram(number) for number in range(3_000)]


def test_a_wrong_filter_leaves_the_one_before(space: Space, libpcap: None) -> None:
    with space.entered():
        capture = LiveCapture(["near"], CaptureOptions(filter="tcp"), SteadyClock())
    with capture:
        with pytest.raises(CaptureError, match="not understood by libpcap") as caught:
            capture.set_filter("tcp port\nnowhere", ())
        assert str(caught.value).startswith('filter "tcp port?nowhere": is not understood')
        space.send("far", datagram(1), *OURS)
        assert payloads(collected(capture, 3)) == OURS
        capture.set_filter("", EXCLUDED)
        space.send("far", *OURS, LAST)
        assert everything_until(capture, LAST) == []


def test_a_filter_that_one_interface_refuses_is_taken_by_none(
    space: Space, monkeypatch: pytest.MonkeyPatch, libpcap: None
) -> None:
    space.pair("near2", "far2")
    with space.entered():
        capture = LiveCapture(["near", "near2"], CaptureOptions(), SteadyClock())
    with capture:
        second = capture._sockets[1]
        attach = second._attach

        def refuse_once(program: list[Instruction]) -> None:
            monkeypatch.setattr(second, "_attach", attach)
            raise OSError(12, "no memory")

        monkeypatch.setattr(second, "_attach", refuse_once)
        with pytest.raises(CaptureError, match="near2: the kernel refuses the filter"):
            capture.set_filter("tcp", ())
        for interface in ("far", "far2"):
            space.send(interface, datagram(1))
            assert payloads(collected(capture, 1)) == [datagram(1)]


@pytest.mark.parametrize("expression", ["vlan 7", "ether host 02:00:00:00:00:01", "tcp port", "\0"])
def test_what_is_not_about_ip_is_refused(libpcap: None, expression: str) -> None:
    with pytest.raises(CaptureError, match="filter"):
        compiled(expression, 0, (), load_libpcap)


def test_what_is_too_long_for_the_kernel_is_refused(libpcap: None) -> None:
    hosts = " or ".join(f"host 10.{n // 200}.{n % 200}.1" for n in range(1500))
    with pytest.raises(CaptureError, match="instructions"):
        compiled(hosts, 0, (), load_libpcap)


def test_an_expression_needs_libpcap_and_says_so() -> None:
    with pytest.raises(CaptureError) as caught:
        compiled("tcp", 0, (), absent)
    assert str(caught.value) == (
        'filter "tcp": cannot be compiled, because libpcap is not installed; '
        "install it (on Debian: libpcap0.8), or leave the filter empty."
    )


def test_without_an_expression_libpcap_is_not_asked_for() -> None:
    assert compiled(" ", 96, (), absent) == [Instruction(6, 0, 0, 96)]


def test_a_connection_of_two_versions_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="two versions"):
        compiled("", 0, (Connection(US, BROKER6, MQTT),), absent)


def test_programs_fit_their_jumps() -> None:
    connections = [Connection(US, f"10.0.1.{n}", MQTT) for n in range(60)]
    program = only_from(3, compiled("", 0, connections, absent))
    assert len(packed(program)) == 8 * len(program)
    for at, step in enumerate(program):
        if step.code & 7 == 5:
            assert at + 1 + max(step.if_true, step.if_false) < len(program)
    # The kernel checks the rest.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as checked:
        code = ctypes.create_string_buffer(packed(program))
        request = struct.pack("HP", len(program), ctypes.addressof(code))
        checked.setsockopt(socket.SOL_SOCKET, 26, request)
