"""`mlver sign`, `mlver verify --signature` and `mlver pull --require-signature` as a person types them."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cli.conftest import Person
from tests.support.keys import make_key, write_pair
from tests.support.trees import flip


@pytest.fixture
def ada(person: Person) -> Person:
    """A person with a key."""
    make_key(person.here, "ada")
    make_key(person.here, "eve")
    return person


def test_signing_and_checking(ada: Person) -> None:
    assert ada.fails("sign")[0] == 2
    assert ada.screen("sign", "v1", "--key", "ada.pem", "-q") == "net:v1\n"
    assert ada.screen("sign", "best", "--key", "ada.pem", "-o", "model.sig").startswith(
        "Signed net:v0: 2 files, with the key "
    )
    bundle = json.loads((ada.here / "model.sig").read_bytes())
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert ada.screen("verify", "--signature", "best", "--public-key", "ada.pub").startswith(
        "valid      net:v0  by the"
    )
    for who, ref, word in (("eve", "best", "untrusted"), ("ada", "v2", "unsigned"), ("ada", "set:v0", "unsigned")):
        done = ada.run("verify", "--signature", ref, "--public-key", f"{who}.pub")
        assert (done.code, done.out.startswith(word), done.err) == (15, True, "")
    done = ada.run("verify", "--signature", "--public-key", "ada.pub", "-q")
    assert (done.code, sorted(done.out.split())) == (15, ["unsigned", "unsigned", "valid", "valid"])
    assert "sign v0" in ada.screen("reflog")
    assert ada.fails("verify", "--signature", "best")[0] == 15
    assert ada.fails("verify", "best", "--public-key", "ada.pub")[0] == 2


def test_how_to_make_a_key_does_not_name_the_file_of_another_one(ada: Person) -> None:
    write_pair(ada.here, "login", rsa.generate_private_key(65537, 2048))
    code, said = ada.fails("sign", "v0", "--key", "login.pem")
    assert (code, said[0]) == (2, "Error: login.pem is not a key of an elliptic curve.")
    assert said[1].startswith("Hint: Make one with: openssl ")
    assert "login.pem" not in said[1]


def test_damage_is_worse_than_a_missing_signature(ada: Person) -> None:
    ada.run("sign", "v0", "--key", "ada.pem")
    for pack in (ada.here / ".mlver/packs").iterdir():
        flip(pack, 60)
    done = ada.run("verify", "--signature", "v0", "--public-key", "ada.pub")
    assert (done.code, done.out.split()[0]) == (12, "unreadable")


@pytest.mark.parametrize("more", [(), ("--tensor", "*"), ("--path", "*.json"), ("--dry-run",)])
def test_pulling_only_what_is_signed(ada: Person, more: tuple[str, ...]) -> None:
    pull = ("pull", "v1", "-o", "out", "--require-signature", "--public-key", "ada.pub", *more)
    code, said = ada.fails(*pull)
    assert (code, said) == (
        15,
        [
            "Error: net:v1 is not pulled: nobody signed it.",
            "Hint: See: mlver verify --signature net:v1",
        ],
    )
    assert not (ada.here / "out").exists()
    ada.run("sign", "v1", "--key", "ada.pem")
    assert ada.run(*pull).code == 0


def test_the_password_comes_from_the_environment_and_goes_nowhere(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    make_key(ada.here, "locked", password=b"c4n4ry")
    assert ada.fails("sign", "v0", "--key", "locked.pem") == (
        2,
        ["Error: The key locked.pem needs a password.", "Hint: Set MLVER_KEY_PASSWORD."],
    )
    monkeypatch.setenv("MLVER_KEY_PASSWORD", "c4n4ry")
    done = ada.run("sign", "v0", "--key", "locked.pem", "--json")
    assert done.code == 0
    assert "c4n4ry" not in done.out
    private = (ada.here / "locked.pem").read_bytes().splitlines()[1]
    for path in (ada.here / ".mlver").rglob("*"):
        if path.is_file():
            assert b"c4n4ry" not in path.read_bytes()
            assert private not in path.read_bytes()
