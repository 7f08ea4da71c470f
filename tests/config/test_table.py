"""The table is the one home of every setting; what restates it is held equal to it."""

from __future__ import annotations

import math
import re
import string
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alerting.limits import IncidentLimits
from edge_agent.alerting.publisher import PublisherOptions
from edge_agent.config import Config, reloadable
from edge_agent.config.example import example_toml
from edge_agent.config.outlets import AlertsSection
from edge_agent.config.sections import SECTIONS, SETTINGS
from edge_agent.config.sources import Given, Origin
from edge_agent.config.values import from_text
from tests.conftest import ROOT

if TYPE_CHECKING:
    from edge_agent.config.settings import Setting

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLE = ROOT / "firmware_configs" / "edge-agent.toml"
HERE = Origin("here")


def defaults() -> Config:
    return Config.of([])


def with_values(**values: Any) -> Config:
    return Config.of(
        Given(SETTINGS[name.replace("__", ".")], value, HERE) for name, value in values.items()
    )


def test_the_example_file_says_what_the_table_says() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == example_toml(), (
        "python -m edge_agent.config.example > firmware_configs/edge-agent.toml"
    )
    assert max(map(len, example_toml().splitlines())) <= 100


def test_the_example_is_the_defaults_once_its_marks_are_taken_away(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    as_it_is, all_set = tmp_path / "a" / "agent.toml", tmp_path / "b" / "agent.toml"
    for path, content in ((as_it_is, text), (all_set, re.sub(r"(?m)^#(?=\w+ = )", "", text))):
        path.parent.mkdir()
        path.write_text(content, encoding="utf-8")
        assert Config.load(path, board=None) == defaults()
    tables = tomllib.loads(all_set.read_text(encoding="utf-8"))
    named = {f"{section}.{key}" for section, keys in tables.items() for key in keys}
    assert named == set(SETTINGS)


def test_config_has_a_field_for_every_section() -> None:
    assert [f.name for f in fields(Config)][: len(SECTIONS)] == list(SECTIONS)
    for name, holder in SECTIONS.items():
        assert type(getattr(defaults(), name)) is holder


def test_variables_are_distinct() -> None:
    assert len({setting.variable for setting in SETTINGS.values()}) == len(SETTINGS)


def test_alerts_are_limits_of_incidents_with_the_same_defaults() -> None:
    for name in AlertsSection.__dataclass_fields__:
        assert getattr(defaults().alerts, name) == getattr(IncidentLimits(), name)
    low: dict[str, Any] = {
        s.key: s.about.minimum for s in SETTINGS.values() if s.section == "alerts"
    }
    # What the table lets through, the incident table takes.
    IncidentLimits(**low)


def test_the_queue_for_the_broker_is_the_publishers() -> None:
    assert defaults().mqtt.queue_limit == PublisherOptions().queue_limit


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=str)
def test_defaults_and_bounds_are_values_themselves(setting: Setting) -> None:
    about = setting.about
    values = [setting.default, *about.choices]
    if setting.kind in (int, float):
        assert math.isfinite(about.minimum)
        assert math.isfinite(about.maximum)
        values += [setting.kind(about.minimum), setting.kind(about.maximum)]
    for value in values:
        text = (
            ""
            if value is None
            else ",".join(value)
            if isinstance(value, tuple)
            else str(value).lower()
            if isinstance(value, bool)
            else str(value)
        )
        assert from_text(setting, text) == value


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "agent__node": st.text(string.ascii_letters, min_size=1, max_size=8),
            "agent__model": _TEXT.map(lambda text: Path("/m") / text.replace("/", "")),
            "agent__public_key": st.none() | st.just(Path("/k")),
            "capture__filter": _TEXT,
            "capture__interfaces": st.lists(
                st.text(string.ascii_lowercase + "é", min_size=1, max_size=7).filter("any".__ne__),
                unique=True,
                max_size=3,
            ).map(tuple),
            "capture__threads": st.integers(1, 16),
            "detect__threshold": st.none() | st.floats(0, 1),
            "detect__enabled": st.booleans(),
            "stats__interval_s": st.floats(1, 86_400),
            "budget__memory_bytes": st.none() | st.integers(2**26, 2**40),
        },
    )
)
def test_what_is_printed_gives_the_same_configuration_again(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    config = with_values(**values)
    file = tmp_path_factory.mktemp("printed") / "agent.toml"
    for with_origins in (True, False):
        file.write_text(config.to_toml(with_origins=with_origins), encoding="utf-8")
        assert Config.load(file, board=None) == config


def test_each_printed_line_says_where_its_value_is_from(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[log]\nlevel = 'error'\n")
    environ = {"EDGE_AGENT_STATS_INTERVAL_S": "5"}
    flags = {"--interface": ("eth0",)}
    lines = Config.load(file, flags, environ, "raspberry-pi-4").to_toml().splitlines()
    assert lines[0] == "# Board profile: raspberry-pi-4."
    shown = {line.split(" = ")[0]: line for line in lines if " = " in line}
    assert shown["level"].endswith(f'level = "error"                             # {file}, line 2')
    assert shown["interval_s"].endswith(
        "5.0                            # EDGE_AGENT_STATS_INTERVAL_S"
    )
    assert shown["interfaces"].endswith("# --interface")
    assert shown["ring_bytes"].endswith(
        "16777216                       # board raspberry-pi-4; 16 MiB"
    )
    assert shown["public_key"].endswith("# default")
    assert sum(" = " in line and "  # " in line for line in lines) == len(SETTINGS)


RELOADABLE = {
    "agent.model",
    "agent.public_key",
    "capture.filter",
    "detect.threshold",
    "detect.enabled",
    "stats.interval_s",
    "log.level",
    "log.format",
    "log.repeats_per_minute",
    *(f"alerts.{name}" for name in AlertsSection.__dataclass_fields__),
}


def test_what_can_be_reloaded() -> None:
    assert {name for name, s in SETTINGS.items() if not s.about.restart} == RELOADABLE


def test_a_reload_takes_what_it_can_and_refuses_the_rest() -> None:
    old = with_values(agent__node="a", capture__interfaces=("eth0",), log__level="debug")
    new = with_values(
        agent__node="a",
        capture__interfaces=("eth1",),
        detect__threshold=0.5,
        stats__interval_s=60.0,
    )
    reload = reloadable(old, new)
    assert {(c.name, c.old, c.new, c.why_not) for c in reload.taken} == {
        ("log.level", "debug", "info", ""),
        ("detect.threshold", None, 0.5, ""),
        ("stats.interval_s", 30.0, 60.0, ""),
    }
    [refused] = reload.refused
    assert (refused.name, refused.old, refused.new) == ("capture.interfaces", ("eth0",), ("eth1",))
    assert refused.why_not == "sockets and rings are opened before privileges are dropped"
    assert refused.origin == HERE
    assert reload.config == replace(new, capture=old.capture)
    assert reload.config.origins["log.level"] == Origin("default")
    assert reload.config.origins["capture.interfaces"] == HERE


def test_nothing_changed_is_nothing_to_do() -> None:
    reload = reloadable(defaults(), defaults())
    assert (reload.config, reload.taken, reload.refused) == (defaults(), (), ())
