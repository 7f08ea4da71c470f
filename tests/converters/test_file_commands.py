"""`edge-convert inspect | verify | diff | keygen | sign`, on files of every format version."""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from converters import inspecting, verifying
from converters.diffing import compare_files
from converters.file_commands import diff, inspect, keygen, sign, verify
from converters.reading import ModelFile
from edge_agent.contract.bundle import CHECKS, Bundle, ModelFeature
from edge_agent.contract.errors import GateRefused, InterpreterError
from edge_agent.contract.scaling import Scaler
from edge_agent.detect import interpreter
from edge_agent.detect.interpreter import Tensor, load
from tests.agent.conftest import LAB_MODEL
from tests.detect.conftest import FAMILIES_MODEL, TINY
from tests.detect.spoiled import Spoiled

COMMANDS = click.Group("edge-convert", [inspect, verify, diff, keygen, sign])
OLD_FILES = (TINY, LAB_MODEL, FAMILIES_MODEL)
RUNTIMES = interpreter.installed_runtimes()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(COMMANDS, list(map(str, arguments)))


def facts_of(*arguments: object) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def one_sentence(done: Result, code: int = 1) -> str:
    assert done.exit_code == code
    (said,) = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
    assert re.match(r"edge-convert \w+: error: .*\.$", said)
    return said


@pytest.fixture
def tiny_bundle() -> Bundle:
    return Bundle.open(TINY)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A private key; its public one lies beside it."""
    pytest.importorskip("cryptography", reason="cryptography is not installed: edge-ids[signing]")
    assert run("keygen", "--output", tmp_path / "fleet.key").exit_code == 0
    return tmp_path / "fleet.key"


@pytest.fixture
def signed(fleet: Path, tmp_path: Path) -> Path:
    path = tmp_path / "signed.tflite"
    assert run("sign", FAMILIES_MODEL, "--key", fleet, "--output", path).exit_code == 0
    return path


def saved(tmp_path: Path, bundle: Bundle, name: str = "model.tflite") -> Path:
    bundle.save(tmp_path / name)
    return tmp_path / name


# inspect


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: str(path.name))
def test_inspect_tells_all_of_a_file(path: Path) -> None:
    bundle, facts = Bundle.open(path), facts_of("inspect", path)
    assert facts["name"] == bundle.name
    assert facts["format_version"] == (2 if path == FAMILIES_MODEL else 1)
    assert facts["profile"] == bundle.profile.name == "gateway"
    features = [ModelFeature(**item) for item in facts["features"]]
    assert tuple(features) == bundle.features
    assert facts["fingerprint"] == bundle.fingerprint
    assert (facts["families"], facts["classes"]) == (list(bundle.families), ["benign", "attack"])
    assert (facts["threshold"], facts["threshold_rule"]) == (
        bundle.threshold,
        bundle.threshold_rule,
    )
    sizes = facts["size_bytes"]
    assert sizes["file"] == path.stat().st_size
    assert sizes["flatbuffer"] == len(bundle.flatbuffer)
    assert 0 < sizes["scaler"] < sizes["file"] - sizes["flatbuffer"]
    assert facts["input"] == {
        "dtype": "int8",
        "columns": len(features),
        "scale": pytest.approx(1 / 255),
        "zero_point": -128,
        "bins_are_codes": True,
    }
    assert facts["output"]["columns"] == 1 + len(bundle.families)
    assert facts["operators"]["FULLY_CONNECTED"] > 20
    assert (facts["metrics"], facts["gate"]) == (bundle.metrics, bundle.gate)
    assert facts["provenance"] == bundle.provenance
    assert facts["signature"] is None


def test_inspect_is_readable_and_short() -> None:
    text = run("inspect", LAB_MODEL).stdout
    head, _, rest = text.partition("\nmetrics")
    assert len(head.splitlines()) < 30
    for words in (
        "format          version 1",
        "features        84: Flow Duration [us], ",
        "and 78 more: see --json",
        "families        none",
        "threshold       0.464844 (highest F1",
        "input           84 int8, scale 0.00392157, zero point -128; the scaler's bins are its",
        "90 FULLY_CONNECTED",
        "133,196 file, 107,480 flatbuffer, 21,316 scaler",
        "signature       none",
    ):
        assert words in head
    assert re.search(r"^  f1 +0\.999878 +0\.999878$", rest, re.MULTILINE)
    assert "\n  passed: yes\n" in rest
    assert "\n  split: random\n" in rest
    assert max(map(len, text.splitlines())) <= 200


def test_inspect_takes_files_with_more_and_with_fewer_figures(
    tmp_path: Path, tiny_bundle: Bundle
) -> None:
    bare = dataclasses.replace(tiny_bundle, gate={}, metrics={}, provenance={})
    done = run("inspect", saved(tmp_path, bare))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "gate\n  nothing: -\n" in done.stdout
    gate = {
        "passed": True,
        "operators": {"ADD": 3},
        "interpreters": {"ai-edge-litert 2": {"label_agreement": 0.9999, "metrics": {"f1": 1.0}}},
        "odd": [{"deep": [1, 2]}, None],
    }
    metrics = {"full": {"f1": 0.5, "only": 1}, "converted": {"f1": float("nan")}, "more": 3}
    rich = dataclasses.replace(bare, gate=gate, metrics=metrics)
    told = run("inspect", saved(tmp_path, rich)).stdout
    assert "  interpreters.ai-edge-litert 2.label_agreement: 0.9999\n" in told
    assert "  odd.1.deep: 1, 2\n" in told
    assert re.search(r"^  only +1 +-$", told, re.MULTILINE)
    assert re.search(r"^  f1 +0\.5 +nan$", told, re.MULTILINE)


def test_inspect_lets_nothing_steer_the_terminal(tmp_path: Path, tiny_bundle: Bundle) -> None:
    hostile = dataclasses.replace(
        tiny_bundle,
        name="\x1b[2Jgone",
        threshold_rule="\r\n\x07",
        provenance={"\x1b]0;title": "\x9b31m\n"},
        gate={"passed": True, "reasons": ["\x1b"]},
    )
    path = saved(tmp_path, hostile)
    for command in ("inspect", "verify"):
        told = run(command, path).stdout
        assert told.replace("\n", "").isprintable()
    assert run("diff", TINY, path).stdout.replace("\n", "").isprintable()


def test_inspect_without_an_interpreter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "installed_runtimes", lambda: ())
    facts = inspecting.describe(ModelFile.open(TINY))
    assert "no TFLite interpreter is installed" in facts["input"]["problem"]
    assert "no TFLite interpreter is installed" in inspecting.text(facts)
    assert facts["operators"]["CONV_2D"] == 1


def test_inspect_tells_the_signature_and_checks_it_when_asked(signed: Path, fleet: Path) -> None:
    unchecked = facts_of("inspect", signed)["signature"]
    key_id = unchecked["key_id"]
    assert re.fullmatch(r"[0-9a-f]{32}", key_id)
    assert unchecked["checked"] is False
    assert f"by the key {key_id} (not checked: give --public-key)" in run("inspect", signed).stdout
    public = f"{fleet}.pub"
    checked = facts_of("inspect", signed, "--public-key", public)["signature"]
    assert checked == {"key_id": key_id, "checked": True}
    said = one_sentence(run("inspect", FAMILIES_MODEL, "--public-key", public))
    assert "is not signed" in said


# verify


def outcomes(bundle: Bundle, path: Path, load: Any = interpreter.load) -> dict[str, str]:
    bundle.save(path)
    return {check.name: check.outcome for check in verifying.checks(path, load=load)}


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: str(path.name))
def test_verify_passes_sound_files(path: Path) -> None:
    done = run("verify", path)
    assert done.exit_code == 0, done.stderr
    ok = [line.split("  ")[0] for line in done.stdout.splitlines() if re.search(" ok$", line)]
    runs = [
        f"{runtime}: {check}"
        for runtime in RUNTIMES
        for check in ("loads", "shapes fit", "bins are codes", "gives scores")
    ]
    assert ok == [*CHECKS, *runs, "operators", "gate"]
    assert re.search(r"^signature +not checked: there is none$", done.stdout, re.MULTILINE)
    for name in set(interpreter.RUNTIMES) - set(RUNTIMES):
        assert re.search(
            rf"^{name} +not checked: is not installed here$", done.stdout, re.MULTILINE
        )


def test_verify_names_the_part_that_does_not_fit(tmp_path: Path) -> None:
    data = bytearray(TINY.read_bytes())
    data[1000] ^= 1
    path = tmp_path / "altered.tflite"
    path.write_bytes(data)
    done = run("verify", path)
    assert "altered.tflite: fails: digests; do not use this file." in one_sentence(done)
    lines = done.stdout.splitlines()
    assert re.search(r"^format version +ok$", done.stdout, re.MULTILINE)
    assert lines[-1].startswith("digests  "), "nothing is read of what is refused"
    assert "failed: " in lines[-1]
    path.write_bytes(b"GIF89a")
    done = run("verify", path, "--json")
    one_sentence(done)
    made = json.loads(done.stdout)
    assert [(check["check"], check["outcome"]) for check in made] == [
        ("signature", "not checked"),
        ("archive", "failed"),
    ]
    assert "is not a TFLite model" in made[1]["why"]
    assert "cannot be read" in one_sentence(run("verify", tmp_path / "none.tflite"))


def test_verify_finds_a_model_that_does_not_fit_its_contract(
    tmp_path: Path, tiny_bundle: Bundle
) -> None:
    path, runtime = tmp_path / "model.tflite", RUNTIMES[0]
    rubbish = dataclasses.replace(tiny_bundle, flatbuffer=b"\x08\0\0\0TFL3" + b"\xff" * 100)
    found = outcomes(rubbish, path)
    assert found[f"{runtime}: loads"] == found["operators"] == "failed"
    found = outcomes(dataclasses.replace(tiny_bundle, families=("scan",)), path)
    assert found[f"{runtime}: loads"] == "ok"
    assert found[f"{runtime}: shapes fit"] == "failed"
    assert f"{runtime}: gives scores" not in found


class OtherScale(Spoiled):
    """An input in steps of 1/200."""

    @property
    def input(self) -> Tensor:
        return dataclasses.replace(super().input, scale=1 / 200)


class Remembering(Spoiled):
    """The first row of a batch leaks into the others."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        output = super().predict(rows)
        output[1:] = output[:1]
        return output


class NoNumbers(Spoiled):
    """A model that answers nothing."""

    @property
    def output(self) -> Tensor:
        return dataclasses.replace(super().output, dtype=np.dtype(np.float32), scale=0.0)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.full((len(rows), 1), np.nan, np.float32)


@pytest.mark.parametrize(
    ("spoiled", "failing"),
    [
        (Spoiled, None),
        (OtherScale, "bins are codes"),
        (Remembering, "gives scores"),
        (NoNumbers, "gives scores"),
    ],
)
def test_verify_finds_a_model_that_misbehaves(
    tmp_path: Path, tiny_bundle: Bundle, spoiled: type[Spoiled], failing: str | None
) -> None:
    def spoilt(flatbuffer: bytes, runtime: str) -> Spoiled:
        return spoiled(load(flatbuffer, runtime))

    found = outcomes(tiny_bundle, tmp_path / "model.tflite", spoilt)
    failed = [name for name, outcome in found.items() if outcome == "failed"]
    assert failed == ([f"{runtime}: {failing}" for runtime in RUNTIMES] if failing else [])


def test_verify_asks_bins_of_quantile_scalers_only(tmp_path: Path, tiny_bundle: Bundle) -> None:
    low_high = np.ascontiguousarray(tiny_bundle.scaler.table[:, [0, -1]])
    for kind in ("minmax", "log1p"):
        other = dataclasses.replace(tiny_bundle, scaler=Scaler(kind, low_high))
        found = outcomes(other, tmp_path / "model.tflite")
        assert found[f"{RUNTIMES[0]}: bins are codes"] == "not checked"
        assert found[f"{RUNTIMES[0]}: gives scores"] == "ok"


def test_verify_finds_forbidden_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "operators", lambda _: {"ADD": 1, "WHILE": 1, "FlexX": 2})
    done = run("verify", TINY)
    assert "fails: operators; " in one_sentence(done)
    assert "uses FlexX, WHILE, which not every interpreter has" in done.stdout


def test_verify_without_an_interpreter_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "installed_runtimes", lambda: ())
    assert "fails: interpreter; " in one_sentence(run("verify", TINY))


def test_verify_exits_with_3_where_the_gate_alone_refused(
    tmp_path: Path, tiny_bundle: Bundle
) -> None:
    refused = {"passed": False, "reasons": ["F1 drops by 3.00 points, 0.1 are allowed"]}
    path = saved(tmp_path, dataclasses.replace(tiny_bundle, gate=refused))
    said = one_sentence(run("verify", path), code=GateRefused.exit_code)
    assert "gate refused it, because F1 drops by 3.00 points" in said
    wide = dataclasses.replace(tiny_bundle, gate=refused, families=("scan",))
    said = one_sentence(run("verify", saved(tmp_path, wide)), code=1)
    assert "shapes fit, gate; do not use this file." in said
    none = dataclasses.replace(tiny_bundle, gate={})
    assert "fails: gate; " in one_sentence(run("verify", saved(tmp_path, none)))


def test_verify_checks_the_signature_first(signed: Path, fleet: Path, tmp_path: Path) -> None:
    public = f"{fleet}.pub"
    done = run("verify", signed, "--public-key", public)
    assert done.exit_code == 0
    assert re.search(r"^signature +ok: by the key [0-9a-f]{32}$", done.stdout, re.MULTILINE)
    done = run("verify", signed)
    assert (done.exit_code, "not checked: by the key" in done.stdout) == (0, True)
    altered = bytearray(signed.read_bytes())
    altered[1000] ^= 1
    signed.write_bytes(altered)
    for path in (signed, FAMILIES_MODEL):
        done = run("verify", path, "--public-key", public)
        assert "fails: signature; do not use this file." in one_sentence(done)
        assert len(done.stdout.splitlines()) == 1, "nothing is read of what is not trusted"


# diff


def test_diff_of_a_file_with_itself_and_with_its_signed_self(signed: Path) -> None:
    report = facts_of("diff", FAMILIES_MODEL, FAMILIES_MODEL)
    assert (report["differs"], report["replaceable"], report["same_model"]) == ({}, True, True)
    assert "Nothing differs." in run("diff", FAMILIES_MODEL, FAMILIES_MODEL).stdout
    report = facts_of("diff", FAMILIES_MODEL, signed)
    assert set(report["differs"]) == {"size_bytes", "signature"}
    assert report["same_model"]
    assert "Both give the same verdicts." in run("diff", FAMILIES_MODEL, signed).stdout


def test_diff_tells_what_a_retrained_model_changed(tmp_path: Path, tiny_bundle: Bundle) -> None:
    other = dataclasses.replace(
        tiny_bundle,
        threshold=0.75,
        families=("scan",),
        metrics={"converted": {**tiny_bundle.metrics["converted"], "f1": 0.5}},
        provenance={**tiny_bundle.provenance, "seed": 99, "new": [{"rows": 1}]},
    )
    path = saved(tmp_path, other)
    report = facts_of("diff", TINY, path)
    differs = report["differs"]
    assert differs["threshold"] == [0.5, 0.75]
    assert differs["families"] == {"added": ["scan"], "removed": [], "reordered": False}
    assert differs["provenance"] == {"seed": [3, 99], "new.1.rows": [None, 1]}
    assert differs["metrics"]["converted.f1"][1] == 0.5
    assert differs["metrics"]["full.rows"][1] is None
    assert not {"columns", "scaler", "operators", "profile"} & set(differs)
    assert report["replaceable"], "what a flow is turned into is as it was"
    assert not report["same_model"]
    done = run("diff", TINY, path)
    assert done.exit_code == 0
    assert "threshold: 0.5 → 0.75\n" in done.stdout
    assert "  added: scan\n" in done.stdout
    assert "B may replace A under a running agent" in done.stdout


def test_diff_tells_columns_units_and_scaler(tiny_bundle: Bundle) -> None:
    first, second, *rest = tiny_bundle.features
    dropped = rest.pop()
    table = tiny_bundle.scaler.table[[1, 0, *range(2, len(rest) + 2)]].copy()
    table[1, -3:] += [10, 20, 30]
    table[2, :] = np.finfo(np.float32).max
    other = dataclasses.replace(
        tiny_bundle,
        features=(second, dataclasses.replace(first, unit="s"), *rest),
        scaler=Scaler("quantile", table),
    )
    a = ModelFile.open(TINY)
    report = compare_files(a, dataclasses.replace(a, bundle=other))
    differs = report["differs"]
    assert differs["columns"] == {"added": [], "removed": [dropped.name], "reordered": True}
    assert differs["units"] == {first.name: ["us", "s"]}
    moved = differs["scaler"]["by_feature"]
    assert set(moved) == {first.name, rest[0].name}
    assert moved[first.name] == {"edges_moved": 3, "largest_move": 30.0}
    assert moved[rest[0].name]["largest_move"] is None, "it never varied in one"
    assert differs["scaler"]["edges"] == 255 * (len(rest) + 2)
    assert differs["scaler"]["edges_moved"] == 3 + moved[rest[0].name]["edges_moved"]
    assert not report["replaceable"]


def test_diff_of_different_models_says_that_they_are_fed_differently() -> None:
    done = run("diff", TINY, LAB_MODEL)
    assert done.exit_code == 0
    assert "B may not replace A under a running agent" in done.stdout
    assert re.search(r"^  FULLY_CONNECTED +26 +90$", done.stdout, re.MULTILINE)
    assert "  added: Fwd Packet Length Max\n" in done.stdout
    assert "cannot be read" in one_sentence(run("diff", TINY, "none.tflite"))


# keygen and sign


def test_keygen_tells_the_fingerprint_and_never_overwrites(fleet: Path, tmp_path: Path) -> None:
    done = run("keygen", "--output", tmp_path / "other.key")
    assert re.fullmatch(r"\S+other\.key, \S+other\.key\.pub: key [0-9a-f]{32}\n", done.stdout)
    before = fleet.read_bytes()
    assert "exists already" in one_sentence(run("keygen", "--output", fleet))
    assert fleet.read_bytes() == before


def test_sign_works_in_place_and_replaces_a_signature(
    fleet: Path, tmp_path: Path, signed: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(FAMILIES_MODEL.read_bytes())
    done = run("sign", path, "--key", fleet)
    assert re.fullmatch(rf"{path}: signed by the key [0-9a-f]{{32}}\n", done.stdout)
    assert path.read_bytes() == signed.read_bytes()
    run("keygen", "--output", tmp_path / "other.key")
    assert run("sign", path, "--key", tmp_path / "other.key").exit_code == 0
    assert "is signed by the key" in run("verify", path, "--public-key", f"{fleet}.pub").stdout
    assert run("verify", path, "--public-key", tmp_path / "other.key.pub").exit_code == 0


def test_sign_refuses_what_must_not_be_signed(fleet: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "model.tflite", bytearray(TINY.read_bytes())
    data[1000] ^= 1
    for content, key, words in (
        (bytes(data), fleet, "is altered: the TFLite model"),
        (b"GIF89a", fleet, "is not a TFLite model"),
        (TINY.read_bytes() + b"\0", fleet, "cannot be signed"),
        (TINY.read_bytes(), f"{fleet}.pub", "a public key where a private one is wanted"),
    ):
        path.write_bytes(content)
        # The public key as a private one must fail for what it is, not for its mode.
        Path(f"{fleet}.pub").chmod(0o600)
        assert words in one_sentence(run("sign", path, "--key", key))
        assert path.read_bytes() == content
    fleet.chmod(0o644)
    assert f"chmod 600 {fleet}" in one_sentence(run("sign", path, "--key", fleet))


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def test_a_full_disk_leaves_the_unsigned_file_as_it_was(fleet: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(TINY.read_bytes())
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT, "sign", path, "--key", fleet],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )
    assert done.returncode == 1
    assert "model.tflite: cannot be written (File too large)" in done.stderr
    assert path.read_bytes() == TINY.read_bytes()
    assert sorted(tmp_path.iterdir()) == before


SCRIPT = (
    "import click, sys\n"
    "from converters.file_commands import diff, inspect, keygen, sign, verify\n"
    "try: click.Group('edge-convert', [inspect, verify, diff, keygen, sign])()\n"
    "finally:\n"
    "    if {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules): print('TENSORFLOW')\n"
)


def test_no_command_imports_tensorflow(fleet: Path, signed: Path, tmp_path: Path) -> None:
    for arguments in (
        ["inspect", signed, "--public-key", f"{fleet}.pub"],
        ["verify", signed, "--public-key", f"{fleet}.pub"],
        ["diff", TINY, signed],
        ["keygen", "--output", tmp_path / "new.key"],
        ["sign", signed, "--key", fleet],
    ):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout
        assert "TENSORFLOW" not in done.stdout


@pytest.mark.parametrize("command", COMMANDS.commands)
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = run(command, "--help").stdout
    assert f"Example:\n    edge-convert {command} " in shown
    assert "--debug" in shown


def test_debug_shows_where_it_happened(tmp_path: Path) -> None:
    done = run("inspect", tmp_path / "none.tflite", "--debug")
    assert "cannot be read" in str(done.exception)


def test_an_interpreter_that_refuses_is_a_failed_check(tmp_path: Path, tiny_bundle: Bundle) -> None:
    def refuses(flatbuffer: bytes, runtime: str) -> Spoiled:
        raise InterpreterError(f"{runtime} refuses the model.")

    found = outcomes(tiny_bundle, tmp_path / "model.tflite", refuses)
    assert {name for name, outcome in found.items() if outcome == "failed"} == {
        f"{runtime}: loads" for runtime in RUNTIMES
    }
