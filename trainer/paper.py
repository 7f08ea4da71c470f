"""What the paper published that this project began with, as far as it is known here.

The paper: Ansar et al., "A cutting-edge deep learning method for enhancing IoT security". It trains
a CNN-LSTM on CICIDS2017, on a random split with duplicates. Its table 1 sets that beside an SVM, a
random forest and a deep autoencoder; those figures are not at hand here, and nobody should guess
them: `None` is shown as "not at hand".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CITATION: Final = 'Ansar et al., "A cutting-edge deep learning method for enhancing IoT security"'

LAYOUTS: Final = frozenset({"MachineLearningCVE", "improved"})
"""Layouts of CICIDS2017: only beside figures of these do the paper's say anything."""


@dataclass(frozen=True, slots=True)
class Published:
    """A line of figures.

    Attributes:
        name: What it is of the paper's, short enough for a terminal.
        source: Where in the paper the figures stand.
        f1, accuracy, precision, recall, false_alarm_rate: Shares; None: not at hand.
    """

    name: str
    source: str
    f1: float | None = None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    false_alarm_rate: float | None = None

    @property
    def at_hand(self) -> bool:
        """Whether anything is known."""
        shares = (self.f1, self.accuracy, self.precision, self.recall, self.false_alarm_rate)
        return any(share is not None for share in shares)


PUBLISHED: Final[tuple[Published, ...]] = (
    Published(
        "claims",
        "the paper's text and table 1",
        accuracy=0.9952,
        false_alarm_rate=0.0014,
    ),
    Published(
        "own matrix",
        "computed from the paper's own confusion matrix, which contradicts its text",
        f1=0.9897,
        accuracy=0.99595,
        false_alarm_rate=0.00319,
    ),
    Published("SVM", "table 1"),
    Published("random forest", "table 1"),
    Published("autoencoder", "table 1"),
)
