"""What a remote's refusal means: worth another try or not, and one sentence that names the remote and what helps.

Libraries differ in what they raise, so known classes are told by their names and all others by what they derive from.
"""

from __future__ import annotations

import errno
import os

from mlver.errors import MlverError, RemoteError
from mlver.store.remote.secrets import without_secrets_in

_ACCESS_HINT = "Check the credentials and what they may do there: they come from the usual places of the SDK."
_FINAL_ERRNOS = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR})
_BAD_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "TokenRetrievalError",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
        "ProfileNotFound",
        "RefreshError",
        "DefaultCredentialsError",
        "AuthenticationException",
        "PasswordRequiredException",
        "BadHostKeyException",
    }
)
_LATER = frozenset({408, 409, 425, 429})
"""Statuses of HTTP that say: not now."""
_BAD_SETTINGS = frozenset({"ParamValidationError", "InvalidRegionError", "NoRegionError", "InvalidURL"})
_TRANSIENT = frozenset(
    {
        "EndpointConnectionError",
        "ConnectionClosedError",
        "HTTPClientError",
        "ReadTimeoutError",
        "ConnectTimeoutError",
        "ResponseStreamingError",
        "IncompleteReadError",
        "ClientError",
        "ClientPayloadError",
        "ServerDisconnectedError",
        "ClientResponseError",
        "SSHException",
        "ChannelException",
        "NoValidConnectionsError",
        "TransportError",
    }
)


def is_transient(error: Exception) -> bool:
    """Tell whether the same request may succeed a little later."""
    if isinstance(error, MlverError | FileNotFoundError | PermissionError | FileExistsError | NotImplementedError):
        return False
    names = _names(error)
    if names & _BAD_CREDENTIALS or names & _BAD_SETTINGS:
        return False
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(status, int) and status >= 400:
        return status >= 500 or status in _LATER
    if names & _TRANSIENT or isinstance(error, EOFError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno not in _FINAL_ERRNOS


def remote_error(error: Exception, shown: str, verb: str, name: str) -> MlverError:
    """Return the error to raise instead of `error`.

    Args:
        error: What the library raised, at last.
        shown: The remote, as a person knows it.
        verb: What was tried: `read`, `write`, `list`, `remove`.
        name: The blob or folder; `""` is the top.
    """
    if isinstance(error, MlverError):
        return error
    what = f"{name} at {shown}" if name else shown
    names = _names(error)
    if names & _BAD_CREDENTIALS:
        return RemoteError(f"Cannot {verb} {what}: {_said(error)}.", _ACCESS_HINT)
    if isinstance(error, PermissionError) or getattr(error, "status", getattr(error, "code", None)) in (401, 403):
        return RemoteError(f"Cannot {verb} {what}: access was refused ({_said(error)}).", _ACCESS_HINT)
    if isinstance(error, FileNotFoundError):
        return RemoteError(
            f"Cannot {verb} {what}: there is no such place ({_said(error)}).", "Check the bucket's or folder's name."
        )
    if isinstance(error, TimeoutError):
        return RemoteError(f"Cannot {verb} {what}: it did not answer in time.", "Run the same command again later.")
    hint = "Run the same command again: it goes on where it stopped." if is_transient(error) else None
    return RemoteError(f"Cannot {verb} {what}: {_said(error)}.", hint)


def _names(error: BaseException) -> set[str]:
    """Return the names of the classes of an error, and of the one it was raised from."""
    found = {kind.__name__ for kind in type(error).__mro__}
    cause = error.__cause__
    return found | ({kind.__name__ for kind in type(cause).__mro__} & _BAD_CREDENTIALS if cause else set())


def _said(error: BaseException) -> str:
    """Return what an error says, on one line and not for ever."""
    if isinstance(error, OSError) and error.errno and not isinstance(error.args[-1], str):
        return os.strerror(error.errno)
    text = error.args[-1] if isinstance(error, OSError) and error.args and isinstance(error.args[-1], str) else error
    line = without_secrets_in(" ".join(str(text).split())).rstrip(".")
    return (line[:200] + "…" if len(line) > 200 else line) or type(error).__name__
