"""Bytes of a model file, read within bounds: from disk, and out of the zip in it.

Whatever is given as a model, a gateway must neither fill its memory with it nor crash.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.errors import ModelFileError

if TYPE_CHECKING:
    from pathlib import Path

# The paper's network in float32 is under 1 MiB.
MAX_FILE_BYTES: Final = 32 * 1024 * 1024
SIZE_LIMIT: Final = f"a model file has at most {MAX_FILE_BYTES >> 20} MiB"
# The largest honest member, a table of 84 features, is 86 KB; and there are three of them.
_MAX_MEMBER_BYTES: Final = 4 * 1024 * 1024
_MAX_MEMBERS: Final = 16
# What each entry of a zip's directory begins with; counted before zipfile reads the directory.
_ZIP_ENTRY_MARK: Final = b"PK\x01\x02"

MAKE_AGAIN: Final = "convert the run again with edge-convert"


def read_model_file(path: Path) -> bytes:
    """All bytes of a model file.

    Raises:
        ModelFileError: It cannot be read, or is larger than any model file.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelFileError(
            path, f"cannot be read ({error.strerror})", remedy="check the path"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelFileError(path, f"is too large, {SIZE_LIMIT}", remedy="check the path")
    return data


def unpack(data: bytes, path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The zip behind the flatbuffer: bundle.json parsed, and every member's bytes.

    Raises:
        ModelFileError: It is missing, broken, too large unpacked, or without a bundle.json.
    """
    try:
        if data.count(_ZIP_ENTRY_MARK) > _MAX_MEMBERS:
            raise ModelFileError(
                path, f"holds more than {_MAX_MEMBERS} members", remedy="do not use this file"
            )
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: _member(archive, info) for info in archive.infolist()}
        facts = json.loads(members["bundle.json"])
    except KeyError as error:
        raise ModelFileError(
            path, "is a TFLite model without a bundle.json", remedy=MAKE_AGAIN
        ) from error
    # All that zipfile lets through when bytes are missing or garbled.
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        ValueError,
        OSError,
        EOFError,
        RuntimeError,
    ) as error:
        raise ModelFileError(
            path, f"is truncated or altered ({error})", remedy="copy it again or " + MAKE_AGAIN
        ) from error
    if any(len(member) > _MAX_MEMBER_BYTES for member in members.values()):
        raise ModelFileError(
            path, "holds a member larger than 4 MiB", remedy="do not use this file"
        )
    if not isinstance(facts, dict):
        raise ModelFileError(path, "has a bundle.json that is no object", remedy=MAKE_AGAIN)
    return facts, members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # LZMA may ask for gigabytes before it gives a byte.
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ValueError(f"{info.filename} is packed in a way that model files are not")
    with archive.open(info) as member:
        return member.read(_MAX_MEMBER_BYTES + 1)
