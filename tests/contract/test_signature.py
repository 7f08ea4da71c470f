"""Signed model files: what a signature covers, and every way round it that we could think of."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.bundle import Bundle
from edge_agent.contract.errors import (
    KeyFileError,
    ModelFileError,
    OutputError,
    SignatureError,
    SigningUnavailable,
)
from edge_agent.contract.signature import Signature, join, split
from edge_agent.signing import PrivateKey, PublicKeys
from tests.agent.conftest import LAB_MODEL
from tests.contract.test_bundle import FLATBUFFER, make, packed
from tests.detect.conftest import FAMILIES_MODEL, TINY

PATH = Path("model.tflite")
STAND_IN = Signature("0123456789abcdef" * 2, bytes(range(64)))
COMMENT_BYTES = len(join(make().to_bytes(), STAND_IN, PATH)) - len(make().to_bytes())
OLD_FILES = (TINY, LAB_MODEL, FAMILIES_MODEL)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    pytest.importorskip("cryptography", reason="cryptography is not installed: edge-ids[signing]")
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def trust(key: PrivateKey) -> PublicKeys:
    return PublicKeys(Path("fleet.pub"), {key.key_id: key.key.public_key()})


@pytest.fixture(scope="module")
def signed(key: PrivateKey) -> bytes:
    return key.signed(make().to_bytes(), PATH)


def refusal(data: bytes, trust: PublicKeys) -> str:
    with pytest.raises(SignatureError) as caught:
        trust.verified(data, PATH)
    text = str(caught.value)
    assert re.fullmatch(r"model\.tflite: [^\n]+; [^\n]+\.", text), "one sentence with a remedy"
    return text


# Framing: no cryptography needed.


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: str(path.name))
def test_a_signed_file_is_the_unsigned_one_with_a_zip_comment(path: Path, tmp_path: Path) -> None:
    unsigned = path.read_bytes()
    data = join(unsigned, STAND_IN, path)
    assert split(data, path) == (unsigned, STAND_IN)
    assert split(unsigned, path) == (unsigned, None)
    # Whoever does not know of signatures reads it as before.
    assert Bundle.from_bytes(data, path) == Bundle.open(path)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.comment == data[len(unsigned) :]
        assert archive.comment.isascii()


def test_a_signature_stands_in_one_place_only() -> None:
    data = join(make().to_bytes(), STAND_IN, PATH)
    for spoiled in (
        data + b"\0",
        data[:-1],
        data + data[-COMMENT_BYTES:],
        make().to_bytes() + data,
        data.replace(b"signature 1 ", b"signature 2 "),
        data.replace(b"ed25519", b"rsa2048"),
        data[:-3] + b"3F\n",  # a capital
        data[:-COMMENT_BYTES] + b" " + data[-COMMENT_BYTES:],
    ):
        with pytest.raises(SignatureError, match="holds a signature that is cut, altered"):
            split(spoiled, PATH)


@pytest.mark.parametrize(
    "data",
    [
        make().to_bytes() + b"\0",
        b"",
        FLATBUFFER,
        # A zip that is not where its directory says, and one with a comment of its own.
        b"x" + make().to_bytes(),
        make().to_bytes()[:-2] + struct.pack("<H", 4) + b"mine",
    ],
    ids=["trailing", "empty", "bare", "shifted", "comment"],
)
def test_what_does_not_end_as_a_model_file_does_is_not_signed(data: bytes) -> None:
    with pytest.raises(ModelFileError, match="cannot be signed"):
        join(data, STAND_IN, PATH)


# Signatures.


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: str(path.name))
def test_files_of_every_version_can_be_signed(
    path: Path, key: PrivateKey, trust: PublicKeys, tmp_path: Path
) -> None:
    target = tmp_path / "signed.tflite"
    target.write_bytes(key.signed(path.read_bytes(), path))
    assert Bundle.open(target, trust) == Bundle.open(target) == Bundle.open(path)
    assert trust.verified(target.read_bytes(), target) == path.read_bytes()


def test_no_byte_of_a_signed_file_can_be_changed(signed: bytes, trust: PublicKeys) -> None:
    # All bytes of such a small file; five ways each. 0x20 turns hexadecimal digits to capitals.
    for position in range(len(signed)):
        for flip in (0x01, 0x02, 0x20, 0x80, 0xFF):
            altered = bytearray(signed)
            altered[position] ^= flip
            refusal(bytes(altered), trust)


def test_no_signed_file_can_be_cut(signed: bytes, trust: PublicKeys) -> None:
    for length in range(len(signed)):
        refusal(signed[:length], trust)


@settings(max_examples=300)
@given(data=st.data())
def test_no_real_signed_file_can_be_edited(
    data: st.DataObject, key: PrivateKey, trust: PublicKeys
) -> None:
    path = data.draw(st.sampled_from(OLD_FILES))
    whole = key.signed(path.read_bytes(), path)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 300)))
    inserted = data.draw(st.binary(max_size=300))
    edited = whole[:start] + inserted + whole[end:]
    if edited == whole:
        assert trust.verified(edited, PATH) == path.read_bytes()
    else:
        refusal(edited, trust)


def test_a_signature_fits_one_file_only(key: PrivateKey, trust: PublicKeys, signed: bytes) -> None:
    other = key.signed(make(threshold=0.75).to_bytes(), PATH)
    swapped = other[:-COMMENT_BYTES] + signed[-COMMENT_BYTES:]
    assert f"is altered: the signature by the key {key.key_id} does not fit" in refusal(
        swapped, trust
    )


def test_a_signature_made_for_something_else_is_of_no_use(
    key: PrivateKey, trust: PublicKeys
) -> None:
    unsigned = make().to_bytes()
    plain = Signature(key.key_id, key.key.sign(unsigned))
    assert "is altered" in refusal(join(unsigned, plain, PATH), trust)


def test_another_zip_behind_around_or_inside_a_signed_file_is_refused(
    signed: bytes, trust: PublicKeys
) -> None:
    comment = signed[-COMMENT_BYTES:]
    evil = make(threshold=1.0).to_bytes()
    with_comment = evil[:-2] + struct.pack("<H", len(comment)) + comment
    members = {"bundle.json": b"{}", "old.tflite": signed}
    for attack in (
        with_comment,  # the old signature on a zip of the attacker's
        signed + evil,  # zip readers take the last zip
        signed + with_comment,
        evil + signed,  # a prefix, as a self-extracting archive has one
        FLATBUFFER + signed,
        # The signed file as the comment of the attacker's zip, and as one of its members.
        evil[:-2] + struct.pack("<H", len(signed)) + signed,
        packed(FLATBUFFER, members),
        packed(FLATBUFFER, members)[:-2] + struct.pack("<H", len(comment)) + comment,
        # The attacker's end record slipped in before the signature, or as the signature's line.
        signed[:-COMMENT_BYTES] + evil[-22:] + comment,
        signed[: -COMMENT_BYTES - 2] + struct.pack("<H", len(comment) + 22) + evil[-22:] + comment,
        signed[: -COMMENT_BYTES - 2] + struct.pack("<H", len(comment) + len(evil)) + evil + comment,
    ):
        refusal(attack, trust)


def test_the_bytes_that_are_checked_are_the_bytes_that_are_read(
    tmp_path: Path, key: PrivateKey, trust: PublicKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    path = tmp_path / "model.tflite"
    path.write_bytes(key.signed(make().to_bytes(), path))
    monkeypatch.setattr(Bundle, "from_bytes", lambda data, _: seen.append(data))
    Bundle.open(path, trust)
    assert seen == [make().to_bytes()]
    path.write_bytes(b"not even a model")
    with pytest.raises(SignatureError, match="is not signed"):
        Bundle.open(path, trust)
    assert len(seen) == 1, "nothing is parsed before it is trusted"


def test_signing_twice_replaces_the_signature(
    key: PrivateKey, trust: PublicKeys, signed: bytes
) -> None:
    other = PrivateKey.generate()
    again = other.signed(signed, PATH)
    assert len(again) == len(signed)
    said = refusal(again, trust)
    assert f"is signed by the key {other.key_id}, and fleet.pub holds {key.key_id}" in said
    assert key.signed(again, PATH) == signed, "ed25519 draws nothing"


def test_an_unsigned_file_is_refused_where_trust_is_asked_for(trust: PublicKeys) -> None:
    assert "is not signed" in refusal(make().to_bytes(), trust)


# Key files.


def test_keys_round_trip_and_are_the_owners_alone(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed: edge-ids[signing]")
    path = tmp_path / "new" / "fleet.key"
    key = PrivateKey.generate()
    public = key.save(path)
    assert (public, path.stat().st_mode & 0o777) == (path.with_name("fleet.key.pub"), 0o600)
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert PrivateKey.read(path).key_id == key.key_id
    assert list(PublicKeys.read(public).keys) == [key.key_id]
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"fleet\.key: exists already"):
        PrivateKey.generate().save(path)
    path.rename(tmp_path / "moved")
    with pytest.raises(OutputError, match=r"fleet\.key\.pub: exists already"):
        PrivateKey.generate().save(path)
    assert not path.exists(), "no private key without its public one"
    assert (tmp_path / "moved").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o601])
def test_a_private_key_that_others_can_reach_is_refused(
    tmp_path: Path, key: PrivateKey, mode: int
) -> None:
    path = tmp_path / "fleet.key"
    key.save(path)
    path.chmod(mode)
    said = rf"others than its owner can reach \(mode {mode:04o}\); chmod 600 {path}, "
    with pytest.raises(KeyFileError, match=said):
        PrivateKey.read(path)
    path.chmod(0o400)
    assert PrivateKey.read(path).key_id == key.key_id


def test_any_of_several_public_keys_is_enough(tmp_path: Path, key: PrivateKey) -> None:
    other = PrivateKey.generate()
    publics = [each.save(tmp_path / each.key_id).read_bytes() for each in (other, key)]
    both = tmp_path / "both.pub"
    both.write_bytes(b"# the old one\n" + publics[0] + b"\n# the new one\r\n" + publics[1])
    trust = PublicKeys.read(both)
    for signer in (key, other):
        unsigned = trust.verified(signer.signed(make().to_bytes(), PATH), PATH)
        assert unsigned == make().to_bytes()
    both.write_bytes(publics[0] + publics[1][:-20])
    with pytest.raises(KeyFileError, match="holds a key that is cut"):
        PublicKeys.read(both)


def test_keys_of_the_wrong_kind_are_told_in_a_sentence(tmp_path: Path, key: PrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import rsa

    def private(other: Any, secret: bytes = b"") -> bytes:
        lock = form.BestAvailableEncryption(secret) if secret else form.NoEncryption()
        return bytes(other.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock))

    foreign = rsa.generate_private_key(65537, 2048)
    foreign_public = foreign.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    own = key.save(tmp_path / "own")
    broken = own.read_bytes().replace(b"MCow", b"MCox")
    path = tmp_path / "key"
    for data, for_public, for_private in (
        (b"", "holds no key in PEM form", "holds no key in PEM form"),
        (b"\xff\xfe rubbish" * 99, "holds no key in PEM form", "holds no key in PEM form"),
        (b"x" * 70_000, "is too large for a key", "is too large for a key"),
        (foreign_public, "a key that is not ed25519", "a public key where a private one is wanted"),
        (private(foreign), "a private key where a public one", "a key that is not ed25519"),
        (private(key.key, b"secret"), "a private key where a public one", "behind a passphrase"),
        (private(key.key), "a private key where a public one is wanted", ""),
        (own.read_bytes(), "", "a public key where a private one is wanted"),
        (private(key.key) * 2, "a private key where a public one", "holds 2 keys, not one"),
        (broken, "holds a broken key", "a public key where a private one is wanted"),
        (private(key.key).replace(b"MC4", b"MC5"), "a private key where", "holds a broken key"),
    ):
        path.write_bytes(data)
        path.chmod(0o600)
        for read, said in ((PublicKeys.read, for_public), (PrivateKey.read, for_private)):
            if not said:
                read(path)
                continue
            with pytest.raises(KeyFileError) as caught:
                read(path)
            assert said in str(caught.value)
            assert re.fullmatch(r"[^\n;]+; [^\n]+\.", str(caught.value))
    for missing in (tmp_path / "none", tmp_path):
        for read in (PublicKeys.read, PrivateKey.read):
            with pytest.raises(KeyFileError, match=r"cannot be read .*; check the path\."):
                read(missing)


def test_a_full_disk_leaves_no_part_of_a_key(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed: edge-ids[signing]")
    # The private key has 119 bytes, the public one 113: so far and no further.
    for limit_bytes in (50, 115):
        script = (
            "import resource, sys\n"
            "from pathlib import Path\n"
            "from edge_agent.contract.errors import OutputError\n"
            "from edge_agent.signing import PrivateKey\n"
            "key = PrivateKey.generate()\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))\n"
            "try: key.save(Path(sys.argv[1]))\n"
            "except OutputError as error: print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-B", "-c", script, str(tmp_path / "fleet.key")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "fleet.key: cannot be written (File too large); check" in done.stdout
        assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for work in (PrivateKey.generate, lambda: PublicKeys.read(tmp_path)):
        with pytest.raises(SigningUnavailable, match=r"pip install 'edge-ids\[signing\]'\.$"):
            work()


def test_cryptography_is_imported_only_when_it_is_needed() -> None:
    code = (
        "import sys, edge_agent.signing, edge_agent.cli, edge_agent.detect.detector\n"
        "sys.exit('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0
