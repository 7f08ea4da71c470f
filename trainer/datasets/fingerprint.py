"""Which build of the tool computed a file's numbers.

Builds of CICFlowMeter share their column names and disagree about formulas, and a file does not say
which build wrote it. Some identities between columns hold in every row of one build and fail in
most rows of another (sections B and C.1 of the feature specification). They are counted over the
rows in which the builds can differ at all.

A file that breaks the identities of the build its layout stands for is refused: a model of its
numbers would meet others on a gateway. That goes for the public builds between the original and the
corrected one too, which no profile here reproduces. A file too small to tell passes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.contract.errors import TableError
from edge_agent.contract.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.datasets.layouts import Layout

    Columns = dict[int, NDArray[np.float64]]
    Test = tuple[NDArray[np.bool_], NDArray[np.bool_]]
    """Rows in which an identity can fail, and rows in which it holds."""

# A build's own rows hold its identities, all 96,497 and 43,419 of those that were checked; another
# build's fail in most rows. A few hundredths leave room for rows that were cut, rounded or edited,
# and still find one foreign day among five.
_TOLERATED_SHARE: Final = 0.02
# With fewer rows in which builds differ, a share says nothing.
_DECISIVE_ROWS: Final = 20
# Two values that were rounded to three digits, as spreadsheets have done to some published files,
# are off by 1 % together. Up to forty packets, one packet more or less moves a mean by more.
_TOLERANCE: Final = 0.011
_MOST_PACKETS: Final = 40
# Ratios closer than this to an integer do not tell whether they were cut.
_CLEAR_FRACTION: Final = 0.02

NUMBERS: Final = (2, 3, 4, 8, 31, 32, 33, 41, 45, 47, 48, 50, 52, 53)
"""The columns that are looked at, by `Feature.number`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Something that holds in every row of a build.

    Attributes:
        text: For messages: what does not hold, as a clause.
        test: Where it can fail, and where it holds.
    """

    text: str
    test: Callable[[Columns], Test]


@dataclass(frozen=True, slots=True)
class Build:
    """A build of the tool, or several that count alike.

    Attributes:
        name: For messages.
        identities: What holds in its rows.
    """

    name: str
    identities: tuple[Identity, ...]


def _close(value: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.abs(value - other) <= _TOLERANCE * np.maximum(np.abs(value), np.abs(other))


def _sized(rows: Columns) -> NDArray[np.bool_]:
    packets = rows[3] + rows[4]
    return (rows[41] > 0) & (packets >= 1) & (packets <= _MOST_PACKETS)


def _first_twice(rows: Columns) -> Test:
    packets = rows[3] + rows[4]
    return _sized(rows), _close(rows[53] * packets, rows[41] * (packets + 1))


def _all_once(rows: Columns) -> Test:
    return _sized(rows), _close(rows[53], rows[41])


def _fractional(rows: Columns) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    ratio = rows[4] / np.maximum(rows[3], 1)
    rest = ratio - np.floor(ratio)
    clear = _CLEAR_FRACTION * np.maximum(ratio, 1)
    return (rest > clear) & (rest < 1 - clear), ratio


def _whole_ratio(rows: Columns) -> Test:
    applies, ratio = _fractional(rows)
    return applies, rows[52] == np.floor(ratio)


def _exact_ratio(rows: Columns) -> Test:
    applies, ratio = _fractional(rows)
    return applies, _close(rows[52], ratio)


def _permuted_flags(rows: Columns) -> Test:
    flags = np.stack([rows[number] for number in (31, 33, 45, 47, 48, 50)])
    same = (rows[45] == rows[31]) & (rows[50] == rows[33])
    return (flags != 0).any(axis=0), same & (flags <= 1).all(axis=0)


def _counted_flags(rows: Columns) -> Test:
    pushes = rows[31] + rows[32]
    return (pushes != 0) | (rows[47] != 0), rows[47] == pushes


def _whole_microseconds(rows: Columns) -> Test:
    return rows[2] > 0, rows[2] == np.floor(rows[2])


def _seconds(rows: Columns) -> Test:
    return rows[2] > 0, rows[2] != np.floor(rows[2])


def _frames(rows: Columns) -> Test:
    # Ethernet, IP and UDP headers alone have so many bytes.
    return rows[3] > 0, rows[8] >= 42


_MICROSECONDS: Final = Identity("the duration is in whole microseconds", _whole_microseconds)

ORIGINAL: Final = Build(
    "the original tool of 2017",
    (
        Identity("the mean size counts the first packet twice", _first_twice),
        Identity("the down/up ratio is cut to an integer", _whole_ratio),
        Identity("the flags are the first packet's, under the original's names", _permuted_flags),
        _MICROSECONDS,
    ),
)
CORRECTED: Final = Build(
    "the corrected tool",
    (
        Identity("the mean size counts each packet once", _all_once),
        Identity("the down/up ratio is a fraction", _exact_ratio),
        Identity("the PSH flags are those of both directions together", _counted_flags),
        _MICROSECONDS,
    ),
)
PYTHON: Final = Build(
    "the Python package cicflowmeter",
    (
        Identity("the duration is in seconds", _seconds),
        Identity("the lengths are those of frames", _frames),
    ),
)
BUILDS: Final = (ORIGINAL, CORRECTED, PYTHON)

_IDENTITIES: Final = tuple(
    dict.fromkeys(identity for build in BUILDS for identity in build.identities)
)

_EXPECTED: Final = {"cic2017": ORIGINAL, "improved": CORRECTED, "gateway": CORRECTED}


def columns_of(profile: str) -> dict[int, str]:
    """Number → name of the columns that are looked at."""
    return {
        feature.number: feature.name
        for feature in PROFILES[profile].features
        if feature.number in NUMBERS and feature.number is not None
    }


class Fingerprint:
    """Counts a file's rows for and against each build, as they are read.

    Attributes:
        expected: The build that the profile of the file's layout stands for.
    """

    def __init__(self, layout: Layout) -> None:
        """Begin with no row."""
        self.expected = _EXPECTED[layout.profile]
        self._layout = layout
        self._can_fail: Counter[Identity] = Counter()
        self._fails: Counter[Identity] = Counter()

    def add(self, rows: Columns) -> None:
        """Count rows.

        Args:
            rows: Number → column, shape (n_flows,), of `columns_of`; rows with a cell that is no
                number, or no finite one, are no evidence.
        """
        finite = np.logical_and.reduce([np.isfinite(column) for column in rows.values()])
        if not finite.all():
            rows = {number: column[finite] for number, column in rows.items()}
        # Numbers without sense may overflow; they are evidence against every build.
        with np.errstate(invalid="ignore", over="ignore"):
            for identity in _IDENTITIES:
                applies, holds = identity.test(rows)
                self._can_fail[identity] += int(applies.sum())
                self._fails[identity] += int((applies & ~holds).sum())

    @property
    def build(self) -> Build | None:
        """The build that wrote the rows so far; None where they do not tell, or none here did."""
        fitting = [
            build
            for build in BUILDS
            if any(self._is_decided(identity) for identity in build.identities)
            and not any(self._is_broken(identity) for identity in build.identities)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def check(self, path: Path, other: Path | None = None) -> None:
        """Refuse rows that another build has written than the layout says.

        Args:
            path: The file the rows are of.
            other: A file read before whose rows were of the expected build, for the message.

        Raises:
            TableError: They were; the error says how many rows contradict which identity.
        """
        broken = [identity for identity in self.expected.identities if self._is_broken(identity)]
        if not broken:
            return
        worst = max(broken, key=lambda identity: self._fails[identity] / self._can_fail[identity])
        found = self.build.name if self.build else "a build of the tool that no profile here means"
        unlike = f", unlike {other}" if other else ""
        raise TableError(
            path,
            f"has the columns of {self._layout.name} but not the numbers of {self.expected.name}"
            f"{unlike}: in {self._fails[worst]:,} of {self._can_fail[worst]:,} rows that tell, it"
            f" does not hold that {worst.text}; they look like {found}",
            remedy="train on the tables of one build, or meter the captures themselves with"
            " edge-agent extract",
        )

    def _is_decided(self, identity: Identity) -> bool:
        return self._can_fail[identity] >= _DECISIVE_ROWS

    def _is_broken(self, identity: Identity) -> bool:
        fails = self._fails[identity]
        return self._is_decided(identity) and fails > _TOLERATED_SHARE * self._can_fail[identity]
