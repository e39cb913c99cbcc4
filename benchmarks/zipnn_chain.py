"""The peer's job: `python benchmarks/zipnn_chain.py FILE …` stores a series by zipnn's byte delta, in memory.

Each version is stored against the one before it where the sizes are equal, which zipnn asks for, and without a base; as
BF16 and as FP32. The smallest of these counts. It is read back and compared. A JSON array of the bytes after each
version is printed. Needs the package `zipnn`, which needs torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zipnn import ZipNN

DTYPES = ("bfloat16", "float32")


def store(data: bytes, base: bytes | None, dtype: str) -> int:
    """Return the size of the data as zipnn stores them, having read them back."""
    options = {"bytearray_dtype": dtype, "delta_compressed_type": "byte" if base else 0}
    # Without a base it works in place, so it gets a copy.
    stored = bytes(ZipNN(**options).compress(bytearray(data), delta_second_data=base))
    if bytes(ZipNN(**options).decompress(stored, delta_second_data=base)) != data:
        sys.exit("zipnn did not give back what was stored.")
    return len(stored)


def main() -> None:
    """Print the bytes after each version."""
    sizes, before = list[int](), b""
    for path in sys.argv[1:]:
        data = Path(path).read_bytes()
        bases = [None, before] if len(before) == len(data) else [None]
        added = min(store(data, base, dtype) for base in bases for dtype in DTYPES)
        sizes.append(added + (sizes[-1] if sizes else 0))
        before = data
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
