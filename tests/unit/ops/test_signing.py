"""Signatures: whoever has the public key knows whose version it is, and any change of it is noticed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mlver.errors import ConflictError, MlverError, NotFoundError, SignatureError, UsageError
from mlver.history.event import Event, decode_event, encode_event
from mlver.history.sign_action import SignVersion
from mlver.ops.signing.keys import parse_public_key, read_private_key, read_public_key
from mlver.ops.signing.statement import make_bundle
from mlver.repository import Repository
from tests.support.keys import make_key, write_pair
from tests.support.places import quick_folder
from tests.support.trees import replace_bytes, write_tree

FILES = {"w.bin": b"weights" * 1000, "conf/a.json": b"{}", "empty": b"", "z é": b"x"}


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def net(place: Path) -> Iterator[Repository]:
    """A repository with `net:v0`, and keys of Ada's and Eve's beside it."""
    make_key(place, "ada")
    make_key(place, "eve")
    write_tree(place / "repository/model", FILES)
    (place / "repository/model/conf/none").mkdir()
    with Repository.init(place / "repository") as repository:
        repository.add(place / "repository/model", name="net", type="model", metrics={"acc": 0.5}, message="first")
        yield repository


def status(repository: Repository, place: Path, revision: str = "net:v0", who: str = "ada") -> str:
    (check,) = repository.verify_signatures(revision, [place / f"{who}.pub"])
    return check.status


def test_a_signed_version_is_valid_for_the_signer_and_nobody_else(net: Repository, place: Path) -> None:
    assert status(net, place) == "unsigned"
    result = net.sign("net:v0", place / "ada.pem")
    assert (result.file_count, result.key) == (4, read_public_key(place / "ada.pub").id)
    assert status(net, place) == "valid"
    assert status(net, place, who="eve") == "untrusted"
    net.sign("net:v0", place / "eve.pem")
    assert [status(net, place, who=who) for who in ("ada", "eve")] == ["valid", "valid"]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_keys_of_three_curves_with_and_without_a_password(
    net: Repository, place: Path, curve: ec.EllipticCurve
) -> None:
    key = make_key(place, "other", curve, b"secret")
    with pytest.raises(UsageError, match="needs a password"):
        net.sign("net:v0", key)
    with pytest.raises(UsageError, match="password is another"):
        net.sign("net:v0", key, password="wrong")
    net.sign("net:v0", key, password="secret")
    assert status(net, place, who="other") == "valid"
    with pytest.raises(UsageError, match="has no password"):
        net.sign("net:v0", place / "ada.pem", password="x")


def test_other_keys_are_refused(net: Repository, place: Path) -> None:
    others = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "ed": ed25519.Ed25519PrivateKey.generate(),
        "r192": ec.generate_private_key(ec.SECP192R1()),
        "k1": ec.generate_private_key(ec.SECP256K1()),  # 256 bits like P-256, and none of model-signing's
    }
    for name, key in others.items():
        path = write_pair(place, name, key)
        with pytest.raises(UsageError, match=r"curve"):
            net.sign("net:v0", path)
        with pytest.raises(UsageError, match=r"curve"):
            net.verify_signatures("net:v0", [place / f"{name}.pub"])
    (place / "odd").write_bytes(b"-----BEGIN PUBLIC KEY-----\nnonsense\n")
    for path in (place / "odd", place / "ada.pem"):  # a private key is not taken for a public one
        with pytest.raises(UsageError, match="no public key"):
            read_public_key(path)
    with pytest.raises(UsageError, match="no private key"):
        read_private_key(place / "ada.pub")
    with pytest.raises(MlverError, match="cannot be read"):
        read_private_key(place / "absent")


# What is signed, and what is noticed


def forge(repository: Repository, change: Callable[[Event], Event], number: int) -> None:
    """Change an event as somebody would who may write the store: with a digest that fits, and no cache left."""
    (log,) = (repository.path / "log").iterdir()
    path = log / f"{number:012d}.json"
    event = decode_event(path.read_bytes(), number, path.name)
    replace_bytes(path, encode_event(change(event)))
    (repository.path / "index.sqlite").unlink(missing_ok=True)


def with_add(**changes: Any) -> Callable[[Event], Event]:
    return lambda event: replace(event, actions=(replace(event.actions[0], **changes), *event.actions[1:]))


@pytest.mark.parametrize(
    "change",
    [
        with_add(metrics={"acc": 0.99}),
        with_add(message="better"),
        with_add(metadata={"lr": 1}),
        with_add(provenance={"command": "x"}),
        lambda event: replace(event, by="ada@elsewhere"),
        lambda event: replace(event, at="2020-01-01T00:00:00.000000Z"),
    ],
    ids=["metrics", "message", "metadata", "provenance", "author", "time"],
)
def test_an_altered_event_is_noticed(net: Repository, place: Path, change: Callable[[Event], Event]) -> None:
    net.sign("net:v0", place / "ada.pem")
    forge(net, change, 0)
    with Repository.open(net.path.parent) as again:
        assert status(again, place) == "changed"


def test_another_content_under_the_signed_number_is_noticed(net: Repository, place: Path) -> None:
    other = net.add(write_tree(place / "other", {**FILES, "w.bin": b"evil"}), name="net").version
    net.sign("net:v0", place / "ada.pem")
    first = net.resolve("net:v0")
    forge(net, with_add(manifest=other.id), 0)
    forge(net, with_add(manifest=first.id), 1)
    with Repository.open(net.path.parent) as again:
        assert status(again, place) == "changed"
        with pytest.raises(SignatureError, match="its content changed since it was signed"):
            again.pull("net:v0", place / "out", require_signature=True, public_keys=[place / "ada.pub"])


def test_a_signature_is_for_one_artifact_and_one_number(net: Repository, place: Path) -> None:
    """The same content under another name or number is not what somebody vouched for."""
    net.sign("net:v0", place / "ada.pem")
    signature = signatures_of(net)[0]
    net.add(place / "repository/model", name="prod", type="model")
    append(net, "prod", replace(signature, version=0))
    assert status(net, place, "prod:v0") == "changed"
    net.add(write_tree(place / "next", {"w": b"x"}), name="net")
    append(net, "net", replace(signature, version=1))
    assert status(net, place, "net:v1") == "changed"
    net.rename("net", "renamed")
    assert status(net, place, "renamed:v0") == "changed"
    net.rename("renamed", "net")
    assert status(net, place) == "valid"


def signatures_of(repository: Repository) -> list[SignVersion]:
    index = repository._opened.index
    artifact = index.artifact("net")
    assert artifact is not None
    return index.signatures(artifact, 0)


def append(repository: Repository, name: str, action: SignVersion) -> None:
    from mlver.ops.commit import commit

    repository._opened.index.refresh()
    commit(repository._opened, repository._opened.index.artifact(name), lambda: [action])


@pytest.mark.parametrize(
    "change",
    [
        lambda signed: replace(signed, statement=signed.statement.replace('"net"', '"ten"')),
        lambda signed: replace(signed, statement=signed.statement + " "),
        lambda signed: replace(signed, statement=""),
        lambda signed: replace(signed, signature=""),
        lambda signed: replace(signed, signature="no base64"),
        lambda signed: replace(signed, signature=base64.b64encode(b"x" * 70).decode()),
        lambda signed: replace(signed, signature="A" * 100_000),
    ],
)
def test_an_altered_signature_is_nobodys(
    net: Repository, place: Path, change: Callable[[SignVersion], SignVersion]
) -> None:
    net.sign("net:v0", place / "ada.pem")
    (signed,) = signatures_of(net)
    append(net, "net", replace(signed, present=False))
    assert status(net, place) == "unsigned"
    append(net, "net", change(signed))
    assert status(net, place) == "untrusted"
    append(net, "net", replace(signed, key="0" * 64))  # a hint, and no more
    assert status(net, place) == "valid"


def test_damaged_files_are_noticed(net: Repository, place: Path) -> None:
    net.sign("net:v0", place / "ada.pem")
    (pack,) = (net.path / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[70] ^= 1
    replace_bytes(pack, bytes(data))
    with Repository.open(net.path.parent) as again:
        assert status(again, place) == "unreadable"


def test_files_of_another_sha256_than_was_signed_are_noticed(net: Repository, place: Path) -> None:
    """Somebody signed digests that are not those of the files: honest programs do not, stolen keys might."""
    from mlver.ops.signing import sign as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "file_digests", lambda *_: dict.fromkeys(FILES, "0" * 64))
        net.sign("net:v0", place / "ada.pem")
    assert status(net, place) == "changed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "file_digests", lambda *_: {"other": "0" * 64})
        net.sign("net:v0", place / "ada.pem")
    assert status(net, place) == "changed"


def test_labels_may_change_and_what_is_said_of_the_version_may_not(net: Repository, place: Path) -> None:
    net.sign("net:v0", place / "ada.pem")
    net.alias("best", "net:v0")
    net.note("net:v0", "fine")
    assert status(net, place) == "valid"
    net.meta("net:v0", metrics={"acc": 0.9})
    assert status(net, place) == "changed"
    net.sign("net:v0", place / "ada.pem")
    assert status(net, place) == "valid"


def test_a_signature_can_be_undone_and_a_removed_version_not_signed(net: Repository, place: Path) -> None:
    net.sign("net:v0", place / "ada.pem")
    net.undo("net")
    assert status(net, place) == "unsigned"
    net.remove("net:v0")
    with pytest.raises(NotFoundError):
        net.sign("net:v0", place / "ada.pem")


# Pulling only what is signed


def test_a_pull_can_require_a_signature(net: Repository, place: Path) -> None:
    keys = [place / "ada.pub"]
    with pytest.raises(SignatureError, match="nobody signed it"):
        net.pull("net:v0", place / "out", require_signature=True, public_keys=keys)
    with pytest.raises(SignatureError, match="No key is trusted"):
        net.pull("net:v0", place / "out", require_signature=True)
    net.sign("net:v0", place / "eve.pem")
    with pytest.raises(SignatureError, match="no trusted key signed it"):
        net.pull("net:v0", place / "out", require_signature=True, public_keys=keys)
    with pytest.raises(SignatureError, match="no trusted key signed it"):
        net.pull("net:v0", place / "out", public_keys=keys)  # naming a key says that it matters
    assert not (place / "out").exists()
    net.sign("net:v0", place / "ada.pem")
    net.pull("net:v0", place / "out", require_signature=True, public_keys=keys)
    assert (place / "out/w.bin").read_bytes() == FILES["w.bin"]


@pytest.mark.parametrize("inline", [False, True])
def test_settings_can_require_it_of_every_pull(net: Repository, place: Path, inline: bool) -> None:
    (place / "repository/keys").mkdir()
    (place / "repository/keys/ada.pub").write_bytes((place / "ada.pub").read_bytes())
    key = f"'''\n{(place / 'ada.pub').read_text()}'''" if inline else '"keys/ada.pub"'
    replace_bytes(net.path / "config.toml", f"[signing]\nrequire = true\ntrusted = [{key}]\n".encode())
    with pytest.raises(SignatureError):
        net.pull("net:v0", place / "out")
    net.sign("net:v0", place / "ada.pem")
    net.pull("net:v0", place / "out")
    (check,) = net.verify_signatures()
    assert check.ok


@pytest.mark.parametrize("text", ["trusted = 'x'", "trusted = [1]", "require = 'yes'", "trusted = ['absent']"])
def test_malformed_settings_let_nothing_through(net: Repository, place: Path, text: str) -> None:
    net.sign("net:v0", place / "ada.pem")
    replace_bytes(net.path / "config.toml", f"[signing]\n{text}\n".encode())
    with pytest.raises(MlverError):
        net.pull("net:v0", place / "out", require_signature=True)
    assert not (place / "out").exists()


def test_signatures_are_pushed_and_fetched_and_renumbered_versions_lose_them(net: Repository, place: Path) -> None:
    net.add_remote("origin", str(place / "remote"))
    net.sign("net:v0", place / "ada.pem")
    net.push()
    with Repository.clone(str(place / "remote"), place / "bob") as bob:
        bob.pull("net:v0", place / "out", require_signature=True, public_keys=[place / "ada.pub"])
        assert status(bob, place) == "valid"
        net.add(write_tree(place / "a", {"w": b"a"}), name="net")
        net.push()
        bob.add(write_tree(place / "b", {"w": b"b"}), name="net")
        bob.sign("net:v1", place / "eve.pem")
        (news,) = bob.fetch().artifacts
        assert any("signature" in notice for notice in news.notices)
        assert status(bob, place, "net:v2", "eve") == "unsigned"
        assert status(bob, place) == "valid"


# Other programs


def test_model_signing_takes_our_signatures(net: Repository, place: Path) -> None:
    from model_signing import verifying

    result = net.sign("net:v0", place / "ada.pem")
    (place / "model.sig").write_bytes(result.bundle)
    net.pull("net:v0", place / "out")

    def verify(who: str) -> None:
        config = verifying.Config().use_elliptic_key_verifier(  # type: ignore[no-untyped-call]
            public_key=place / f"{who}.pub"
        )
        config.verify(place / "out", place / "model.sig")

    verify("ada")
    with pytest.raises(ValueError, match="mismatch"):
        verify("eve")
    (place / "out/w.bin").write_bytes(b"evil")
    with pytest.raises(ValueError, match="mismatch"):
        verify("ada")


def test_our_statement_has_the_fields_and_the_root_digest_of_model_signing(net: Repository, place: Path) -> None:
    from model_signing import signing

    net.pull("net:v0", place / "out")
    theirs = signing.Config().use_elliptic_key_signer(  # type: ignore[no-untyped-call]
        private_key=place / "ada.pem"
    )
    theirs.sign(place / "out", place / "theirs.sig")
    net.sign("net:v0", place / "ada.pem")
    (signed,) = signatures_of(net)
    ours = json.loads(make_bundle(signed.statement, signed.signature, signed.key))
    other = json.loads((place / "theirs.sig").read_bytes())
    assert ours["mediaType"] == other["mediaType"]
    assert ours["verificationMaterial"] == other["verificationMaterial"]
    payloads = [json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"])) for bundle in (ours, other)]
    assert payloads[0]["subject"][0]["digest"] == payloads[1]["subject"][0]["digest"]
    assert payloads[0]["predicate"]["resources"] == payloads[1]["predicate"]["resources"]
    assert payloads[0]["_type"] == payloads[1]["_type"]
    assert payloads[0]["predicateType"] == payloads[1]["predicateType"]


def test_the_library_is_an_extra(net: Repository, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MlverError, match="need the package cryptography"):
        net.sign("net:v0", place / "ada.pem")
    with pytest.raises(MlverError, match="need the package cryptography"):
        parse_public_key(b"-----BEGIN PUBLIC KEY-----", "it")


def test_a_signature_taken_back_twice_is_a_conflict(net: Repository, place: Path) -> None:
    net.sign("net:v0", place / "ada.pem")
    (signed,) = signatures_of(net)
    append(net, "net", replace(signed, present=False))
    with pytest.raises(ConflictError, match="came or went"):
        net.undo("net", "1")
