"""The error tree: what a caller can do about a failure decides the class.

Classes serve programs, hints serve people::

    MlverError                  kind "error"          exit 1   anything mlver refuses or cannot do
    ├── NotFoundError           kind "not-found"      exit 1   the thing named does not exist
    ├── UsageError              kind "usage"          exit 2   the request itself is malformed
    ├── NotARepositoryError     kind "not-a-repository" exit 10 no usable `.mlver/` here
    ├── IntegrityError          kind "integrity"      exit 12  stored bytes are not what they must be
    ├── RemoteError             kind "remote"         exit 13  a remote failed or refused
    ├── ConflictError           kind "conflict"       exit 14  someone else was first; nothing was lost
    └── SignatureError          kind "signature"      exit 15  nobody who is trusted vouches for it

Kinds and exit codes are append-only: scripts depend on them.
"""

from __future__ import annotations


class MlverError(Exception):
    """A failure with one clear message for a person and a stable kind for a program.

    Args:
        message: One sentence that names the culprit.
        hint: What to do about it, if anything is known to help.
    """

    kind = "error"
    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:
            self.add_note(f"Hint: {hint}")  # which Python prints below a traceback, for those who use the library


class NotFoundError(MlverError):
    """The artifact, version, alias, file or tensor that was named does not exist."""

    kind = "not-found"


class UsageError(MlverError):
    """The request is malformed, whatever the state of the repository."""

    kind = "usage"
    exit_code = 2


class NotARepositoryError(MlverError):
    """There is no `.mlver/` here, or it is not one this program can read."""

    kind = "not-a-repository"
    exit_code = 10


class IntegrityError(MlverError):
    """Stored bytes are damaged, missing or hostile."""

    kind = "integrity"
    exit_code = 12


class RemoteError(MlverError):
    """A remote is unreachable, refuses, or does not keep its promises."""

    kind = "remote"
    exit_code = 13


class ConflictError(MlverError):
    """Another writer was first, or the state moved since it was read; nothing was lost."""

    kind = "conflict"
    exit_code = 14


class SignatureError(MlverError):
    """A version bears no signature of a trusted key, or is not what was signed."""

    kind = "signature"
    exit_code = 15
