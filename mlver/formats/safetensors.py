"""safetensors files → `Layout`.

Source: https://huggingface.co/docs/safetensors (Format): eight bytes little-endian header size, a JSON object,
the tensors' bytes. `data_offsets` count from the end of the header.
"""

from __future__ import annotations

import json
from typing import Any

from mlver.formats.dtypes import fits
from mlver.formats.layout import (
    MAX_TENSORS,
    ByteSource,
    FormatError,
    Layout,
    Tensor,
    checked_layout,
    checked_name,
    read_exactly,
    sorted_tensors,
)

MAX_HEADER_BYTES = 100_000_000
"""The largest header that the safetensors library itself reads."""
MAX_METADATA_CHARACTERS = 1 << 16


def parse_safetensors(source: ByteSource) -> Layout:
    """Return the layout of a safetensors file.

    Raises:
        FormatError: It is not one, or breaks a rule of the format.
        OSError: The file cannot be read.
    """
    header_size = int.from_bytes(read_exactly(source, 0, 8), "little")
    if header_size > MAX_HEADER_BYTES:
        raise FormatError("the header is too large")
    header = _decode_header(read_exactly(source, 8, header_size))
    metadata = _metadata(header.pop("__metadata__", {}))
    start = 8 + header_size
    tensors = sorted_tensors(_tensor(name, entry, start) for name, entry in header.items())
    return checked_layout(Layout("safetensors", tensors, metadata=metadata), source.size_bytes)


def _decode_header(raw: bytes) -> dict[str, Any]:
    # Counted before decoding: JSON of 100 MB can stand for many times its size in Python objects.
    if not raw.startswith(b"{") or raw.count(b"{") > MAX_TENSORS + 2 or raw.count(b"[") > 2 * MAX_TENSORS:
        raise FormatError("the header is no object of tensors")
    if raw.count(b",") > 16 * MAX_TENSORS:
        raise FormatError("the header has too many values")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique_pairs)
    except (ValueError, RecursionError) as error:
        raise FormatError("the header is no JSON") from error
    if not isinstance(header, dict):
        raise FormatError("the header is no object")
    return header


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise FormatError("a key comes twice")
    return unique


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise FormatError("the metadata is no object of texts")
    if sum(len(key) + len(text) for key, text in value.items()) > MAX_METADATA_CHARACTERS:
        return {}
    return {checked_name(key): _checked_text(text) for key, text in value.items()}


def _checked_text(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("a metadata value is no valid Unicode") from None
    return text


def _tensor(name: str, entry: object, start: int) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError("a tensor's entry has other keys")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _is_integers(shape) or not _is_integers(offsets) or len(offsets) != 2:
        raise FormatError("a tensor's entry has wrong types")
    begin, end = offsets
    if begin < 0 or not fits(dtype, tuple(shape), end - begin):
        raise FormatError("a tensor's size does not fit its dtype and shape")
    return Tensor(name, dtype, tuple(shape), start + begin, end - begin)


def _is_integers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)
