"""NumPy's .npy and .npz files → `Layout`.

Source: NumPy `numpy/lib/_format_impl.py` (format versions 1 to 3), `numpy.savez`.
"""

from __future__ import annotations

import re

from mlver.formats.dtypes import BITS_BY_DTYPE, element_count
from mlver.formats.layout import ByteSource, FormatError, Layout, Tensor, checked_layout, read_exactly, sorted_tensors
from mlver.formats.strides import memory_order
from mlver.formats.zip_directory import Member, locate

LONE_ARRAY_NAME = "arr_0"
"""The name of the array in a .npy file: the one `numpy.savez` gives to an unnamed array."""
MAX_HEADER_BYTES = 10_000  # as numpy's max_header_size
NPY_MAGIC = b"\x93NUMPY"

_DTYPES = {
    "b1": "BOOL",
    "u1": "U8",
    "i1": "I8",
    "u2": "U16",
    "i2": "I16",
    "f2": "F16",
    "u4": "U32",
    "i4": "I32",
    "f4": "F32",
    "u8": "U64",
    "i8": "I64",
    "f8": "F64",
    "c8": "C64",
    "c16": "C128",
}
_PLAIN_HEADER = re.compile(r"""[\w'"<>|=.,:(){} \n]*""", re.ASCII)


def parse_npy(source: ByteSource) -> Layout:
    """Return the layout of a .npy file.

    Raises:
        FormatError: It is malformed, or its elements are objects, records, texts or big-endian.
        OSError: The file cannot be read.
    """
    tensor = _read_array(source, LONE_ARRAY_NAME, 0, source.size_bytes)
    return checked_layout(Layout("npy", (tensor,)), source.size_bytes)


def parse_npz(source: ByteSource, members: dict[str, Member]) -> Layout:
    """Return the layout of an uncompressed .npz file; members that hold no plain array are left out.

    Args:
        source: The file.
        members: Its directory.

    Raises:
        FormatError: It is malformed, compressed, or has no plain array.
        OSError: The file cannot be read.
    """
    arrays = [member for member in members.values() if member.name.endswith(".npy")]
    located = [(member, locate(source, member)) for member in arrays]
    tensors: list[Tensor] = []
    for member, start in located:
        try:
            tensors.append(_read_array(source, member.name.removesuffix(".npy"), start, start + member.size))
        except FormatError:
            continue  # an array of objects among plain ones: its bytes are kept like any others
    if not tensors:
        raise FormatError("the zip file holds no plain array")
    is_complete = len(tensors) == len(arrays)
    return checked_layout(Layout("npz", sorted_tensors(tensors), is_complete=is_complete), source.size_bytes)


def _read_array(source: ByteSource, name: str, start: int, end: int) -> Tensor:
    """Return the array whose .npy file lies at the bytes `start` to `end` of `source`."""
    preamble = read_exactly(source, start, 10)
    width = {1: 2, 2: 4, 3: 4}.get(preamble[6])
    if not preamble.startswith(NPY_MAGIC) or preamble[7] or width is None:
        raise FormatError("this is no .npy file of a known version")
    header_at = start + 8 + width
    size = int.from_bytes(read_exactly(source, start + 8, width), "little")
    if size > MAX_HEADER_BYTES:
        raise FormatError("the .npy header is too large")
    dtype, shape, is_fortran = _decode_header(read_exactly(source, header_at, size))
    count = element_count(shape)
    if count is None or header_at + size + count * BITS_BY_DTYPE[dtype] // 8 > end:
        raise FormatError("the array is larger than its file")
    order = memory_order(shape, _fortran_strides(shape)) if is_fortran else "C"
    return Tensor(name, dtype, shape, header_at + size, count * BITS_BY_DTYPE[dtype] // 8, order)


def _decode_header(raw: bytes) -> tuple[str, tuple[int, ...], bool]:
    """Return dtype, shape and whether the array is in Fortran order."""
    header = _literal(raw.decode("latin-1"))
    match header:
        case {"descr": str(descr), "fortran_order": bool(is_fortran), "shape": tuple(shape)} if len(header) == 3:
            dtype = _DTYPES.get(descr[1:])
            is_native = descr[:1] == "<" or descr in ("|b1", "|u1", "|i1")
            if dtype is not None and is_native and all(type(dimension) is int for dimension in shape):
                return dtype, shape, is_fortran
    raise FormatError("the .npy header describes no plain array")


def _literal(text: str) -> dict[str, object]:
    # No operators, lists or deep brackets: nothing that makes Python's parser recurse. Records need lists.
    if _PLAIN_HEADER.fullmatch(text) is None or text.count("(") > 1 or text.count("{") > 1:
        raise FormatError("the .npy header describes no plain array")
    import ast  # here, because few commands read .npy files

    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise FormatError("the .npy header is malformed") from error
    if not isinstance(header, dict):
        raise FormatError("the .npy header is no dictionary")
    return header


def _fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for dimension in shape:
        strides.append(step)
        step *= dimension
    return tuple(strides)
