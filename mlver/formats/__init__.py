"""Weight files → spans: parses bytes, executes nothing, knows nothing of packs and versions.

`parse` tells where the tensors of a file are, `plan`, `cut_tensor` and `cut_bytes` where to cut it into chunks.
"""

from __future__ import annotations

from mlver.formats.cut import (
    TENSOR_CHUNK_BYTES,
    ChunkSpan,
    Region,
    cut_bytes,
    cut_tensor,
    plan,
)
from mlver.formats.detect import diagnose, looks_like_weights, parse
from mlver.formats.layout import ByteSource, Layout, Tensor, View

__all__ = [
    "TENSOR_CHUNK_BYTES",
    "ByteSource",
    "ChunkSpan",
    "Layout",
    "Region",
    "Tensor",
    "View",
    "cut_bytes",
    "cut_tensor",
    "diagnose",
    "looks_like_weights",
    "parse",
    "plan",
]
