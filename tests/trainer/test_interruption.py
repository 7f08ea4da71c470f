"""Ctrl-C: once is a wish, twice is an end."""

from __future__ import annotations

import os
import signal

import pytest

from trainer.interruption import Interruption


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def press_twice(asked: Interruption, told: list[str]) -> None:
    with asked.listening(told.append):
        assert not asked()
        press()
        assert asked()
        assert len(told) == 1
        press()


def test_the_first_ctrl_c_is_a_wish_and_the_second_ends() -> None:
    before = signal.getsignal(signal.SIGINT)
    asked = Interruption()
    with pytest.raises(KeyboardInterrupt):
        press_twice(asked, [])
    assert asked()
    assert signal.getsignal(signal.SIGINT) is before


def test_nothing_is_asked_for_when_nobody_presses() -> None:
    asked = Interruption()
    with asked.listening(lambda _: None):
        pass
    assert not asked()
