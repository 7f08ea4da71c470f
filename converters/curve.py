"""The sweep as a picture: what is lost and what is gained by smaller networks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_COLOURS: Final = {"shrink": "#1b6ca8", "prune": "#c8641b"}
_TITLES: Final = {
    "shrink": "shrunk: units removed",
    "prune": "pruned: weights zeroed",
}
_PIXELS_PER_INCH: Final = 110


def curve(points: Sequence[dict[str, Any]]) -> bytes:
    """PNG with F1, size and latency over the share.

    Args:
        points: Reports of `conversion.json`, with "kind" and "share".
    """
    # matplotlib takes a second: only who sweeps shall wait for it.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    f1, size, latency = figure.subplots(1, 3)
    full = [point["full"]["f1"] for point in points]
    f1.axhline(full[0], color="0.6", linestyle=":", label="full model")
    _draw(f1, points, lambda point: point["converted"]["f1"], "-", "")
    f1.set(title="F1 on the test rows", ylabel="F1")
    _draw(size, points, lambda point: point["size_bytes"]["file"] / 1e3, "-", "file")
    _draw(size, points, lambda point: point["size_bytes"]["flatbuffer_gzip"] / 1e3, "--", "gzipped")
    size.set(title="Model file; flatbuffer, gzipped", ylabel="KB")
    for batch, line in (("1", "--"), ("64", "-")):
        _draw(latency, points, _latency(batch), line, f"batch {batch}")
    latency.set(title="Median latency", ylabel="µs per flow")
    size.set_ylim(bottom=0)
    latency.set_ylim(bottom=0)
    for axes in (f1, size, latency):
        axes.set_xlabel("share removed")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        # Below: inside it would lie on some line, for one sweep or another.
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False
        )
    image = io.BytesIO()
    # No date and version inside: the same points give the same bytes.
    figure.savefig(image, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None})
    return image.getvalue()


def _latency(batch: str) -> Callable[[dict[str, Any]], float]:
    def of(point: dict[str, Any]) -> float:
        timing = point["latency_us_per_flow"]["converted"].get(batch)
        return float(timing["p50"]) if timing else float("nan")

    return of


def _draw(
    axes: Any,
    points: Sequence[dict[str, Any]],
    value: Callable[[dict[str, Any]], float],
    line: str,
    what: str,
) -> None:
    """One line for each kind; both begin at the share 0, which is the same for both."""
    for kind, colour in _COLOURS.items():
        own = [
            point
            for point in points
            if "converted" in point and (point["kind"] == kind or not point["share"])
        ]
        if not any(point["kind"] == kind and point["share"] for point in own) and kind == "prune":
            continue
        axes.plot(
            [point["share"] for point in own],
            [value(point) for point in own],
            line,
            color=colour,
            marker="o",
            markersize=4,
            label=f"{_TITLES[kind].split(':')[0]} {what}".strip() if what else _TITLES[kind],
        )
