"""Forests and boosted trees: no model for a gateway here, but what a network has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import lightgbm
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from trainer.models.base import FitSettings, History, Part

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_FOREST_TREES: Final = 100
_BOOSTING_ROUNDS: Final = 300
# Rounds without a better validation loss after which boosting stops.
_BOOSTING_PATIENCE: Final = 30


class Forest:
    """A random forest of scikit-learn.

    It has no file form here: scikit-learn's only own one is pickle, which runs code when read.
    """

    def __init__(self, settings: FitSettings) -> None:
        self._forest = RandomForestClassifier(
            n_estimators=_FOREST_TREES, random_state=settings.seed, n_jobs=-1
        )

    def fit(self, train: Part, validation: Part) -> History:  # noqa: ARG002  # the common shape
        """See `Classifier.fit`; a forest needs no validation."""
        self._forest.fit(train.raw, train.target)
        return History()

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`: the mean share of attacks in the leaves."""
        scores: NDArray[np.float32] = self._forest.predict_proba(part.raw)[:, 1].astype(np.float32)
        return scores

    def save(self, stem: Path) -> None:  # noqa: ARG002  # the common shape
        """See `Classifier.save`: nothing is written."""
        return

    @property
    def parameters(self) -> int:
        """Leaves of all trees."""
        return int(sum(tree.get_n_leaves() for tree in self._forest.estimators_))


class BoostedTrees:
    """Gradient-boosted trees of LightGBM, saved in its own text form."""

    def __init__(self, settings: FitSettings) -> None:
        self._seed = settings.seed
        self._booster: Any = None

    def fit(self, train: Part, validation: Part) -> History:
        """See `Classifier.fit`."""
        data = lightgbm.Dataset(train.raw, train.target)
        self._booster = lightgbm.train(
            {
                "objective": "binary",
                "seed": self._seed,
                "verbosity": -1,
                # Equal seeds give equal trees only with both.
                "deterministic": True,
                "force_row_wise": True,
            },
            data,
            num_boost_round=_BOOSTING_ROUNDS,
            valid_sets=[data.create_valid(validation.raw, validation.target)],
            callbacks=[lightgbm.early_stopping(_BOOSTING_PATIENCE, verbose=False)],
        )
        return History()

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`."""
        return np.asarray(self._booster.predict(part.raw), dtype=np.float32)

    def save(self, stem: Path) -> Path:
        """See `Classifier.save`."""
        path = stem.with_name(stem.name + ".txt")
        self._booster.save_model(path)
        return path

    @property
    def parameters(self) -> int:
        """Leaves of all trees."""
        dump = self._booster.dump_model()
        return int(sum(tree["num_leaves"] for tree in dump["tree_info"]))
