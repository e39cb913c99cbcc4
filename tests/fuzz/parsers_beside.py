"""Parsers of what lies beside the history: blobs of runs, claims and hints at remotes, journals, origins, queries."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import zstandard

from mlver.digests import blob_id, canonical_json, manifest_id
from mlver.history.run_blob import check_blob
from mlver.ids import PackId
from mlver.lineage.journal import SUFFIX, Journal
from mlver.lineage.journal_reader import read_course, read_summaries
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.origins import correct_origins, places_from, read_origin
from mlver.ops.query.query import query
from mlver.ops.remotes.collect.claims import encode_claim, new_claim, read_claims
from mlver.ops.remotes.opening import open_remote
from mlver.ops.remotes.pack_listing import hint_name, read_hint
from mlver.ops.watch.journal import Journal as WatchJournal
from mlver.repository import Repository
from mlver.store.memory import MemoryStorage
from tests.support.places import quick_folder


@dataclass(frozen=True)
class Parser:
    """One way in.

    Attributes:
        parse: Reads some bytes.
        seeds: Good ones, to be changed.
    """

    parse: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


def _own_folder() -> Path:
    """Return an empty folder, which is gone when this process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(quick_folder())


def _run_blob(raw: bytes) -> None:
    try:
        raw_id = blob_id(zstandard.decompress(raw, max_output_size=1 << 20))
    except (zstandard.ZstdError, MemoryError):
        raw_id = blob_id(b"")
    check_blob(raw, raw_id)


def _claim(raw: bytes) -> None:
    storage = MemoryStorage()
    storage.put(new_claim(), raw)
    read_claims(storage)


@cache
def _remote() -> tuple[Path, OpenRepository]:
    """A repository and a remote of it, for what can be read of them only."""
    place = _own_folder()
    (place / "w").write_bytes(b"weights")
    with Repository.init(place) as repository:
        repository.add(place / "w", name="net", type="model")
        repository.add_remote("origin", str(place / "remote"))
        repository.push()
    return place, open_repository(place / ".mlver", cache_in_memory=True)


def _hint(raw: bytes) -> None:
    identity = manifest_id(b"hint")
    _, repository = _remote()
    with open_remote(repository, "origin") as remote:
        remote.storage.put(hint_name(identity), raw)
        assert all(len(pack) == 64 for pack in read_hint(remote, identity))


_ORIGIN = canonical_json({"path": "w", "artifact": "net", "version": 0, "id": "blake3:0", "exclude": ["*.log"]})


def _origin(raw: bytes) -> None:
    place, repository = _remote()
    for name in repository.storage.list("origins"):
        repository.storage.put(f"origins/{name}", raw)
    read_origin(repository, place / "w")
    list(places_from(repository))
    correct_origins(repository, "net", "net2", {0: 1})


def _journals() -> list[bytes]:
    folder = _own_folder()
    journal = Journal(folder)
    for step in range(5):
        journal.log({"loss": 1 / (step + 1), "acc": float("nan")}, step)
        journal.log({"loss": 0.5}, step)
    journal.close()
    return [file.read_bytes() for file in folder.iterdir()]


def _journal(raw: bytes) -> None:
    folder = _remote()[0] / "live"
    folder.mkdir(exist_ok=True)
    (folder / f"1{SUFFIX}").write_bytes(raw)
    read_course(folder, 1 << 16)
    read_summaries(folder)


_WATCHED = (
    b'{"on":["add"],"settled":["net/0"]}\n{"start":"net/1"}\n{"end":"net/1","exit_code":0}\n'
    b'{"log":"log/net","part":"","event":3}\n{"sta'
)


def _watch_journal(raw: bytes) -> None:
    place = _remote()[0] / "watch"
    place.write_bytes(raw)
    WatchJournal(place).close()


def _query(raw: bytes) -> None:
    query(_remote()[1], raw.decode("utf-8", "surrogateescape"), timeout_seconds=2.0)


BESIDE: dict[str, Parser] = {
    "run-blob": Parser(_run_blob, lambda: [zstandard.compress(b"a patch"), zstandard.compress(bytes(5000))]),
    "claim": Parser(_claim, lambda: [b"", encode_claim([manifest_id(b"x")], [PackId("0" * 64)])]),
    "hint": Parser(_hint, lambda: [canonical_json({"packs": ["0" * 64, "f" * 64]})]),
    "origin": Parser(_origin, lambda: [_ORIGIN]),
    "journal": Parser(_journal, _journals),
    "watch-journal": Parser(_watch_journal, lambda: [_WATCHED]),
    "query": Parser(
        _query,
        lambda: [
            b"SELECT artifact, version FROM versions",
            b"WITH x AS (SELECT 1 AS a) SELECT a || 'b', x'00ff' FROM x",
            b"SELECT * FROM artifacts; DELETE FROM versions",
            b"ATTACH 'x' AS y",
            b"PRAGMA user_version = 1",
        ],
    ),
}
