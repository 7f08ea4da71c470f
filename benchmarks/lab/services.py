"""The servers of the lab: one function per kind writes its configuration and names its command."""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.lab.jail import module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.lab.plan import Host, Plan

PASSIVE_FTP_PORTS = (40000, 40099)
PAGE_OBJECTS = 40


@dataclass(frozen=True, slots=True)
class Site:
    """Where one service of one host lives."""

    plan: Plan
    host: Host
    folder: Path
    shared: Path
    port: int


def prepare_shared(plan: Plan, folder: Path) -> None:
    """Make what the servers of a session have in common: keys, a certificate, web content."""
    folder.mkdir(parents=True)
    rng = random.Random(f"{plan.seed}/content")
    web = folder / "web"
    for part in ("api", "o", "upload"):
        (web / part).mkdir(parents=True)
    (web / "index.html").write_bytes(rng.randbytes(9_000))
    (web / "big.bin").write_bytes(rng.randbytes(400_000))
    (web / "firmware.bin").write_bytes(rng.randbytes(rng.randint(2_200_000, 2_800_000)))
    (web / "snapshot.jpg").write_bytes(rng.randbytes(rng.randint(15_000, 45_000)))
    (web / "api" / "state").write_text('{"on": true, "power_w": 12.5, "energy_wh": 5023}\n')
    for number in range(PAGE_OBJECTS):
        size = min(60_000, int(rng.lognormvariate(8.3, 1.1)))
        (web / "o" / str(number)).write_bytes(rng.randbytes(size))
    for name in ("host_key", "user_key"):
        _quiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    _quiet("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
           "-nodes", "-days", "30", "-subj", "/CN=home", "-keyout", str(folder / "tls.key"),
           "-out", str(folder / "tls.crt"))  # fmt: skip
    accounts = plan.accounts
    _quiet("mosquitto_passwd", "-b", "-c", str(folder / "mqtt.passwords"),
           accounts.mqtt_user, accounts.mqtt_password)  # fmt: skip


def command(plan: Plan, host: Host, service: str, work: Path) -> list[str]:
    """Configure one service and return its command line. `service` is a kind or `kind:port`."""
    kind, _, port = service.partition(":")
    make, usual = KINDS[kind]
    folder = work / "hosts" / host.name / service.replace(":", "-")
    folder.mkdir(parents=True)
    return make(Site(plan, host, folder, work / "shared", int(port or usual)))


def _quiet(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


def _write(site: Site, text: str) -> str:
    path = site.folder / "conf"
    path.write_text(text)
    return str(path)


def _mqtt(site: Site) -> list[str]:
    conf = f"""
        per_listener_settings true
        user root
        log_type none
        listener {site.port}
        password_file {site.shared / "mqtt.passwords"}
        listener {site.port + 1}
        allow_anonymous true
    """
    return ["mosquitto", "-c", _write(site, "\n".join(map(str.strip, conf.splitlines())))]


def _nginx(site: Site, listen: str) -> list[str]:
    folder = site.folder
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    # The upload passes through an inner server, which makes nginx read the body before it answers:
    # a slow body holds a connection open here as it does at a real application.
    inner = f"unix:{folder}/inner.sock"
    conf = f"""
        user root; worker_processes 1; daemon off; pid {folder}/pid;
        error_log {folder}/error.log crit;
        events {{ worker_connections 600; }}
        http {{
            access_log off; keepalive_timeout 65; {paths}
            server {{
                {listen} root {site.shared / "web"};
                location = /private {{ return 401; }}
                location = /api/set {{ return 204; }}
                location /upload {{ proxy_pass http://{inner}; client_max_body_size 8m; }}
            }}
            server {{ listen {inner}; location / {{ return 204; }} }}
        }}
    """
    return ["nginx", "-e", f"{folder}/error.log", "-c", _write(site, conf)]


def _web(site: Site) -> list[str]:
    return _nginx(site, f"listen {site.port};")


def _tls(site: Site) -> list[str]:
    key, certificate = site.shared / "tls.key", site.shared / "tls.crt"
    return _nginx(
        site, f"listen {site.port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};"
    )


def _ssh(site: Site) -> list[str]:
    conf = f"""
        Port {site.port}
        HostKey {site.shared / "host_key"}
        AuthorizedKeysFile {site.shared / "user_key.pub"}
        PidFile none
        UsePAM no
        PasswordAuthentication yes
        StrictModes no
        UseDNS no
        LogLevel QUIET
        MaxStartups 30:30:60
        Subsystem sftp internal-sftp
    """
    return ["/usr/sbin/sshd", "-D", "-f", _write(site, conf)]


def _ftp(site: Site) -> list[str]:
    empty = site.folder / "empty"
    empty.mkdir()
    settings = {
        "listen": "YES", "listen_ipv6": "NO", "background": "NO", "listen_port": site.port,
        "anonymous_enable": "NO", "local_enable": "YES", "write_enable": "YES",
        "pam_service_name": "vsftpd", "secure_chroot_dir": empty, "seccomp_sandbox": "NO",
        "isolate_network": "NO", "pasv_min_port": PASSIVE_FTP_PORTS[0],
        "pasv_max_port": PASSIVE_FTP_PORTS[1], "port_enable": "NO", "xferlog_enable": "NO",
    }  # fmt: skip
    return ["vsftpd", _write(site, "".join(f"{k}={v}\n" for k, v in settings.items()))]


def _telnet(site: Site) -> list[str]:
    line = f"{site.port} stream tcp nowait.2000 root /usr/sbin/telnetd telnetd\n"
    return ["inetd", "-i", "-R", "2000", _write(site, line)]


def _dns(site: Site) -> list[str]:
    records = "".join(
        f"host-record={dns_name(site.plan, name)},{address}\n"
        for name, address in site.plan.addresses.items()
    )
    settings = "no-resolv\nno-hosts\nuser=root\npid-file=\nlocal=/home/\nlocal=/example/\n"
    listen = f"listen-address={site.host.address}\nbind-interfaces\nport={site.port}\n"
    return ["dnsmasq", "-k", f"--conf-file={_write(site, settings + listen + records)}"]


def _ntp(site: Site) -> list[str]:
    conf = f"local stratum 8\nallow\ncmdport 0\nbindcmdaddress /\nport {site.port}\n"
    conf += f"pidfile {site.folder}/pid\n"
    return ["chronyd", "-x", "-d", "-u", "root", "-f", _write(site, conf)]


def _chatter(site: Site) -> list[str]:
    return module("tools.chatter", "answer", str(site.host.address))


def _video(site: Site) -> list[str]:
    return module("tools.chatter", "receive", str(site.port))


def dns_name(plan: Plan, name: str) -> str:
    """Name of a host in the house's DNS."""
    outside = any(host.name == name and host.side == "wan" for host in plan.hosts)
    return f"{name}.example" if outside else f"{name}.home"


KINDS: dict[str, tuple[Callable[[Site], list[str]], int]] = {
    "mqtt": (_mqtt, 1883),
    "web": (_web, 80),
    "tls": (_tls, 443),
    "ssh": (_ssh, 22),
    "ftp": (_ftp, 21),
    "telnet": (_telnet, 23),
    "dns": (_dns, 53),
    "ntp": (_ntp, 123),
    "chatter": (_chatter, 1900),
    "video": (_video, 5004),
}
