"""Bytes of the reference after each version: `python benchmarks/reference.py FILE …` prints a JSON array.

The reference is the published method: the first version in byte planes, each plane by zstd -1, and each later one
XORed with the one before it first. Chunks that were stored already cost nothing. The files' headers are not counted.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from series import Chunk, base_of, chunks, reference, whole_tensors


def store(path: Path, before: dict[str, Chunk], known: set[bytes]) -> tuple[int, dict[str, Chunk]]:
    """Return the bytes that a version adds to the store, and its tensors by name.

    Args:
        path: The version's file.
        before: The tensors of the version before it.
        known: Digests of the chunks that are stored; those of this version are added.
    """
    added, current = 0, dict[tuple[str, int], Chunk]()
    for chunk in chunks(path):
        current[chunk.name, chunk.start] = chunk
        identity = hashlib.blake2b(chunk.raw).digest()
        if identity not in known:
            known.add(identity)
            base, base_dtype = base_of(chunk, before)
            added += reference(chunk, base if base_dtype == chunk.dtype else None)
    return added, whole_tensors(current)


def main() -> None:
    """Print the bytes after each version."""
    sizes, before, known = list[int](), dict[str, Chunk](), set[bytes]()
    for path in map(Path, sys.argv[1:]):
        added, before = store(path, before, known)
        sizes.append(added + (sizes[-1] if sizes else 0))
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
