"""Writes `tests/golden/references/`: a small repository of layout 1 with references of every kind, beside files.

`python -m tests.golden.make_references`. Like `layout-1`, it is not written again once it is released. What is
referred to was never there: what a repository says of references is what counts here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from mlver.history.event import AddVersion
from mlver.history.reference import ReferenceEntry
from mlver.ops.bases import BaseFinder
from mlver.ops.commit import commit, ensure_artifact
from mlver.ops.content import store_content
from mlver.ops.init import init_repository
from mlver.ops.opening import open_repository
from mlver.ops.progress import Silent
from mlver.ops.scan import scan
from tests.golden.make_layout_1 import CACHES, STORED_AS, made_up_times_and_ids

FOLDER = Path(__file__).parent / "references"
_DIGEST = "blake3:" + "0123456789abcdef" * 4
MIXED = (
    ReferenceEntry(
        "big/a b.csv", "s3://bucket/big/a b.csv", 10, etag="0cc175b9c0f1b6a831c399e269772661", version="v.1~x"
    ),
    ReferenceEntry("big/ä#1.csv", "gs://bucket/big/ä#1.csv", 1 << 40, etag="CJ+1=", version="1700000000000001"),
    ReferenceEntry("page", "https://example.org/get?id=5", 0, etag="5f-6", digest=_DIGEST),
    ReferenceEntry("plain", "http://example.org:8080/plain", 3, digest=_DIGEST),
    ReferenceEntry("z.bin", "file:///data/z%20%3F.bin", 7, digest=_DIGEST),
)
EMPTY = (ReferenceEntry("nothing", "s3://bucket/nothing", 0, etag="d41d8cd98f00b204e9800998ecf8427e"),)
VERSIONS = ((), MIXED, EMPTY)
"""References of each version of `data`, which all have one file."""


def build(home: Path) -> None:
    """Make the repository in `home`."""
    repository = open_repository(Path(init_repository(home).path))
    (home / "card.md").write_text("What this is.\n")
    with made_up_times_and_ids():
        artifact = ensure_artifact(repository, "data", "dataset")
        for number, references in enumerate(VERSIONS):
            bases = BaseFinder(repository, [], is_final=True)
            content = store_content(
                repository, scan([home / "card.md"]), bases, "balanced", False, Silent(), references
            )
            action = AddVersion(
                version=number,
                manifest=content.id,
                logical_bytes=content.logical_bytes,
                new_bytes=content.new_bytes,
                stored_bytes=content.stored_bytes,
                file_count=content.file_count,
                tensor_count=content.tensor_count,
                reference_count=content.reference_count,
                reference_bytes=content.reference_bytes,
            )
            commit(repository, artifact, lambda action=action: [action])  # type: ignore[misc]
    repository.set_current("data")
    repository.close()


def main() -> None:
    """Write the golden repository anew."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        shutil.rmtree(FOLDER, ignore_errors=True)
        left_out = shutil.ignore_patterns(*CACHES, "origins", "config.toml")
        shutil.copytree(Path(folder) / ".mlver", FOLDER / STORED_AS, ignore=left_out)


if __name__ == "__main__":
    main()
