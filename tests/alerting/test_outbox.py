"""The outbox: everything queued arrives in order, over a connection that breaks at will."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alerting.outbox import Message, Outbox


def alert(number: int) -> Message:
    return Message("alert", str(number).encode())


def send_all(outbox: Outbox, first_number: int = 1) -> list[Message]:
    sent: list[Message] = []
    for number in itertools.count(first_number):
        message = outbox.take()
        if message is None:
            return sent
        outbox.sent(number)
        sent.append(message)
    raise AssertionError


def test_states_first_then_alerts_in_order() -> None:
    outbox = Outbox(10)
    outbox.put(alert(1))
    outbox.put(alert(2))
    outbox.set_state(Message("status", b"online", retain=True))
    assert [message.payload for message in send_all(outbox)] == [b"online", b"1", b"2"]


def test_window_bounds_what_is_unacknowledged() -> None:
    outbox = Outbox(100, window=3)
    for number in range(10):
        outbox.put(alert(number))
    assert len(send_all(outbox)) == 3
    outbox.acknowledged(2)
    assert len(send_all(outbox, 4)) == 1
    outbox.acknowledged(99)
    assert send_all(outbox, 5) == []


def test_full_outbox_refuses_and_counts() -> None:
    outbox = Outbox(2)
    assert outbox.put(alert(1))
    send_all(outbox)
    assert outbox.put(alert(2))
    assert not outbox.put(alert(3))
    assert (outbox.pending, outbox.dropped) == (2, 1)
    outbox.acknowledged(1)
    assert outbox.put(alert(4))
    # States have slots of their own.
    outbox.set_state(Message("status", b"online", retain=True))
    assert [message.payload for message in send_all(outbox, 2)] == [b"online", b"2", b"4"]


def test_latest_state_only_and_retained_ones_again_after_a_break() -> None:
    outbox = Outbox(2)
    outbox.set_state(Message("status", b"online", retain=True))
    outbox.set_state(Message("active", b"1", retain=True))
    outbox.set_state(Message("stats", b"{}", qos=0))
    outbox.set_state(Message("active", b"2", retain=True))
    assert [m.payload for m in send_all(outbox)] == [b"online", b"2", b"{}"]
    for number in (1, 2):
        outbox.acknowledged(number)
    # QoS 0 is never acknowledged, and not waited for.
    assert outbox.wait_empty(0)
    outbox.reset()
    assert [m.payload for m in send_all(outbox)] == [b"online", b"2"]


def test_message_in_hand_is_not_lost() -> None:
    outbox = Outbox(2)
    outbox.put(alert(1))
    outbox.put(alert(2))
    outbox.take()
    assert outbox.take() is None
    assert outbox.pending == 2
    outbox.reset()
    assert [message.payload for message in send_all(outbox)] == [b"1", b"2"]
    with pytest.raises(RuntimeError, match="nothing was taken"):
        outbox.sent(9)


@given(st.integers(1, 6), st.integers(0, 2**32), st.integers(1, 40))
def test_lossy_connection(window: int, seed: int, count: int) -> None:
    chance = random.Random(seed)
    outbox = Outbox(count, window)
    for number in range(count):
        assert outbox.put(alert(number))
    arrived: list[int] = []
    numbers = itertools.count(1)
    on_their_way: list[int] = []
    for _ in range(100_000):
        if outbox.wait_empty(0):
            break
        match chance.randrange(4):
            case 0 | 1:
                message = outbox.take()
                if message is not None:
                    if chance.random() < 0.8:
                        arrived.append(int(message.payload))
                        on_their_way.append(number := next(numbers))
                        outbox.sent(number)
                    else:
                        outbox.reset()
                        on_their_way.clear()
            case 2 if on_their_way:
                outbox.acknowledged(on_their_way.pop(0))
            case 3 if chance.random() < 0.2:
                outbox.reset()
                on_their_way.clear()
        assert outbox.pending + outbox.dropped <= count
    # At least once, and first arrivals in order.
    assert list(dict.fromkeys(arrived)) == list(range(count))


@pytest.mark.parametrize(("limit", "window"), [(0, 1), (1, 0)])
def test_senseless_bounds(limit: int, window: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Outbox(limit, window)
