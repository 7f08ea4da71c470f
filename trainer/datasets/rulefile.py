"""Label rules as TOML files: reading, and the ones that come with edge-ids.

    schema = 1
    dataset = "my house"               # for people
    profile = "improved"               # whose flows the limits in conditions are made for
    leave_out_unlabelled_between = true

    [expected_flows.2024-05-01]        # optional: counts of the whole capture of that day
    "My Attack" = 1200

    [[rule]]
    label = "My Attack"
    family = "dos"                     # if left out: that of a known label, else "unknown"
    start = "2024-05-01T10:00:00Z"     # of a flow's first packet; both ends belong to it
    end = 2024-05-01T10:30:00.5Z       # TOML's own times will do as well
    src = ["192.0.2.7"]                # addresses and networks; empty or left out: any
    dst = ["10.0.0.0/24"]
    dst_port = [80, [8000, 8100]]      # ports, and ranges of them
    not_src_port = [5555]              # all four lists exist with not_
    protocol = "tcp"                   # tcp, udp or any
    when = "fwd_packets > 20"          # see `conditions.py`
    attempted_if = "fwd_payload_bytes == 0"   # a condition, always or never
    attempted_category = 0
    profiles = ["improved", "gateway"] # for these only, and for these whatever its limits
    one_way = true                     # never the other way round, see `rules.py`
    note = "for people"

A key that is not known here is refused: a misspelt condition would label in silence.
"""

from __future__ import annotations

import contextlib
import re
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.alerts import FAMILIES
from edge_agent.contract.errors import TableError
from edge_agent.contract.profiles import PROFILES
from trainer.datasets.conditions import Condition
from trainer.datasets.endpoints import address_span, port_span
from trainer.datasets.labels import ATTEMPTED_SUFFIX, BENIGN, family_of, is_attempted, unify
from trainer.datasets.rules import Rule, Rules, Side

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SCHEMA: Final = 1

SHIPPED: Final = {path.stem: path for path in (Path(__file__).parent / "data").glob("*.toml")}
"""Name → rules file that comes with edge-ids."""

_HEAD_KEYS: Final = (
    "schema",
    "dataset",
    "profile",
    "leave_out_unlabelled_between",
    "attempted_categories",
    "original_labels",
    "expected_flows",
    "rule",
)
_RULE_KEYS: Final = (
    *("label", "family", "start", "end", "protocol"),
    *("src", "dst", "src_port", "dst_port", "not_src", "not_dst", "not_src_port", "not_dst_port"),
    *("when", "attempted_if", "attempted_category", "profiles", "one_way", "evidence", "note"),
)
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "any": None}
# As others write them.
_FAMILY_SYNONYMS: Final = {"brute-force": "bruteforce", "port-scan": "scan"}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def find_labels(text: str | Path) -> Path:
    """The file that `--labels` means: one that is there, else one that comes with edge-ids.

    Raises:
        TableError: It is neither.
    """
    path = Path(text)
    if path.is_file():
        return path
    if str(text) in SHIPPED:
        return SHIPPED[str(text)]
    raise TableError(
        path,
        "is no file that exists",
        remedy="check the path, or name rules that come with edge-ids: "
        + ", ".join(sorted(SHIPPED)),
    )


def is_rules(path: Path) -> bool:
    """Whether a labels file holds rules, not the truth of a recording.

    Raises:
        TableError: It cannot be read.
    """
    if path.suffix.lower() in (".toml", ".json"):
        return path.suffix.lower() == ".toml"
    return not _content(path).lstrip().startswith(b"{")


def load_rules(path: Path) -> Rules:
    """Read a rules file.

    Raises:
        TableError: It cannot be read, is of an unknown version, or lacks or garbles a value.
    """
    try:
        facts = tomllib.loads(_content(path).decode())
    except (ValueError, RecursionError) as error:
        raise TableError(path, f"is not TOML ({error})", remedy="correct the file") from error
    if facts.get("schema") != SCHEMA:
        raise TableError(
            path,
            f"has schema {facts.get('schema')!r}, but {SCHEMA} is what is known here",
            remedy="update edge-ids, or take rules of this version",
        )
    with _place(path, "the head"):
        _check_keys(facts, _HEAD_KEYS)
        meter = _profile(facts.get("profile", ""), optional=True)
        leaves_out = _flag(facts, "leave_out_unlabelled_between")
        categories = {int(key): str(words) for key, words in _table(facts, "attempted_categories")}
        tables = _list(facts, "rule")
    rules: list[Rule] = []
    families: dict[str, str] = {BENIGN: "benign"}
    for number, table in enumerate(tables, start=1):
        with _place(path, _rule_name(number, table)):
            rules.append(_rule(table, categories))
            _add_family(families, rules[-1].label, _family(table, rules[-1].label))
    with _place(path, "expected_flows"):
        expected = dict(
            _expected(day, counts, families) for day, counts in _table(facts, "expected_flows")
        )
    if not rules:
        raise TableError(path, "has no [[rule]]", remedy="add one, or correct the file's name")
    return Rules(
        path=path,
        rules=tuple(rules),
        families=families,
        days=_days(rules, expected),
        meter=meter,
        categories=categories,
        expected=expected,
        leaves_out=leaves_out,
    )


@contextlib.contextmanager
def _place(path: Path, where: str) -> Iterator[None]:
    """Say where in the file something is wrong."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise TableError(path, what, remedy="correct it", where=where) from error


def _rule_name(number: int, table: object) -> str:
    label = table.get("label") if isinstance(table, dict) else None
    return f"rule {number} ({label})" if isinstance(label, str) else f"rule {number}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TableError(
            path, f"cannot be read ({error.strerror})", remedy="name it with --labels"
        ) from error


def _rule(table: Any, categories: dict[int, str]) -> Rule:
    if not isinstance(table, dict):
        raise TypeError(f"{table!r} is no table")
    _check_keys(table, _RULE_KEYS)
    label = unify(_text(table, "label"))
    if not label or is_attempted(label):
        raise ValueError(
            f"{table['label']!r} is no label (what was a mere attempt, attempted_if says)"
        )
    start_us, end_us = _time_us(table["start"]), _time_us(table["end"])
    if end_us < start_us:
        raise ValueError("it ends before it starts")
    protocol = table.get("protocol", "any")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {', '.join(_PROTOCOLS)}")
    category = table.get("attempted_category")
    if category is not None and (type(category) is not int or category not in categories):
        raise ValueError(f"attempted_category {category!r} is not among [attempted_categories]")
    when = table.get("when")
    return Rule(
        label=label,
        start_us=start_us,
        end_us=end_us,
        source=_side(table, "src"),
        destination=_side(table, "dst"),
        protocol=_PROTOCOLS[protocol],
        when=None if when is None else _condition(table, "when"),
        attempted_if=_attempted_if(table),
        category=category,
        profiles=frozenset(_profile(name) for name in _list(table, "profiles")),
        one_way=_flag(table, "one_way"),
    )


def _family(table: dict[str, Any], label: str) -> str:
    known = ("benign",) if label == BENIGN else FAMILIES
    if "family" not in table:
        return family if (family := family_of(label)) in known else "unknown"
    text = _text(table, "family")
    family = _FAMILY_SYNONYMS.get(text, text)
    if family not in known:
        raise ValueError(f"family {text!r} is none of {', '.join(known)}")
    return family


def _add_family(families: dict[str, str], label: str, family: str) -> None:
    if families.setdefault(label, family) != family:
        raise ValueError(f"{label} is of the family {families[label]} in an earlier rule")
    if label != BENIGN:
        families[label + ATTEMPTED_SUFFIX] = family


def _side(table: dict[str, Any], name: str) -> Side:
    def spans(key: str, read: Callable[[object], tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple(read(entry) for entry in _list(table, key))

    return Side(
        addresses=spans(name, address_span) or None,
        not_addresses=spans(f"not_{name}", address_span),
        ports=spans(f"{name}_port", port_span) or None,
        not_ports=spans(f"not_{name}_port", port_span),
    )


def _attempted_if(table: dict[str, Any]) -> Condition | bool:
    text = table.get("attempted_if", "never")
    if text in ("always", "never"):
        return bool(text == "always")
    return _condition(table, "attempted_if")


def _condition(table: dict[str, Any], key: str) -> Condition:
    try:
        return Condition.parse(_text(table, key))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _time_us(value: object) -> int:
    if isinstance(value, str) and _TIME.fullmatch(value):
        # Python 3.10 knows neither the letter nor fractions of any length.
        head, point, rest = value.replace("Z", "+00:00").partition(".")
        fraction, zone = rest[:-6], rest[-6:]
        text = f"{head}.{fraction:0<6}{zone}" if point else head
        value = datetime.fromisoformat(text)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(
            f"{str(value)!r} is no time with its zone, as in 2017-07-04T12:17:52.838272Z"
        )
    return (value - _EPOCH) // timedelta(microseconds=1)


def _expected(day: str, counts: object, families: dict[str, str]) -> tuple[date, dict[str, int]]:
    if not isinstance(counts, dict):
        raise TypeError(f"{day} is no table of labels and counts")
    for label, count in counts.items():
        if type(count) is not int or count < 0:
            raise ValueError(f"{label!r} of {day} has {count!r}, which is no count")
        if unify(label) not in families:
            raise ValueError(f"{label!r} of {day} is a label that no rule gives")
    return date.fromisoformat(day), {unify(label): count for label, count in counts.items()}


def _days(rules: Iterable[Rule], expected: Iterable[date]) -> tuple[date, ...]:
    """Days with counts and days of windows; without counts, all from the first to the last."""
    found = set(expected)
    has_counts = bool(found)
    ends = [(day_of(rule.start_us), day_of(rule.end_us)) for rule in rules]
    if not has_counts:
        ends.append((min(first for first, _ in ends), max(last for _, last in ends)))
    for first, last in ends:
        found.update(first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(sorted(found))


def day_of(time_us: int) -> date:
    """Day (UTC) of a time in µs since 1970."""
    return (_EPOCH + timedelta(microseconds=time_us)).date()


def _check_keys(table: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = [key for key in table if key not in known]
    if unknown:
        raise ValueError(f"the key {unknown[0]!r} is none of {', '.join(known)}")


def _profile(name: object, *, optional: bool = False) -> str:
    if isinstance(name, str) and (name in PROFILES or (optional and not name)):
        return name
    raise ValueError(f"profile {name!r} is none of {', '.join(PROFILES)}")


def _list(table: dict[str, Any], key: str) -> list[Any]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise TypeError(f"{key} is {value!r}, not a list")
    return value


def _table(facts: dict[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    value = facts.get(key, {})
    if not isinstance(value, dict):
        raise TypeError(f"{key} is {value!r}, not a table")
    return value.items()


def _text(table: dict[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}, not a text")
    return value


def _flag(table: dict[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise TypeError(f"{key} is {value!r}, neither true nor false")
    return value
