"""A model file as a user of the workstation looks at it: bundle, signature and parts."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.contract.archive import read_model_file, unpack
from edge_agent.contract.bundle import Bundle
from edge_agent.contract.signature import Signature, split

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.contract.signature import Trust


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that opened.

    Attributes:
        path: Where it is.
        bundle: What the agent makes of it.
        format_version: Of the model file.
        signature: As the file holds it; None: unsigned.
        trusted: Whether the signature was checked, and is right.
        size_bytes: Of the file, its flatbuffer, and its scaler's table as packed.
    """

    path: Path
    bundle: Bundle
    format_version: int
    signature: Signature | None
    trusted: bool
    size_bytes: dict[str, int]

    @classmethod
    def open(cls, path: Path, trust: Trust | None = None) -> ModelFile:
        """Read and check a model file.

        Raises:
            ModelFileError: As `Bundle.open`.
        """
        data = read_model_file(path)
        unsigned = trust.verified(data, path) if trust else data
        bundle = Bundle.from_bytes(unsigned, path)
        with zipfile.ZipFile(io.BytesIO(unsigned)) as archive:
            scaler = sum(
                info.compress_size
                for info in archive.infolist()
                if info.filename in {"scaler.bin", "scaler.npy"}
            )
        return cls(
            path=path,
            bundle=bundle,
            format_version=int(unpack(unsigned, path)[0]["format_version"]),
            signature=split(data, path)[1],
            trusted=trust is not None,
            size_bytes={
                "file": len(data),
                "flatbuffer": len(bundle.flatbuffer),
                "scaler": scaler,
            },
        )


def flat(value: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a JSON document with its path ("converted.f1").

    Lists of plain values are leaves; those of objects go by position.
    """
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for place, inner in enumerate(value, start=1):
            yield from flat(inner, f"{name}.{place}" if name else str(place))
    else:
        yield name, value


def shown(value: object) -> str:
    """A leaf for people: numbers short, and nothing that steers a terminal."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if value == {}:
        return "none"
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value)
    )
