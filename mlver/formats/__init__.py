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
from mlver.formats.external import EXTERNAL_FORMATS, Beside, beside
from mlver.formats.layout import (
    NO_ROWS,
    ByteSource,
    External,
    ExternalSave,
    ExternalTensor,
    Layout,
    Rows,
    Tensor,
    View,
    rows_at,
)

__all__ = [
    "EXTERNAL_FORMATS",
    "NO_ROWS",
    "TENSOR_CHUNK_BYTES",
    "Beside",
    "ByteSource",
    "ChunkSpan",
    "External",
    "ExternalSave",
    "ExternalTensor",
    "Layout",
    "Region",
    "Rows",
    "Tensor",
    "View",
    "beside",
    "cut_bytes",
    "cut_tensor",
    "diagnose",
    "looks_like_weights",
    "parse",
    "plan",
    "rows_at",
]
