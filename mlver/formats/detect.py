"""Which format a file is, told by its content alone.

The only entry to the parsers. A file that lies about its format, or is broken, is a file of bytes: that is never
an error, because every byte is kept whatever it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from mlver.formats.external import Beside, parse_external
from mlver.formats.layout import ByteSource, FormatError, Layout

ZIP_MAGIC = b"PK\x03\x04"
NPY_MAGIC = b"\x93NUMPY"
HEAD_BYTES = 64
WEIGHT_SUFFIXES = (
    *(".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".distcp", ".npz", ".npy"),
    *(".h5", ".keras", ".onnx", ".gguf", ".msgpack"),
)
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_ONNX_VERSION = 31
_ONNX_KEYS = (b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42", b"\x72", b"\xa2", b"\xca")
_MAX_JSON_BYTES = 1 << 27  # more than any parser takes: too large a header is still told as one
_GGUF_MAGIC = b"GGUF"
_LEGACY_TORCH_NUMBER = b"\x8a\nl\xfc\x9c"
_TENSORFLOW_DATA = re.compile(r"\.data-\d{5}-of-\d{5}\Z")
_DCP_MODULE = b"torch.distributed.checkpoint.metadata"


def parse(source: ByteSource) -> Layout | None:
    """Return where the tensors of a file are, or None for anything but a well-formed weight file.

    Raises:
        OSError: The file cannot be read.
    """
    return diagnose(source)[0]


def diagnose(source: ByteSource, others: Beside | None = None) -> tuple[Layout | None, str | None]:
    """Return what `parse` does, and why a file that starts as a weight file turned out not to be one.

    Args:
        source: The file.
        others: What the other files of its version say of it (`beside`). A file that holds what they place in it is a
            weight file whatever its content; one that places something elsewhere is complete only if all those files
            are there. None if they say nothing.

    Raises:
        OSError: The file cannot be read.
    """
    others = others or Beside()
    # The first of what was saved into a file may look like all of it.
    layout, problem = _guarded(source, None if others.has_saves else _parser_for(source.read(0, HEAD_BYTES)))
    if layout is None and others.placed:
        layout, problem = _guarded(source, lambda source: parse_external(others, source))
        # Whatever is wrong with those tensors, they are weights: the file then counts as a whole.
        return layout or Layout(others.format, (), is_complete=False), problem
    if layout is not None and (others.placed or (layout.external and not others.has_others)):
        layout = replace(layout, is_complete=False)
    return layout, problem


def _guarded(source: ByteSource, parser: Callable[[ByteSource], Layout] | None) -> tuple[Layout | None, str | None]:
    """Return the layout that `parser` finds, or why it finds none."""
    if parser is None:
        return None, None
    try:
        return parser(source), None
    except FormatError as error:
        import logging  # costs start-up time, and is needed on bad days only

        logging.getLogger("mlver.formats").debug("Taken as plain bytes: %s.", error)
        return None, str(error)


def looks_like_weights(head: bytes, name: str) -> bool:
    """Tell whether a file that `parse` could not read probably holds weights all the same.

    Whoever compares the weights of two versions must then compare this file by its bytes.

    Args:
        head: The first bytes of the file, 16 or more; 256 tell zip files too.
        name: Its name or path.
    """
    if name.lower().endswith(WEIGHT_SUFFIXES) or head.startswith((NPY_MAGIC, _HDF5_MAGIC, _GGUF_MAGIC)):
        return True
    if looks_like_safetensors(head) or looks_like_legacy_torch(head) or _TENSORFLOW_DATA.search(name):
        return True
    if looks_like_dcp(head) or looks_like_tensorflow(head):
        return True
    # The name of a zip file's first member follows its first header.
    return head.startswith(ZIP_MAGIC) and any(mark in head[30:] for mark in (b"/data.pkl", b".npy"))


def looks_like_safetensors(head: bytes) -> bool:
    """Tell whether a file that starts with `head` (9 bytes or more) may be safetensors: it has no magic."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_JSON_BYTES


def _parser_for(head: bytes) -> Callable[[ByteSource], Layout] | None:
    # Imported one by one: a command that adds only text files needs none of them.
    if head.startswith(ZIP_MAGIC):
        return _parse_zip
    if head.startswith(NPY_MAGIC):
        from mlver.formats.npy import parse_npy

        return parse_npy
    if head.startswith(_GGUF_MAGIC):
        from mlver.formats.gguf import parse_gguf

        return parse_gguf
    if head.startswith(_HDF5_MAGIC):
        from mlver.formats.hdf5 import parse_hdf5

        return parse_hdf5
    return _parser_without_magic(head.ljust(HEAD_BYTES, b"\0"))


def _parser_without_magic(head: bytes) -> Callable[[ByteSource], Layout] | None:
    # Other files begin like these too; the parsers tell soon enough.
    if looks_like_safetensors(head):
        from mlver.formats.safetensors import parse_safetensors

        return parse_safetensors
    if looks_like_tensorflow(head):
        from mlver.formats.tensorflow import parse_tensorflow

        return parse_tensorflow
    if looks_like_onnx(head):
        from mlver.formats.onnx import parse_onnx

        return parse_onnx
    if looks_like_msgpack(head):
        from mlver.formats.msgpack import parse_msgpack

        return parse_msgpack
    return _parser_of_pickles(head)


def _parser_of_pickles(head: bytes) -> Callable[[ByteSource], Layout] | None:
    if looks_like_legacy_torch(head):
        from mlver.formats.torch_legacy import parse_legacy_torch

        return parse_legacy_torch
    if looks_like_dcp(head):
        from mlver.formats.torch_distributed import parse_metadata

        return parse_metadata
    return None


def looks_like_legacy_torch(head: bytes) -> bool:
    """Tell whether a file that starts with `head` (16 bytes or more) may be one of torch's before its zip files.

    It starts with the pickle of a number, which comes after the protocol and, from protocol 4 on, the size of a frame.
    """
    return head[:1] == b"\x80" and _LEGACY_TORCH_NUMBER in (head[2:7], head[11:16])


def looks_like_dcp(head: bytes) -> bool:
    """Tell whether a file that starts with `head` (64 bytes or more) may be a distributed checkpoint's metadata."""
    return head[:1] == b"\x80" and _DCP_MODULE in head[:HEAD_BYTES]


def looks_like_tensorflow(head: bytes) -> bool:
    """Tell whether a file that starts with `head` may be the index of a TensorFlow checkpoint; its magic is at the end.

    It starts with an entry without a key, whose value is a message: the number of files, and a version.
    """
    return head[:2] == b"\0\0" and head[3:4] == b"\x08" and b"\x1a\x02\x08\x01" in head[4:16]


def looks_like_onnx(head: bytes) -> bool:
    """Tell whether a file that starts with `head` (3 bytes or more) may be an ONNX model: it has no magic.

    The version of the format comes first in all that writers make, and then another field of a model.
    """
    return head[:1] == b"\x08" and 0 < head[1] <= _MAX_ONNX_VERSION and head[2:3] in _ONNX_KEYS


def looks_like_msgpack(head: bytes) -> bool:
    """Tell whether a file that starts with `head` may be a map of texts in msgpack: it has no magic."""
    if 0x81 <= head[0] <= 0x8F:
        key = head[1]
    elif head[0] in (0xDE, 0xDF):
        key = head[3 if head[0] == 0xDE else 5]
    else:
        return False
    return 0xA0 <= key <= 0xBF or key in (0xD9, 0xDA)


def _parse_zip(source: ByteSource) -> Layout:
    from mlver.formats.hdf5 import find_keras_weights, parse_keras
    from mlver.formats.npy import parse_npz
    from mlver.formats.torch_zip import find_pickle, parse_torch
    from mlver.formats.zip_directory import read_directory

    members = read_directory(source)
    pickle_name = find_pickle(members)
    if pickle_name is not None:
        return parse_torch(source, members, pickle_name)
    keras_weights = find_keras_weights(members)
    if keras_weights is not None:
        return parse_keras(source, keras_weights)
    return parse_npz(source, members)
