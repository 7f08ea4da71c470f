"""A scaler as C: from raw features to the model's int8 input, code for code what the agent does.

A quantile scaler is 255 edges a feature, of which many are equal: a feature of few values has few
edges. Such a feature is written as its distinct edges and the bin that each begins, 5 bytes an edge
instead of 4, where that is shorter.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from converters.c_text import float_literal, floats_list, integers_list
from edge_agent.contract.scaling import BINS, rate_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.contract.scaling import Scaler
    from edge_agent.detect.interpreter import Tensor

_ALL_EDGES: Final = BINS - 1

_QUANTILE: Final = Template("""\
/* Bin edges in ascending order, feature after feature. */
static const float EDGES[] = {
$edges
};

/* How many edges each feature has. Of $all, each begins the bin of its number, counted from 1. */
static const uint8_t EDGE_COUNTS[${STEM}_FEATURES] = {
$counts
};

/* Of features with fewer than $all: the bin that each edge begins. */
static const uint8_t BINS[] = {
$bins
};

/* How many edges are not above the value; all of them for a NaN. */
static unsigned edges_up_to(const float *edges, unsigned count, float value)
{
    unsigned low = 0;
    unsigned high = count;
    while (low < high) {
        const unsigned middle = (low + high) / 2;
        if (value < edges[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

int ${stem}_quantize(const float *features, int8_t *codes)
{
    const float *edges = EDGES;
    const uint8_t *bins = BINS;
    int usable = 1;
    unsigned column;
    for (column = 0; column < ${STEM}_FEATURES; column++) {
        const float value = repaired(features, column);
        const unsigned count = EDGE_COUNTS[column];
        unsigned bin = edges_up_to(edges, count, value);
        if (count < $all) {
            bin = bin == 0 ? 0 : bins[bin - 1];
            bins += count;
        }
        edges += count;
        codes[column] = (int8_t)((int)bin - 128);
        usable &= is_finite(value);
    }
    return usable;
}
""")

_LINEAR: Final = Template("""\
/* What maps to 0, and how far above it 1 is. */
static const float LOW[${STEM}_FEATURES] = {
$low
};
static const float SPAN[${STEM}_FEATURES] = {
$span
};

int ${stem}_quantize(const float *features, int8_t *codes)
{
    int usable = 1;
    unsigned column;
    for (column = 0; column < ${STEM}_FEATURES; column++) {
        const float value = repaired(features, column);
        float scaled = ($transformed - LOW[column]) / SPAN[column];
        long code;
        if (!(scaled > 0.0f)) {
            scaled = 0.0f;
        } else if (scaled > 1.0f) {
            scaled = 1.0f;
        }
        /* Halves go to the even neighbour, as in training. */
        code = lrintf(scaled / $scale) + ($zero_point);
        code = code < -128 ? -128 : code > 127 ? 127 : code;
        codes[column] = (int8_t)code;
        usable &= is_finite(value);
    }
    return usable;
}
""")

_SIGNED_LOG1P: Final = """\
static float signed_log1p(float value)
{
    return value < 0.0f ? -log1pf(-value) : log1pf(value);
}

"""

_FINITE: Final = """\
static int is_finite(float value)
{
    return value >= -FLT_MAX && value <= FLT_MAX;
}

"""

_PLAIN: Final = """\
static float repaired(const float *features, unsigned column)
{
    return features[column];
}

"""

_REPAIRED: Final = Template("""\
/* What was counted in 1 us, a second. Too much for a float is still more than any edge. */
static float rate(double count)
{
    const double per_second = count * 1e6;
    if (per_second > (double)FLT_MAX) {
        return FLT_MAX;
    }
    if (per_second < -(double)FLT_MAX) {
        return -FLT_MAX;
    }
    return (float)per_second;
}

/* A feature; of flows shorter than 1 us, whose rates are anyone's guess, the rate at 1 us. */
static float repaired(const float *features, unsigned column)
{
    if (features[$duration] < 1.0f) {
        switch (column) {
$cases
        default:
            break;
        }
    }
    return features[column];
}

""")


def quantizer(
    stem: str, scaler: Scaler, names: Sequence[str], tensor: Tensor
) -> tuple[str, tuple[str, ...]]:
    """`STEM_quantize` with its tables.

    Args:
        stem: What the identifiers begin with.
        scaler: The scaler; of kind `quantile`, its bins less 128 must be the tensor's codes.
        names: Names of the features in model order.
        tensor: The model's int8 input.

    Returns:
        C text, and the standard headers it needs.
    """
    common = {"stem": stem, "STEM": stem.upper()}
    head = _FINITE + _repair(names)
    if scaler.kind == "quantile":
        edges, counts, bins = compact_edges(scaler.table)
        text = _QUANTILE.substitute(
            common,
            all=_ALL_EDGES,
            edges=floats_list(edges),
            counts=integers_list(counts),
            # C knows no empty table.
            bins=integers_list(bins if len(bins) else (0,)),
        )
        return head + text, ("float.h",)
    low, high = scaler.table[:, 0], scaler.table[:, 1]
    logarithmic = scaler.kind == "log1p"
    text = _LINEAR.substitute(
        common,
        low=floats_list(low),
        span=floats_list(np.where(high > low, high - low, np.float32(1))),
        transformed="signed_log1p(value)" if logarithmic else "value",
        scale=float_literal(tensor.scale),
        zero_point=tensor.zero_point,
    )
    return head + (_SIGNED_LOG1P if logarithmic else "") + text, ("float.h", "math.h")


def compact_edges(
    table: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """The edges of a quantile scaler without those that equal their neighbours.

    Args:
        table: Sorted edges, shape (n_features, 255).

    Returns:
        Edges of all features one after another; how many each has, shape (n_features,); and, of
        the features that have fewer than 255, the bin that each edge begins.
    """
    edges, counts, bins = [], [], []
    for row in table:
        distinct = np.unique(row)
        worth_it = len(distinct) * 5 < len(row) * 4
        edges.append(distinct if worth_it else row)
        counts.append(len(edges[-1]))
        if worth_it:
            bins.append(np.searchsorted(row, distinct, side="right"))
    return (
        np.concatenate(edges),
        np.array(counts, dtype=np.uint8),
        np.concatenate([np.empty(0), *bins]).astype(np.uint8),
    )


def table_bytes(scaler: Scaler) -> int:
    """Flash that the scaler's tables take."""
    tables: Sequence[NDArray[Any]] = (scaler.table,)
    if scaler.kind == "quantile":
        tables = compact_edges(scaler.table)
    return sum(table.nbytes for table in tables)


def _repair(names: Sequence[str]) -> str:
    duration, plan = rate_plan(tuple(names))
    if not plan:
        return _PLAIN
    cases = [
        f"        case {rate}:\n"
        f"            return rate({' + '.join(f'(double)features[{count}]' for count in counts)});"
        for rate, counts in plan
    ]
    return _REPAIRED.substitute(duration=duration, cases="\n".join(cases))
