"""GGUF files (llama.cpp and its kin), versions 2 and 3 → `Layout`.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; `GGML_QUANT_SIZES` in gguf-py's `constants.py`.
"""

from __future__ import annotations

from mlver.formats.cursor import Cursor
from mlver.formats.dtypes import element_count
from mlver.formats.layout import (
    MAX_NAME_CHARACTERS,
    MAX_TENSORS,
    ByteSource,
    FormatError,
    Layout,
    Tensor,
    checked_layout,
    sorted_tensors,
)

MAX_PAIRS = 1 << 16
MAX_STEPS = 1 << 22
"""Tensors, pairs and texts in arrays, such as the tokens of a vocabulary: the largest have less than a million."""
MAX_KEY_BYTES = (1 << 16) - 1
MAX_ARRAY_DEPTH = 4
DEFAULT_ALIGNMENT_BYTES = 32
MAX_DIMENSIONS = 4
_ALIGNMENT_KEY = b"general.alignment"

BLOCKS = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""Of each type of ggml by number: its name, the elements of a block, and the bytes of one. Gaps were withdrawn."""

_UINT32, _STRING, _ARRAY = 4, 8, 9
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, _UINT32: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Sizes of the values of a pair by the number of their type; those missing are of no fixed size."""


def parse_gguf(source: ByteSource) -> Layout:
    """Return the layout of a GGUF file.

    Raises:
        FormatError: It is malformed, of another version, big-endian, has a type unknown here, or is larger than the
            limits.
        OSError: The file cannot be read.
    """
    cursor = Cursor(source, MAX_STEPS)
    cursor.seek(4)
    _check_version(cursor.take(4))
    tensor_count, pair_count = cursor.number(8), cursor.number(8)
    if tensor_count > MAX_TENSORS or pair_count > MAX_PAIRS:
        raise FormatError("the header lists too much")
    alignment = DEFAULT_ALIGNMENT_BYTES
    for _ in range(pair_count):
        alignment = _read_pair(cursor) or alignment
    described = [_read_tensor(cursor, alignment) for _ in range(tensor_count)]
    start = -(-cursor.offset // alignment) * alignment
    tensors = sorted_tensors(Tensor(name, dtype, shape, start + at, size) for name, dtype, shape, at, size in described)
    return checked_layout(Layout("gguf", tensors), source.size_bytes)


def _check_version(raw: bytes) -> None:
    if int.from_bytes(raw, "big") in (2, 3):
        raise FormatError("the tensors are big-endian")
    if int.from_bytes(raw, "little") not in (2, 3):
        raise FormatError("it is of an unknown version of GGUF")


def _read_pair(cursor: Cursor) -> int | None:
    """Pass one pair of key and value; return the value if it is the alignment of the tensors, in bytes."""
    cursor.step()
    key_size = cursor.number(8)
    if key_size > MAX_KEY_BYTES:
        raise FormatError("a key is too long")
    key, kind = cursor.take(key_size), cursor.number(4)
    if key != _ALIGNMENT_KEY:
        _skip_values(cursor, kind, 1, 0)
        return None
    alignment = cursor.number(4)
    if kind != _UINT32 or alignment == 0 or alignment & (alignment - 1):
        raise FormatError("the alignment is no power of two")
    return alignment


def _skip_values(cursor: Cursor, kind: int, count: int, depth: int) -> None:
    """Pass `count` values of a type."""
    if kind in _VALUE_BYTES:
        cursor.skip(count * _VALUE_BYTES[kind])
        return
    cursor.step(count)
    if kind == _STRING:
        for _ in range(count):
            cursor.skip(cursor.number(8))
    elif kind == _ARRAY and depth < MAX_ARRAY_DEPTH:
        for _ in range(count):
            inner, inner_count = cursor.number(4), cursor.number(8)
            _skip_values(cursor, inner, inner_count, depth + 1)
    else:
        raise FormatError("a value is of an unknown type")


def _read_tensor(cursor: Cursor, alignment: int) -> tuple[str, str, tuple[int, ...], int, int]:
    """Return name, dtype, shape, offset from the first tensor, and size in bytes."""
    cursor.step()
    name_size = cursor.number(8)
    if name_size > 4 * MAX_NAME_CHARACTERS:
        raise FormatError("a name is too long")
    name, rank = cursor.text(name_size), cursor.number(4)
    if rank > MAX_DIMENSIONS:
        raise FormatError("a tensor has too many dimensions")
    # ggml writes the innermost dimension first.
    shape = tuple(cursor.number(8) for _ in range(rank))[::-1]
    kind, offset = cursor.number(4), cursor.number(8)
    if kind not in BLOCKS:
        raise FormatError("a tensor is of an unknown type")
    dtype, block_elements, block_bytes = BLOCKS[kind]
    count = element_count(shape)
    if count is None or (shape[-1] if shape else 1) % block_elements or offset % alignment:
        raise FormatError("a tensor has an impossible shape or offset")
    return name, dtype, shape, offset, count // block_elements * block_bytes
