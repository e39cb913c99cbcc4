"""Which format a file is, told by its content alone.

The only entry to the parsers. A file that lies about its format, or is broken, is a file of bytes: that is never
an error, because every byte is kept whatever it means.
"""

from __future__ import annotations

from collections.abc import Callable

from mlver.formats.layout import ByteSource, FormatError, Layout

ZIP_MAGIC = b"PK\x03\x04"
NPY_MAGIC = b"\x93NUMPY"
HEAD_BYTES = 16
WEIGHT_SUFFIXES = (
    ".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".npy", ".h5", ".keras", ".onnx", ".gguf", ".msgpack"
)  # fmt: skip
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_JSON_BYTES = 1 << 27  # more than any parser takes: too large a header is still told as one
_GGUF_MAGIC = b"GGUF"
_LEGACY_TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def parse(source: ByteSource) -> Layout | None:
    """Return where the tensors of a file are, or None for anything but a well-formed weight file.

    Raises:
        OSError: The file cannot be read.
    """
    return diagnose(source)[0]


def diagnose(source: ByteSource) -> tuple[Layout | None, str | None]:
    """Return what `parse` does, and why a file that starts as a weight file turned out not to be one.

    Raises:
        OSError: The file cannot be read.
    """
    parser = _parser_for(source.read(0, HEAD_BYTES))
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
    magics = (NPY_MAGIC, _HDF5_MAGIC, _GGUF_MAGIC, _LEGACY_TORCH_MAGIC)
    if name.lower().endswith(WEIGHT_SUFFIXES) or head.startswith(magics) or looks_like_safetensors(head):
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
    if looks_like_safetensors(head):
        from mlver.formats.safetensors import parse_safetensors

        return parse_safetensors
    return None


def _parse_zip(source: ByteSource) -> Layout:
    from mlver.formats.npy import parse_npz
    from mlver.formats.torch_zip import find_pickle, parse_torch
    from mlver.formats.zip_directory import read_directory

    members = read_directory(source)
    pickle_name = find_pickle(members)
    if pickle_name is not None:
        return parse_torch(source, members, pickle_name)
    return parse_npz(source, members)
