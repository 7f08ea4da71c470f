"""Who wins, and what is said of what cannot be used."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Config, configuration
from edge_agent.config.configuration import node_name
from edge_agent.config.sections import SETTINGS
from edge_agent.config.sources import MAX_FILE_BYTES, Origin, from_tables, parse_toml
from edge_agent.contract.alerts import is_node_name
from edge_agent.contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def load(file: Path | None = None, *sets: str, environ: dict[str, str] | None = None) -> Config:
    return Config.load(file, {"--set": sets}, environ, None)


def file_of(folder: Path, text: str, name: str = "agent.toml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(file: Path | None = None, *sets: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, *sets, environ=environ)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_later_ones_win(tmp_path: Path) -> None:
    file = file_of(tmp_path, "[capture]\nthreads = 3\nblock_timeout_ms = 3\nfilter = 'tcp'\n")
    file_of(tmp_path, "[capture]\nblock_timeout_ms = 4\n[meter]\nmax_flows = 4000", "conf.d/a.toml")
    file_of(tmp_path, "[capture]\nblock_timeout_ms = 5\n", "conf.d/b.toml")
    environ = {"EDGE_AGENT_CAPTURE_FILTER": "udp", "EDGE_AGENT_AGENT_NODE": "six", "HOME": "/"}
    flags = {"--set": ("agent.node=seven",), "--interface": ("eth0", "wlan0"), "--model": None}
    config = Config.load(file, flags, environ, "raspberry-pi-5")
    assert config.board == "raspberry-pi-5"
    assert config.capture.threads == 3
    assert config.capture.block_timeout_ms == 5
    assert config.capture.filter == "udp"
    assert config.capture.interfaces == ("eth0", "wlan0")
    assert config.agent.node == "seven"
    assert config.meter.max_flows == 4000
    origins = {name: str(origin) for name, origin in config.origins.items()}
    assert origins["capture.threads"] == f"{file}, line 2"
    assert origins["capture.block_timeout_ms"] == f"{tmp_path}/conf.d/b.toml, line 2"
    assert origins["meter.max_flows"] == f"{tmp_path}/conf.d/a.toml, line 4"
    assert origins["capture.filter"] == "EDGE_AGENT_CAPTURE_FILTER"
    assert origins["agent.node"] == "--set agent.node"
    assert origins["capture.interfaces"] == "--interface"
    assert origins["capture.ring_bytes"] == "board raspberry-pi-5"
    assert origins["agent.model"] == "default"


def test_a_flag_of_its_own_wins_over_set() -> None:
    config = Config.load(None, {"--model": Path("b"), "--set": ("agent.model=a",)}, {}, None)
    assert config.agent.model == Path("b")


def test_without_a_file_the_defaults_count() -> None:
    config = load()
    for name, setting in SETTINGS.items():
        if name != "agent.node":
            assert config.value(name) == setting.default
    assert is_node_name(config.agent.node)


def test_every_way_of_writing_a_value(tmp_path: Path) -> None:
    file = file_of(
        tmp_path,
        "detect.threshold = 1\n"
        'capture = { interfaces = ["any"], ring_bytes = 0x80_0000, promiscuous = false }\n'
        '[agent]\n"model" = "models/m.tflite"\npublic_key = "/k.pub"\n',
    )
    config = load(
        file,
        "stats.interval_s=1e1",
        "meter.max_flows=10_000",
        "capture.filter=not port 1 = 2",
        environ={
            "EDGE_AGENT_METRICS_ENABLED": "true",
            "EDGE_AGENT_AGENT_PUBLIC_KEY": "",
            "EDGE_AGENT_LOG_LEVEL": "debug",
        },
    )
    assert config.detect.threshold == 1.0
    assert isinstance(config.detect.threshold, float)
    assert config.capture.interfaces == ("any",)
    assert config.capture.ring_bytes == 8 * 2**20
    assert config.capture.promiscuous is False
    assert config.agent.model == tmp_path / "models" / "m.tflite"
    assert config.agent.public_key is None
    assert config.stats.interval_s == 10.0
    assert config.meter.max_flows == 10_000
    assert config.capture.filter == "not port 1 = 2"
    assert config.metrics.enabled is True
    assert config.log.level == "debug"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[capture]\n\nring_byte = 1", "line 3: capture.ring_byte is no setting; perhaps"),
        ("[capture]\nxyz = 1", "capture.xyz is no setting; [capture] has interfaces, promiscuous"),
        ("\n[captur]\n", "line 2: captur is no section; perhaps capture is meant."),
        ("threads = 1", "line 1: threads is no section; sections are agent, capture,"),
        ('"" = 1', "line 1: an empty name is no section"),
        ("capture.thread = 1", "line 1: capture.thread is no setting; perhaps capture.threads"),
        ("[log]\n'le\"vel' = 1", 'line 2: log.le"vel is no setting'),
        ("meter = {\n max_flow = 1 }", "is not TOML"),
        ("meter = { max_flow = 1 }", "line 1: meter.max_flow is no setting; perhaps"),
        ("[meter]\n[meter.max_flows]\na = 1", "line 2: meter.max_flows is a table, not a whole"),
        ("\n[[capture]]\nthreads = 1", "line 2: capture is an array of tables, not a section"),
        ("capture = 3", "line 1: capture is a value, not a section; write [capture] once"),
        ("[capture]\nthreads = 'two'", 'line 2: capture.threads is "two", not a whole number from'),
        ("[capture]\nthreads = true", "line 2: capture.threads is true, not a whole number from"),
        ("[capture]\nthreads = 1.0", "line 2: capture.threads is 1.0, not a whole number from 1"),
        ("[capture]\nthreads = 0", "line 2: capture.threads is 0, not a whole number from 1 to 16"),
        ("[capture]\nthreads = 99999999999999999999999999999999999999999", "is a huge number, not"),
        ("[capture]\nthreads = 1979-05-27", "line 2: capture.threads is 1979-05-27, not a whole"),
        ("[capture]\npromiscuous = 1", "line 2: capture.promiscuous is 1, not true or false"),
        ("[capture]\ninterfaces = 'eth0'", 'capture.interfaces is "eth0", not a list of texts'),
        ("[capture]\ninterfaces = ['eth0', 1]", "capture.interfaces is a list, not a list of text"),
        ("[capture]\ninterfaces = ['a', 'a']", "capture.interfaces names an interface twice"),
        ("[capture]\ninterfaces = ['any', 'a']", '"any" holds every interface already'),
        ("[capture]\ninterfaces = ['sixteen-letters-']", "which cannot be an interface's name"),
        ("[capture]\ninterfaces = ['../lo']", "'../lo', which cannot be an interface's name"),
        ("[capture]\nblock_bytes = 100_000", "capture.block_bytes must be a power of two"),
        ("[capture]\nsnap_length_bytes = 64", "must be 0 or at least 128 (all headers)"),
        ("[capture]\noffloads = 'on'", 'capture.offloads is "on", not "report" or "off"'),
        ('[capture]\nfilter = "a\\u0000"', "line 2: capture.filter holds a control character"),
        ("[detect]\nthreshold = nan", "line 2: detect.threshold is nan, not a number from 0.0 to"),
        ("[detect]\nthreshold = inf", "line 2: detect.threshold is inf, not a number from 0.0 to"),
        ("[detect]\nthreshold = 1.5", "line 2: detect.threshold is 1.5, not a number from 0.0 to"),
        (f"[stats]\ninterval_s = {10**300}", "line 2: stats.interval_s is inf, not a number from"),
        ("[agent]\nnode = 'a/b'", "line 2: agent.node has other characters than letters, digits"),
        ("[agent]\nmodel = ''", 'line 2: agent.model is "", not a path'),
        ("[metrics]\naddress = 'localhost'", "metrics.address is not an IP address of this"),
        ("a = 1\nb = \n", "line 2, column 5: is not TOML: invalid value"),
        ("[capture", "is not TOML"),
        (
            "[log]\nlevel = 'info'\nlevel = 'info'\n[meter]\n",
            "line 3, column 15: is not TOML: cannot",
        ),
        ("a = " + "[" * 3000, "nested too deeply"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("[log]\nlevel = 0x" + "f" * 5000, "line 2: log.level is a huge number, not"),
    ],
)
def test_one_sentence_with_the_line(tmp_path: Path, text: str, sentence: str) -> None:
    file = file_of(tmp_path, text)
    refused = refusal(file)
    assert refused.startswith(str(file))
    assert sentence in refused


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("EDGE_AGENT_CAPTURE_THREADS", "two", 'capture.threads is "two", not a whole number from'),
        ("EDGE_AGENT_CAPTURE_THREADS", "", 'capture.threads is "", not a whole number'),
        ("EDGE_AGENT_CAPTURE_THREADS", "٣", "not a whole number"),
        ("EDGE_AGENT_CAPTURE_PROMISCUOUS", "yes", 'is "yes", not true or false'),
        ("EDGE_AGENT_CAPTURE_THREAD", "1", "perhaps EDGE_AGENT_CAPTURE_THREADS is meant"),
        ("EDGE_AGENT_X", "1", "names no setting"),
        ("EDGE_AGENT_AGENT_MODEL", "\udcff", "holds a control character, or bytes that are not UT"),
        ("EDGE_AGENT_STATS_INTERVAL_S", "inf", 'stats.interval_s is "inf", not a number'),
        ("EDGE_AGENT_STATS_INTERVAL_S", "9" * 400, "stats.interval_s is inf, not a number"),
        ("EDGE_AGENT_METER_MAX_FLOWS", "9" * 5000, "not a whole number"),
        ("EDGE_AGENT_CAPTURE_FILTER", "x" * 5000, "has 5,000 characters, and 4,096 are the most"),
        ("EDGE_AGENT_CAPTURE_INTERFACES", ",".join(map(str, range(65))), "has 65 entries"),
    ],
)
def test_one_sentence_with_the_variable(variable: str, text: str, sentence: str) -> None:
    refused = refusal(environ={variable: text})
    assert refused.startswith(f"{variable}: ")
    assert sentence in refused


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("capture.threads=two", '--set capture.threads: capture.threads is "two", not a whole'),
        ("capture.threads", "--set capture.threads: has no value; write it as --set section.key="),
        ("capture.thread=1", "--set capture.thread: capture.thread is no setting; perhaps"),
        ("threads=1", "--set threads: threads is no section"),
        ("=1", "an empty name is no section"),
    ],
)
def test_one_sentence_with_the_flag(pair: str, sentence: str) -> None:
    assert sentence in refusal(None, pair)


def test_a_flag_of_its_own_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--interface: capture\.interfaces names an interface"):
        Config.load(None, {"--interface": ("a", "a")}, {}, None)


def test_variables_of_a_kubernetes_service_are_not_ours() -> None:
    environ = {
        "EDGE_AGENT_SERVICE_HOST": "10.0.0.1",
        "EDGE_AGENT_PORT": "tcp://10.0.0.1:9464",
        "EDGE_AGENT_PORT_9464_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=environ) == load()


def test_values_must_fit_together(tmp_path: Path) -> None:
    file = file_of(tmp_path, "[capture]\nring_bytes = 1_000_000\n[alerts]\nupdate_after_s = 5\n")
    assert f"{file}, line 2: capture.ring_bytes, 1,000,000, is not a multiple" in refusal(file)
    assert "for instance ring_bytes = 1048576" in refusal(file)
    # The one that was given last is to blame.
    refused = refusal(
        None, "capture.block_bytes=16777216", environ={"EDGE_AGENT_CAPTURE_RING_BYTES": "16777216"}
    )
    assert refused.startswith("--set capture.block_bytes: ")
    assert "has not room for 2 blocks" in refused
    refused = refusal(environ={"EDGE_AGENT_ALERTS_MAX_UPDATE_AFTER_S": "5"})
    assert refused.startswith("EDGE_AGENT_ALERTS_MAX_UPDATE_AFTER_S: ")
    assert "5, is below alerts.update_after_s, 10" in refused


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        (("mqtt.broker=mqtt://10.0.0.1",), "alerts would cross the network in plain text"),
        (("mqtt.broker=http://x",), "http://x: not a broker's URL; write it as mqtt://host:1883"),
        (("mqtt.broker=mqtt://localhost", "mqtt.ca_file=/x"), "a CA file needs TLS"),
        (("mqtt.broker=mqtt://localhost", "mqtt.password_file=/x"), "a password but no user name"),
        (("mqtt.password_file=/x",), "mqtt.password_file is set, but no mqtt.broker"),
    ],
)
def test_brokers_are_looked_at_early(sets: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal(None, *sets)


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    file = file_of(tmp_path, '[mqtt]\nbroker = "mqtts://user:topsecret@host"\n')
    refused = refusal(file)
    assert "holds a password" in refused
    assert refused.startswith(f"{file}, line 2: ")
    assert "topsecret" not in refused


@pytest.mark.parametrize(
    "url", ["mqtts://user@[2001:db8::1]:8883", "mqtt://[::1]", "mqtt://127.0.0.1:1884"]
)
def test_brokers_that_are_fine(url: str) -> None:
    assert load(None, f"mqtt.broker={url}").mqtt.broker == url


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in refusal(tmp_path)
    assert "cannot be read (No such file or directory)" in refusal(tmp_path / "none")
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# fine\n# caf\xe9\n")
    assert refusal(latin) == f"{latin}, line 2: is not UTF-8; save the file as UTF-8."
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert "is larger than 1,000,000 bytes" in refusal(large)
    marked = tmp_path / "marked.toml"
    marked.write_bytes(b"\xef\xbb\xbf[log]\r\nlevel = 'error'\r\n\r\n[log2]")
    assert f"{marked}, line 4: log2 is no section" in refusal(marked)


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of(tmp_path, "", "etc/agent.toml")
    file.chmod(0)
    with nobody():
        assert "cannot be read (Permission denied)" in refusal(file)
    # In a folder that is closed, nobody can say that there is no file.
    file.parent.chmod(0)
    monkeypatch.setattr(configuration, "DEFAULT_FILE", file)
    with nobody():
        assert f"{file}: cannot be read (Permission denied)" in refusal()
    file.parent.chmod(0o700)


def test_the_default_file_is_read_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_of(tmp_path, "[log]\nlevel = 'error'", "etc/agent.toml")
    assert load().log.level == "error"
    # Files in conf.d count without it.
    (tmp_path / "etc" / "agent.toml").unlink()
    assert load().log.level == "info"
    file_of(tmp_path / "etc", "[log]\nlevel = 'debug'", "conf.d/a.toml")
    assert load().log.level == "debug"


_FRAGMENTS = [
    "[capture]", "[[log]]", "[agent", "capture", ".", "threads", "=", "1", "-0.5", "'eth0'", '"',
    '"""', "{", "}", "[", "]", ",", "\n", "\r\n", "# ", "interfaces", "node", " ", "inf", "true",
    "é", "\\", "\0", "model", "mqtt.broker = 'mqtts://u:p@h'", "1979-05-27", "0x", "\n", "\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=24).map("".join) | st.text(max_size=40))
def test_any_text_is_a_configuration_or_refused(text: str) -> None:
    path = Path("/etc/edge-ids/agent.toml")
    refused = "/etc/edge-ids/agent.toml"
    try:
        tables, lines = parse_toml(text, path)
        Config.of(from_tables(tables, lines, path, lambda line: Origin(str(path), line)))
    except ConfigError as error:
        refused = str(error)
    assert refused.startswith(str(path))
    assert "\n" not in refused


def test_conf_d_is_toml_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    file = file_of(tmp_path, "")
    for name, level in (("10.toml", "error"), ("9.toml", "debug"), ("90.toml", "warning")):
        file_of(tmp_path, f"[log]\nlevel = '{level}'\n", f"conf.d/{name}")
    for name in (".#10.toml", "99.toml~", "99.toml.bak", "#99.toml#", ".99.toml.swp", "README"):
        file_of(tmp_path, "not toml", f"conf.d/{name}")
    assert load(file).log.level == "warning"
    file_of(tmp_path, "\n\n[log]\nlevels = 1", "conf.d/95.toml")
    assert "conf.d/95.toml, line 4: log.levels is no setting" in refusal(file)


def test_conf_d_that_is_no_folder(tmp_path: Path) -> None:
    file_of(tmp_path, "", "conf.d")
    assert "conf.d: cannot be listed (Not a directory)" in refusal(file_of(tmp_path, ""))


def test_no_interface_is_an_error_only_for_who_needs_one() -> None:
    with pytest.raises(ConfigError, match="no interface is named to listen on; give --interface"):
        load().require_interfaces()
    load(None, "capture.interfaces=eth0").require_interfaces()


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("raspberrypi", "raspberrypi"),
        ("gw.home.example", "gw.home.example"),
        ("-küche gw-", "k-che-gw"),
        ("", "gateway"),
        ("///", "gateway"),
        ("a" * 63 + ".b", "a" * 63),
    ],
)
def test_host_names_become_node_names(host: str, node: str) -> None:
    assert node_name(host) == node
    assert is_node_name(node)
