"""Which versions have tensors like these: how a fine-tune finds its parent under another name.

A sketch of a version is a sample of what its tensors are called and how they are shaped. Sketches are kept in the
cache, of the newest version of each artifact, and taken when they are first asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import xxhash

from mlver.errors import IntegrityError
from mlver.history.manifest import read_manifest
from mlver.ids import ManifestId
from mlver.ops.opening import OpenRepository

_KEYS = 64
"""Of all keys of a version, the smallest are kept: the same ones of similar versions."""
_BATCH = 500


def alike(repository: OpenRepository, tensors: Iterable[tuple[str, Sequence[int]]], limit: int) -> list[ManifestId]:
    """Return the manifests that share the most tensors with these, given by name and shape, the likeliest first.

    Only the newest version of each artifact is considered.
    """
    newest = _newest(repository)
    _sketch(repository, newest)
    wanted = _keys(tensors)
    counts: Counter[ManifestId] = Counter()
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        query = f"SELECT manifest, count(*) FROM sketches WHERE key IN ({','.join('?' * len(batch))}) GROUP BY manifest"
        with repository.cache.reading():
            counts.update(dict(repository.cache.execute(query, batch).fetchall()))
    return [manifest for manifest, _ in counts.most_common() if manifest in newest][:limit]


def _newest(repository: OpenRepository) -> set[ManifestId]:
    found = set()
    for artifact in repository.index.artifacts():
        version = repository.index.version(artifact, artifact.latest) if artifact.latest is not None else None
        if version is not None and version.tensor_count:
            found.add(version.id)
    return found


def _sketch(repository: OpenRepository, manifests: Iterable[ManifestId]) -> None:
    """Take the sketches that are not there yet."""
    with repository.cache.reading():
        known = {row[0] for row in repository.cache.execute("SELECT id FROM sketched").fetchall()}
    for identity in manifests:
        if identity in known:
            continue
        rows: list[tuple[Any, ...]]
        try:
            manifest = read_manifest(repository.storage, identity)
        except IntegrityError:
            continue  # `verify` tells of it; nothing can rest on it
        keys = _keys((tensor.name, tensor.shape) for tensor in manifest.tensors if not tensor.anonymous)
        rows = [(key, identity) for key in keys[:_KEYS]]
        with repository.cache.transaction():
            repository.cache.execute("INSERT OR IGNORE INTO sketched (id) VALUES (?)", (identity,))
            repository.cache.executemany("INSERT OR IGNORE INTO sketches (key, manifest) VALUES (?, ?)", rows)


def _keys(tensors: Iterable[tuple[str, Sequence[int]]]) -> list[int]:
    """Return the distinct keys of tensors, sorted: of the shape and the end of the name, which wrappers leave alone."""
    words = {f"{'.'.join(name.split('.')[-2:])} {list(shape)}" for name, shape in tensors}
    return sorted(xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) >> 1 for word in words)
