from __future__ import annotations

import logging
from typing import Never

import pytest

from mlver.formats import looks_like_weights, parse
from tests.support.weight_files import (
    BytesSource,
    dcp_metadata,
    entry,
    safetensors_file,
    stored_zip,
    tensorflow_header,
    tensorflow_index,
)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"text", b"PK", b"PK\x03\x04", b"\x93NUMPY", bytes(100), b"\x80\x02}q\x00."]
)
def test_other_files_are_none(data: bytes) -> None:
    assert parse(BytesSource(data)) is None


def test_why_a_file_is_plain_bytes_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "mlver.formats"):
        parse(BytesSource(safetensors_file({"w": entry("F32", [1], 0, 4)})))
    assert "plain bytes" in caplog.text


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    class Broken(BytesSource):
        def read(self, offset: int, length: int) -> Never:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        parse(Broken(safetensors_file({})))


def test_a_file_that_shrinks_while_it_is_read_is_plain_bytes() -> None:
    class Shrinking(BytesSource):
        @property
        def size_bytes(self) -> int:
            return len(self.data) + 100

    assert parse(Shrinking(safetensors_file({"w": entry("F32", [1], 0, 4)})[:-10])) is None
    assert parse(Shrinking(stored_zip({"a/data.pkl": b"}."}))) is None


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "MODEL.PT",
        "dir/x.ckpt",
        "a.npz",
        "m.gguf",
        "pytorch_model.bin",
        "__0_0.distcp",
        "v.data-00003-of-00012",
    ],
)
def test_names_of_weight_files(name: str) -> None:
    assert looks_like_weights(b"", name)


@pytest.mark.parametrize(
    "head",
    [
        b"\x93NUMPY\x01\x00",
        b"GGUF\x03\x00\x00\x00",
        b"\x89HDF\r\n\x1a\n",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        b"\x80\x04\x95\x0d\0\0\0\0\0\0\0\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        dcp_metadata([]),
        tensorflow_index({b"": tensorflow_header()})[:256],
        safetensors_file({"w": 1}),
        stored_zip({"model/data.pkl": b"broken"}),
        stored_zip({"w.npy": b"broken"}),
    ],
)
def test_heads_of_weight_files(head: bytes) -> None:
    assert looks_like_weights(head, "unknown")


def test_a_zip_file_of_something_else_is_not_taken_for_weights() -> None:
    assert not looks_like_weights(stored_zip({"word/document.xml": b"<xml/>"}), "letter.docx")


@pytest.mark.parametrize("name", ["readme.md", "config.json", "pt", "x.py", "v.data-0-of-1"])
def test_other_names(name: str) -> None:
    assert not looks_like_weights(b'{"a": 1, "b": 2}', name)
