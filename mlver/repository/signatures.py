"""Signatures: a part of the Python API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlver.ops.progress import Progress
from mlver.repository.opened import AnyPath, Opened

if TYPE_CHECKING:
    from mlver.ops.signing.checking import SignatureCheck
    from mlver.ops.signing.sign import SignResult


class Signatures(Opened):
    """Signing versions, and checking who signed them."""

    def sign(
        self, revision: str, key: AnyPath, *, password: str | None = None, progress: Progress | None = None
    ) -> SignResult:
        """Sign a version; the signature is pushed and fetched with its log.

        Args:
            revision: Which version.
            key: File of a private key in PEM, on the curve P-256, P-384 or P-521.
            password: The key's, if it has one.
            progress: Told of the bytes read.

        Raises:
            NotFoundError: There is no such version.
            UsageError: It is no such key, or the password is another one.
            IntegrityError: Something of the version is missing or damaged.
            MlverError: The file cannot be read, or the package cryptography is not installed.
        """
        from mlver.ops.signing.keys import read_private_key
        from mlver.ops.signing.sign import sign

        private = read_private_key(Path(key), password)
        return self._run(lambda: sign(self._opened, revision, private, progress))

    def verify_signatures(
        self, revision: str | None = None, public_keys: Sequence[AnyPath] = (), progress: Progress | None = None
    ) -> tuple[SignatureCheck, ...]:
        """Find out for one version, or (None) for all, whether a trusted key vouches for it, and read all its files.

        Args:
            revision: Which version.
            public_keys: Files of the keys that are trusted; without any, `config.toml` says which.
            progress: Told of the bytes read.

        Raises:
            NotFoundError: There is no such version.
            SignatureError: No key is trusted.
            UsageError: A key is none.
        """
        from mlver.ops.signing.checking import verify_signatures

        keys = list(map(Path, public_keys))
        return self._run(lambda: verify_signatures(self._opened, revision, keys, progress))
