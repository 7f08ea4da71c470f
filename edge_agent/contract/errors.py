"""Every error that edge-ids raises on purpose.

    EdgeIdsError                    exit 1
    ├── InputError                  a file that was given cannot be used
    │   ├── CaptureError            ... a packet capture
    │   ├── TableError              ... a flow CSV or its labels
    │   ├── RunError                ... a run folder
    │   ├── KeyFileError            ... a key, public or private
    │   ├── ConfigError             ... a setting: in a file, a variable, a flag
    │   └── ModelFileError          ... a model file
    │       ├── SchemaMismatch      ... made for other features than the ones at hand
    │       └── SignatureError      ... not signed by whom it should be, or altered since
    ├── OutputError                 a result cannot be written
    ├── InterpreterError            the TFLite interpreter is missing or refuses a model
    ├── SigningUnavailable          the library for signatures is missing
    ├── BrokerError                 the MQTT broker cannot be reached or refuses us
    ├── ConversionError             TensorFlow could not convert the model
    └── GateRefused                 exit 3: a measured property is worse than was allowed

A message is one sentence that says what is wrong, where, and what to do. Only the command lines
turn these into text and exit codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class EdgeIdsError(Exception):
    """Base of all errors a user can be told about in one sentence."""

    exit_code = 1


class InputError(EdgeIdsError):
    """A file that was given cannot be used.

    Args:
        path: The file.
        problem: What is wrong, as a clause without a full stop.
        remedy: What to do about it, as an imperative clause.
        where: The place in the file ("line 7", "byte 4,096"), where there is one.
    """

    def __init__(
        self, path: Path | str, problem: str, *, remedy: str, where: str | None = None
    ) -> None:
        place = f"{path}, {where}" if where else str(path)
        super().__init__(f"{place}: {problem}; {remedy}.")
        self.path = path
        self.problem = problem
        self.remedy = remedy
        self.where = where


class CaptureError(InputError):
    """A capture is cut, of an unknown link type, or none; or an interface cannot be captured on."""


class TableError(InputError):
    """A flow table lacks columns, mixes layouts, or holds nothing that can be learned from."""


class RunError(InputError):
    """A run folder is incomplete or of another version."""


class ModelFileError(InputError):
    """A model file is truncated, altered, or of a newer format."""


class SchemaMismatch(ModelFileError):
    """A model and the rows handed to it do not speak of the same features."""

    def __init__(
        self,
        path: Path | str,
        problem: str,
        *,
        remedy: str,
        expected: Sequence[str],
        found: Sequence[str],
    ) -> None:
        super().__init__(path, problem, remedy=remedy)
        self.expected = tuple(expected)
        self.found = tuple(found)


class SignatureError(ModelFileError):
    """A model file is not signed, signed by another key, or altered since."""


class KeyFileError(InputError):
    """A file holds no such key, or others may read what only its owner should."""


class ConfigError(InputError):
    """A setting is unknown, of the wrong type, out of bounds, or does not fit another one.

    Its `path` is the file, the environment variable or the flag that it came from.
    """


class OutputError(EdgeIdsError):
    """A result cannot be written."""


class InterpreterError(EdgeIdsError):
    """The TFLite interpreter is missing, or refuses the model."""


class SigningUnavailable(EdgeIdsError):
    """The library that makes and checks signatures is missing."""


class BrokerError(EdgeIdsError):
    """The MQTT broker cannot be reached, or refuses us."""


class ConversionError(EdgeIdsError):
    """TensorFlow could not convert the model."""


class GateRefused(EdgeIdsError):
    """A measured property of a result is worse than the user allowed."""

    exit_code = 3
