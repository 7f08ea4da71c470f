"""More than one conversion: every format of every network, and a sweep over shares."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from converters.conversion import opened
from converters.curve import curve
from converters.formats import Format, Recurrence
from converters.results import REPORT_NAME, to_json
from converters.source import convertible_models
from converters.telling import sweep_table, table
from edge_agent.contract.errors import ConversionError, GateRefused
from edge_agent.contract.files import write_together
from edge_agent.contract.runs import Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from converters.request import Request, Tools
    from converters.results import Result

SWEEP_NAME: Final = "sweep"


@dataclass(frozen=True, slots=True)
class Several:
    """What came of it.

    Attributes:
        report: What was written as JSON.
        text: The same for people.
        refused: To be raised when all is told; None where every file passed.
    """

    report: dict[str, Any]
    text: str
    refused: GateRefused | None = None


def convert_all(request: Request, folder: Path, tools: Tools | None = None) -> Several:
    """Convert every network of a run, or the one named, to every format.

    Files that pass are written as they come, `MODEL-FORMAT.tflite`, and with each the report of all
    so far: an interrupt loses the one under way.

    Raises:
        OutputError: The folder cannot be written.
        EdgeIdsError: As `converters.conversion.opened`.
    """
    run = Run.open(request.run)
    names = [request.model] if request.model else convertible_models(run, request.run)
    reports: list[dict[str, Any]] = []
    for name in names:
        with opened(dataclasses.replace(request, model=name), tools) as converter:
            for form in Format:
                try:
                    result = converter.convert(form)
                except ConversionError as error:
                    reports.append(_failed(name, form, error))
                    continue
                path = folder / f"{name.replace(':', '-')}-{form.value}.tflite"
                reports.append(_kept(result, path))
                write_together(
                    {folder / REPORT_NAME: to_json({"conversions": reports}), **_file(result, path)}
                )
    refused = [report for report in reports if not report["gate"]["passed"]]
    return Several(
        {"conversions": reports},
        table(reports),
        GateRefused(
            f"{request.run}: {len(refused)} of {len(reports)} files are refused; the table says"
            f" why, and {folder / REPORT_NAME} has the figures."
        )
        if refused
        else None,
    )


def sweep_shares(
    request: Request,
    form: Format,
    shares: Sequence[float],
    folder: Path,
    tools: Tools | None = None,
) -> Several:
    """Shrink, and for comparison prune, a network to each of some shares.

    Writes the files that pass the gate, the curve as `sweep.png`, and table and figures as
    `sweep.md` and `sweep.json`. A point that the gate refuses is a point of the curve, not an
    error.

    Args:
        request: What to convert; its own shares are zero.
        form: The format.
        shares: Each between 0 and 1.
        folder: Where it goes.
        tools: For tests.

    Raises:
        OutputError: The folder cannot be written.
        EdgeIdsError: As `converters.conversion.opened`.
    """
    # Unrolled unless told: which form is faster does not change along the curve.
    recurrence = request.recurrence or Recurrence.UNROLLED
    points: list[dict[str, Any]] = []
    for kind, share in _points(shares):
        words = f"{kind} {share:g}"
        changes = (
            dataclasses.replace(request.changes, shrink_share=share)
            if kind == "shrink"
            else dataclasses.replace(request.changes, prune_share=share)
        )
        one = dataclasses.replace(
            request,
            changes=changes,
            recurrence=recurrence,
            tell=lambda said, words=words: request.tell(f"{words}: {said}"),  # type: ignore[misc]
        )
        with opened(one, tools) as converter:
            result = converter.convert(form)
        path = folder / f"{kind}-{share:g}.tflite"
        points.append({"kind": kind, "share": share, **_kept(result, path)})
        write_together(
            {folder / f"{SWEEP_NAME}.json": to_json({"points": points}), **_file(result, path)}
        )
    text = sweep_table(points)
    write_together(
        {
            folder / f"{SWEEP_NAME}.png": curve(points),
            folder / f"{SWEEP_NAME}.md": text.encode(),
        }
    )
    return Several({"points": points}, text)


def _points(shares: Sequence[float]) -> list[tuple[str, float]]:
    """The share 0 is the same for both kinds."""
    return [
        (kind, share)
        for kind in ("shrink", "prune")
        for share in shares
        if share or kind == "shrink"
    ]


def _kept(result: Result, path: Path) -> dict[str, Any]:
    return {**result.report, "output": str(path) if result.verdict.passed else None}


def _file(result: Result, path: Path) -> dict[Path, bytes]:
    return {path: result.bundle.to_bytes()} if result.verdict.passed else {}


def _failed(name: str, form: Format, error: ConversionError) -> dict[str, Any]:
    """A line of the table for a conversion that TensorFlow could not do."""
    reason = str(error).rstrip(".")
    return {
        "model": name,
        "format": form.value,
        "output": None,
        "gate": {"passed": False, "reasons": [reason]},
    }
