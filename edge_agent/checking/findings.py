"""What a check found."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.contract.errors import EdgeIdsError

_WIDTH: Final = 100


class Verdict(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        name: What was looked at ("interface eth0").
        verdict: WARN: the agent runs, but not as well as it could. FAIL: it does not run, or not
            for long.
        sentence: What is so.
        remedy: What to do about it, as an imperative clause; empty where nothing is to be done.
    """

    name: str
    verdict: Verdict
    sentence: str
    remedy: str = ""

    @classmethod
    def of_error(cls, name: str, error: EdgeIdsError) -> Finding:
        """A failure; an error's message ends with what to do."""
        problem, _, remedy = str(error).removesuffix(".").rpartition("; ")
        return cls(name, Verdict.FAIL, f"{problem or remedy}.", remedy if problem else "")


def exit_code(findings: Sequence[Finding]) -> int:
    """0: the agent will run; 1: it will not."""
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))


def as_table(findings: Sequence[Finding]) -> str:
    """For people: a line for each, its remedy below it."""
    names = max((len(finding.name) for finding in findings), default=0)
    indent = " " * (len("warn  ") + names + 2)
    lines = []
    for finding in findings:
        head = f"{finding.verdict.value:<4}  {finding.name:<{names}}  "
        lines.append(_wrapped(finding.sentence, head, indent))
        if finding.remedy:
            lines.append(_wrapped(f"→ {finding.remedy}", indent, indent + "  "))
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """For programs: one object."""
    return json.dumps(
        {
            "ok": exit_code(findings) == 0,
            "findings": [
                {
                    "name": finding.name,
                    "verdict": finding.verdict.value,
                    "sentence": finding.sentence,
                    "remedy": finding.remedy,
                }
                for finding in findings
            ],
        },
        ensure_ascii=False,
    )


def _wrapped(text: str, first: str, rest: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
