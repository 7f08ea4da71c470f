"""Columns that say who attacked, not what an attack is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.contract.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Sequence

# The mark that the feature table gives them.
_LEAKY: Final = "L"


def leaky(profile: str, names: Sequence[str]) -> tuple[str, ...]:
    """Those of some columns that are leaky: ports, windows, header sizes.

    Args:
        profile: Name of a flow profile.
        names: Columns that a model of it takes.
    """
    features = PROFILES[profile].select(names)
    return tuple(feature.name for feature in features if _LEAKY in feature.marks)
