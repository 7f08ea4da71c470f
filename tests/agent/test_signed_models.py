"""`edge-agent --public-key`: only model files of who is trusted are loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.contract.errors import SignatureError
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector
from edge_agent.signing import PrivateKey, PublicKeys
from tests.agent.conftest import LAB_MODEL
from tests.agent.test_commands import scan
from tests.packets import write_capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Result

    EdgeAgent = Callable[..., Result]


class Fleet:
    """A key pair, and the lab's model signed with it."""

    def __init__(self, folder: Path) -> None:
        key = PrivateKey.generate()
        self.public = key.save(folder / "fleet.key")
        self.stranger = PrivateKey.generate().save(folder / "stranger.key")
        self.model = folder / "signed.tflite"
        self.model.write_bytes(key.signed(LAB_MODEL.read_bytes(), LAB_MODEL))
        self.altered = folder / "altered.tflite"
        data = bytearray(self.model.read_bytes())
        data[5000] ^= 1
        self.altered.write_bytes(data)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    pytest.importorskip("cryptography", reason="cryptography is not installed: edge-ids[signing]")
    return Fleet(tmp_path)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "scan.pcap", scan(60))


def test_replay_and_score_load_what_is_signed(
    edge_agent: EdgeAgent, fleet: Fleet, capture: Path, tmp_path: Path
) -> None:
    plain = edge_agent("replay", capture, "--model", LAB_MODEL)
    asked = ("--model", fleet.model, "--public-key", fleet.public)
    done = edge_agent("replay", capture, *asked)
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    # Who does not ask for a signature loads signed files too.
    assert edge_agent("replay", capture, "--model", fleet.model).stdout == plain.stdout
    flows = tmp_path / "flows.csv"
    assert edge_agent("extract", capture, "--output", flows).returncode == 0
    done = edge_agent("score", flows, *asked, "--output", tmp_path / "scores.csv")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["score", "replay"])
def test_anything_else_is_refused_in_one_sentence(
    edge_agent: EdgeAgent, fleet: Fleet, capture: Path, tmp_path: Path, command: str
) -> None:
    scores = tmp_path / "scores.csv"
    # A CSV that is not there: the model is refused before the flows are looked at.
    given = (capture,) if command == "replay" else (tmp_path / "none.csv", "--output", scores)
    for model, public, words in (
        (LAB_MODEL, fleet.public, "is not signed"),
        (fleet.model, fleet.stranger, "is signed by the key "),
        (fleet.altered, fleet.public, "is altered: the signature by the key "),
        (fleet.model, fleet.public.with_suffix(""), "holds a private key where a public one"),
        (fleet.model, tmp_path / "none.pub", "none.pub: cannot be read"),
    ):
        done = edge_agent(command, *given, "--model", model, "--public-key", public)
        assert (done.returncode, done.stdout) == (1, "")
        (said,) = done.stderr.splitlines()
        assert said.startswith(f"edge-agent {command}: error: ")
        assert words in said
    assert not scores.exists()


def test_a_refused_file_never_reaches_the_interpreter(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(SignatureError, match="is altered"):
        Detector.open(fleet.altered, trust=PublicKeys.read(fleet.public))


def test_without_the_library_only_the_option_fails(
    capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_agent.cli import main

    monkeypatch.setitem(sys.modules, "cryptography", None)
    arguments = ["replay", str(capture), "--model", str(LAB_MODEL)]
    main(arguments, standalone_mode=False)
    assert '"event"' in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--public-key", "fleet.pub"], standalone_mode=False)
    assert left.value.code == 1
    assert "pip install 'edge-ids[signing]'." in capsys.readouterr().err
