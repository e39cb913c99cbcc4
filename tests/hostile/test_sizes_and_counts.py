"""Bombs, lying sizes, huge counts, deep nesting: refused by one declared error, in little memory and time."""

from __future__ import annotations

import json
import resource
import struct
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard

from mlver.digests import canonical_json, chunk_id
from mlver.store.frames import FrameHeader, build_frame
from tests.cli.conftest import Person
from tests.support.forging import Document, Forgery, manifest_of
from tests.support.process import PROJECT, environment
from tests.support.weight_files import entry, safetensors_file

LIMIT_BYTES = 700 << 20
"""Address space beyond what Python and its libraries take; a bomb here would need gigabytes."""


def limited(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command that gets little memory and time; return its exit code and what it said."""
    import subprocess

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))

    done = subprocess.run(
        [sys.executable, "-P", "-m", "mlver", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(PROJECT), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=limit,
    )
    return done.returncode, done.stdout + done.stderr


@cache
def bomb(size_bytes: int, declared: bool = True) -> bytes:
    """Return a zstd frame of so many zeros."""
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=declared).compressobj(
        size=size_bytes if declared else -1
    )
    block = bytes(1 << 20)
    parts = [compressor.compress(block) for _ in range(size_bytes >> 20)]
    return b"".join([*parts, compressor.flush()])


def lying_bomb(size_bytes: int, declared_bytes: int) -> bytes:
    """Return a zstd frame that declares fewer bytes than it has."""
    frame = bytearray(bomb(size_bytes))
    assert frame[4] >> 6 in (2, 3)  # four or eight bytes of content size
    wide = 4 if frame[4] >> 6 == 2 else 8
    at = 5 + (0 if frame[4] & 0x20 else 1)
    frame[at : at + wide] = declared_bytes.to_bytes(wide, "little")
    return bytes(frame)


# Bombs


@pytest.mark.parametrize("lie", ["declared", "undeclared", "lying"])
def test_a_manifest_that_is_a_bomb(yard: Path, lie: str) -> None:
    forged = Forgery(yard / "evil")
    made = {
        "declared": lambda: bomb(2 << 30),
        "undeclared": lambda: bomb(2 << 30, declared=False),
        "lying": lambda: lying_bomb(256 << 20, 1000),
    }
    forged.add_manifest(b"whatever its digest says", made[lie]())
    code, said = limited(yard / "evil", "pull", "net", "-o", "out")
    assert (code, "Manifest" in said, "Traceback" in said) == (12, True, False), said


@pytest.mark.parametrize("lie", ["declared", "undeclared", "lying"])
def test_a_segment_that_is_a_bomb(yard: Path, lie: str) -> None:
    """A segment is only a copy: what is wrong with it costs a look at the events."""
    forged = Forgery(yard / "evil")
    forged.add()
    made = {
        "declared": lambda: bomb(1 << 30),
        "undeclared": lambda: bomb(1 << 30, declared=False),
        "lying": lambda: lying_bomb(256 << 20, 1000),
    }
    forged.storage.put("names/000000000000-000000000255.segment", made[lie]())
    code, said = limited(yard / "evil", "ls", "-q")
    assert (code, "Traceback" in said) == (12, False), said


@pytest.mark.parametrize("encoding", [1, 2, 3, 16, 17, 18])
def test_a_chunk_that_is_a_bomb(yard: Path, encoding: int) -> None:
    """A frame's payload is at most 16 MiB; what it unfolds to is bounded by the size that was declared."""
    forged = Forgery(yard / "evil")
    content = bytes(4096)
    base = bytes(range(256)) * 16
    payloads = {
        1: bomb(1 << 30),
        2: b"\x01\x01" + struct.pack("<I", len(bomb(1 << 30))) + bomb(1 << 30),
        3: b"\x01" + struct.pack("<I", len(bomb(1 << 30))) + bomb(1 << 30),
        16: b"\x01\x01" + struct.pack("<I", len(bomb(1 << 30))) + bomb(1 << 30),
        17: b"\x81\x00" + struct.pack("<I", len(bomb(1 << 30))) + bomb(1 << 30),
        18: b"\x00\x01" + bomb(1 << 30),
    }
    bases = chunk_id(base) if encoding >= 16 else b""
    frames = [build_frame(FrameHeader(chunk_id(content), len(content), encoding, bases), [payloads[encoding]])]
    if bases:
        frames.append(build_frame(FrameHeader(chunk_id(base), len(base), 0), [base]))
    forged.frames(frames)
    forged.add_manifest(canonical_json(manifest_of({"w": content})))
    code, said = limited(yard / "evil", "pull", "net", "-o", "out")
    assert (code, "Traceback" in said) == (12, False), said
    assert not (yard / "evil/out").exists()


def _deep_zip() -> bytes:
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(64 << 20))
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()


def _header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _nested_protobuf() -> bytes:
    data = b""
    for _ in range(3000):
        size = len(data)
        length = bytearray()
        while size >= 128:
            length.append(size & 127 | 128)
            size >>= 7
        data = b"\x3a" + bytes([*length, size]) + data
    return data


WEIGHTS: dict[str, Callable[[], bytes]] = {
    "bomb.pt": _deep_zip,
    "bomb.npz": lambda: _deep_zip().replace(b"archive/data.pkl", b"archive/dat.npy\0"),
    "deep.safetensors": lambda: _header(b'{"a":' * 100_000),
    "twice.safetensors": lambda: (
        _header(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},' * 2 + b'"b":1}') + b"x"
    ),
    "huge_shape.safetensors": lambda: safetensors_file({"a": entry("U8", [1 << 62, 1 << 62], 0, 8)}, bytes(8)),
    "many_dims.safetensors": lambda: safetensors_file({"a": entry("U8", [1] * 100_000, 0, 1)}, bytes(1)),
    "digits.safetensors": lambda: _header(b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,1]}}'),
    "negative.safetensors": lambda: safetensors_file({"a": entry("U8", [-1], 0, -1)}, bytes(8)),
    "overlap.safetensors": lambda: safetensors_file(
        {"a": entry("U8", [8], 0, 8), "b": entry("U8", [8], 4, 12)}, bytes(12)
    ),
    "outside.safetensors": lambda: safetensors_file({"a": entry("U8", [800], 0, 800)}, bytes(8)),
    "long_header.safetensors": lambda: struct.pack("<Q", (1 << 63) - 1) + b"{}",
    "header.npy": lambda: b"\x93NUMPY\x02\x00" + struct.pack("<I", (1 << 32) - 1) + b"{" * 100,
    "nested.npy": lambda: b"\x93NUMPY\x01\x00" + struct.pack("<H", 60_000) + b"(" * 60_000,
    "shape.npy": lambda: _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 4000 + ",), }"),
    "counts.gguf": lambda: b"GGUF" + struct.pack("<IQQ", 3, (1 << 63) - 1, (1 << 63) - 1),
    "string.gguf": lambda: b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, (1 << 63) - 1),
    "nested.gguf": lambda: b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 9, 1) * 20_000,
    "length.onnx": lambda: b"\x3a" + b"\xff" * 9 + b"\x01",
    "nested.onnx": _nested_protobuf,
    "array.msgpack": lambda: b"\xdd\xff\xff\xff\xff" + bytes(100),
    "nested.msgpack": lambda: b"\x91" * 200_000,
    "map.msgpack": lambda: b"\xdf\xff\xff\xff\xff" + bytes(100),
    "memo.pt": lambda: b"\x80\x02" + b"]q\x00h\x00a" * 50_000 + b".",
    "long.pkl": lambda: b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b".",
    "frame.pkl": lambda: b"\x80\x04\x95" + struct.pack("<Q", (1 << 63) - 1) + b".",
    "marks.pkl": lambda: b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
    "lies.safetensors": lambda: b"PK\x03\x04 is what a zip begins with",
    "lies.onnx": lambda: b"GGUF\x03\x00\x00\x00",
    "lies.h5": lambda: b"\x89HDF\r\n\x1a\n" + b"\xff" * 500,
}


def _npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def test_weight_files_that_lie_are_kept_as_bytes(yard: Path) -> None:
    """Not an error of `add`: every byte is kept, whatever it means; and nothing is believed before it was checked."""
    me = Person(yard)
    assert me.run("init").code == 0
    (yard / "odd").mkdir()
    made = {name: make() for name, make in WEIGHTS.items()}
    for name, content in made.items():
        (yard / "odd" / name).write_bytes(content)
    code, said = limited(yard, "add", "odd", "--name", "odd", "--type", "t", "--json")
    assert code == 0, said
    # Of `many_dims` all is true.
    assert json.loads(said[said.index("{") : said.rindex("}") + 1])["tensor_count"] <= 1
    assert me.run("pull", "odd", "-o", "back").code == 0
    for name, content in made.items():
        assert (yard / "back" / name).read_bytes() == content


# Counts and nesting in what is stored


def _tensors(count: int, **change: Any) -> Callable[[Document], object]:
    tensor = {"digest": "blake3-tensor:" + "0" * 64, "dtype": "F32", "file": 0, "name": "t", "offset": 0, "shape": [1],
              "size": 4}  # fmt: skip
    return lambda document: document.update(tensors=[tensor | change] * count)


MANIFESTS: dict[str, Callable[[Document], object]] = {
    "a file twice": lambda d: d["files"].append(d["files"][0]),
    "a size of 2^62": lambda d: d["files"][0].update(size=1 << 62),
    "a size of 10^4000": lambda d: d["files"][0].update(size=10**4000),
    "a negative size": lambda d: d["files"][0].update(size=-1),
    "a size that is true": lambda d: d["files"][0].update(size=True),
    "a chunk of 2^40 bytes": lambda d: d["files"][0].update(lengths=[1 << 40], size=1 << 40),
    "a chunk of no bytes": lambda d: d["files"][0].update(lengths=[0], size=0),
    "fewer lengths than chunks": lambda d: d["files"][0].update(lengths=[]),
    "a tensor outside": _tensors(1, offset=1 << 61),
    "a tensor of file 9": _tensors(1, file=9),
    "a tensor of file -1": _tensors(1, file=-1),
    "a shape of 2^62": _tensors(1, shape=[1 << 62, 1 << 62]),
    "a shape that is text": _tensors(1, shape="11"),
    "one tensor many times": _tensors(2_000),
    "floats": lambda d: d["files"][0].update(size=7.0),
    "null": lambda d: d.update(files=None),
    "deep": lambda d: d.update(weights=_nested(900)),
}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_lies(yard: Path, case: str) -> None:
    forged = Forgery(yard / "evil")
    forged.add(MANIFESTS[case])
    eve = Person(yard / "evil")
    for line in ("pull net -o out", "show net", "cat net:w", "pull net --tensor * -o out", "diff net net"):
        done = eve.run(*line.split())
        assert (done.code, done.out) == (12, ""), (line, done)
    assert not (eve.here / "out").exists()


TEXTS = {
    "deep": b"[" * 200_000,
    "deeper": b'{"a":' * 200_000,
    "a key twice": b'{"actions":[],"actions":[],"at":"","by":"","mlver_event":1,"number":2,"write_id":""}',
    "digits": b'{"number":' + b"9" * 10_000 + b"}",
    "NaN": b'{"number":NaN}',
    "not UTF-8": b'{"at":"\xff"}',
    "an encoded surrogate": b'{"at":"\\ud800"}',
    "nothing": b"",
    "a list": b"[]",
    "number 2^62": b'{"actions":[],"at":"","by":"","mlver_event":1,"number":4611686018427387904,"write_id":""}',
}


@pytest.mark.parametrize("case", TEXTS)
def test_an_event_that_lies(yard: Path, case: str) -> None:
    forged = Forgery(yard / "evil")
    forged.add()
    forged.event_text("log/net", TEXTS[case])
    eve = Person(yard / "evil")
    for line in ("log", "pull net -o out", "verify", "alias best net:v0"):
        done = eve.run(*line.split())
        assert (done.code, "Traceback" in done.err) == (12, False), (line, done)


def test_a_manifest_of_very_many_values_is_refused_before_it_is_read(yard: Path) -> None:
    """16 KiB of zeros and commas become 64 MiB of JSON, and that a gigabyte of Python's objects."""
    forged = Forgery(yard / "evil")
    document = manifest_of({"w": b"w"})
    text = canonical_json(document | {"folders": []})
    text = text.replace(b'"folders":[]', b'"folders":[' + b"{},{},{},{}," * (6 << 20) + b"{}]")
    forged.add_manifest(text)
    code, said = limited(yard / "evil", "show", "net")
    assert (code, "Traceback" in said) == (12, False), said


PACKS = {
    "an index of 2^32 entries": lambda trailer: trailer[:8] + struct.pack("<I", (1 << 32) - 1) + trailer[12:],
    "an index at 2^63": lambda trailer: struct.pack("<Q", 1 << 63) + trailer[8:],
    "an index of no entries": lambda trailer: trailer[:8] + bytes(4) + trailer[12:],
}


@pytest.mark.parametrize("case", PACKS)
def test_a_pack_that_lies_about_its_index(yard: Path, case: str) -> None:
    from xxhash import xxh3_64_intdigest

    forged = Forgery(yard / "evil")
    forged.add()
    (pack,) = (forged.root / "packs").iterdir()
    data = pack.read_bytes()
    trailer = PACKS[case](data[-64:])
    trailer = trailer[:48] + struct.pack("<Q", xxh3_64_intdigest(trailer[:48])) + trailer[56:]
    pack.chmod(0o600)
    pack.write_bytes(data[:-64] + trailer)
    code, said = limited(yard / "evil", "pull", "net", "-o", "out")
    assert (code, "Traceback" in said) == (12, False), said


@pytest.mark.parametrize("base", ["a circle", "absent", "a long chain"])
def test_a_chunk_that_rests_on_what_it_must_not(yard: Path, base: str) -> None:
    forged = Forgery(yard / "evil")
    a, b = chunk_id(b"aaaaaaaa"), chunk_id(b"bbbbbbbb")
    links = {"a circle": [(a, b), (b, a)], "absent": [(a, b)]}
    ids = [a, *(chunk_id(b"%8d" % number) for number in range(200))]
    chain = links.get(base) or list(pairwise(ids))
    frames = [build_frame(FrameHeader(one, 8, 16, other), [b"\x01\x02\x00"]) for one, other in chain]
    forged.frames(frames)
    forged.add_manifest(canonical_json(manifest_of({"w": b"aaaaaaaa"})))
    code, said = limited(yard / "evil", "pull", "net", "-o", "out")
    assert (code, "Traceback" in said) == (12, False), said


@pytest.mark.parametrize("name", ["config.toml", "HEAD", "collected", "format", "origins/" + "0" * 32 + ".json"])
@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 100_000, b"a=" + b"[" * 5000, b"\x00" * 100, b'{"now": 1e999}'])
def test_other_files_of_a_repository_that_lie(yard: Path, name: str, text: bytes) -> None:
    forged = Forgery(yard / "evil")
    forged.add()
    place = forged.root / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_bytes(text)
    eve = Person(yard / "evil")
    for line in ("log net", "pull net:v0 -o out", "status .", "gc", "fetch", "switch net", "retain"):
        done = eve.run(*line.split())
        assert (done.code in (0, 1, 2, 10, 12, 14), "Traceback" in done.err) == (True, False), (line, done)
