"""What the kernel lets through to us: programs for its packet filter (classic BPF).

A program has up to three parts, one behind the other: of which interface frames are taken, that our
own conversation with the broker is left out, and the site's expression. The first two are written
here, so that they work without libpcap; the third is compiled by libpcap.

Every load counts from the network layer (`SKF_NET_OFF`), wherever that begins in a frame. So one
program fits Ethernet, tunnels and modems at once, and frames whose VLAN tag the kernel took out. A
load beyond the frame ends a program, and the frame is dropped: no frame is looked into that is too
short for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.contract.alerts import printable
from edge_agent.contract.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# linux/filter.h
_NETWORK: Final = 0xFFF0_0000  # SKF_NET_OFF
_INTERFACE_INDEX: Final = 0xFFFF_F000 + 8  # SKF_AD_OFF + SKF_AD_IFINDEX
_LOAD: Final = 0x20  # ld [k]
_LOAD_HALF: Final = 0x28
_LOAD_BYTE: Final = 0x30
_LOAD_HALF_BEHIND_X: Final = 0x48  # ldh [x + k]
_LOAD_LENGTH: Final = 0x80  # ld #len
_LOAD_X_HEADER_BYTES: Final = 0xB1  # ldxb 4 * ([k] & 0xf)
_AND: Final = 0x54
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_CLASS: Final = 0x07
_MODE: Final = 0xE0
_LOADS: Final = (0x00, 0x01)  # into A, into X
_FROM_FRAME: Final = (0x20, 0x40, 0xA0)  # absolute, indirect, header length
# Beyond this SKF_NET_OFF would reach into the kernel's other extensions.
_MAX_OFFSET: Final = 0xF_0000

_TCP: Final = 6
_WHOLE_FRAME: Final = 0xFFFF_FFFF
_NO_NETMASK: Final = 0xFFFF_FFFF
_RAW_IP: Final = 12  # DLT_RAW
# The kernel's own bound for a program (BPF_MAXINSNS).
_MAX_INSTRUCTIONS: Final = 4096
_LIBRARIES: Final = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so")
# libpcap before 1.8 keeps its parser's state in global variables.
_parser: Final = threading.Lock()


class Instruction(NamedTuple):
    """One `struct sock_filter`."""

    code: int
    if_true: int
    if_false: int
    operand: int


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection of ours that is not to be captured, in either direction.

    Attributes:
        local: Our address, IPv4 or IPv6, as `getsockname` gives it.
        remote: The other end's, of the same version.
        remote_port: The other end's port; ours changes with every reconnect, so all are left out.
    """

    local: str
    remote: str
    remote_port: int


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint), ("instructions", ctypes.c_void_p)]


def load_libpcap() -> ctypes.CDLL:
    """libpcap, wherever this system keeps it.

    Raises:
        OSError: It is not installed.
    """
    *others, last = _LIBRARIES
    for name in others:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    return ctypes.CDLL(last)


def compiled(
    expression: str,
    snap_length_bytes: int,
    excluded: Iterable[Connection],
    load: Callable[[], ctypes.CDLL],
) -> list[Instruction]:
    """The program for what a site wants to see.

    Args:
        expression: As tcpdump takes it (pcap-filter(7)), about IP and what is above; empty: all.
        snap_length_bytes: To how much frames are cut; 0: not at all.
        excluded: Connections of which nothing passes, whatever the expression says.
        load: Where libpcap comes from; called only for an expression.

    Raises:
        CaptureError: The expression is wrong or too long, or libpcap is not there.
    """
    snap = snap_length_bytes or _WHOLE_FRAME
    program = [step for connection in excluded for step in _exclusion(connection)]
    if expression.strip():
        program += _expression(expression, snap, load)
    else:
        program.append(Instruction(_RETURN, 0, 0, snap))
    if len(program) >= _MAX_INSTRUCTIONS:
        problem = f"has {len(program)} instructions, and the kernel takes {_MAX_INSTRUCTIONS - 1}"
        raise _filter_error(expression, problem, "write a shorter one")
    return program


def only_from(interface_index: int | None, program: Sequence[Instruction]) -> list[Instruction]:
    """A program that lets nothing of other interfaces through; None: of no interface."""
    if interface_index is None:
        return [Instruction(_RETURN, 0, 0, 0)]
    return [
        Instruction(_LOAD, 0, 0, _INTERFACE_INDEX),
        Instruction(_IF_EQUAL, 1, 0, interface_index),
        Instruction(_RETURN, 0, 0, 0),
        *program,
    ]


def packed(program: Sequence[Instruction]) -> bytes:
    """A program as the kernel reads it."""
    return b"".join(struct.pack("=HBBI", *step) for step in program)


# A test that sends the frame on to the next part unless it holds: `_resolved` fills in how far.
_NEXT: Final = -1


def _exclusion(connection: Connection) -> list[Instruction]:
    local, remote = _address(connection.local), _address(connection.remote)
    if local.version != remote.version:
        raise ValueError(f"{connection} has addresses of two versions")
    out = []
    for source, destination, port_at in ((local, remote, 2), (remote, local, 0)):
        words = _words(source) + _words(destination)
        steps = _ipv4_head(words, port_at) if local.version == 4 else _ipv6_head(words, port_at)
        steps += [(_IF_EQUAL, 0, _NEXT, connection.remote_port), (_RETURN, 0, 0, 0)]
        out += _resolved(steps)
    return out


_Step = tuple[int, int, int, int]


def _ipv4_head(words: list[int], port_at: int) -> list[_Step]:
    """Tests for IPv4 and TCP between two addresses, then the load of a port."""
    return [
        # What is shorter on an Ethernet is no TCP segment, and loads might end beyond it.
        (_LOAD_LENGTH, 0, 0, 0),
        (_IF_AT_LEAST, 0, _NEXT, 40),
        (_LOAD_BYTE, 0, 0, _NETWORK),
        (_AND, 0, 0, 0xF0),
        (_IF_EQUAL, 0, _NEXT, 0x40),
        (_LOAD_BYTE, 0, 0, _NETWORK + 9),
        (_IF_EQUAL, 0, _NEXT, _TCP),
        # The ports are in a datagram's first fragment alone.
        (_LOAD_HALF, 0, 0, _NETWORK + 6),
        (_IF_ANY_BIT, _NEXT, 0, 0x1FFF),
        *_same(words, 12),
        (_LOAD_X_HEADER_BYTES, 0, 0, _NETWORK),
        (_LOAD_HALF_BEHIND_X, 0, 0, _NETWORK + port_at),
    ]


def _ipv6_head(words: list[int], port_at: int) -> list[_Step]:
    return [
        (_LOAD_LENGTH, 0, 0, 0),
        (_IF_AT_LEAST, 0, _NEXT, 60),
        (_LOAD_BYTE, 0, 0, _NETWORK),
        (_AND, 0, 0, 0xF0),
        (_IF_EQUAL, 0, _NEXT, 0x60),
        (_LOAD_BYTE, 0, 0, _NETWORK + 6),
        (_IF_EQUAL, 0, _NEXT, _TCP),
        *_same(words, 8),
        (_LOAD_HALF, 0, 0, _NETWORK + 40 + port_at),
    ]


def _same(words: list[int], offset: int) -> list[_Step]:
    steps = []
    for number, word in enumerate(words):
        steps += [
            (_LOAD, 0, 0, _NETWORK + offset + 4 * number),
            (_IF_EQUAL, 0, _NEXT, word),
        ]
    return steps


def _resolved(steps: list[_Step]) -> list[Instruction]:
    """Jumps to what follows on the steps, as the distances that the kernel wants."""
    out = []
    for at, (code, *jumps, operand) in enumerate(steps):
        rest = len(steps) - at - 1
        if_true, if_false = (rest if jump == _NEXT else jump for jump in jumps)
        out.append(Instruction(code, if_true, if_false, operand))
    return out


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text)
    # A socket for both versions names IPv4 addresses so; on the wire they are IPv4.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _words(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[int]:
    packed_address = address.packed
    return list(struct.unpack(f"!{len(packed_address) // 4}I", packed_address))


def _expression(expression: str, snap: int, load: Callable[[], ctypes.CDLL]) -> list[Instruction]:
    try:
        libpcap = load()
    except OSError as error:
        raise _filter_error(
            expression,
            "cannot be compiled, because libpcap is not installed",
            "install it (on Debian: libpcap0.8), or leave the filter empty",
        ) from error
    # What the environment brings may not be UTF-8; a zero would end the text early.
    text = expression.encode("utf-8", "surrogateescape")
    if b"\0" in text:
        raise _filter_error(expression, "has a zero byte in it", "write it as for tcpdump")
    with _parser:
        steps = _by_libpcap(libpcap, text)
    if isinstance(steps, str):
        raise _filter_error(
            expression,
            f"is not understood by libpcap ({printable(steps)})",
            "write it as for tcpdump, about IP and what is above",
        )
    moved = []
    for step in steps:
        if step.code == _RETURN and step.operand:
            moved.append(step._replace(operand=snap))
        elif step.code & _CLASS in _LOADS and step.code & _MODE in _FROM_FRAME:
            if step.operand >= _MAX_OFFSET:
                raise _filter_error(
                    expression,
                    f"looks {step.operand:,} bytes into the packet",
                    f"stay below {_MAX_OFFSET:,}",
                )
            moved.append(step._replace(operand=step.operand + _NETWORK))
        else:
            moved.append(step)
    return moved


def _by_libpcap(libpcap: ctypes.CDLL, expression: bytes) -> list[Instruction] | str:
    """What libpcap makes of an expression, or why it cannot."""
    pointer = ctypes.c_void_p
    libpcap.pcap_open_dead.restype = pointer
    libpcap.pcap_open_dead.argtypes = [ctypes.c_int, ctypes.c_int]
    libpcap.pcap_close.restype = None
    libpcap.pcap_close.argtypes = [pointer]
    libpcap.pcap_geterr.restype = ctypes.c_char_p
    libpcap.pcap_geterr.argtypes = [pointer]
    libpcap.pcap_compile.restype = ctypes.c_int
    libpcap.pcap_compile.argtypes = [
        pointer,
        ctypes.POINTER(_Program),
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint32,
    ]
    libpcap.pcap_freecode.restype = None
    libpcap.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]

    handle = libpcap.pcap_open_dead(_RAW_IP, 0xFFFF)
    if not handle:
        raise MemoryError
    program = _Program()
    try:
        if libpcap.pcap_compile(handle, ctypes.byref(program), expression, 1, _NO_NETMASK):
            said: bytes = libpcap.pcap_geterr(handle) or b""
            return said.decode("utf-8", "replace")
        code = ctypes.string_at(program.instructions, 8 * program.length)
        libpcap.pcap_freecode(ctypes.byref(program))
    finally:
        libpcap.pcap_close(handle)
    return [Instruction(*step) for step in struct.iter_unpack("=HBBI", code)]


def _filter_error(expression: str, problem: str, remedy: str) -> CaptureError:
    return CaptureError(f'filter "{printable(expression)}"', problem, remedy=remedy)
