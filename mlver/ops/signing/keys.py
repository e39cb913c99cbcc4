"""Keys: ECDSA on NIST's curves, as PEM files, which `openssl ecparam -name prime256v1 -genkey` makes.

Private keys are read, used and let go; nothing of them is kept or shown. Public keys are no secrets.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlver.errors import MlverError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

_MAX_KEY_BYTES = 1 << 16
_HOW_TO_MAKE = "Make one with: openssl ecparam -name prime256v1 -genkey -noout -out signing.pem"
"""A file of its own: the one that was given is somebody's key, of another kind."""
_PUBLIC_MARK = b"-----BEGIN PUBLIC KEY-----"


class PrivateKey:
    """A key to sign with.

    Args:
        key: What the library knows it as.
    """

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def id(self) -> str:
        """SHA-256 as hex of the public key, as PEM."""
        return PublicKey(self._key.public_key()).id

    def sign(self, data: bytes) -> bytes:
        """Return a signature over `data`."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        return self._key.sign(data, ECDSA(_hash(self._key.curve.key_size)))


class PublicKey:
    """A key to check signatures with.

    Args:
        key: What the library knows it as.
    """

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self._key = key

    @property
    def id(self) -> str:
        """SHA-256 as hex of the key, as PEM; the hint in a bundle."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return hashlib.sha256(self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether a signature is this key's, over `data`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        try:
            self._key.verify(signature, data, ECDSA(_hash(self._key.curve.key_size)))
        except InvalidSignature:
            return False
        return True


def read_private_key(path: Path, password: str | None = None) -> PrivateKey:
    """Read a private key from a PEM file.

    Raises:
        MlverError: It cannot be read, or the package for it is not installed.
        UsageError: It is no such key, or the password is missing or wrong.
    """
    text = _read(path)
    _check_installed()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text, password.encode() if password else None)
    except TypeError as error:
        hint = "Set MLVER_KEY_PASSWORD." if password is None else "Unset MLVER_KEY_PASSWORD."
        raise UsageError(f"The key {path} {'needs a' if password is None else 'has no'} password.", hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no private key in PEM, or its password is another one.") from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise UsageError(f"{path} is not a key of an elliptic curve.", _HOW_TO_MAKE)
    _check_curve(key.curve.name, str(path))
    return PrivateKey(key)


def read_public_key(path: Path) -> PublicKey:
    """Read a public key from a PEM file.

    Raises:
        MlverError: It cannot be read, or the package for it is not installed.
        UsageError: It is no such key.
    """
    return parse_public_key(_read(path), str(path))


def parse_public_key(text: bytes, shown: str) -> PublicKey:
    """Return the public key that a PEM text is.

    Args:
        text: The PEM.
        shown: What to call it in errors.

    Raises:
        MlverError: The package for it is not installed.
        UsageError: It is no such key.
    """
    _check_installed()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if _PUBLIC_MARK not in text:
        raise UsageError(f"{shown} is no public key in PEM.", "It begins with: -----BEGIN PUBLIC KEY-----")
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{shown} is no public key in PEM.") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise UsageError(f"{shown} is not a key of an elliptic curve.")
    _check_curve(key.curve.name, shown)
    return PublicKey(key)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise MlverError(f"The key {path} cannot be read: {error.strerror}.") from error


def _check_installed() -> None:
    try:
        import cryptography  # noqa: F401 - the one place that says what to install
    except ImportError as error:
        raise MlverError("Signatures need the package cryptography.", "Run: pip install 'mlver[sign]'") from error


def _check_curve(curve: str, shown: str) -> None:
    if curve not in ("secp256r1", "secp384r1", "secp521r1"):
        raise UsageError(f"{shown} is on the curve {curve}.", "Use P-256, P-384 or P-521.")


def _hash(key_bits: int) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    if key_bits == 256:
        return hashes.SHA256()
    return hashes.SHA384() if key_bits == 384 else hashes.SHA512()
