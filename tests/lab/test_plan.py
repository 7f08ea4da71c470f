"""Reading plans, and the refusals of unsafe ones and of those that would label wrongly."""

from __future__ import annotations

import random
import shlex
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lab import activities, bounds, services
from benchmarks.lab.activities import Contact, Turn, contacts
from benchmarks.lab.campaigns import Attack, write_word_lists
from benchmarks.lab.errors import PlanError
from benchmarks.lab.jail import Jail
from benchmarks.lab.plan import load
from benchmarks.lab.truth import Wave
from tests.lab.house import PLAN, house_plan

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.lab.plan import Plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return house_plan(tmp_path_factory.mktemp("plan"))


def test_a_plan_is_read_with_its_defaults(plan: Plan) -> None:
    bounds.check(plan)
    laptop = plan.host("laptop")
    assert (laptop.link.delay_ms, laptop.link.loss, laptop.link.rate_mbit) == (1.0, 0.01, 100.0)
    assert laptop.activities[0].to == ("server",)
    assert laptop.activities[0].burst == (1, 2)
    assert plan.campaigns[0].ports == ((1, 100),)
    assert plan.campaigns[1].ports == ((22, 22),)
    assert plan.addresses["console"] == IPv4Address("10.1.0.40")
    assert plan.network("lan") == plan.lan
    assert plan.network("server") == IPv4Network("10.1.0.2/32")
    assert [host.name for host in plan.side("lan")] == ["server", "laptop", "camera"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("seed = 7", "seed = 7\nsede = 8", "plan: unknown keys sede"),
        ("duration_s = 300", "duration_s = 300\nlength_s = 1", "timing: unknown keys length_s"),
        ("infected = true", "infectd = true", "host: unknown keys infectd"),
        ("every_s = 5,", "every_s = 5, evry = 1,", "activity: unknown keys evry"),
        ("delay_ms = 1.0", "delay = 1.0", "link: unknown keys delay"),
        ('label = "scan"', 'lable = "scan"', "campaign: unknown keys lable"),
        ('dark = "198.18.0.0/16"', 'dark = "198.18.0.0/16"\nwlan = "1"', "unknown keys wlan"),
        ('label = "scan"\n', "", "label"),
        ("seed = 7\n", "", "seed"),
        ("[timing]", "[timing", "TOMLDecodeError"),
        ("10.1.0.2", "10.1.0.256", "AddressValueError"),
    ],
)
def test_a_malformed_plan_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        house_plan(tmp_path, (before, after))


def test_a_missing_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read the plan"):
        load(tmp_path / "none.toml")


FLOOD = 'arguments = "-S -p 22 -c 100 {server}"'
HPING = 'program = "hping3"'


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('dark = "198.18.0.0/16"', 'dark = "10.1.0.0/16"', "must not overlap"),
        ('address = "10.1.0.3"', 'address = "8.8.8.8"', "laptop: 8.8.8.8 is not on side"),
        ('address = "10.1.0.3"', 'address = "10.1.0.2"', "same address"),
        ('console = "10.1.0.40"', 'console = "8.8.8.8"', "8.8.8.8 is not on side"),
        ('name = "gateway"', 'name = "router"', "no host named 'gateway'"),
        ('side = "lan"', 'side = "wlan"', "side 'wlan'"),
        ('kind = "get"', 'kind = "got"', "unknown activity 'got'"),
        ('kind = "get", to = "server"', 'kind = "get"', "get to unknown"),
        ('kind = "get", to = "server"', 'kind = "get", to = "srv"', "get to unknown"),
        ('family = "dos"', 'family = "evil"', "unknown family 'evil'"),
        (HPING, 'program = "rm"', "not one of the lab's programs"),
        (FLOOD, FLOOD + "\nlimit_s = 121", "limit_s is above 120"),
        (FLOOD, FLOOD.replace("-S", "-S --flood"), "unbounded rates"),
        (FLOOD, FLOOD.replace("-S", "-S --faster"), "unbounded rates"),
        (FLOOD, FLOOD.replace("-c 100", ""), "needs -c"),
        (FLOOD, FLOOD.replace("-c 100", "-c 15001"), "needs -c"),
        (FLOOD, FLOOD.replace("-c 100", "-c 0"), "needs -c"),
        (FLOOD, FLOOD.replace("-c 100", "-c -5"), "needs -c"),
        (FLOOD, FLOOD.replace("-c 100", "-c ²"), "needs -c"),
        (FLOOD, FLOOD.replace("{server}", "{server} -c"), "needs -c"),
        (FLOOD, FLOOD.replace("-c 100", "-c 100 -c 99999"), "needs -c once"),
        (FLOOD, FLOOD.replace("-c 100", "-c 100 -c99999"), "needs -c once"),
        (FLOOD, FLOOD.replace("-c 100", "-c 100 --count 99999"), "needs -c once"),
        (FLOOD, FLOOD.replace("{server}", "8.8.8.8"), "8.8.8.8 is not an address of the lab"),
        (FLOOD, FLOOD.replace("{server}", "10.1.0.0/8"), "is not an address of the lab"),
        (FLOOD, FLOOD.replace("{server}", "999.1.1.1"), "is not an address of the lab"),
        (FLOOD, FLOOD.replace("{server}", "{sevrer}"), "bad arguments.*sevrer"),
        (FLOOD, FLOOD.replace("{server}", "{server} 'x"), "bad arguments.*quotation"),
        ('launched_from = ["camera"]', 'launched_from = ["nobody"]', "unknown hosts"),
        ('launched_from = ["camera"]', 'launched_from = ["lan"]', "unknown hosts"),
        ('victims = ["server"]', 'victims = ["nobody"]', "unknown hosts"),
        ('id = "h02"', 'id = "h01"', "same id"),
    ],
)
def test_an_unsafe_plan_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    plan = house_plan(tmp_path, (before, after))
    with pytest.raises(PlanError, match=said):
        bounds.check(plan)


def test_guesses_are_bounded(tmp_path: Path) -> None:
    hydra = ('program = "nmap"', 'program = "hydra"')
    bounds.check(house_plan(tmp_path, hydra))
    many = ('"c"]', ", ".join(f'"w{n}"' for n in range(200)) + "]")
    with pytest.raises(PlanError, match="more than 400 guesses"):
        bounds.check(house_plan(tmp_path, hydra, many))


@pytest.mark.parametrize(
    ("option", "spelling"),
    [("--count", "--count=700"), ("--count", "--cou 700"), ("--count", "--c=700")],
)
def test_no_spelling_of_a_count_escapes_its_bound(
    tmp_path: Path, option: str, spelling: str
) -> None:
    base = (HPING, 'program = "mqtt-flood"'), (FLOOD, f'arguments = "{{server}} {option} 600"')
    bounds.check(house_plan(tmp_path, *base))
    worse = (f"{option} 600", f"{option} 600 {spelling}")
    with pytest.raises(PlanError, match="needs --count once"):
        bounds.check(house_plan(tmp_path, *base, worse))


@given(st.integers(-5, 40_000))
def test_a_flood_is_allowed_exactly_up_to_its_bound(
    tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    plan = house_plan(tmp_path_factory.getbasetemp(), ("-c 100", f"-c {count}"))
    if 1 <= count <= bounds.MOST_PACKETS:
        bounds.check(plan)
    else:
        with pytest.raises(PlanError, match="needs -c"):
            bounds.check(plan)


@pytest.mark.parametrize(
    "change",
    [
        ("ports = [[1, 100]]", "ports = [8080]"),
        ("ports = [[1, 100]]", "ports = [[8000, 9000]]"),
        ("ports = [[1, 100]]\n", ""),
        ("protocol = 6\nports = [[1, 100]]\n", ""),
        ('launched_from = ["camera"]', 'launched_from = ["laptop"]'),
    ],
)
def test_a_campaign_that_would_label_benign_flows_is_refused(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    with pytest.raises(PlanError, match="h01 would label benign flows"):
        bounds.check(house_plan(tmp_path, change))


PORTS = st.tuples(st.integers(1, 1000), st.integers(1, 1000)).map(lambda p: (min(p), max(p)))


@given(
    st.sampled_from(["camera", "laptop", "server"]),
    st.sampled_from(["server", "gateway", "camera"]),
    st.sampled_from([6, 17]),
    PORTS,
    PORTS,
    st.data(),
)
def test_what_does_not_collide_is_never_matched(
    plan: Plan, client: str, server: str, protocol: int, ports: tuple[int, int],
    aimed: tuple[int, int], data: st.DataObject,
) -> None:  # fmt: skip
    """The proof before a recording and the rule after it agree on every flow of a contact."""
    from dataclasses import replace

    campaign = replace(plan.campaigns[0], ports=(aimed,))
    contact = Contact(client, server, protocol, ports)
    matcher = Wave(
        "x", "t", "scan", "l", "c", 0, 1, ("10.1.0.4",), ("10.1.0.2",), 6, (aimed,), ()
    ).matcher()
    ends = [
        (int(plan.addresses[client]), data.draw(st.integers(*bounds.EPHEMERAL_PORTS))),
        (int(plan.addresses[server]), data.draw(st.integers(*ports))),
    ]
    matched = matcher.matches((ends[0], ends[1]), protocol)
    assert matched == matcher.matches((ends[1], ends[0]), protocol)
    collides = bounds.collides(plan, campaign, contact)
    assert collides or not matched
    apart = aimed[1] < ports[0] or ports[1] < aimed[0]
    assert collides == ((client, server, protocol) == ("camera", "server", 6) and not apart)


def test_contacts_name_every_conversation_of_the_activities(plan: Plan) -> None:
    found = contacts(plan)
    assert Contact("laptop", "server", 6, (80, 80)) in found
    assert Contact("camera", "server", 6, (8080, 8080)) in found
    assert Contact("laptop", "gateway", 17, (53, 53)) in found
    assert len(found) == 4


@pytest.mark.parametrize("kind", sorted(activities.KINDS))
def test_every_activity_names_only_peers_of_its_contacts(tmp_path: Path, kind: str) -> None:
    port = "" if kind != "video" else ", port = 5004"
    change = (
        '{ kind = "get", to = "server", every_s = 5',
        f'{{ kind = "{kind}", to = "server"{port}, amount = 20, every_s = 5',
    )
    plan = house_plan(tmp_path, change)
    host = plan.host("laptop")
    for seed in range(20):
        turn = Turn(plan, host, host.activities[0], tmp_path, random.Random(seed))
        errand = activities.errand(turn)
        assert errand.timeout_s <= 300
        text = shlex.join(errand.arguments)
        if kind != "search":
            assert services.dns_name(plan, "server") in text or "10.1.0.2" in text
        assert "camera" not in text or kind == "lookup"
        assert (
            activities.errand(Turn(plan, host, host.activities[0], tmp_path, random.Random(seed)))
            == errand
        )


def test_commands_are_filled_in_and_shown_without_the_temporary_folder(
    tmp_path: Path, plan: Plan
) -> None:
    from dataclasses import replace

    attack = Attack(plan, Jail(plan, tmp_path), tmp_path, print)
    asked = replace(plan.campaigns[0], program="hydra", arguments="-L {users} ssh://{server}")
    command = attack._command(asked, "camera")
    assert command == ["hydra", "-L", str(tmp_path / "users"), "ssh://10.1.0.2"]
    assert attack._portable(shlex.join(command)) == "hydra -L users.txt ssh://10.1.0.2"
    own = replace(asked, program="mirai-scan", arguments="{lan} {dark} --own {self} --count 5")
    shown = attack._portable(shlex.join(attack._command(own, "camera")))
    assert shown == (
        "python -m benchmarks.lab.tools.mirai_scan 10.1.0.0/24 198.18.0.0/16 "
        "--own 10.1.0.4 --count 5"
    )


def test_word_lists_are_one_word_a_line(tmp_path: Path, plan: Plan) -> None:
    write_word_lists(plan, tmp_path)
    assert (tmp_path / "passwords").read_text() == "a\nb\nc\n"
    assert bounds.guesses(plan) == 6


def test_the_example_is_what_the_tests_change() -> None:
    assert PLAN.count(FLOOD) == 1
