"""Every parser of bytes or text from outside but those of weight files: only errors that are declared come out.

Where a digest or checksum would keep all changed input out, it is made to fit first: whoever writes a remote can, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import zstandard
from xxhash import xxh3_64_intdigest

from mlver import codec
from mlver.codec.frames import decompress
from mlver.config import parse_config
from mlver.digests import blake3_hex, canonical_json, chunk_id, manifest_id
from mlver.errors import IntegrityError, MlverError
from mlver.expressions import Expression
from mlver.history import tables
from mlver.history.event import AddVersion, CreateArtifact, MoveAlias, SetValue, decode_event, encode_event, new_event
from mlver.history.following import parse_rule
from mlver.history.index import VersionIndex
from mlver.history.log import EventLog, read_segment
from mlver.history.manifest import TensorEntry, build_manifest, decode_manifest, encode_manifest
from mlver.history.manifest_blob import chunk_ids, manifest_name, read_encoded
from mlver.history.revision import resolve
from mlver.ids import PackId
from mlver.lineage.series import Rows, SeriesWriter, read_series
from mlver.names import check_alias, check_artifact_name, path_problem
from mlver.ops.collect.durations import parse_duration
from mlver.ops.retention.document import read_plan
from mlver.ops.signing.statement import decode_signature, read_statement
from mlver.store.frames import FrameHeader, build_frame, parse_frame
from mlver.store.memory import MemoryStorage
from mlver.store.objects.address import clean_uri, last_name, locate, uri_problem
from mlver.store.pack import PackWriter, pack_name, read_pack_index
from mlver.store.remote.address import check_address
from mlver.store.sqlite import open_cache
from tests.fuzz.parsers_beside import BESIDE, Parser
from tests.support.forging import manifest_of


def check(name: str, raw: bytes) -> None:
    """Let a parser read some bytes.

    Raises:
        Exception: It raised what it does not declare.
        AssertionError: An error has no kind, no known exit code, or no end.
    """
    refused: MlverError | None = None
    try:
        PARSERS[name].parse(raw)
    except MlverError as error:
        refused = error
    if refused is not None:
        assert refused.kind
        assert refused.exit_code in (1, 2, 10, 12, 13, 14, 15)
        assert len(refused.message) < 20_000


# History


def _event(line: bytes) -> None:
    event = decode_event(line + b"\nblake3:" + blake3_hex(line).encode() + b"\n", 3, "e")
    assert decode_event(encode_event(event), 3, "e") == event


def _events() -> list[bytes]:
    actions = (
        AddVersion(0, "blake3:" + "0" * 64, 1, 1, 1, 1, 0, metadata={"a": [1, {"b": None}]}, metrics={"x": 0.5}),
        MoveAlias("best", 0, None),
        SetValue(0, "metrics", "x", [1.5], []),
    )
    events = [new_event(3, "ada@host", actions), new_event(3, "é", (CreateArtifact("net", "model"),), undoes=2)]
    return [encode_event(event).partition(b"\n")[0] for event in events]


def _segment(raw: bytes) -> None:
    storage = MemoryStorage()
    storage.put("log/n/0", raw)
    storage.put("log/n/1", zstandard.compress(raw))
    try:
        read_segment(storage, "log/n/0", 3, 2)
    except IntegrityError:
        read_segment(storage, "log/n/1", 3, 2)


def _manifest(raw: bytes) -> None:
    identity = manifest_id(raw)
    storage = MemoryStorage()
    storage.put(manifest_name(identity), zstandard.compress(raw))
    try:
        chunk_ids(storage, identity)
    finally:
        for entry in decode_manifest(raw, identity).files:
            assert path_problem(entry.path) is None


def _manifests() -> list[bytes]:
    document = manifest_of({"a/w": b"weights", "b": b""})
    reference = {"etag": "x", "path": "r", "size": 1, "uri": "s3://b/k"}
    tensor = TensorEntry("t", "F32", (1,), "blake3-tensor:" + "0" * 64, 1, 0, 4)
    file = decode_manifest(canonical_json(document), manifest_id(canonical_json(document))).files[0]
    with_tensor = encode_manifest(
        build_manifest([(file._replace(format="safetensors"), [tensor._replace(file=0)])], [])
    )
    others = [document, document | {"references": [reference], "folders": ["e"]}]
    return [with_tensor, *(canonical_json(each) for each in others)]


def _blob(raw: bytes) -> None:
    storage = MemoryStorage()
    identity = manifest_id(b"")
    storage.put(manifest_name(identity), raw)
    read_encoded(storage, identity)


@cache
def _index() -> VersionIndex:
    storage = MemoryStorage()
    EventLog(storage, "names").append(new_event(0, "", (CreateArtifact("net", "model"),)))
    added = AddVersion(0, "blake3:" + "ab" * 32, 1, 1, 1, 1, 0)
    EventLog(storage, "log/net").append(new_event(0, "", (added, MoveAlias("best", 0, None))))
    index = VersionIndex(open_cache(None, [tables.SCHEMA]), storage)
    index.refresh()
    return index


def _revision(raw: bytes) -> None:
    resolve(_index(), raw.decode("utf-8", "surrogateescape"), "net")


def _name(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    path_problem(text)
    for reader in (check_artifact_name, check_alias, parse_duration, parse_rule):
        try:
            reader(text)
        except MlverError:
            continue


# Packs and encodings


def _fitting_pack(raw: bytes) -> tuple[str, bytes]:
    """Return a pack whose trailer has the digests that its index has, and its name."""
    if len(raw) < 64:
        return pack_name(PackId("0" * 64)), raw
    start = struct.unpack("<Q", raw[-64:-56])[0]
    identity = blake3_hex(raw[min(start, len(raw)) : -64])
    trailer = raw[-64:-48] + bytes.fromhex(identity)
    return pack_name(PackId(identity)), raw[:-64] + trailer + struct.pack("<Q", xxh3_64_intdigest(trailer)) + raw[-8:]


def _pack(raw: bytes) -> None:
    storage = MemoryStorage()
    name, data = _fitting_pack(raw)
    storage.put(name, data)
    read_pack_index(storage, name)


def _packs() -> list[bytes]:
    made = []
    for bases in (b"", chunk_id(b"base")):
        storage = MemoryStorage()
        writer = PackWriter(storage.stage())
        for content in (b"one", b"two" * 30):
            writer.append(
                build_frame(FrameHeader(chunk_id(content), len(content), 16 if bases else 0, bases), [content])
            )
        identity, _ = writer.finish()
        writer.staged.commit(pack_name(identity))
        made.append(storage.read(pack_name(identity)))
    return made


def _frame(raw: bytes) -> None:
    bases = raw[13] if len(raw) > 13 else 0
    at = 48 + 32 * bases
    if len(raw) >= at + 8:
        raw = raw[:at] + struct.pack("<Q", xxh3_64_intdigest(raw[:at] + raw[at + 8 :])) + raw[at + 8 :]
    header, payload = parse_frame(raw, "it")
    if header.raw_size <= 1 << 20:
        codec.decode(header.encoding, payload, header.raw_size, bytes(header.raw_size) if header.bases else None)


def _payload(raw: bytes) -> None:
    """The first bytes say which encoding, what size, and which base; the rest is the payload."""
    if len(raw) < 5:
        return
    encoding, size = raw[0], struct.unpack("<I", raw[1:5])[0] % (1 << 18)
    for base in (None, _base()[:size]):
        try:
            found = codec.decode(encoding, raw[5:], size, base)
            assert len(found) == size
        except MlverError:
            continue
    if encoding == 1:
        decompress(raw[5:], size)


@cache
def _base() -> bytes:
    return np.random.default_rng(0).normal(0, 0.02, 1 << 16).astype("<f4").tobytes()


@cache
def _encoded() -> list[bytes]:
    base = _base()[: 1 << 14]
    random = np.random.default_rng(1)
    weights = np.frombuffer(base, "<f4")
    near, far = ((weights + random.normal(0, step, weights.size).astype("<f4")).tobytes() for step in (1e-5, 0.02))
    sparse = (weights * (random.random(weights.size) < 0.1)).tobytes()
    noise: list[tuple[bytes, str | None, bytes | None, codec.Effort]] = [
        (base, "F32", None, "fast"),
        (near, "F32", base, "fast"),
        (near, "F32", base, "balanced"),
        (far, "F32", base, "balanced"),
        (sparse, "F32", None, "fast"),
        (bytes(4000), None, None, "fast"),
        (near, "BF16", base, "fast"),
    ]
    found = []
    for raw, dtype, against, effort in noise:
        encoded = codec.encode(raw, dtype, against, effort)
        found.append(bytes([encoded.encoding]) + struct.pack("<I", len(raw)) + b"".join(map(bytes, encoded.parts)))
    return found


# What is beside


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def _address(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    for reader in (check_address, clean_uri):
        try:
            reader(text)
        except MlverError:
            continue
    if uri_problem(text) is None:
        locate(text)
        last_name(text)


def _expression(raw: bytes) -> None:
    values: dict[str, Any] = {"x": 0.25, "name": "n", "gone": None}
    Expression(raw.decode("utf-8", "surrogateescape")).evaluate(lambda name: values.get(name, 1))


def _series() -> list[bytes]:
    writer = SeriesWriter()
    steps = np.arange(50, dtype="<i8")
    writer.append(Rows(("loss", "acc"), steps, steps * 1000, np.random.default_rng(0).random((50, 2))))
    blob = writer.finish()
    assert blob is not None
    return [blob]


PARSERS: dict[str, Parser] = {
    "event": Parser(_event, _events),
    "segment": Parser(_segment, lambda: [b"".join(encode_event(new_event(n, "", ())) for n in (3, 4))]),
    "manifest": Parser(_manifest, _manifests),
    "manifest-blob": Parser(_blob, lambda: [zstandard.compress(raw) for raw in _manifests()]),
    "pack": Parser(_pack, _packs),
    "frame": Parser(_frame, lambda: [_packs()[0][:60], _packs()[1][:95]]),
    "payload": Parser(_payload, _encoded),
    "config": Parser(
        parse_config,
        _texts(
            '[identity]\nname = "ada"\n[remotes.origin]\nurl = "s3://b"\n[retention]\nlast = 3\nbest = ["1 acc"]\n',
            '[signing]\ntrusted = ["x"]\nrequire = true\n[hooks]\ntimeout = 1.5\n[references."s3://b"]\nregion = "x"\n',
        ),
    ),
    "revision": Parser(_revision, _texts("net:v0", "best~1", "v0~", "net@best", "abab", "blake3:abab", "net:max(x)")),
    "name": Parser(_name, _texts("resnet50_attn", "a/b.c", "2w", "max(val_acc)", "C:\\x")),
    "expression": Parser(_expression, _texts("x > 0.2 and not (name == 'n')", "abs(`a b` - 1) / max(x, 2) >= -.5e-3")),
    "address": Parser(
        _address,
        _texts("s3://b/k?versionId=1", "https://u:p@h:1/x#y", "file:///a%20b", "sftp://u@h/x", "gs://b/", "/a/b"),
    ),
    "plan": Parser(
        read_plan,
        lambda: [
            b'{"mlver_plan":1,"remove":[],"delete":[],"waiting":[],"logs":{},"grace_seconds":1.0,"packs_digest":""}'
        ],
    ),
    "series": Parser(read_series, _series),
    "statement": Parser(
        lambda raw: (read_statement(raw), decode_signature(raw.decode("utf-8", "replace"))),
        lambda: [
            canonical_json(
                {
                    "_type": "https://in-toto.io/Statement/v1",
                    "predicate": {
                        "mlver": {},
                        "resources": [{"algorithm": "sha256", "digest": "00" * 32, "name": "w"}],
                    },
                    "predicateType": "https://model_signing/signature/v1.0",
                    "subject": [{"digest": {"sha256": "00" * 32}, "name": "n"}],
                }
            )
        ],
    ),
    **BESIDE,
}
