"""Running attack campaigns, one after another, with the pauses that the plan asks for."""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.lab.bounds import attackers
from benchmarks.lab.jail import Jail, module
from benchmarks.lab.truth import Wave

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.lab.plan import Campaign, Plan

OWN_TOOLS = {
    "mqtt-guess": "tools.mqtt_guess",
    "mqtt-flood": "tools.mqtt_flood",
    "telnet-guess": "tools.telnet_guess",
    "mirai-scan": "tools.mirai_scan",
    "spoofed-flood": "tools.spoofed_flood",
}
# What the record names as the tool: the one that makes the packets.
TOOL_NAMES = {"spoofed-flood": "hping3"}
Say = Callable[[str], None]


class Attack:
    """Runs the campaigns of a plan and notes when each really ran."""

    def __init__(self, plan: Plan, jail: Jail, work: Path, say: Say) -> None:
        self.plan = plan
        self.jail = jail
        self.work = work
        self.say = say
        self.rng = random.Random(f"{plan.seed}/campaigns")
        self.ended_s: dict[str, float] = {}

    def run_all(self) -> list[Wave]:
        """Run every campaign in order."""
        waves = []
        for campaign in self.plan.campaigns:
            self._wait(campaign)
            waves.append(self._run(campaign))
        return waves

    def _wait(self, campaign: Campaign) -> None:
        """Leave the pause since the last campaign and the gap since these attackers' own last."""
        timing, now_s = self.plan.timing, time.monotonic()
        due_s = [now_s + self.rng.uniform(*timing.pause_s)] if self.ended_s else []
        ends_s = (self.ended_s[n] for n in campaign.launched_from if n in self.ended_s)
        due_s.extend(ended_s + timing.attacker_gap_s for ended_s in ends_s)
        time.sleep(max(0.0, max(due_s, default=now_s) - now_s))

    def _run(self, campaign: Campaign) -> Wave:
        commands = {name: self._command(campaign, name) for name in campaign.launched_from}
        log = self.work / f"{campaign.id}.log"
        start_us = time.time_ns() // 1000
        with log.open("wb") as sink:
            running = [
                subprocess.Popen(
                    self.jail.command(name, *command), env=self.jail.environment(name),
                    cwd=self.work, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                    start_new_session=True,
                )
                for name, command in commands.items()
            ]  # fmt: skip
            codes = self._finish(running, campaign.limit_s)
        time.sleep(campaign.settle_s)
        end_us = time.time_ns() // 1000
        for name in campaign.launched_from:
            self.ended_s[name] = time.monotonic()
        seconds = (end_us - start_us) / 1e6
        self.say(f"{campaign.id} {campaign.label}: {seconds:.1f} s, exit {codes}")
        shown = shlex.join(next(iter(commands.values())))
        return Wave(
            id=campaign.id,
            tool=TOOL_NAMES.get(campaign.program, campaign.program),
            family=campaign.family,
            label=campaign.label,
            command=self._portable(shown),
            start_us=start_us,
            end_us=end_us,
            attackers=tuple(_shown(str(net)) for net in attackers(self.plan, campaign)),
            victims=tuple(_shown(str(self.plan.network(name))) for name in campaign.victims),
            protocol=campaign.protocol,
            ports=_ports(campaign),
            launched_from=tuple(str(self.plan.addresses[n]) for n in campaign.launched_from),
        )

    def _finish(self, running: list[subprocess.Popen[bytes]], limit_s: float) -> list[int | str]:
        """Wait for all until the limit, then end what is left of each, children included."""
        deadline_s = time.monotonic() + limit_s
        codes: list[int | str] = []
        for process in running:
            try:
                codes.append(process.wait(max(0.1, deadline_s - time.monotonic())))
            except subprocess.TimeoutExpired:
                codes.append("ended at its limit")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
                time.sleep(0.3)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return codes

    def _command(self, campaign: Campaign, attacker: str) -> list[str]:
        """The command line with names of hosts, networks and word lists filled in."""
        plan = self.plan
        names = {name: str(address) for name, address in plan.addresses.items()}
        names |= {"lan": str(plan.lan), "dark": str(plan.dark), "self": names[attacker]}
        names |= {kind: str(self.work / kind) for kind in ("users", "passwords")}
        words = shlex.split(campaign.arguments.format_map(names))
        own = OWN_TOOLS.get(campaign.program)
        return module(own, *words) if own else [campaign.program, *words]

    def _portable(self, command: str) -> str:
        """The command without this recording's temporary folder and interpreter."""
        for name in ("users", "passwords"):
            command = command.replace(str(self.work / name), f"{name}.txt")
        first, _, rest = command.partition(" ")
        return f"python {rest}" if rest.startswith("-m benchmarks.lab.") else f"{first} {rest}"


def write_word_lists(plan: Plan, work: Path) -> None:
    """Put the plan's guesses where the tools find them."""
    for kind, words in (("users", plan.guesses.users), ("passwords", plan.guesses.passwords)):
        (work / kind).write_text("\n".join(words) + "\n")


def _shown(network: str) -> str:
    return network.removesuffix("/32")


def _ports(campaign: Campaign) -> tuple[int | tuple[int, int], ...] | None:
    if campaign.ports is None:
        return None
    return tuple(low if low == high else (low, high) for low, high in campaign.ports)
