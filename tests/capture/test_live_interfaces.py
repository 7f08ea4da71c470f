"""Live capture on interfaces that go away and come back, with and without privileges."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edge_agent.capture.clock import SteadyClock
from edge_agent.capture.live import CaptureOptions, Fanout, LiveCapture
from tests.capture.network import (
    Space,
    awaited,
    collected,
    datagram,
    frames_in,
    payloads,
)
from tests.conftest import ROOT

alone_or_shared = pytest.mark.parametrize("fanout", [None, Fanout(4713)], ids=["alone", "shared"])


@contextlib.contextmanager
def capturing(space: Space, fanout: Fanout | None = None) -> Iterator[LiveCapture]:
    with space.entered():
        capture = LiveCapture(["near"], CaptureOptions(), SteadyClock(), fanout)
    with capture:
        yield capture


def is_up(capture: LiveCapture) -> bool:
    frames_in(capture)
    return capture.counts()["near"].up


def assert_captures(space: Space, capture: LiveCapture, number: int) -> None:
    space.send("far", datagram(number))
    assert payloads(collected(capture, 1)) == [datagram(number)]


def promiscuity(space: Space) -> str:
    command = ("ip", "-n", space.name, "-d", "link", "show", "near")
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    return shown.stdout.split("promiscuity ")[1].split()[0]


@alone_or_shared
def test_an_interface_goes_down_and_up(space: Space, fanout: Fanout | None) -> None:
    with capturing(space, fanout) as capture:
        for outage in (1, 2):
            space.ip("link set dev near down")
            awaited(lambda: not is_up(capture), "it is down")
            assert capture.counts()["near"].outages == outage
            space.ip("link set dev near up")
            awaited(lambda: is_up(capture), "it is up")
            assert_captures(space, capture, outage)
        assert capture.counts()["near"].outages == 2


def test_a_short_outage_is_noticed_too(space: Space) -> None:
    with capturing(space) as capture:
        frames_in(capture)
        space.ip("link set dev near down")
        space.ip("link set dev near up")
        awaited(lambda: is_up(capture) and capture.counts()["near"].outages == 1, "it was away")
        assert_captures(space, capture, 1)


@alone_or_shared
def test_an_interface_comes_back_under_another_number(space: Space, fanout: Fanout | None) -> None:
    with capturing(space, fanout) as capture:
        assert promiscuity(space) == "1"
        assert_captures(space, capture, 1)
        space.ip("link delete dev near")
        awaited(lambda: not is_up(capture), "it is gone")
        # Numbers are given anew, in order: this is another.
        space.pair("other", "another")
        space.pair("near", "far")
        awaited(lambda: is_up(capture), "it is back")
        assert_captures(space, capture, 2)
        assert promiscuity(space) == "1"
        assert capture.counts()["near"].outages == 1


def test_an_interface_comes_back_under_the_same_number(space: Space) -> None:
    pair = "link add name same index 77 type veth peer name peer index 78"
    space.ip(pair)
    space.ip("link set dev peer up")
    space.ip("link set dev same up")
    with space.entered():
        capture = LiveCapture(["same"], CaptureOptions(), SteadyClock())
    with capture:
        frames_in(capture)
        space.ip("link delete dev same")
        space.ip(pair)
        space.ip("link set dev peer up")
        space.ip("link set dev same up")
        awaited(
            lambda: not frames_in(capture) and capture.counts()["same"].outages == 1, "it was away"
        )
        space.send("same", datagram(1))
        assert payloads(collected(capture, 1)) == [datagram(1)]


def test_an_interface_that_is_down_at_the_beginning_is_waited_for(space: Space) -> None:
    space.ip("link set dev near down")
    with capturing(space) as capture:
        assert not is_up(capture)
        space.ip("link set dev near up")
        awaited(lambda: is_up(capture), "it is up")
        assert_captures(space, capture, 1)
        assert capture.counts()["near"].outages == 0


def test_promiscuous_is_a_choice(space: Space) -> None:
    with space.entered():
        capture = LiveCapture(["near"], CaptureOptions(promiscuous=False), SteadyClock())
    with capture:
        assert promiscuity(space) == "0"
        assert_captures(space, capture, 1)


# Says "ready" when it has let go of all privileges, then each frame's last byte as it comes.
UNPRIVILEGED = """
import os, sys
from edge_agent.capture.clock import SteadyClock
from edge_agent.capture.live import CaptureOptions, Fanout, LiveCapture
fanout = Fanout(4714) if sys.argv[1] == "shared" else None
with LiveCapture(["near"], CaptureOptions(), SteadyClock(), fanout) as capture:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    capture.set_filter("udp", ())
    print("ready", flush=True)
    while True:
        for block in capture.blocks(1.0):
            for _, at, kept, _, _ in block.frames.tolist():
                print(block.data[at : at + kept].tobytes().hex(), flush=True)
        counts = capture.counts()["near"]
        print("up" if counts.up else "down", flush=True)
"""


@pytest.mark.parametrize("shared", ["alone", "shared"])
def test_an_interface_comes_back_after_privileges_were_dropped(space: Space, shared: str) -> None:
    with space.entered():
        process = subprocess.Popen(
            (sys.executable, "-c", UNPRIVILEGED, shared),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdout is not None
    says = iter(process.stdout)
    try:
        assert next(says) == "ready\n"
        space.ip("link delete dev near")
        assert "down\n" in says
        space.pair("other", "another")
        space.pair("near", "far")
        assert "up\n" in says
        space.send("far", datagram(1))
        assert datagram(1).hex() + "\n" in says
        assert promiscuity(space) == "1"
    finally:
        process.kill()
        process.communicate()
