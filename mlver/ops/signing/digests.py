"""SHA-256 of the files of a version, as model-signing wants it: one pass over content that is checked by BLAKE3."""

from __future__ import annotations

import hashlib
from functools import partial

from mlver.errors import IntegrityError
from mlver.history.manifest import Manifest
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress, Silent


def file_digests(repository: OpenRepository, manifest: Manifest, progress: Progress | None = None) -> dict[str, str]:
    """Return the SHA-256 as hex of each file of a version, by path. Chunks are decoded in threads, hashed in order.

    Raises:
        IntegrityError: A chunk is missing or damaged.
    """
    reader = repository.chunk_reader()
    progress = progress or Silent()
    hashers = {entry.path: hashlib.sha256() for entry in manifest.files}
    pieces = [(entry.path, chunk) for entry in manifest.files for chunk in entry.chunks]
    progress.start(manifest.size_bytes, "Hashing")
    try:
        contents = run_ordered(partial(reader.read, chunk.id, chunk.size_bytes) for _, chunk in pieces)
        for (path, chunk), content in zip(pieces, contents, strict=True):
            hashers[path].update(content)
            progress.advance(chunk.size_bytes)
    except IntegrityError as error:
        hint = error.hint or "Where it is at a remote, get it first: mlver pull"
        raise IntegrityError(f"Its files cannot be hashed: {error.message}", hint) from error
    finally:
        progress.done()
    return {path: hasher.hexdigest() for path, hasher in hashers.items()}
