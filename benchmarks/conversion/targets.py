"""The targets of the conversion, and whether a run's files meet them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.subjects import FULL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INT8: Final = "int8"

_MAX_F1_DROP_POINTS: Final = 0.1
_MAX_FALSE_ALARM_RISE_POINTS: Final = 0.02
_MAX_BYTES: Final = 110_000
_MAX_SHRUNK_BYTES: Final = 50_000
_MAX_SHRUNK_F1_DROP_POINTS: Final = 0.2
_MIN_TIMES_FASTER: Final = {"1": 30.0, "256": 3.0}
_MIN_SAME_LABEL: Final = 0.998
_ARM64: Final = "aarch64"
# Differences of shares carry rounding in their last digits: 0.1 points do not exceed 0.1 points.
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Outcome:
    """One target beside what was measured; `met` is None where it was not measured."""

    target: str
    figure: str
    met: bool | None

    def __str__(self) -> str:
        word = {True: "met", False: "missed", None: "not measured"}[self.met]
        return f"{word}: {self.target}: {self.figure}" if self.figure else f"{word}: {self.target}"


def outcomes(run: Mapping[str, Any]) -> list[Outcome]:
    """Every target for one run as `measuring.measure` has it; figures of the worst interpreter."""
    plain = run["files"][INT8]
    shrunk = {name: file for name, file in run["files"].items() if name != INT8}
    drop, rise = (_worst(plain, key) for key in ("f1_drop_points", "false_alarm_rise_points"))
    size = plain["size_bytes"]["file"]
    return [
        Outcome(
            f"int8 costs at most {_MAX_F1_DROP_POINTS} points of F1",
            f"{drop:.3f}",
            drop <= _MAX_F1_DROP_POINTS,
        ),
        Outcome(
            f"int8 raises the false-alarm rate by at most {_MAX_FALSE_ALARM_RISE_POINTS} points",
            f"{rise:.4f}",
            rise <= _MAX_FALSE_ALARM_RISE_POINTS,
        ),
        Outcome(f"int8 has at most {_MAX_BYTES:,} bytes", f"{size:,}", size <= _MAX_BYTES),
        _small(shrunk),
        *(_faster(plain, batch, least) for batch, least in _MIN_TIMES_FASTER.items()),
        _same_on_arm64(run["files"].values()),
    ]


def _worst(file: Mapping[str, Any], key: str) -> float:
    worst: float = max(found[key] for found in file["interpreters"].values())
    return round(worst, _DIGITS)


def _small(shrunk: Mapping[str, Any]) -> Outcome:
    """Met where any share gives a file that is small and good enough."""
    target = (
        f"shrunk, at most {_MAX_SHRUNK_BYTES:,} bytes at a cost of at most"
        f" {_MAX_SHRUNK_F1_DROP_POINTS} points of F1"
    )
    figures, met = [], False
    for name, file in shrunk.items():
        size, drop = file["size_bytes"]["file"], _worst(file, "f1_drop_points")
        figures.append(f"{name}: {size:,} bytes, {drop:.3f} points")
        met |= size <= _MAX_SHRUNK_BYTES and drop <= _MAX_SHRUNK_F1_DROP_POINTS
    return Outcome(target, "; ".join(figures), met if figures else None)


def _faster(file: Mapping[str, Any], batch: str, least: float) -> Outcome:
    """The fastest interpreter that took turns with the full model counts."""
    times = max(
        timing["times_faster"]["p50"]
        for name, timing in file["latency_us_per_flow"][batch].items()
        if name != FULL
    )
    target = f"int8 at least {least:g} times faster than tf.function at batch {batch}"
    return Outcome(target, f"{times:.2f}", times >= least)


def _same_on_arm64(files: Iterable[Mapping[str, Any]]) -> Outcome:
    shares = list(_arm64_shares(files))
    target = f"arm64 gives the same label in at least {_MIN_SAME_LABEL:.1%} of the rows"
    if not shares:
        return Outcome(target, "", None)
    return Outcome(target, f"{min(shares):.3%}", min(shares) >= _MIN_SAME_LABEL)


def _arm64_shares(files: Iterable[Mapping[str, Any]]) -> Iterator[float]:
    for file in files:
        for place, found in file["interpreters"].items():
            if _ARM64 in place and found["same_label_as_first"] is not None:
                yield found["same_label_as_first"]
