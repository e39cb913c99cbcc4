"""Checking signatures: does a version bear one of a trusted key, and is it what was signed?

First whose signature it is, over the very bytes; only then what they say is read, and compared with what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlver.errors import IntegrityError, SignatureError
from mlver.history.manifest import Manifest, read_manifest
from mlver.history.records import VersionRecord
from mlver.history.sign_action import SignVersion
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.signing.digests import file_digests
from mlver.ops.signing.keys import PublicKey, parse_public_key, read_public_key
from mlver.ops.signing.statement import decode_signature, read_statement, signed_bytes, subject_of

Status = Literal["valid", "unsigned", "untrusted", "changed", "unreadable"]
_PEM_MARK = "-----BEGIN"


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """How the signatures of one version stand.

    Attributes:
        version: As `NAME:vN`.
        status: `valid`; `unsigned`: it bears none; `untrusted`: none is of a trusted key, over what it is said to be
            over; `changed`: a trusted key signed something else; `unreadable`: something is damaged, or not here.
        key: SHA-256 as hex of the key that signed; None where none is trusted.
        reason: What is wrong, for a person; empty if nothing is.
    """

    version: str
    status: Status
    key: str | None
    reason: str

    @property
    def ok(self) -> bool:
        """Whether somebody who is trusted vouches for the version as it is."""
        return self.status == "valid"


def trusted_keys(repository: OpenRepository, files: Sequence[Path] = ()) -> list[PublicKey]:
    """Return the public keys in some files, or else those that `config.toml` trusts.

    Raises:
        SignatureError: There are none.
        UsageError: One is no public key.
        MlverError: A file cannot be read.
    """
    if files:
        return [read_public_key(file) for file in files]
    found = []
    for number, text in enumerate(repository.config.signing.trusted, 1):
        if _PEM_MARK in text:
            found.append(parse_public_key(text.strip().encode() + b"\n", f"Key {number} of signing.trusted"))
        else:
            found.append(read_public_key(repository.root.parent / text))
    if not found:
        raise SignatureError(
            "No key is trusted, so no signature counts.",
            "Name one with --public-key FILE, or in config.toml: [signing] trusted = [FILE].",
        )
    return found


def check_signatures(
    repository: OpenRepository, version: VersionRecord, manifest: Manifest, keys: Sequence[PublicKey]
) -> SignatureCheck:
    """Find out whether a trusted key vouches for a version. Its content is not read: its id stands for that."""
    artifact = repository.index.artifact(version.artifact)
    borne = repository.index.signatures(artifact, version.number) if artifact is not None else []
    if not borne:
        return SignatureCheck(version.name, "unsigned", None, "nobody signed it")
    found = SignatureCheck(version.name, "untrusted", None, "no trusted key signed it")
    for signature in borne:
        signer = _signer(signature, keys)
        if signer is None:
            continue
        reason = _difference(signature, version, manifest)
        if not reason:
            return SignatureCheck(version.name, "valid", signer.id, "")
        found = SignatureCheck(version.name, "changed", signer.id, reason)
    return found


def verify_signatures(
    repository: OpenRepository,
    revision: str | None = None,
    keys: Sequence[Path] = (),
    progress: Progress | None = None,
) -> tuple[SignatureCheck, ...]:
    """Find out for one version, or (None) for all, whether a trusted key vouches for it, and read all its files.

    Args:
        repository: The repository.
        revision: Which version; removed ones are left out.
        keys: Files of public keys; without any, `config.toml` says which are trusted.
        progress: Told of the bytes read.

    Raises:
        NotFoundError: There is no such version.
        SignatureError: No key is trusted.
        UsageError: A key is none.
    """
    trusted = trusted_keys(repository, keys)
    if revision is not None:
        versions = [repository.resolve(revision).version]
    else:
        repository.index.refresh()
        versions = [one for artifact in repository.index.artifacts() for one in repository.index.versions(artifact)]
    return tuple(_check_whole(repository, version, trusted, progress) for version in versions)


def _check_whole(
    repository: OpenRepository, version: VersionRecord, keys: Sequence[PublicKey], progress: Progress | None
) -> SignatureCheck:
    try:
        manifest = read_manifest(repository.storage, version.id)
        check = check_signatures(repository, version, manifest, keys)
        return (
            _check_files(repository, version, keys, check, file_digests(repository, manifest, progress))
            if check.ok
            else check
        )
    except IntegrityError as error:
        return SignatureCheck(version.name, "unreadable", None, error.message.rstrip("."))


def _check_files(
    repository: OpenRepository,
    version: VersionRecord,
    keys: Sequence[PublicKey],
    check: SignatureCheck,
    digests: Mapping[str, str],
) -> SignatureCheck:
    artifact = repository.index.artifact(version.artifact)
    assert artifact is not None  # a signature was found in its log
    for signature in repository.index.signatures(artifact, version.number):
        if _signer(signature, keys) is not None and read_statement(signature.statement.encode()).files == digests:
            return check
    return SignatureCheck(version.name, "changed", check.key, "its files have other SHA-256 digests than were signed")


def require_signature(
    repository: OpenRepository, version: VersionRecord, manifest: Manifest, files: Sequence[Path] = ()
) -> None:
    """Refuse a version that nobody who is trusted vouches for.

    Raises:
        SignatureError: It is so.
        UsageError: A key is none.
    """
    check = check_signatures(repository, version, manifest, trusted_keys(repository, files))
    if not check.ok:
        raise SignatureError(
            f"{version.name} is not pulled: {check.reason}.", f"See: mlver verify --signature {version.name}"
        )


def _signer(signature: SignVersion, keys: Sequence[PublicKey]) -> PublicKey | None:
    raw = decode_signature(signature.signature)
    if raw is None:
        return None
    data = signed_bytes(signature.statement.encode())
    return next((key for key in keys if key.verifies(raw, data)), None)


def _difference(signature: SignVersion, version: VersionRecord, manifest: Manifest) -> str:
    """Return what of a version is not what was signed; empty if nothing."""
    try:
        statement = read_statement(signature.statement.encode())
    except IntegrityError as error:
        return error.message.rstrip(".")
    is_now = subject_of(version)
    if dict(statement.subject) != is_now:
        words = {"artifact": "its artifact", "version": "its number", "id": "its content", "record": _RECORD}
        names = [words[field] for field in words if statement.subject.get(field) != is_now[field]]
        return f"{' and '.join(names) or 'what is said of it'} changed since it was signed"
    if set(statement.files) != {entry.path for entry in manifest.files}:
        return "the files that were signed are not those it has"
    return ""


_RECORD = "what the log says of it (message, metadata, metrics, author or time)"
