"""The model file: whole, or refused with a sentence. No altered file may pass for another model."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.alerts import FAMILIES
from edge_agent.contract.archive import MAX_FILE_BYTES
from edge_agent.contract.bundle import (
    CHECKS,
    FORMAT_VERSION,
    Bundle,
    ModelFeature,
    fingerprint,
)
from edge_agent.contract.errors import ModelFileError, OutputError, SchemaMismatch
from edge_agent.contract.features import CATEGORICAL
from edge_agent.contract.profiles import PROFILES, Profile
from edge_agent.contract.scaling import SCALERS, Scaler
from tests.agent.conftest import LAB_MODEL
from tests.detect.conftest import TINY

PATH = Path("model.tflite")
FLATBUFFER = b"\x1c\x00\x00\x00TFL3" + bytes(range(40))
NAMES = ("Flow Duration", "Total Fwd Packet", "SYN Flag Count")

texts = st.text(max_size=20)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def make(**changes: Any) -> Bundle:
    profile = PROFILES["improved"]
    features = tuple(ModelFeature(f.name, f.unit) for f in profile.select(NAMES))
    raw = np.arange(30, dtype=np.float32).reshape(10, 3)
    made = Bundle(
        flatbuffer=FLATBUFFER,
        profile=profile,
        features=features,
        scaler=Scaler.fit("minmax", raw),
        threshold=0.25,
        threshold_rule="highest F1",
        name="toy",
        model_card="# toy\n",
    )
    return dataclasses.replace(made, **changes)


def rewritten(bundle: Bundle, more: dict[str, bytes] | None = None, **changes: Any) -> bytes:
    """The file with other facts in its bundle.json and more members, otherwise sound."""
    with zipfile.ZipFile(io.BytesIO(bundle.to_bytes())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | (more or {})
    facts = {**json.loads(members["bundle.json"]), **changes}
    members["bundle.json"] = json.dumps(
        {key: value for key, value in facts.items() if value is not ...}
    ).encode()
    return packed(bundle.flatbuffer, members)


def packed(flatbuffer: bytes, members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO(flatbuffer)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def refusal(data: bytes) -> ModelFileError:
    with pytest.raises(ModelFileError) as caught:
        Bundle.from_bytes(data, PATH)
    text = str(caught.value)
    assert text.startswith("model.tflite")
    assert re.fullmatch(r"[^\n]+; [^\n]+\.", text), "one sentence with a remedy"
    return caught.value


@given(
    name=texts,
    rule=texts,
    card=texts,
    threshold=st.floats(0, 1),
    provenance=st.dictionaries(texts, documents, max_size=3),
    families=st.permutations(FAMILIES[:-1]).flatmap(
        lambda names: st.integers(0, len(names)).map(lambda count: tuple(names[:count]))
    ),
    kind=st.sampled_from(SCALERS),
    flatbuffer=st.binary(max_size=80),
)
def test_round_trip(
    name: str,
    rule: str,
    card: str,
    threshold: float,
    provenance: dict[str, Any],
    families: tuple[str, ...],
    kind: str,
    flatbuffer: bytes,
) -> None:
    bundle = make(
        name=name,
        threshold_rule=rule,
        model_card=card,
        threshold=threshold,
        provenance=provenance,
        families=families,
        scaler=Scaler.fit(kind, np.arange(30, dtype=np.float32).reshape(10, 3)),
        flatbuffer=b"1234TFL3" + flatbuffer,
    )
    data = bundle.to_bytes()
    assert Bundle.from_bytes(data, PATH) == bundle
    assert bundle.to_bytes() == data, "the same facts give the same bytes"


def test_file_is_a_zip_and_begins_with_the_flatbuffer(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.tflite"
    make().save(path)
    assert path.read_bytes().startswith(FLATBUFFER)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["bundle.json", "scaler.bin", "MODEL_CARD.md"]
        assert archive.testzip() is None
    assert Bundle.open(path) == make()


def test_truncation_at_every_length_is_refused() -> None:
    data = make().to_bytes()
    for length in range(len(data)):
        refusal(data[:length])


def test_no_altered_byte_gives_another_model() -> None:
    bundle = make()
    data = bundle.to_bytes()
    # All bytes of such a small file; three ways each: lowest bit, highest bit, all bits.
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            altered = bytearray(data)
            altered[position] ^= flip
            try:
                opened = Bundle.from_bytes(bytes(altered), PATH)
            except ModelFileError:
                continue
            assert opened == bundle, f"byte {position}"


def test_bytes_behind_the_file_do_not_change_the_model() -> None:
    # As zip files go, an archive's end is looked for from behind.
    assert Bundle.from_bytes(make().to_bytes() + b"\x00" * 10, PATH) == make()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "newer than 2, .*; update edge-ids"),
        ({"families": ...}, "lacks or garbles 'families'"),
        ({"families": ["scan", "worm"]}, "names the attack family 'worm', .*; update edge-ids"),
        ({"families": ["unknown"]}, "names the attack family 'unknown'"),
        ({"families": ["scan", "dos", "scan"]}, "names an attack family twice"),
        ({"families": {"scan": 1}}, "lists no attack families"),
        ({"format_version": "1"}, "format version"),
        ({"format_version": ...}, "lacks or garbles 'format_version'"),
        ({"features": ...}, "lacks or garbles 'features'"),
        ({"profile": "cic2042"}, "unknown flow profile 'cic2042'"),
        ({"profile": "gateway"}, "fingerprint"),
        ({"threshold": 1.5}, "impossible threshold"),
        ({"threshold": "high"}, "garbles"),
        ({"threshold": float("nan")}, "impossible threshold"),
        ({"fingerprint": "0" * 64}, "fingerprint"),
        ({"flatbuffer": {"length_bytes": 8, "sha256": "0" * 64}}, "the TFLite model"),
        ({"flatbuffer": 3}, "garbles"),
        ({"gate": [1]}, "garbles 'gate'"),
        ({"scaler": {"kind": "rank", "file": "scaler.bin", "sha256": ""}}, "scaler table"),
    ],
)
def test_facts_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    assert re.search(said, str(refusal(rewritten(make(), **changes))))


def test_columns_of_another_profile_are_a_mismatch() -> None:
    error = refusal(rewritten(make(), profile="cic2017"))
    assert isinstance(error, SchemaMismatch)
    assert error.expected == NAMES
    assert "Total Fwd Packet" in str(error)
    assert "Total Fwd Packets" in error.found


def test_a_unit_counts_as_part_of_a_column() -> None:
    features = [{"name": name, "unit": "s"} for name in NAMES]
    assert isinstance(refusal(rewritten(make(), features=features)), SchemaMismatch)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a TFLite model"),
        (b"flow_id,score\n" * 9, "is not a TFLite model"),
        (FLATBUFFER, "truncated or altered"),
        (packed(FLATBUFFER, {"labels.txt": b"a"}), "without a bundle.json"),
        (packed(FLATBUFFER, {"bundle.json": b"[1]"}), "no object"),
        (packed(FLATBUFFER, {"bundle.json": b"{"}), "truncated or altered"),
        (packed(FLATBUFFER, {"bundle.json": b"{}", "big": bytes(5 << 20)}), "larger than 4 MiB"),
    ],
    ids=["empty", "csv", "bare", "foreign zip", "list", "half json", "bomb"],
)
def test_other_files_are_refused(data: bytes, said: str) -> None:
    assert said in str(refusal(data))


def test_what_is_too_large_for_a_model_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "gigabyte.tflite"
    with path.open("wb") as stream:
        stream.write(make().to_bytes())
        stream.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(ModelFileError, match=r"is too large, a model file has at most 32 MiB; "):
        Bundle.open(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 80 << 20
    huge = make(flatbuffer=FLATBUFFER + bytes(MAX_FILE_BYTES))
    with pytest.raises(OutputError, match="not written, because a model file has at most 32 MiB"):
        huge.save(tmp_path / "huge.tflite")
    assert list(tmp_path.iterdir()) == [path]


def test_a_zip_of_many_or_oddly_packed_members_is_not_unpacked() -> None:
    many = {f"{number}.txt": b"" for number in range(50)}
    assert "holds more than 16 members" in str(refusal(rewritten(make(), many)))
    buffer = io.BytesIO(FLATBUFFER)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("bundle.json", b"{}")
    assert "packed in a way that model files are not" in str(refusal(buffer.getvalue()))


def test_the_checks_passed_are_told_in_order() -> None:
    passed: list[str] = []
    Bundle.from_bytes(make().to_bytes(), PATH, passed.append)
    assert passed == list(CHECKS)
    for changes, reached in (
        ({"format_version": 99}, "archive"),
        ({"flatbuffer": {"length_bytes": 8, "sha256": ""}}, "format version"),
        ({"profile": "cic2042"}, "scaler"),
        ({"fingerprint": ""}, "columns"),
        ({"threshold": 2.0}, "fingerprint"),
        ({"gate": []}, "fingerprint"),
    ):
        passed.clear()
        with pytest.raises(ModelFileError):
            Bundle.from_bytes(rewritten(make(), **changes), PATH, passed.append)
        assert passed[-1] == reached
        assert passed == list(CHECKS[: len(passed)])


def test_missing_file_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.tflite: cannot be read .*; check the path\."):
        Bundle.open(tmp_path / "none.tflite")
    with pytest.raises(ModelFileError, match="cannot be read"):
        Bundle.open(tmp_path)


def test_fingerprint_covers_profile_columns_order_units_and_scaler() -> None:
    bundle = make()
    first, second, third = bundle.features
    others = {
        fingerprint(PROFILES["gateway"], bundle.features, bundle.scaler),
        fingerprint(bundle.profile, (second, first, third), bundle.scaler),
        fingerprint(bundle.profile, (ModelFeature(first.name, "s"), second, third), bundle.scaler),
        fingerprint(bundle.profile, bundle.features, Scaler("log1p", bundle.scaler.table)),
        bundle.fingerprint,
    }
    assert len(others) == 5
    assert make(threshold=0.9, name="other").fingerprint == bundle.fingerprint
    # Families say what the output's columns are called, not what the model is fed.
    assert make(families=("scan",)).fingerprint == bundle.fingerprint


def test_a_file_of_version_1_has_no_families_and_an_npy_table() -> None:
    table = make().scaler.to_bytes()
    facts = {"kind": make().scaler.kind, "file": "scaler.npy"}
    facts["sha256"] = hashlib.sha256(table).hexdigest()
    old = rewritten(make(), {"scaler.npy": table}, format_version=1, families=..., scaler=facts)
    assert Bundle.from_bytes(old, PATH) == make()


def test_files_that_were_made_as_version_1_open() -> None:
    for path in (TINY, LAB_MODEL):
        with zipfile.ZipFile(path) as archive:
            assert json.loads(archive.read("bundle.json"))["format_version"] == 1, "stays as it is"
        assert Bundle.open(path).families == ()


def test_protocol_flags_are_features_of_every_profile() -> None:
    flags = tuple(ModelFeature(feature.name, feature.unit) for feature in CATEGORICAL)
    scaler = Scaler.fit("minmax", np.arange(50, dtype=np.float32).reshape(10, 5))
    for profile in PROFILES.values():
        features = (ModelFeature("Flow Duration", "us"), *flags, *profile_features(profile)[:2])
        bundle = make(profile=profile, features=features, scaler=scaler)
        assert Bundle.from_bytes(bundle.to_bytes(), PATH) == bundle
    unknown = dataclasses.replace(bundle, features=(ModelFeature("Protocol=1", "flag"),) * 5)
    assert isinstance(refusal(unknown.to_bytes()), SchemaMismatch)


def profile_features(profile: Profile) -> tuple[ModelFeature, ...]:
    return tuple(ModelFeature(feature.name, feature.unit) for feature in profile.features)
