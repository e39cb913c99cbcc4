"""Keys to sign with, as PEM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_key(folder: Path, name: str, curve: ec.EllipticCurve | None = None, password: bytes | None = None) -> Path:
    """Write a key pair `NAME.pem` and `NAME.pub`; return the private one's path."""
    return write_pair(folder, name, ec.generate_private_key(curve or ec.SECP256R1()), password)


def write_pair(folder: Path, name: str, key: Any, password: bytes | None = None) -> Path:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)
    return folder / f"{name}.pem"
