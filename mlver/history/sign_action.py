"""The action of signing: somebody vouches for a version. What is signed, `mlver.ops.signing` knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class SignVersion:
    """A version gains or loses a signature. Nobody checks it here: whoever relies on it does, with keys they trust.

    Attributes:
        version: Its number.
        key: SHA-256 as hex of the signer's public key; a hint, which proves nothing.
        signature: In Base64.
        statement: What was signed.
        present: Whether it comes or goes.
    """

    do: ClassVar[str] = "sign"
    version: int
    key: str
    signature: str
    statement: str
    present: bool
