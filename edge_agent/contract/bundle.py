"""The model file: one `.tflite` that is also a zip, so that a model carries its own contract.

The flatbuffer comes first, a zip archive behind it, the way TFLite Metadata packs associated
files: any TFLite interpreter loads the file, any unzip lists it. Inside the zip:

    bundle.json      what this module reads and writes
    scaler.bin       the scaler's table (see `Scaler.packed`)
    MODEL_CARD.md    the same facts for people

Opening checks all of it and refuses with a sentence that says which part does not fit.

`FORMAT_VERSION` is one integer. Raise it when a reader of the present version would misread or
crash on the new file; adding a key that old readers may ignore needs no new number. A reader reads
every older version and refuses newer ones. To raise it:

1. Add the number to the list below, with what it brought.
2. Let `_parse` say what an older file, which lacks it, means.
3. Leave the old files of `tests/agent/data` and `tests/detect/data` as they are: they are the proof
   that old files are still read. Files of the new version come beside them.

Versions:

1. The first.
2. `families`: the model's output has a column for each of them behind the score. A file of
   version 1 has none. Features may be of `features.CATEGORICAL`. The scaler's table is packed;
   version 1 has it as `scaler.npy`.

A signature (`edge_agent.contract.signature`) needed no new version: it stands in the zip's comment,
which old readers skip, so they read a signed file as before; and files of any version can be
signed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.alerts import checked_families
from edge_agent.contract.archive import (
    MAKE_AGAIN,
    MAX_FILE_BYTES,
    SIZE_LIMIT,
    read_model_file,
    unpack,
)
from edge_agent.contract.errors import ModelFileError, OutputError, SchemaMismatch
from edge_agent.contract.features import CATEGORICAL
from edge_agent.contract.files import write_atomically
from edge_agent.contract.profiles import PROFILES, Profile
from edge_agent.contract.scaling import SCALERS, Scaler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_agent.contract.signature import Trust

FORMAT_VERSION: Final = 2

# The file identifier every TFLite flatbuffer carries behind its first offset.
_TFLITE_MARK: Final = b"TFL3"
# Zip members get a fixed date, so that the same inputs give the same bytes.
_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)

_SCALER: Final = "scaler.bin"

CHECKS: Final = (
    "archive",
    "format version",
    "digests",
    "scaler",
    "columns",
    "fingerprint",
    "threshold and families",
)
"""What `Bundle.from_bytes` checks, in order: each rests on those before it."""


@dataclass(frozen=True, slots=True)
class ModelFeature:
    """A column the model takes, in the unit it was trained on."""

    name: str
    unit: str


def fingerprint(profile: Profile, features: Sequence[ModelFeature], scaler: Scaler) -> str:
    """Hash everything that turns packets into the model's input.

    Two models with one fingerprint may be swapped under a running agent. It covers the profile
    with its time-outs, the columns in order with their units, and the scaler's table. It does not
    cover threshold and families: they say what is made of the model's output, come with the model
    whenever it is swapped, and leave what the meter must measure as it is.
    """
    facts = {
        "profile": profile.name,
        "flow_timeout_s": profile.flow_timeout_s,
        "live": asdict(profile.live) if profile.live else None,
        "features": [[feature.name, feature.unit] for feature in features],
        "scaler": scaler.sha256(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model with all that is needed to feed it and to judge its scores.

    Attributes:
        flatbuffer: The TFLite model.
        profile: Flow profile its rows come from.
        features: Columns in model order.
        scaler: Raw values → [0, 1].
        threshold: Scores at or above it are attacks; between 0 and 1.
        threshold_rule: How the threshold was chosen, in words.
        classes: Names of score 0 and score 1.
        families: Attack families that the output's columns behind the score stand for, in order;
            empty where the score is all there is.
        name: What the model is called in alerts, e.g. "cnn-lstm-edge int8".
        provenance: Data files with hashes, split, seed, package versions, date.
        metrics: {"full": ..., "converted": ...}, keys as in `metrics.json`.
        gate: Verdict and figures of the conversion gate.
        model_card: Markdown for people.
    """

    flatbuffer: bytes
    profile: Profile
    features: tuple[ModelFeature, ...]
    scaler: Scaler
    threshold: float
    threshold_rule: str
    name: str
    classes: tuple[str, ...] = ("benign", "attack")
    families: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    model_card: str = ""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns in model order."""
        return tuple(feature.name for feature in self.features)

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.profile, self.features, self.scaler)

    def to_bytes(self) -> bytes:
        """The whole model file."""
        table = self.scaler.packed()
        facts = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "profile": self.profile.name,
            "features": [asdict(feature) for feature in self.features],
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "families": list(self.families),
            "threshold": self.threshold,
            "threshold_rule": self.threshold_rule,
            "flatbuffer": {
                "length_bytes": len(self.flatbuffer),
                "sha256": hashlib.sha256(self.flatbuffer).hexdigest(),
            },
            "scaler": {
                "kind": self.scaler.kind,
                "file": _SCALER,
                "sha256": hashlib.sha256(table).hexdigest(),
            },
            "provenance": self.provenance,
            "metrics": self.metrics,
            "gate": self.gate,
        }
        buffer = io.BytesIO(self.flatbuffer)
        buffer.seek(0, os.SEEK_END)
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
            for name, data in (
                ("bundle.json", json.dumps(facts, indent=1, ensure_ascii=False).encode()),
                (_SCALER, table),
                ("MODEL_CARD.md", self.model_card.encode()),
            ):
                member = zipfile.ZipInfo(name, _ZIP_DATE)
                member.external_attr = 0o644 << 16
                archive.writestr(member, data, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    def save(self, path: Path) -> None:
        """Write the model file whole or not at all.

        Raises:
            OutputError: The file cannot be written, or is larger than `open` takes.
        """
        data = self.to_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise OutputError(
                f"{path}: not written, because {SIZE_LIMIT} and this one has {len(data):,} bytes;"
                " train a smaller model."
            )
        write_atomically(path, data)

    @classmethod
    def open(cls, path: Path, trust: Trust | None = None) -> Bundle:
        """Read a model file and check every part against the others.

        Args:
            path: The file.
            trust: Who must have signed it; None: nobody need have.

        Raises:
            ModelFileError: It is missing, too large, truncated, altered, or of a newer format.
            SchemaMismatch: Its columns are not those of its profile here.
            SignatureError: It is not signed by who is trusted, or altered since.
        """
        data = read_model_file(path)
        return cls.from_bytes(trust.verified(data, path) if trust else data, path)

    @classmethod
    def from_bytes(
        cls, data: bytes, path: Path, passed: Callable[[str], None] = lambda _: None
    ) -> Bundle:
        """As `open`, from bytes.

        Args:
            data: The file.
            path: What errors call it.
            passed: Told each of `CHECKS` that the file stands, in order.
        """
        if data[4:8] != _TFLITE_MARK:
            raise ModelFileError(path, "is not a TFLite model", remedy=MAKE_AGAIN)
        facts, members = unpack(data, path)
        passed("archive")
        try:
            return _parse(facts, members, data, path, passed)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ModelFileError(
                path,
                f"lacks or garbles {error} in its bundle.json",
                remedy=MAKE_AGAIN,
            ) from error


def _parse(
    facts: dict[str, Any],
    members: dict[str, bytes],
    data: bytes,
    path: Path,
    passed: Callable[[str], None],
) -> Bundle:
    version = facts["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelFileError(
            path,
            f"has format version {version}, newer than {FORMAT_VERSION}, the newest known here",
            remedy="update edge-ids on this machine",
        )
    passed("format version")
    flatbuffer = data[: facts["flatbuffer"]["length_bytes"]]
    _check_digest(flatbuffer, facts["flatbuffer"]["sha256"], "the TFLite model", path)
    table = members[facts["scaler"]["file"]]
    _check_digest(table, facts["scaler"]["sha256"], "the scaler table", path)
    passed("digests")
    if facts["scaler"]["kind"] not in SCALERS:
        raise ModelFileError(
            path,
            f"uses the unknown scaler {facts['scaler']['kind']!r}",
            remedy="update edge-ids on this machine",
        )
    try:
        if version == 1:
            scaler = Scaler.from_bytes(facts["scaler"]["kind"], table)
        else:
            kind, width = facts["scaler"]["kind"], len(facts["features"])
            scaler = Scaler.from_packed(kind, table, width)
    except ValueError as error:
        raise ModelFileError(path, f"has a broken scaler ({error})", remedy=MAKE_AGAIN) from error
    passed("scaler")
    features = tuple(ModelFeature(item["name"], item["unit"]) for item in facts["features"])
    profile = _checked_profile(facts["profile"], features, path)
    if scaler.n_features != len(features):
        raise ModelFileError(
            path,
            f"has a scaler for {scaler.n_features} features but lists {len(features)}",
            remedy=MAKE_AGAIN,
        )
    passed("columns")
    if fingerprint(profile, features, scaler) != facts["fingerprint"]:
        raise ModelFileError(
            path,
            "has a fingerprint that does not fit its profile, features and scaler here",
            remedy="use the edge-ids version that made it, or " + MAKE_AGAIN,
        )
    passed("fingerprint")
    threshold = float(facts["threshold"])
    if not 0 <= threshold <= 1 or not np.isfinite(threshold):
        raise ModelFileError(path, f"has the impossible threshold {threshold}", remedy=MAKE_AGAIN)
    try:
        families = checked_families(facts["families"] if version >= 2 else ())
    except ValueError as error:
        raise ModelFileError(
            path, str(error), remedy=f"update edge-ids on this machine, or {MAKE_AGAIN}"
        ) from error
    for key in ("provenance", "metrics", "gate"):
        if not isinstance(facts[key], dict):
            raise TypeError(repr(key))
    passed("threshold and families")
    return Bundle(
        flatbuffer=flatbuffer,
        profile=profile,
        features=features,
        scaler=scaler,
        threshold=threshold,
        threshold_rule=facts["threshold_rule"],
        name=facts["name"],
        classes=tuple(facts["classes"]),
        families=families,
        provenance=facts["provenance"],
        metrics=facts["metrics"],
        gate=facts["gate"],
        model_card=members["MODEL_CARD.md"].decode(),
    )


def _check_digest(data: bytes, expected: str, what: str, path: Path) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise ModelFileError(
            path,
            f"is altered: {what} does not have the digest in its bundle.json",
            remedy="copy it again or " + MAKE_AGAIN,
        )


def _checked_profile(name: str, features: tuple[ModelFeature, ...], path: Path) -> Profile:
    profile = PROFILES.get(name)
    if profile is None:
        raise ModelFileError(
            path,
            f"is for the unknown flow profile {name!r}",
            remedy="update edge-ids on this machine",
        )
    here = {feature.name: feature.unit for feature in (*profile.features, *CATEGORICAL)}
    unknown = [feature.name for feature in features if here.get(feature.name) != feature.unit]
    if unknown:
        raise SchemaMismatch(
            path,
            f"wants {', '.join(unknown)}, which profile {name} does not measure here",
            remedy="use the edge-ids version that made it, or " + MAKE_AGAIN,
            expected=[feature.name for feature in features],
            found=list(here),
        )
    return profile
