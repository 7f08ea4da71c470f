"""A random forest: no model for a gateway here, but what a network has to beat.

scikit-learn grows it; what is kept, scored and saved are the tables of its nodes. So a forest read
back is the forest that was measured, whichever scikit-learn is there, and whichever number of
threads adds up the trees.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from edge_agent.contract.errors import RunError
from trainer.models.arrays import REMEDY, Layout, load_arrays, save_arrays
from trainer.models.base import FitSettings, History, Part, Progress
from trainer.models.tunables import FOREST, tuned

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Trees grown between two questions whether to stop, and rows they may see together: on more cores
# or rows than that, a tree for each core.
_STEP_TREES: Final = 10
_STEP_ROWS: Final = 1_000_000
# Rows that go down the trees together: their columns stay in a core's cache.
_SCORING_ROWS: Final = 4096

_LAYOUT: Final = Layout(
    "random forest",
    1,
    {
        "roots": ("int64", 1),
        "features": ("int32", 1),
        "thresholds": ("float64", 1),
        "left": ("int32", 1),
        "right": ("int32", 1),
        "shares": ("float64", 1),
        "width": ("int64", 0),
    },
)


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of all trees, one tree after the other, a parent before its children.

    Attributes:
        roots: Index of each tree's first node.
        features: Column that a node asks for; 0 at leaves.
        thresholds: Rows up to it go left.
        left, right: Index of the children; at leaves the node itself.
        shares: Share of attacks among the training rows in it.
        width: Columns of a row.
    """

    roots: NDArray[np.int64]
    features: NDArray[np.int32]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    shares: NDArray[np.float64]
    width: int

    @classmethod
    def of(cls, trees: list[Any], width: int) -> Nodes:
        """Take the tables out of fitted trees of scikit-learn."""
        counts = [tree.tree_.node_count for tree in trees]
        roots = np.concatenate([[0], np.cumsum(counts)[:-1]])
        tables = [_table(tree, root) for tree, root in zip(trees, roots, strict=True)]
        features, thresholds, left, right, shares = (
            np.concatenate(column) for column in zip(*tables, strict=True)
        )
        return cls(
            roots=roots.astype(np.int64),
            features=features.astype(np.int32),
            thresholds=thresholds.astype(np.float64),
            left=left.astype(np.int32),
            right=right.astype(np.int32),
            shares=shares.astype(np.float64),
            width=width,
        )

    @property
    def leaves(self) -> int:
        """Of all trees."""
        return int((self.left == np.arange(len(self.left))).sum())

    def fault(self) -> str | None:
        """What makes the tables unfit to be followed, if anything: they may come from a file."""
        count = len(self.features)
        sizes = {len(self.thresholds), len(self.left), len(self.right), len(self.shares), count}
        if len(sizes) != 1 or not count or not len(self.roots):
            return "its tables are empty or of unequal length"
        ends = np.append(self.roots[1:], count)
        if self.roots[0] != 0 or (ends <= self.roots).any():
            return "its trees do not follow one another"
        if self.width < 1 or self.features.min() < 0 or self.features.max() >= self.width:
            return "a node asks for a column that is not there"
        node = np.arange(count)
        end = np.repeat(ends, ends - self.roots)
        leaf = (self.left == node) & (self.right == node)
        # A child behind its parent and within its tree: every way down ends.
        inner = (np.minimum(self.left, self.right) > node) & (
            np.maximum(self.left, self.right) < end
        )
        if not (leaf | inner).all():
            return "a node leads out of its tree"
        if self.shares.min() < 0 or self.shares.max() > 1:
            return "a share is not within 0 to 1"
        return None

    def score(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean share of attacks over the trees, shape (n_flows,), of some thousand rows."""
        total = np.zeros(len(raw))
        cells = np.ascontiguousarray(raw, dtype=np.float32).ravel()
        begin = np.arange(len(raw)) * self.width
        for root in self.roots:
            at = np.full(len(raw), root, dtype=np.int64)
            moving = np.arange(len(raw))
            while len(moving):
                node = at[moving]
                # float32 against float64, as scikit-learn compares.
                goes_left = cells[begin[moving] + self.features[node]] <= self.thresholds[node]
                below = np.where(goes_left, self.left[node], self.right[node])
                at[moving] = below
                moving = moving[below != node]
            total += self.shares[at]
        return (total / len(self.roots)).astype(np.float32)


def _table(tree: Any, root: int) -> tuple[NDArray[Any], ...]:
    """Features, thresholds, left, right and shares of one tree whose first node is `root`."""
    table = tree.tree_
    node = np.arange(table.node_count) + root
    leaf = table.children_left < 0
    # scikit-learn keeps shares of the classes it saw; where it saw no attack there is one column.
    column = list(tree.classes_).index(1) if 1 in tree.classes_ else None
    shares = np.zeros(len(node)) if column is None else table.value[:, 0, column]
    return (
        np.where(leaf, 0, table.feature),
        np.where(leaf, 0.0, table.threshold),
        np.where(leaf, node, table.children_left + root),
        np.where(leaf, node, table.children_right + root),
        shares,
    )


class Forest:
    """A random forest on raw features."""

    def __init__(self, settings: FitSettings, nodes: Nodes | None = None) -> None:
        self._settings = settings
        self._values = tuned(FOREST, settings)
        self._nodes = nodes

    def fit(self, train: Part, validation: Part) -> History:  # noqa: ARG002  # the common shape
        """See `Classifier.fit`; a forest needs no validation."""
        settings = self._settings
        trees: int = self._values["trees"]
        # Grown step by step it is the same forest as grown at once: the trees' seeds are drawn
        # in their order.
        forest = RandomForestClassifier(
            max_depth=self._values["depth"] or None,
            min_samples_leaf=self._values["min_leaf"],
            random_state=settings.seed,
            n_jobs=-1,
            warm_start=True,
        )
        target = train.target.astype(np.float64)
        begin = time.monotonic()
        step = max(os.cpu_count() or 1, min(_STEP_TREES, _STEP_ROWS // len(train)))
        for done in (*range(step, trees, step), trees):
            forest.set_params(n_estimators=done)
            forest.fit(train.raw, target, sample_weight=train.weight)
            left_s = (time.monotonic() - begin) / done * (trees - done)
            settings.report(Progress(done, trees, None, None, left_s, epoch_ended=True))
            if settings.stopping():
                break
        self._nodes = Nodes.of(forest.estimators_, train.raw.shape[1])
        return History()

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`: the mean share of attacks in the leaves."""
        nodes = self._fitted
        chunks = [
            part.raw[begin : begin + _SCORING_ROWS]
            for begin in range(0, len(part.raw), _SCORING_ROWS)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            scores = list(pool.map(nodes.score, chunks))
        return np.concatenate(scores) if scores else np.zeros(0, dtype=np.float32)

    def family_shares(self, part: Part) -> None:  # noqa: ARG002  # the common shape
        """See `Classifier.family_shares`: there are none."""
        return

    def save(self, stem: Path) -> Path:
        """See `Classifier.save`."""
        nodes = self._fitted
        arrays = {name: np.asarray(getattr(nodes, name)) for name in _LAYOUT.arrays}
        return save_arrays(stem, _LAYOUT, arrays)

    @classmethod
    def load(cls, path: Path, settings: FitSettings) -> Forest:
        """Read what `save` wrote.

        Raises:
            RunError: The file is damaged or not a forest.
        """
        arrays: dict[str, Any] = load_arrays(path, _LAYOUT)
        nodes = Nodes(**(arrays | {"width": int(arrays["width"])}))
        fault = nodes.fault()
        if fault:
            raise RunError(path, fault, remedy=REMEDY)
        return cls(settings, nodes)

    @property
    def parameters(self) -> int:
        """Leaves of all trees."""
        return self._fitted.leaves

    @property
    def _fitted(self) -> Nodes:
        if self._nodes is None:
            raise RuntimeError("the forest is not fitted")
        return self._nodes


def make(settings: FitSettings) -> Forest:
    """An unfitted forest."""
    return Forest(settings)
