"""Writes `tests/golden/signatures/`: a small repository of layout 1 with a version that somebody signed.

`python -m tests.golden.make_signatures`. Like `layout-1`, it is not written again once it is released. Beside it is
the public key; the private one was thrown away.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.opening import open_repository
from mlver.ops.signing.keys import PrivateKey
from mlver.ops.signing.sign import sign
from mlver.ops.undo import undo
from tests.golden.make_layout_1 import CACHES, STORED_AS, made_up_times_and_ids
from tests.support.trees import write_tree

FOLDER = Path(__file__).parent / "signatures"
KEY = FOLDER / "signer.pub"
FILES = {"card.md": b"What this is.\n", "é/ö.bin": b"\0\1", "empty": b""}


def build(home: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Make the repository in `home`: v0 is signed, v1 is not any more."""
    root = Path(init_repository(home).path)
    config = root / "config.toml"
    config.chmod(0o644)
    config.write_text('[identity]\nname = "ada@workstation"\n')
    repository = open_repository(root)
    with made_up_times_and_ids():
        for number in (0, 1):
            model = write_tree(home / f"model{number}", FILES | {"n": b"%d" % number})
            request = AddRequest([model], name="net", type="model", metadata={"lr": 0.1}, metrics={"acc": 0.5})
            add(repository, request)
            sign(repository, f"net:v{number}", PrivateKey(key))
        undo(repository, "net")
    repository.close()


def main() -> None:
    """Write the golden repository anew."""
    os.umask(0o022)
    key = ec.generate_private_key(ec.SECP256R1())
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), key)
        shutil.rmtree(FOLDER, ignore_errors=True)
        left_out = shutil.ignore_patterns(*CACHES, "origins", "config.toml")
        shutil.copytree(Path(folder) / ".mlver", FOLDER / STORED_AS, ignore=left_out)
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    KEY.write_bytes(key.public_key().public_bytes(encoding, form))


if __name__ == "__main__":
    main()
