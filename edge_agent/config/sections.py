"""The table of settings: the one place that names them, in two files for its length.

Each section is a dataclass, each field a setting: annotation, default and `About` are all there is
to say. Defaults, validation, the names of variables, the printed configuration and the commented
example file follow from here.
"""

from __future__ import annotations

from typing import Final

from edge_agent.config.intake import AgentSection, CaptureSection, DetectSection, MeterSection
from edge_agent.config.outlets import (
    AlertsSection,
    BudgetSection,
    LogSection,
    MetricsSection,
    MqttSection,
    StatsSection,
)
from edge_agent.config.settings import Setting, settings_of

SECTIONS: Final[dict[str, type]] = {
    "agent": AgentSection,
    "capture": CaptureSection,
    "meter": MeterSection,
    "detect": DetectSection,
    "alerts": AlertsSection,
    "mqtt": MqttSection,
    "stats": StatsSection,
    "metrics": MetricsSection,
    "log": LogSection,
    "budget": BudgetSection,
}
"""Every section, in the order of the example file."""

SETTINGS: Final[dict[str, Setting]] = {
    setting.name: setting
    for section, holder in SECTIONS.items()
    for setting in settings_of(section, holder)
}
"""Every setting by its name, `section.key`."""
