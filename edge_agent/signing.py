"""Keys, and signatures of model files with them: ed25519. The one file that imports cryptography.

The library is an extra (`edge-ids[signing]`), imported when it is first needed: an agent without
--public-key does not have to have it. Where a signature stands and what it covers is in
`edge_agent.contract.signature`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.contract.errors import (
    KeyFileError,
    OutputError,
    SignatureError,
    SigningUnavailable,
)
from edge_agent.contract.signature import KEY_ID_DIGITS, Signature, join, signed_message, split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

# A key has about 120 bytes; this is room for hundreds, with remarks between them.
_MAX_KEY_FILE_BYTES: Final = 64 * 1024
_BEGIN: Final = b"-----BEGIN "
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)
_OWNER_ONLY: Final = 0o600
_WANT_PUBLIC: Final = "give the .pub file that edge-convert keygen wrote"
_WANT_PRIVATE: Final = "give the file that edge-convert keygen wrote, the one without .pub"


class _Library(NamedTuple):
    ed25519: Any
    serialization: Any
    invalid_signature: type[Exception]
    unsupported: type[Exception]


def _library() -> _Library:
    try:
        # Here and not above: the agent starts without it.
        from cryptography import exceptions  # noqa: PLC0415
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise SigningUnavailable(
            "signatures need the library cryptography, which is not installed here;"
            " pip install 'edge-ids[signing]'."
        ) from error
    return _Library(
        ed25519, serialization, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm
    )


def key_id_of(key: Ed25519PublicKey) -> str:
    """Fingerprint of a public key: the first 128 bits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """Keys of which any may have signed a model file; a `contract.signature.Trust`.

    Attributes:
        path: Where they are from, for messages.
        keys: By their key id.
    """

    path: Path
    keys: Mapping[str, Ed25519PublicKey]

    @classmethod
    def read(cls, path: Path) -> PublicKeys:
        """Read a file of one or several PEM keys; several, so that keys can be changed in turn.

        Raises:
            KeyFileError: It cannot be read, or holds anything but public ed25519 keys.
            SigningUnavailable: cryptography is missing.
        """
        library = _library()
        keys = {}
        for label, block in _pem_blocks(path, _read_key_file(path), _WANT_PUBLIC):
            if b"PRIVATE" in label:
                raise KeyFileError(
                    path, "holds a private key where a public one is wanted", remedy=_WANT_PUBLIC
                )
            try:
                key = library.serialization.load_pem_public_key(block)
            except (ValueError, library.unsupported) as error:
                raise KeyFileError(path, "holds a broken key", remedy=_WANT_PUBLIC) from error
            if not isinstance(key, library.ed25519.Ed25519PublicKey):
                raise KeyFileError(path, "holds a key that is not ed25519", remedy=_WANT_PUBLIC)
            keys[key_id_of(key)] = key
        return cls(path, keys)

    def verified(self, data: bytes, path: Path) -> bytes:
        """See `contract.signature.Trust`."""
        unsigned, signature = split(data, path)
        if signature is None:
            raise SignatureError(
                path,
                "is not signed, or cut in front of its signature",
                remedy="sign it with edge-convert sign, or copy it again from where it was signed",
            )
        key = self.keys.get(signature.key_id)
        if key is None:
            raise SignatureError(
                path,
                f"is signed by the key {signature.key_id}, and {self.path} holds"
                f" {', '.join(self.keys)}",
                remedy="do not use this file, or add that key's .pub if you know whose it is",
            )
        try:
            key.verify(signature.value, signed_message(unsigned, signature.key_id))
        except _library().invalid_signature as error:
            raise SignatureError(
                path,
                f"is altered: the signature by the key {signature.key_id} does not fit it",
                remedy="do not use this file; copy it again from where it was signed",
            ) from error
        return unsigned


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs."""

    key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new key.

        Raises:
            SigningUnavailable: cryptography is missing.
        """
        return cls(_library().ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> PrivateKey:
        """Read what `save` wrote.

        Raises:
            KeyFileError: It cannot be read, others can read it, or it holds anything else than one
                private ed25519 key.
            SigningUnavailable: cryptography is missing.
        """
        library = _library()
        blocks = list(_pem_blocks(path, _read_key_file(path, private=True), _WANT_PRIVATE))
        if len(blocks) != 1:
            raise KeyFileError(path, f"holds {len(blocks)} keys, not one", remedy=_WANT_PRIVATE)
        label, block = blocks[0]
        if b"PUBLIC" in label:
            raise KeyFileError(
                path, "holds a public key where a private one is wanted", remedy=_WANT_PRIVATE
            )
        try:
            key = library.serialization.load_pem_private_key(block, password=None)
        except TypeError as error:
            raise KeyFileError(
                path,
                "holds a key behind a passphrase",
                remedy="decrypt it first, e.g. with openssl pkey, into a file of mode 0600",
            ) from error
        except (ValueError, library.unsupported) as error:
            raise KeyFileError(path, "holds a broken key", remedy=_WANT_PRIVATE) from error
        if not isinstance(key, library.ed25519.Ed25519PrivateKey):
            raise KeyFileError(path, "holds a key that is not ed25519", remedy=_WANT_PRIVATE)
        return cls(key)

    @property
    def key_id(self) -> str:
        """Fingerprint of its public key."""
        return key_id_of(self.key.public_key())

    def save(self, path: Path) -> Path:
        """Write the private key for its owner alone, and the public one beside it.

        Returns:
            The public key's file.

        Raises:
            OutputError: One of the files is there already, or cannot be written; neither is left.
        """
        library = _library()
        form = library.serialization
        private = self.key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        public = self.key.public_key().public_bytes(
            form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        )
        public_path = path.with_name(path.name + ".pub")
        with _new_file(path, private, _OWNER_ONLY), _new_file(public_path, public, 0o644):
            pass
        return public_path

    def signed(self, data: bytes, path: Path) -> bytes:
        """A model file with this key's signature, in the place of an earlier one.

        Args:
            data: The file, signed or not.
            path: What errors call it.

        Raises:
            ModelFileError: It does not end as a model file does.
        """
        unsigned, _ = split(data, path)
        value = self.key.sign(signed_message(unsigned, self.key_id))
        return join(unsigned, Signature(self.key_id, value), path)


def _read_key_file(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as stream:
            # Of the file that is open, so that none can take its place in between.
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            data = stream.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(
            path, f"cannot be read ({error.strerror})", remedy="check the path"
        ) from error
    if private and mode & 0o077:
        raise KeyFileError(
            path,
            f"is a private key that others than its owner can reach (mode {mode:04o})",
            remedy=f"chmod 600 {path}, and make a new key if others may have read it",
        )
    if len(data) > _MAX_KEY_FILE_BYTES:
        raise KeyFileError(path, "is too large for a key", remedy="check the path")
    return data


def _pem_blocks(path: Path, data: bytes, remedy: str) -> Iterator[tuple[bytes, bytes]]:
    """Label and text of every key in a file.

    Raises:
        KeyFileError: There is none, or one is cut: it must not go missing unnoticed.
    """
    found = list(_PEM.finditer(data))
    if not found:
        raise KeyFileError(path, "holds no key in PEM form", remedy=remedy)
    if len(found) != data.count(_BEGIN):
        raise KeyFileError(path, "holds a key that is cut", remedy=remedy)
    for match in found:
        yield match[1], match[0] + b"\n"


@contextlib.contextmanager
def _new_file(path: Path, data: bytes, mode: int) -> Iterator[None]:
    """Make a file that was not there; take it away again when the block fails.

    Raises:
        OutputError: It is there, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise OutputError(
            f"{path}: exists already, and a key is never overwritten; choose another name, or move"
            " it away."
        ) from error
    except OSError as error:
        raise _cannot_write(path, error) from error
    whole = False
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(handle)
        yield
        whole = True
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if not whole:
            path.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot be written ({error.strerror or error}); check the folder, its permissions"
        " and the free space."
    )
