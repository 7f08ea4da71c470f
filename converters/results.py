"""A conversion's outcome, and how it is written: whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from converters.formats import Changes
from edge_agent.contract.errors import GateRefused
from edge_agent.contract.files import write_together

if TYPE_CHECKING:
    from pathlib import Path

    from converters.verdict import Verdict
    from edge_agent.contract.bundle import Bundle

REPORT_NAME: Final = "conversion.json"


@dataclass(frozen=True, slots=True)
class Result:
    """A converted model, whether or not it passed.

    Attributes:
        bundle: The model file's contents.
        verdict: Of the gate.
        report: What `conversion.json` says of it.
    """

    bundle: Bundle
    verdict: Verdict
    report: dict[str, Any]


def write(result: Result, output: Path, beside: dict[str, bytes] | None = None) -> dict[str, Any]:
    """Write a result that passed; of one that did not only the report.

    Args:
        result: What was converted.
        output: The model file.
        beside: Further files of that folder, name → content.

    Returns:
        The report.

    Raises:
        GateRefused: It did not pass.
        OutputError: Something cannot be written; then nothing is.
    """
    passed = result.verdict.passed
    report = {**result.report, "output": str(output) if passed else None}
    files = {output.parent / REPORT_NAME: to_json(report)}
    if passed:
        files[output] = result.bundle.to_bytes()
        files |= {output.parent / name: content for name, content in (beside or {}).items()}
    write_together(files)
    if not passed:
        raise GateRefused(refusal(result, f"see {output.parent / REPORT_NAME}"))
    return report


def to_json(report: Any) -> bytes:
    """A report as it is written."""
    return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False).encode()


def refusal(result: Result, where: str) -> str:
    """One sentence: which file is refused, why, and what can be done."""
    report, verdict = result.report, result.verdict
    changes = Changes(**report["changes"])
    remedy = "change the network less" if changes.any else "convert with --float32"
    if verdict.too_inaccurate:
        remedy += ", or allow more with --max-f1-drop"
    return (
        f"{report['run']}: the {report['format']} file of {report['model']} is refused, because"
        f" {'; '.join(verdict.reasons)}; {where}, and {remedy}."
    )
