"""`sign`: read every file of a version, say what it is, and put one's name to it: an event like any other."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from mlver.errors import MlverError, NotFoundError
from mlver.history.event import MAX_EVENT_BYTES, Action
from mlver.history.manifest import read_manifest
from mlver.history.records import VersionRecord
from mlver.history.sign_action import SignVersion
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.signing.digests import file_digests
from mlver.ops.signing.keys import PrivateKey
from mlver.ops.signing.statement import make_bundle, make_statement, signed_bytes


@dataclass(frozen=True, slots=True)
class SignResult:
    """What was signed.

    Attributes:
        version: The version.
        key: SHA-256 as hex of the public key.
        file_count: Files that the signature covers.
        bundle: The signature for other programs: a Sigstore bundle, as JSON.
    """

    version: VersionRecord
    key: str
    file_count: int
    bundle: bytes


def sign(repository: OpenRepository, revision: str, key: PrivateKey, progress: Progress | None = None) -> SignResult:
    """Sign a version, and record the signature in its artifact's log, with which it is pushed and fetched.

    Raises:
        NotFoundError: There is no such version.
        IntegrityError: Something of it is missing or damaged.
        MlverError: It has too many files for an event.
    """
    resolved = repository.resolve(revision)
    version = resolved.version
    manifest = read_manifest(repository.storage, version.id)
    statement = make_statement(version, manifest, file_digests(repository, manifest, progress))
    if len(statement.text) > MAX_EVENT_BYTES // 2:  # quotation marks are escaped in an event
        raise MlverError(f"{version.name} has too many files to be signed.", "Sign a version of fewer, larger ones.")
    signature = base64.b64encode(key.sign(signed_bytes(statement.text))).decode()
    action = SignVersion(version.number, key.id, signature, statement.text.decode(), present=True)

    def decide() -> list[Action]:
        now = repository.index.version(resolved.artifact, version.number)
        if now is None or now.removed:
            raise NotFoundError(f"{version.name} was removed.", f"Take it back with: mlver restore {version.name}")
        return [action]

    commit(repository, resolved.artifact, decide)
    bundle = make_bundle(action.statement, signature, key.id)
    return SignResult(version, key.id, len(manifest.files), bundle)
