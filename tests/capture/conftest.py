"""Fixtures of the tests of capture."""

from tests.capture.network import networks, space

__all__ = ["networks", "space"]
