"""What the paper published: nothing beyond what is known."""

from __future__ import annotations

from trainer.datasets.layouts import LAYOUTS as KNOWN
from trainer.paper import LAYOUTS, PUBLISHED


def test_only_the_known_figures_are_there() -> None:
    claims, matrix, *rivals = PUBLISHED
    assert (claims.accuracy, claims.false_alarm_rate) == (0.9952, 0.0014)
    assert claims.f1 is None
    assert (matrix.f1, matrix.accuracy, matrix.false_alarm_rate) == (0.9897, 0.99595, 0.00319)
    assert [rival.name for rival in rivals] == ["SVM", "random forest", "autoencoder"]
    assert not any(rival.at_hand for rival in rivals)
    assert all(published.source for published in PUBLISHED)


def test_the_layouts_exist() -> None:
    assert {layout.name for layout in KNOWN} >= LAYOUTS
