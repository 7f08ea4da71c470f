"""What benign hosts do, as command lines of real programs.

Each kind says two things in one place: what to run, and whom it talks to (`Contact`). From the
second it is proved before a recording that no campaign's label can catch a benign flow, and after
it that every recorded flow has an explanation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.lab.jail import module
from benchmarks.lab.services import PAGE_OBJECTS, PASSIVE_FTP_PORTS, dns_name

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.lab.plan import Activity, Host, Plan

TCP, UDP, ICMP = 6, 17, 1


@dataclass(frozen=True, slots=True)
class Contact:
    """A benign conversation that the plan allows. Ports 0 to 65535 where there is no port."""

    client: str
    server: str
    protocol: int
    ports: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Errand:
    """One run of one program."""

    arguments: list[str]
    timeout_s: float = 30.0
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """All that an errand may depend on."""

    plan: Plan
    host: Host
    activity: Activity
    shared: Path
    rng: random.Random

    @property
    def target(self) -> str:
        """One of the activity's peers, by name where the host uses the house's DNS."""
        name = self.rng.choice(self.activity.to)
        outside = self.host.side == "wan"
        return str(self.plan.addresses[name]) if outside else dns_name(self.plan, name)

    def port(self, usual: int) -> str:
        """The activity's port, or the usual one."""
        return str(self.activity.port or usual)

    def url(self, *paths: str) -> list[str]:
        """URLs at one target."""
        port = int(self.port(80))
        scheme = "https" if port in (443, 8443) else "http"
        target = self.target
        return [f"{scheme}://{target}:{port}/{path}" for path in paths]


def _mqtt_options(turn: Turn) -> list[str]:
    accounts, port = turn.plan.accounts, turn.port(1883)
    login = ["-u", accounts.mqtt_user, "-P", accounts.mqtt_password] if port == "1883" else []
    return ["-h", turn.target, "-p", port, *login]


def _publish(turn: Turn) -> Errand:
    reading = f'{{"t_c": {turn.rng.gauss(20, 3):.1f}, "n": {turn.rng.randrange(10**6)}}}'
    topic, qos = f"home/{turn.host.name}/state", turn.rng.choice("001")
    return Errand(["mosquitto_pub", *_mqtt_options(turn), "-t", topic, "-q", qos, "-m", reading])


def _stream(turn: Turn) -> Errand:
    """One connection that publishes a line every few seconds for `amount` seconds."""
    period_s = turn.rng.choice((1, 2, 3, 5))
    count = max(1, int(turn.activity.amount / period_s))
    feed = f"i=0; while [ $i -lt {count} ]; do echo $i.5; i=$((i+1)); sleep {period_s}; done"
    words = " ".join(_mqtt_options(turn))
    line = f"({feed}) | mosquitto_pub {words} -k 20 -l -t home/{turn.host.name}/power"
    return Errand(["sh", "-c", line], turn.activity.amount + 30)


def _subscribe(turn: Turn) -> Errand:
    seconds = int(turn.activity.amount * turn.rng.uniform(0.7, 1.3))
    topics = ["-t", "home/#", "-k", "30", "-W", str(seconds)]
    return Errand(["mosquitto_sub", *_mqtt_options(turn), *topics], seconds + 10)


_CURL = ["curl", "-s", "-k", "-o", "/dev/null", "--connect-timeout", "4", "-m", "40"]


def _get(turn: Turn) -> Errand:
    paths = ("api/state", "api/state", "index.html", "api/set", "missing", "private", "o/3")
    return Errand([*_CURL, *turn.url(turn.rng.choice(paths))])


def _post(turn: Turn) -> Errand:
    size = turn.rng.randint(200, 20_000)
    return Errand([*_CURL, "--data-binary", "@-", *turn.url("upload")], stdin="x" * size)


def _snapshot(turn: Turn) -> Errand:
    return Errand([*_CURL, *turn.url("snapshot.jpg")])


def _keepalive(turn: Turn) -> Errand:
    """Polls over one connection that stays open between them."""
    count = turn.rng.randint(5, 12)
    urls = turn.url(f"api/state?[1-{count}]")
    return Errand(["curl", "-s", "-k", "-o", "/dev/null", "--rate", "15/m", *urls], count * 4 + 20)


def _page(turn: Turn) -> Errand:
    """A browser opening a page: many objects at once over parallel connections."""
    count, base = turn.rng.randint(8, 20), turn.rng.randrange(PAGE_OBJECTS)
    paths = [f"o/{(base + i) % PAGE_OBJECTS}" for i in range(count)]
    sinks = ["-o", "/dev/null"] * count
    options = ["-s", "-k", "--http1.1", "-Z", "--parallel-immediate", "--parallel-max", "20"]
    return Errand(["curl", *options, "--connect-timeout", "4", *turn.url(*paths), *sinks])


def _download(turn: Turn) -> Errand:
    rate = turn.rng.choice(("400k", "800k", "2M"))
    options = ["-s", "-k", "-o", "/dev/null", "--limit-rate", rate, "-m", "60"]
    return Errand(["curl", *options, *turn.url("firmware.bin")], 70)


def _abort(turn: Turn) -> Errand:
    """A reader who leaves a page that loads too slowly: the client resets with data unread."""
    options = ["-s", "-k", "-o", "/dev/null", "--limit-rate", "60k", "-m", "1.2"]
    return Errand(["curl", *options, *turn.url("big.bin")])


def _ssh_options(turn: Turn) -> list[str]:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5",
               "LogLevel=ERROR"]  # fmt: skip
    words = [word for option in options for word in ("-o", option)]
    return ["-F", "none", "-i", str(turn.shared / "user_key"), *words]


def _shell(turn: Turn) -> Errand:
    pauses = [turn.rng.uniform(0.2, 4) for _ in range(turn.rng.randint(1, 5))]
    line = "; ".join(f"ls -l /etc; sleep {pause:.1f}" for pause in pauses)
    login = f"{turn.plan.accounts.user}@{turn.target}"
    return Errand(["ssh", *_ssh_options(turn), "-p", turn.port(22), login, line], 40)


def _mistype_ssh(turn: Turn) -> Errand:
    """A human who misses the password once or twice."""
    words = ["-F", "none", "-o", "PubkeyAuthentication=no", "-o", "StrictHostKeyChecking=no",
             "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
             "-o", "NumberOfPasswordPrompts=1", "-p", turn.port(22)]  # fmt: skip
    accounts, target = turn.plan.accounts, turn.target
    tries = [f"wrong{turn.rng.randrange(100)}"] * turn.rng.randint(1, 2) + [accounts.password]
    command = " ".join(("ssh", *words, f"{accounts.user}@{target}", "uptime"))
    line = "; sleep 2; ".join(f"sshpass -p '{word}' {command}" for word in tries)
    return Errand(["sh", "-c", line], 40)


def _copy(turn: Turn) -> Errand:
    """A backup of `amount` kilobytes."""
    size = int(turn.activity.amount * turn.rng.uniform(0.5, 1.5))
    login = f"{turn.plan.accounts.user}@{turn.target}"
    source = f"head -c {size}k /dev/urandom > $f"
    copy = " ".join(
        ("scp", "-q", *_ssh_options(turn), "-P", turn.port(22), "$f", f"{login}:backup")
    )
    return Errand(["sh", "-c", f"f=$(mktemp); {source}; {copy}; rm -f $f"], 60)


def _ftp(turn: Turn) -> Errand:
    accounts, target = turn.plan.accounts, turn.target
    options = ["-s", "-m", "30", "-u", f"{accounts.user}:{accounts.password}"]
    if turn.rng.random() < 0.5:
        return Errand(["curl", *options, "-o", "/dev/null", f"ftp://{target}/"], 35)
    size = turn.rng.randint(5_000, 150_000)
    name = f"notes{turn.rng.randrange(5)}"
    return Errand(["curl", *options, "-T", "-", f"ftp://{target}/{name}"], 35, "y" * size)


def _mistype_ftp(turn: Turn) -> Errand:
    login = f"{turn.plan.accounts.user}:wrong{turn.rng.randrange(100)}"
    return Errand(["curl", "-s", "-m", "20", "-u", login, f"ftp://{turn.target}/"])


def _terminal(turn: Turn) -> Errand:
    accounts = turn.plan.accounts
    words = [accounts.telnet_user, accounts.telnet_password, "uptime", "ls /etc", "exit"]
    feed = "; ".join(f"sleep {turn.rng.uniform(1, 2.5):.1f}; echo {word}" for word in words)
    line = f"({feed}; sleep 1) | telnet {turn.target} {turn.port(23)}"
    return Errand(["sh", "-c", line], 30)


def _lookup(turn: Turn) -> Errand:
    names = [dns_name(turn.plan, name) for name in turn.plan.addresses]
    name = turn.rng.choice([*names, *names, f"gone{turn.rng.randrange(50)}.example"])
    kind = turn.rng.choice(("A", "A", "AAAA"))
    server = f"@{turn.plan.addresses[turn.activity.to[0]]}"
    return Errand(["dig", "+short", "+tries=1", "+time=2", server, name, kind])


def _clock(turn: Turn) -> Errand:
    source = f"server {turn.target} iburst maxsamples {turn.rng.randint(1, 2)}"
    return Errand(["chronyd", "-Q", "-t", "4", "-u", "root", source], 10)


def _refused(turn: Turn) -> Errand:
    return Errand(["curl", "-s", "-m", "3", *turn.url("")])


def _unanswered(turn: Turn) -> Errand:
    return Errand(["curl", "-s", "--connect-timeout", str(turn.rng.randint(1, 4)), *turn.url("")])


def _ping(turn: Turn) -> Errand:
    return Errand(["ping", "-c", str(turn.rng.randint(1, 4)), "-i", "0.5", "-W", "1", turn.target])


def _search(turn: Turn) -> Errand:
    return Errand(module("tools.chatter", "search", str(turn.host.address)))


def _video(turn: Turn) -> Errand:
    seconds = turn.activity.amount * turn.rng.uniform(0.5, 1.5)
    target = str(turn.plan.addresses[turn.activity.to[0]])
    return Errand(module("tools.chatter", "video", target, turn.port(5004), f"{seconds:.1f}"), 130)


ANY_PORT = (0, 65535)
# kind: (what to run, protocol, the server's ports unless the activity names one)
KINDS: dict[str, tuple[Callable[[Turn], Errand], int, tuple[tuple[int, int], ...]]] = {
    "publish": (_publish, TCP, ((1883, 1883),)),
    "stream": (_stream, TCP, ((1883, 1883),)),
    "subscribe": (_subscribe, TCP, ((1883, 1883),)),
    "get": (_get, TCP, ((80, 80),)),
    "post": (_post, TCP, ((80, 80),)),
    "snapshot": (_snapshot, TCP, ((80, 80),)),
    "keepalive": (_keepalive, TCP, ((80, 80),)),
    "page": (_page, TCP, ((80, 80),)),
    "download": (_download, TCP, ((80, 80),)),
    "abort": (_abort, TCP, ((80, 80),)),
    "shell": (_shell, TCP, ((22, 22),)),
    "mistype-ssh": (_mistype_ssh, TCP, ((22, 22),)),
    "copy": (_copy, TCP, ((22, 22),)),
    "ftp": (_ftp, TCP, ((21, 21), PASSIVE_FTP_PORTS)),
    "mistype-ftp": (_mistype_ftp, TCP, ((21, 21),)),
    "terminal": (_terminal, TCP, ((23, 23),)),
    "lookup": (_lookup, UDP, ((53, 53),)),
    "clock": (_clock, UDP, ((123, 123),)),
    "refused": (_refused, TCP, ((80, 80),)),
    "unanswered": (_unanswered, TCP, ((80, 80),)),
    "ping": (_ping, ICMP, (ANY_PORT,)),
    "search": (_search, UDP, ((1900, 1900), (5353, 5353))),
    "video": (_video, UDP, ((5004, 5004),)),
}
NAMED_BY_ADDRESS = frozenset({"lookup", "search", "video"})


def errand(turn: Turn) -> Errand:
    """What a host runs now for one of its activities."""
    return KINDS[turn.activity.kind][0](turn)


def contacts(plan: Plan) -> list[Contact]:
    """Every benign conversation that the plan's activities can lead to."""
    found: set[Contact] = set()
    for host in plan.hosts:
        for activity in host.activities:
            _, protocol, usual = KINDS[activity.kind]
            ports = ((activity.port, activity.port),) if activity.port else usual
            to = activity.to
            if activity.kind == "search":
                to = tuple(h.name for h in plan.hosts if "chatter" in h.services)
            found |= {Contact(host.name, peer, protocol, p) for peer in to for p in ports}
            if host.side == "lan" and activity.kind not in NAMED_BY_ADDRESS:
                found.add(Contact(host.name, "gateway", UDP, (53, 53)))
    return sorted(found, key=lambda c: (c.client, c.server, c.protocol, c.ports))
