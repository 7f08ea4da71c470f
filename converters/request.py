"""What `edge-convert` was asked for, and the processes that it has to do it with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from converters import child, trials
from converters.formats import Changes, Recurrence
from converters.gate import DEFAULT_MAX_F1_DROP_POINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from converters.child import Network, Order
    from converters.trials import Place
    from edge_agent.contract.bundle import Bundle
    from edge_agent.detect.trial import Trial


@dataclass(frozen=True, slots=True)
class Tools:
    """The processes that do the work; tests hand in quicker and broken ones."""

    prepare: Callable[[Order], Network] = child.prepare
    flatbuffer: Callable[..., bytes] = child.flatbuffer
    places: Callable[[Sequence[str]], tuple[list[Place], dict[str, str]]] = trials.places
    try_in: Callable[[Place, Bundle, trials.Rows], Trial] = trials.try_in


@dataclass(frozen=True, slots=True)
class Request:
    """What `edge-convert` was asked for.

    Attributes:
        run: The run folder.
        model: Name of a model of the run; None for its first convertible one.
        changes: What to do to the network first.
        recurrence: Form of its LSTMs; None for the faster one.
        max_f1_drop_points: Points of F1 (hundredths) that the conversion may cost.
        interpreters: Commands of further Pythons whose interpreters must agree.
        show_log: Let TensorFlow talk on standard error.
        tell: Called with a few words whenever a step begins.
    """

    run: Path
    model: str | None = None
    changes: Changes = field(default_factory=Changes)
    recurrence: Recurrence | None = None
    max_f1_drop_points: float = DEFAULT_MAX_F1_DROP_POINTS
    interpreters: tuple[str, ...] = ()
    show_log: bool = False
    tell: Callable[[str], None] = lambda _: None
