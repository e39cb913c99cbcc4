"""The committed signature is checked, by mlver and by the reader made from docs/format.md, which knows P-256."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mlver import Repository
from tests.golden import make_signatures, reader
from tests.golden.make_layout_1 import STORED_AS
from tests.golden.make_signatures import FILES, FOLDER, KEY
from tests.support.trees import read_tree


def test_mlver_takes_it(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / STORED_AS, tmp_path / ".mlver")
    with Repository.open(tmp_path) as repository:
        checks = repository.verify_signatures(None, [KEY])
    assert {check.version: check.status for check in checks} == {"net:v0": "valid", "net:v1": "unsigned"}


def test_the_reader_takes_it_and_nothing_else(tmp_path: Path) -> None:
    found = reader.Repository(FOLDER / STORED_AS)
    (net,) = found.artifacts
    version = net.versions[0]
    found.restore(version, tmp_path / "out")
    files = {path: content or b"" for path, content in read_tree(tmp_path / "out").items()}
    assert files == FILES | {"n": b"0"}
    ((signature, statement),) = version.signatures.items()
    assert reader.is_signed_by(KEY.read_text(), signature, statement)
    assert not reader.is_signed_by(KEY.read_text(), signature, statement + " ")
    reader.check_statement(statement, net, version, files)
    with pytest.raises(reader.Damaged):
        reader.check_statement(statement, net, version, files | {"n": b"1"})
    with pytest.raises(reader.Damaged):
        reader.check_statement(statement, net, net.versions[1], files)
    assert net.versions[1].signatures == {}


def test_what_is_signed_today_is_what_was_signed_then(tmp_path: Path) -> None:
    make_signatures.build(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    now, then = (
        reader.Repository(root).artifacts[0].versions[0].signatures
        for root in (tmp_path / ".mlver", FOLDER / STORED_AS)
    )
    assert now.keys() != then.keys()
    assert list(now.values()) == list(then.values())
