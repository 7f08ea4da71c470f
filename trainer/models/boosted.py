"""Boosted trees of LightGBM: no model for a gateway here, but what a network has to beat."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

import lightgbm
import numpy as np

from edge_agent.contract.errors import RunError
from edge_agent.contract.files import write_atomically
from trainer.evaluate import best_threshold
from trainer.models.arrays import REMEDY
from trainer.models.base import FitSettings, History, Part, Progress
from trainer.models.tunables import BOOSTED_TREES, tuned

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Rounds without a better validation loss after which boosting stops.
_PATIENCE: Final = 30
# Rounds between two reports: a round takes a tenth of a second.
_REPORT_ROUNDS: Final = 10
_LOSS: Final = "binary_logloss"


class _Watch:
    """Follows the validation rows round by round: reports, and says when to stop."""

    def __init__(self, validation: Part, rounds: int, settings: FitSettings) -> None:
        self._target = validation.target
        self._rounds = rounds
        self._settings = settings
        self._begin = time.monotonic()
        self._best: tuple[float, int] | None = None

    def f1(self, scores: NDArray[np.float64], round_: int) -> None:
        """Report the F1 of the validation rows after a round."""
        passed_s = time.monotonic() - self._begin
        self._settings.report(
            Progress(
                epoch=round_,
                epochs=self._rounds,
                loss=None,
                f1=best_threshold(scores.astype(np.float32), self._target).f1,
                left_s=passed_s / round_ * (self._rounds - round_),
                epoch_ended=True,
            )
        )

    def __call__(self, environment: Any) -> None:
        """What LightGBM calls after every round."""
        results = environment.evaluation_result_list
        loss = next(value for _, name, value, *_ in results if name == _LOSS)
        number = environment.iteration
        if self._best is None or loss < self._best[0]:
            self._best = (loss, number)
        spent = number - self._best[1] >= _PATIENCE or number + 1 == self._rounds
        if spent or self._settings.stopping():
            raise lightgbm.EarlyStopException(self._best[1], results)


class BoostedTrees:
    """Gradient-boosted trees of LightGBM, saved in its own text form and a digest."""

    def __init__(self, settings: FitSettings, booster: Any = None) -> None:
        self._settings = settings
        self._values = tuned(BOOSTED_TREES, settings)
        self._booster = booster

    def fit(self, train: Part, validation: Part) -> History:
        """See `Classifier.fit`."""
        values = self._values
        watch = _Watch(validation, values["rounds"], self._settings)
        data = lightgbm.Dataset(train.raw, train.target, weight=train.weight)
        rounds = 0

        def f1(scores: NDArray[np.float64], _: Any) -> tuple[str, float, bool]:
            # Scores of the validation rows so far: computing them here again would take longer
            # than the round. What is given back is not looked at.
            nonlocal rounds
            rounds += 1
            if rounds % _REPORT_ROUNDS == 0:
                watch.f1(scores, rounds)
            return "reported", 0.0, True

        self._booster = lightgbm.train(
            {
                "objective": "binary",
                "metric": _LOSS,
                "num_leaves": values["leaves"],
                "learning_rate": values["learning_rate"],
                "max_depth": values["depth"] or -1,
                "min_data_in_leaf": values["min_leaf"],
                "seed": self._settings.seed,
                "verbosity": -1,
                # Equal seeds give equal trees, on any number of cores, only with both.
                "deterministic": True,
                "force_row_wise": True,
            },
            data,
            num_boost_round=values["rounds"],
            valid_sets=[data.create_valid(validation.raw, validation.target)],
            feval=f1,
            callbacks=[watch],
        )
        return History()

    def scores(self, part: Part) -> NDArray[np.float32]:
        """See `Classifier.scores`."""
        return np.asarray(self._booster.predict(part.raw), dtype=np.float32)

    def family_shares(self, part: Part) -> None:  # noqa: ARG002  # the common shape
        """See `Classifier.family_shares`: there are none."""
        return

    def save(self, stem: Path) -> Path:
        """See `Classifier.save`."""
        path = stem.with_name(stem.name + ".txt")
        text = self._booster.model_to_string()
        write_atomically(path, f"{text}{_digest_line(text)}".encode())
        return path

    @classmethod
    def load(cls, path: Path, settings: FitSettings) -> BoostedTrees:
        """Read what `save` wrote.

        Raises:
            RunError: The file is damaged or not of `save`.
        """
        try:
            *lines, digest = path.read_text(encoding="ascii").splitlines(keepends=True) or [""]
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(path, f"cannot be read ({error})", remedy=REMEDY) from error
        text = "".join(lines)
        # LightGBM ends the process over a file that was cut short, so it must not see one.
        if digest != _digest_line(text):
            raise RunError(path, "is damaged, or not of edge-train", remedy=REMEDY)
        booster = lightgbm.Booster(model_str=text)
        return cls(settings, booster)

    @property
    def parameters(self) -> int:
        """Leaves of all trees."""
        dump = self._booster.dump_model()
        return int(sum(tree["num_leaves"] for tree in dump["tree_info"]))


def make(settings: FitSettings) -> BoostedTrees:
    """Unfitted trees."""
    return BoostedTrees(settings)


def _digest_line(text: str) -> str:
    """A last line that LightGBM skips when it reads the file by itself."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}\n"
