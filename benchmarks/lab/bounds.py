"""Proves two things about a plan before anything runs: that it is safe and that it labels exactly.

Safe: every tool is one of a few, every load is bounded in count and time, every address is the
lab's own. Exact: no benign conversation of the plan can match a campaign's rule.
"""

from __future__ import annotations

import re
import shlex
from ipaddress import IPv4Address, IPv4Network

from benchmarks.lab.activities import KINDS, Contact, contacts
from benchmarks.lab.errors import PlanError
from benchmarks.lab.plan import FAMILIES, Campaign, Plan

MOST_PACKETS = 15_000
MOST_CONNECTIONS = 600
MOST_SECONDS = 120
EPHEMERAL_PORTS = (32768, 60999)
LITERAL_ADDRESS = re.compile(r"(?<![\d.])(\d+\.\d+\.\d+\.\d+(?:/\d+)?)(?![\d.])")
# How each program is told to stop: (option, highest value).
REQUIRED_OPTIONS = {
    "nmap": (),
    "hydra": (),
    "hping3": (("-c", MOST_PACKETS),),
    "spoofed-flood": (("--count", MOST_PACKETS),),
    "slowhttptest": (("-c", MOST_CONNECTIONS), ("-l", MOST_SECONDS)),
    "mqtt-guess": (("--count", MOST_CONNECTIONS),),
    "mqtt-flood": (("--count", MOST_CONNECTIONS),),
    "telnet-guess": (("--count", MOST_CONNECTIONS),),
    "mirai-scan": (("--count", MOST_PACKETS),),
}
MOST_GUESSES = 400


def check(plan: Plan) -> None:
    """Raise PlanError unless the plan is safe and labels exactly."""
    _check_network(plan)
    _check_activities(plan)
    benign = contacts(plan)
    for campaign in plan.campaigns:
        _check_load(plan, campaign)
        for contact in benign:
            if collides(plan, campaign, contact):
                raise PlanError(
                    f"campaign {campaign.id} would label benign flows from {contact.client} to "
                    f"{contact.server}, protocol {contact.protocol}, ports {contact.ports}"
                )
    names = [campaign.id for campaign in plan.campaigns]
    if len(names) != len(set(names)):
        raise PlanError("two campaigns have the same id")


def attackers(plan: Plan, campaign: Campaign) -> list[IPv4Network]:
    """The addresses that the victims see."""
    if campaign.sources is not None:
        return [campaign.sources]
    return [plan.network(name) for name in campaign.launched_from]


def collides(plan: Plan, campaign: Campaign, contact: Contact) -> bool:
    """Whether a benign conversation would match the campaign's labelling rule."""
    if campaign.protocol not in (None, contact.protocol):
        return False
    client, server = plan.addresses[contact.client], plan.addresses[contact.server]
    strikers = attackers(plan, campaign)
    victims = [plan.network(name) for name in campaign.victims]
    forward = within(client, strikers) and within(server, victims)
    backward = within(server, strikers) and within(client, victims)
    # Seen backwards the victim's port is the client's, which its kernel picks.
    return (forward and _overlap(campaign, contact.ports)) or (
        backward and _overlap(campaign, EPHEMERAL_PORTS)
    )


def within(address: IPv4Address, networks: list[IPv4Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


def _overlap(campaign: Campaign, ports: tuple[int, int]) -> bool:
    if campaign.ports is None:
        return True
    return any(low <= ports[1] and ports[0] <= high for low, high in campaign.ports)


def _check_network(plan: Plan) -> None:
    nets = (plan.lan, plan.wan, plan.dark)
    if any(a.overlaps(b) for a in nets for b in nets if a is not b):
        raise PlanError("lan, wan and dark must not overlap")
    for host in plan.hosts:
        side = {"lan": plan.lan, "wan": plan.wan}.get(host.side)
        if side is None or host.address not in side:
            raise PlanError(f"host {host.name}: {host.address} is not on side {host.side!r}")
    for name, address in plan.asleep.items():
        if address not in plan.lan:
            raise PlanError(f"{name}, asleep: {address} is not on side 'lan'")
    plan.host("gateway")  # raises PlanError if there is none
    if len(set(plan.addresses.values())) != len(plan.hosts) + len(plan.asleep):
        raise PlanError("two hosts have the same address or name")


def _check_activities(plan: Plan) -> None:
    for host in plan.hosts:
        for activity in host.activities:
            if activity.kind not in KINDS:
                raise PlanError(f"host {host.name}: unknown activity {activity.kind!r}")
            unknown = set(activity.to) - set(plan.addresses)
            if unknown or (not activity.to and activity.kind != "search"):
                raise PlanError(f"host {host.name}: {activity.kind} to unknown {unknown or '?'}")


def _check_load(plan: Plan, campaign: Campaign) -> None:
    where = f"campaign {campaign.id}"
    if campaign.family not in FAMILIES:
        raise PlanError(f"{where}: unknown family {campaign.family!r}")
    if campaign.program not in REQUIRED_OPTIONS:
        raise PlanError(f"{where}: {campaign.program!r} is not one of the lab's programs")
    if campaign.limit_s > MOST_SECONDS:
        raise PlanError(f"{where}: limit_s is above {MOST_SECONDS}")
    words = _words(plan, campaign)
    if "--flood" in words or "--faster" in words:
        raise PlanError(f"{where}: unbounded rates are not allowed")
    for option, most in REQUIRED_OPTIONS[campaign.program]:
        # Exactly once: programs obey the last of several, whatever the first one says.
        given = [word for word in words if _is_option(word, option)]
        value = words[words.index(option) + 1] if given == [option] != words[-1:] else ""
        if not (value.isascii() and value.isdigit()) or not 1 <= int(value) <= most:
            raise PlanError(f"{where}: needs {option} once, between 1 and {most}")
    if campaign.program == "hydra" and guesses(plan) > MOST_GUESSES:
        raise PlanError(f"{where}: more than {MOST_GUESSES} guesses")
    lab = (plan.lan, plan.wan, plan.dark)
    for text in LITERAL_ADDRESS.findall(campaign.arguments):
        if not _is_inside(text, lab):
            raise PlanError(f"{where}: {text} is not an address of the lab")
    named = set(campaign.launched_from) | set(campaign.victims)
    unknown = named - set(plan.addresses) - {"lan", "dark"}
    unknown |= set(campaign.launched_from) - {host.name for host in plan.hosts}
    if unknown:
        raise PlanError(f"{where}: unknown hosts {sorted(unknown)}")


def _words(plan: Plan, campaign: Campaign) -> list[str]:
    """The arguments as words, their names of hosts and lists still in braces."""
    names = {*plan.addresses, "lan", "dark", "self", "users", "passwords"}
    try:
        campaign.arguments.format_map(dict.fromkeys(names, ""))
        return shlex.split(campaign.arguments)
    except (KeyError, ValueError, IndexError) as error:
        raise PlanError(f"campaign {campaign.id}: bad arguments: {error!r}") from error


def _is_option(word: str, option: str) -> bool:
    """Whether a word gives the option, in any spelling that its program may understand."""
    if option.startswith("--"):  # argparse takes shortened names, and values after `=`
        return len(word) > 2 and option.startswith(word.partition("=")[0])
    return word.startswith((option, f"-{option}"))  # `-c5`; hping3 also has `--count`


def _is_inside(text: str, networks: tuple[IPv4Network, ...]) -> bool:
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:  # digits and dots that are no address
        return False
    return any(network.subnet_of(net) for net in networks)


def guesses(plan: Plan) -> int:
    """How many logins the plan's word lists make."""
    return len(plan.guesses.users) * len(plan.guesses.passwords)
