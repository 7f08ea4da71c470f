"""Where a model file's signature stands: framing alone, no cryptography.

A model file ends with a zip, and a zip ends with its end-of-central-directory record and a comment.
The comment holds the signature, as one line of fixed length, line end included:

    edge-ids-signature 1 ed25519 KEY-ID SIGNATURE

1 is the version of this form. KEY-ID, 32 hexadecimal digits, is the beginning of the SHA-256 of the
public key; it only says which key to look for. SIGNATURE, 128 digits, is over the words in front
of it and then *every byte of the unsigned file*: flatbuffer, scaler, facts, card, and the zip's own
directory, its comment empty. So nothing is left that could be changed, and the words in front make
it a signature of a model file, of no use elsewhere.

Why in the comment, over bytes: any unzip and any TFLite interpreter still read a signed file, and
there is no list of signed parts that could miss one. Nothing is parsed before the signature is
checked, and what is checked is what is parsed. `split` looks for nothing: the signature is at a
fixed distance from the end or there is none. It demands that the record in front of it closes the
zip, so that other tools, which do search from the end, find the same zip.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.contract.errors import ModelFileError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

# End of central directory: mark, disks, entries, size and place of the directory, comment length.
_END: Final = struct.Struct("<4s4H2LH")
_END_MARK: Final = b"PK\x05\x06"

KEY_ID_DIGITS: Final = 32
_SIGNATURE_BYTES: Final = 64
_NAME: Final = b"edge-ids-signature "
_FORM: Final = re.compile(
    rb"(edge-ids-signature 1 ed25519 ([0-9a-f]{%d}) )([0-9a-f]{%d})\n"
    % (KEY_ID_DIGITS, 2 * _SIGNATURE_BYTES)
)
_COMMENT_BYTES: Final = len(_NAME) + len("1 ed25519 \n ") + KEY_ID_DIGITS + 2 * _SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as a file holds it; whether it is right is for `edge_agent.signing` to say."""

    key_id: str
    value: bytes


class Trust(Protocol):
    """Whose model files may be loaded."""

    def verified(self, data: bytes, path: Path) -> bytes:
        """The unsigned bytes of a signed model file, once its signature is known to be right.

        Raises:
            SignatureError: It is not signed, by another key, or altered.
        """


def signed_message(unsigned: bytes, key_id: str) -> bytes:
    """What is signed."""
    return _prefix(key_id) + unsigned


def join(unsigned: bytes, signature: Signature, path: Path) -> bytes:
    """The signed file.

    Raises:
        ModelFileError: The file does not end as a model file does.
    """
    if not _closes_a_zip(unsigned):
        raise ModelFileError(
            path,
            "does not end with a plain zip directory, so it cannot be signed",
            remedy="convert the run again with edge-convert",
        )
    comment = _prefix(signature.key_id) + signature.value.hex().encode() + b"\n"
    return unsigned[:-2] + struct.pack("<H", len(comment)) + comment


def split(data: bytes, path: Path) -> tuple[bytes, Signature | None]:
    """The unsigned file, and its signature if there is one.

    Raises:
        SignatureError: There is one, but not whole or not where it belongs.
    """
    body, comment = data[:-_COMMENT_BYTES], data[-_COMMENT_BYTES:]
    found = _FORM.fullmatch(comment)
    if found and body[-2:] == struct.pack("<H", _COMMENT_BYTES):
        unsigned = body[:-2] + b"\0\0"
        if _closes_a_zip(unsigned):
            value = bytes.fromhex(found[3].decode())
            return unsigned, Signature(found[2].decode(), value)
    if _NAME in data:
        raise SignatureError(
            path,
            "holds a signature that is cut, altered, of another version, or has bytes behind it",
            remedy="copy it again from where it was signed, or update edge-ids on this machine",
        )
    return data, None


def _prefix(key_id: str) -> bytes:
    return _NAME + b"1 ed25519 " + key_id.encode("ascii") + b" "


def _closes_a_zip(data: bytes) -> bool:
    """Whether the directory's last entry, its end record without a comment, and the file end meet.

    That leaves no room for a second end record, nor for a zip64 one, between directory and end.
    """
    if len(data) < _END.size:
        return False
    mark, *disks, here, entries, size, start, comment = _END.unpack(data[-_END.size :])
    plain = mark == _END_MARK and disks == [0, 0] and here == entries and comment == 0
    return plain and start + size + _END.size == len(data)
