"""The least that keeping a file takes: `python floor.py SOURCE FOLDER`; `speed.py` measures it.

Two threads read the file, hash each MiB with BLAKE3 as a chunk is, and write it into files of 64 MiB, which a third
thread flushes, as `mlver add` does with packs. Nothing is encoded, compared, looked up, read back or recorded.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blake3 import blake3

from mlver.store.allocation import allocate
from mlver.store.temporary import WRITE_BYTES

THREADS = 2
CHUNK_BYTES = 1 << 20
FILE_BYTES = 64 << 20


def keep(source: int, start: int, path: Path) -> int:
    """Keep `FILE_BYTES` of a file from `start` on in a file of their own; return its descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    end = min(start + FILE_BYTES, os.fstat(source).st_size)
    allocate(descriptor, 0, end - start)
    for offset in range(start, end, CHUNK_BYTES):
        chunk = memoryview(os.pread(source, CHUNK_BYTES, offset))
        blake3(chunk).digest()
        while chunk:
            chunk = chunk[os.write(descriptor, chunk[:WRITE_BYTES]) :]
    return descriptor


def main() -> None:
    """Keep the file."""
    source = os.open(sys.argv[1], os.O_RDONLY)
    folder = Path(sys.argv[2])
    folder.mkdir()
    with ThreadPoolExecutor(THREADS) as workers, ThreadPoolExecutor(1) as flusher:
        starts = range(0, os.fstat(source).st_size, FILE_BYTES)
        kept = [workers.submit(keep, source, start, folder / str(start)) for start in starts]
        for flush in [flusher.submit(os.fsync, file.result()) for file in kept]:
            flush.result()


if __name__ == "__main__":
    main()
