"""One recording from beginning to end; whatever it started is gone when it returns or fails."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab import bounds, campaigns, preflight, services
from benchmarks.lab.campaigns import Attack, Say
from benchmarks.lab.capture import Recorder
from benchmarks.lab.errors import LabError, RecordingError
from benchmarks.lab.jail import Jail, module
from benchmarks.lab.namespaces import WIRE, Network
from benchmarks.lab.plan import Plan, load
from benchmarks.lab.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SERVICES_START_S = 3.0
CAPTURE, TRUTH, PLAN = "capture.pcap.gz", "truth.json", "plan.toml"


def record(plan_path: Path, output: Path, logs: Path | None, say: Say) -> Truth:
    """Record a session into a folder; raises LabError with the reason if it cannot."""
    plan = load(plan_path)
    bounds.check(plan)
    preflight.check()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_one(plan.session))
        stack.enter_context(_ending_is_an_interrupt())
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-ids-lab-")))
        work.chmod(0o755)  # logged-in users must reach their homes
        if logs is not None:
            stack.callback(_keep_logs, work, logs)
        network = Network(plan)
        network.remove()  # what an earlier recording left when the machine was switched off
        stack.callback(network.remove)
        output.mkdir(parents=True, exist_ok=True)
        truth = Run(plan, plan_path, network, work, say).record(output)
    truth.save(output / TRUTH)
    if plan_path.resolve() != (output / PLAN).resolve():
        shutil.copyfile(plan_path, output / PLAN)
    return truth


class Run:
    """The parts of a recording, in order."""

    def __init__(self, plan: Plan, plan_path: Path, network: Network, work: Path, say: Say) -> None:
        self.plan = plan
        self.plan_path = plan_path.resolve()
        self.network = network
        self.work = work
        self.say = say
        self.jail = Jail(plan, work)
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.residents: list[subprocess.Popen[bytes]] = []

    def record(self, output: Path) -> Truth:
        """Build the house, live in it, attack it, and write down what happened."""
        plan, timing = self.plan, self.plan.timing
        self.say(f"building {len(plan.hosts)} namespaces")
        self.network.build()
        self.jail.build()
        services.prepare_shared(plan, self.work / "shared")
        campaigns.write_word_lists(plan, self.work)
        self._start_wire()
        self._start_services()
        recorder = Recorder(self.network.gateway, self.work)
        start_us, start_s = time.time_ns() // 1000, time.monotonic()
        self._start_residents()
        self.say(f"recording; benign traffic alone for {timing.opening_s:.0f} s")
        time.sleep(timing.opening_s)
        attack = Attack(plan, self.jail, self.work, self.say)
        waves = attack.run_all()
        rest_s = max(timing.closing_s, start_s + timing.duration_s - time.monotonic())
        self.say(f"benign traffic alone for {rest_s:.0f} s")
        time.sleep(rest_s)
        self._check_servers()
        end_us = time.time_ns() // 1000
        outcome = recorder.finish(output / CAPTURE)
        self._stop_residents()
        return Truth(
            session=plan.session,
            capture=CAPTURE,
            start_us=start_us,
            end_us=end_us,
            packets=outcome.packets,
            dropped_by_kernel=outcome.dropped,
            lan=str(plan.lan),
            hosts={name: str(address) for name, address in plan.addresses.items()},
            infected=tuple(host.name for host in plan.hosts if host.infected),
            tools=preflight.versions(),
            campaigns=tuple(waves),
        )

    def _start(self, host: str, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.work / f"{host}-{name}.log").open("wb") as sink:
            return subprocess.Popen(
                self.jail.command(host, *command), env=self.jail.environment(host),
                cwd=self.work, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                start_new_session=True,
            )  # fmt: skip

    def _start_wire(self) -> None:
        links = self.network.wire_links
        if links:
            command = module("wire", str(self.plan.seed), *links)
            self.servers["delay lines"] = self._start(WIRE, "links", command)

    def _start_services(self) -> None:
        for host in self.plan.hosts:
            for service in host.services:
                command = services.command(self.plan, host, service, self.work)
                key = f"{service} on {host.name}"
                self.servers[key] = self._start(host.name, service.replace(":", "-"), command)
        time.sleep(SERVICES_START_S)
        self._check_servers()

    def _check_servers(self) -> None:
        """A server that died spoils the labels: connections to it would look like scans."""
        dead = [name for name, process in self.servers.items() if process.poll() is not None]
        if dead:
            raise RecordingError(f"ended unexpectedly: {', '.join(dead)}; see --keep-logs")

    def _start_residents(self) -> None:
        for host in self.plan.hosts:
            if host.activities:
                shared, summary = self.work / "shared", self.work / f"{host.name}-summary.log"
                command = module(
                    "resident", str(self.plan_path), host.name, str(shared), str(summary)
                )
                self.residents.append(self._start(host.name, "resident", command))

    def _stop_residents(self) -> None:
        for process in self.residents:
            process.send_signal(signal.SIGTERM)
        for process in self.residents:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)


@contextlib.contextmanager
def _only_one(session: str) -> Iterator[None]:
    """Keep two recordings of one session apart, so that each may clean up by name."""
    with Path(f"/run/lock/edge-ids-lab-{session}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LabError(f"{session} is being recorded already on this machine") from error
        yield


@contextlib.contextmanager
def _ending_is_an_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP clean up just as Ctrl-C does."""

    def stop(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _keep_logs(work: Path, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    for path in work.glob("*.log"):
        shutil.copyfile(path, logs / path.name)
