"""The model card: what is in `bundle.json`, in words, for whoever unzips the model file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.gate import Comparison, Figures
    from converters.verdict import Verdict
    from edge_agent.contract.bundle import Bundle

_LIMITS = """\
- The figures hold for the test rows of this run. Numbers of a random split say little about a live
  network: flows of one attack lie on both sides of it. Splits by time or group say more.
- It knows the attacks it was trained on; others it may miss. It judges flows, not payloads.
- A family is a guess beside the verdict, never a part of it, and only as good as the labels.
- It is bound to its flow profile: rows of another tool under the same column names are not its
  input.
- Scores are ranks, not probabilities, unless the run says they were calibrated."""


def model_card(bundle: Bundle, form: str, verdict: Verdict) -> str:
    """Markdown for `MODEL_CARD.md`."""
    gate = "passed" if verdict.passed else "REFUSED: " + "; ".join(verdict.reasons)
    return f"""\
# {bundle.name}

Scores network flows from 0 ({bundle.classes[0]}) to 1 ({bundle.classes[-1]}).

- Flow profile: `{bundle.profile.name}` ({bundle.profile.summary})
- Columns: {len(bundle.features)}; scaler: `{bundle.scaler.kind}`
- Threshold: {bundle.threshold:.6g} ({bundle.threshold_rule})
- Attack families it names: {", ".join(bundle.families) or "none"}
- Format: {form}, {len(bundle.flatbuffer):,} bytes
- Fingerprint: `{bundle.fingerprint}`

Conversion gate: {gate}.
{"".join(_figures(place, comparison) for place, comparison in verdict.comparisons.items())}
## Data and training

```json
{json.dumps(bundle.provenance, indent=1, sort_keys=True, ensure_ascii=False)}
```

## Columns, in order

{", ".join(f"{feature.name} [{feature.unit}]" for feature in bundle.features)}

## Limits

{_LIMITS}
"""


def _figures(place: str, comparison: Comparison) -> str:
    low, high = comparison.f1_drop_interval_points
    return f"""
## Figures on the test rows, {place}

| | full model | this file |
|---|---|---|
{_figure_rows(comparison.full, comparison.converted)}

Same verdict in {comparison.label_agreement:.3%} of the rows; F1 drops by
{comparison.f1_drop_points:.3f} points (95 %: {low:.3f} to {high:.3f}),
{comparison.max_f1_drop_points:g} are allowed.
{_family_agreement(comparison)}"""


def _family_agreement(comparison: Comparison) -> str:
    families = comparison.families
    if families is None:
        return ""
    return f"""
Families of the {families.rows:,} attacks that the full model flags: the same in
{families.agreement:.3%}; named right {families.full_accuracy:.2%} by the full model,
{families.converted_accuracy:.2%} by this file.
"""


def _figure_rows(full: Figures, converted: Figures) -> str:
    shares = ("f1", "false_alarm_rate", "precision", "recall", "accuracy")
    lines = [
        f"| {name.replace('_', ' ')} | {getattr(full, name):.4%} | {getattr(converted, name):.4%} |"
        for name in shares
    ]
    lines += [
        f"| {name} | {full.confusion[name]:,} | {converted.confusion[name]:,} |"
        for name in ("tp", "fp", "fn", "tn")
    ]
    return "\n".join(lines)
