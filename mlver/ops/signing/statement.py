"""Statements: what is signed. An in-toto statement as OpenSSF's model-signing has it, and what mlver adds to it.

The predicate's `resources` bind the path and SHA-256 of every file, so that `model_signing verify` can check a pulled
folder without mlver. Its field `mlver`, which other verifiers pass over, binds the artifact, the number, the version's
id (and so executable bits, empty folders, tensors and references) and what the log says of the version.

Source: https://github.com/sigstore/model-transparency, `_signing/signing.py`; https://in-toto.io/Statement/v1;
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md; https://docs.sigstore.dev/about/bundle/.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlver.digests import blake3_hex, canonical_json
from mlver.errors import IntegrityError
from mlver.history.manifest import Manifest
from mlver.history.records import VersionRecord

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True, slots=True)
class Statement:
    """What was signed.

    Attributes:
        text: The very bytes, which are canonical JSON.
        files: SHA-256 as hex of each file, by path.
        subject: The document's field `mlver`.
    """

    text: bytes
    files: Mapping[str, str]
    subject: Mapping[str, Any]


def make_statement(version: VersionRecord, manifest: Manifest, digests: Mapping[str, str]) -> Statement:
    """Return the statement that a version is what it is.

    Args:
        version: The version.
        manifest: Its manifest.
        digests: SHA-256 as hex of each of its files, by path.
    """
    resources = [{"algorithm": "sha256", "digest": digests[path], "name": path} for path in sorted(digests)]
    serialization: dict[str, Any] = {"allow_symlinks": False, "hash_type": "sha256", "method": "files"}
    if manifest.references:  # which are files of a pulled folder, whose SHA-256 nobody knows
        serialization["ignore_paths"] = [reference.path for reference in manifest.references]
    subject = subject_of(version)
    document = {
        "_type": _STATEMENT_TYPE,
        "predicate": {"mlver": subject, "resources": resources, "serialization": serialization},
        "predicateType": _PREDICATE_TYPE,
        "subject": [{"digest": {"sha256": _root_digest(digests)}, "name": version.artifact}],
    }
    return Statement(canonical_json(document), dict(digests), subject)


def subject_of(version: VersionRecord) -> dict[str, Any]:
    """Return what a statement says of a version besides its files. Labels may change afterwards; nothing else may."""
    record = {
        "at": version.created_at,
        "by": version.created_by,
        "message": version.message,
        "metadata": version.metadata,
        "metrics": version.metrics,
        "provenance": version.provenance,
        "type": version.type,
    }
    return {
        "artifact": version.artifact,
        "id": version.id,
        "record": f"blake3:{blake3_hex(canonical_json(record))}",
        "version": version.number,
    }


def read_statement(text: bytes) -> Statement:
    """Read a statement whose signature was checked before: nobody else's bytes get as far as this.

    Raises:
        IntegrityError: It is none of mlver's.
    """
    try:
        document = json.loads(text)
        predicate = document["predicate"]
        resources = [_resource(resource) for resource in predicate["resources"]]
        files = dict(resources)
        sound = (
            canonical_json(document) == text
            and document["_type"] == _STATEMENT_TYPE
            and document["predicateType"] == _PREDICATE_TYPE
            and len(files) == len(resources)
            and [subject["digest"]["sha256"] for subject in document["subject"]] == [_root_digest(files)]
            and isinstance(predicate["mlver"], dict)
        )
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise IntegrityError("What was signed is no statement about a version.") from error
    if not sound:
        raise IntegrityError("What was signed is no statement about a version.")
    return Statement(text, files, predicate["mlver"])


def _resource(document: Mapping[str, Any]) -> tuple[str, str]:
    name, digest = document["name"], document["digest"]
    if document["algorithm"] != "sha256" or not isinstance(name, str) or len(bytes.fromhex(digest)) != 32:
        raise ValueError(name)
    return name, digest


def _root_digest(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digests[path]) for path in sorted(digests))).hexdigest()


def signed_bytes(statement: bytes) -> bytes:
    """Return what a signature is over: DSSE's pre-authentication encoding, which binds the type of the payload too."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(statement)} ".encode() + statement


def make_bundle(statement: str, signature: str, key: str) -> bytes:
    """Return a signature as a Sigstore bundle, which other verifiers read.

    Args:
        statement: What was signed.
        signature: In Base64.
        key: SHA-256 as hex of the public key, as PEM.
    """
    envelope = {
        "payload": base64.b64encode(statement.encode()).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": "", "sig": signature}],
    }
    material = {"publicKey": {"hint": key}, "tlogEntries": []}
    return canonical_json({"dsseEnvelope": envelope, "mediaType": _BUNDLE_TYPE, "verificationMaterial": material})


def decode_signature(text: str) -> bytes | None:
    """Return the bytes of a signature in Base64; None if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
