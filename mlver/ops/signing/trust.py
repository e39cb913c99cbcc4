"""Whether a pull needs a signature, and whose. The rest of signing is imported only where it does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlver.history.manifest import Manifest
from mlver.history.records import VersionRecord
from mlver.ops.opening import OpenRepository


@dataclass(frozen=True, slots=True)
class Trust:
    """What whoever pulls asks for; `config.toml` may ask for more.

    Attributes:
        required: Refuse a version without a signature that counts.
        public_keys: Files of the keys that are trusted; without any, `config.toml` says which. Whoever names some asks
            for a signature.
    """

    required: bool = False
    public_keys: tuple[Path, ...] = ()


def check_trust(repository: OpenRepository, version: VersionRecord, manifest: Manifest, trust: Trust) -> None:
    """Refuse a version that nobody vouches for, if somebody has to.

    Raises:
        SignatureError: It is so.
        UsageError: A key is none.
    """
    if trust.required or trust.public_keys or repository.config.signing.required:
        from mlver.ops.signing.checking import require_signature

        require_signature(repository, version, manifest, trust.public_keys)
