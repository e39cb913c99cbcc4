"""Names from outside: one validator for every artifact, alias, tag and file path, with POSIX and Windows rules.

A name is accepted or refused, never cleaned up: a repository made on one system must restore on all others,
and a hostile one must not reach outside the folder it is restored into.

Source: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from mlver.errors import MlverError, UsageError

LATEST = "latest"
MAX_NAME_LENGTH = 128
MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 4096
MAX_PATH_PARTS = 256
"""Folders within folders: whatever walks or removes a tree must not run out of stack."""

_REPOSITORY_FOLDER = ".mlver"
_ARTIFACT = re.compile(r"[a-zA-Z0-9_.][a-zA-Z0-9_\-.]*")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
_VERSION_LIKE = re.compile(r"[vV][0-9]+")
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"]
)
_DEVICE_PROBLEM = "has a part that is a device name on Windows"
_ORDINARY = re.compile(r"[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]{0,198}[a-zA-Z0-9_-])?")
_FORBIDDEN = frozenset('<>:"|?*\\')
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def parse_version(text: str) -> int | None:
    """Return the number of a version name such as `v4`, or None when `text` is not one."""
    return int(text[1:]) if _VERSION.fullmatch(text) else None


def check_artifact_name(name: str) -> str:
    """Return `name` if an artifact may bear it.

    Raises:
        UsageError: It is empty, too long, has other characters than letters, digits, `_`, `-`, `.`, or means
            something else in a revision or on Windows.
    """
    if not _ARTIFACT.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise UsageError(
            f"Artifact name {name!r} is not allowed.",
            f"Use 1 to {MAX_NAME_LENGTH} letters, digits, '_', '-' or '.', not '-' first.",
        )
    if name == LATEST or _VERSION_LIKE.fullmatch(name):
        raise UsageError(
            f"Artifact name {name!r} is reserved: it would read as a version.",
            "Choose another name.",
        )
    if problem := _component_problem(name):
        raise UsageError(f"Artifact name {name!r} is not allowed: it {problem}.")
    return name


def check_alias(alias: str) -> str:
    """Return `alias` if it may name a version.

    Raises:
        UsageError: It is `latest` (which moves by itself), looks like a version number, or has characters that
            revisions use (`/`, `:`, `@`, `~`, spaces, control characters).
    """
    if alias == LATEST:
        raise UsageError("Alias 'latest' is reserved: it moves by itself.", "Choose another name.")
    if _VERSION_LIKE.fullmatch(alias):
        raise UsageError(
            f"Alias {alias!r} is reserved: it looks like a version number.",
            "Choose another name.",
        )
    return _check_label("Alias", alias)


def check_tag(tag: str) -> str:
    """Return `tag` if it may label versions.

    Raises:
        UsageError: It is empty, too long or has characters that revisions and lists use.
    """
    return _check_label("Tag", tag)


def check_artifact_type(artifact_type: str) -> str:
    """Return `artifact_type` if it is a fit one.

    Raises:
        UsageError: Same rules as for artifact names.
    """
    if not _ARTIFACT.fullmatch(artifact_type) or len(artifact_type) > MAX_NAME_LENGTH:
        raise UsageError(
            f"Type {artifact_type!r} is not allowed.",
            f"Use 1 to {MAX_NAME_LENGTH} letters, digits, '_', '-' or '.', not '-' first.",
        )
    return artifact_type


def _check_label(kind: str, label: str) -> str:
    if not label or len(label) > MAX_NAME_LENGTH or label.startswith("-"):
        raise UsageError(
            f"{kind} {label!r} is not allowed.",
            f"Use 1 to {MAX_NAME_LENGTH} characters that do not start with '-'.",
        )
    for char in label:
        if char in "/:@~,\\" or char.isspace() or not char.isprintable() or char in _BIDI:
            raise UsageError(f"{kind} {label!r} is not allowed: it contains {char!r}.")
    return label


def check_text(what: str, text: str) -> str:
    """Return `text` if it can be stored.

    Args:
        what: Names it in the error, such as `The message`.
        text: From outside.

    Raises:
        UsageError: It is not valid Unicode, which happens to arguments in another encoding.
    """
    try:
        text.encode("utf-8", "strict")
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} is not valid UTF-8: {text!r}.") from error
    return text


def path_problem(path: str) -> str | None:
    """Return why `path` must not be stored or restored, or None when it is safe on every system.

    Args:
        path: A relative path with `/` between components.
    """
    try:
        encoded = path.encode("utf-8", "strict")
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if not path or path.startswith("/"):
        return "is absolute or empty"
    if len(encoded) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if path.count("/") >= MAX_PATH_PARTS:
        return f"has more than {MAX_PATH_PARTS} parts"
    for component in path.split("/"):
        if problem := _component_problem(component):
            return problem
    return None


def check_path(path: str) -> str:
    """Return `path` if it is safe to restore on every system.

    Raises:
        MlverError: It is absolute, climbs, or would not survive on Windows.
    """
    if problem := path_problem(path):
        raise MlverError(
            f"Path {path!r} cannot be kept: it {problem}.",
            "Rename it, or leave it out with --exclude or .mlverignore.",
        )
    return path


def _component_problem(component: str) -> str | None:
    if _ORDINARY.fullmatch(component):
        # The common case, decided by one look: no character to object to, so at most a device's name.
        return _DEVICE_PROBLEM if component.partition(".")[0].lower() in _WINDOWS_DEVICES else None
    if component in ("", ".", ".."):
        return "has an empty, '.' or '..' part"
    if len(component.encode("utf-8", "replace")) > MAX_COMPONENT_BYTES:
        return f"has a part longer than {MAX_COMPONENT_BYTES} bytes"
    for char in component:
        if char in _FORBIDDEN or ord(char) < 32 or 127 <= ord(char) < 160 or char in _BIDI:
            return f"contains {char!r}"
    return _windows_problem(component)


def _windows_problem(component: str) -> str | None:
    seen = "".join(char for char in fold(component) if unicodedata.category(char) != "Cf")
    if seen.rstrip(". ") in (_REPOSITORY_FOLDER, "mlver~1"):
        return f"has a part that some systems take for {_REPOSITORY_FOLDER}"
    if component[-1] in ". ":
        return "has a part that ends in a dot or a space, which Windows drops"
    return _DEVICE_PROBLEM if component.partition(".")[0].rstrip(" ").lower() in _WINDOWS_DEVICES else None


def fold(path: str) -> str:
    """Return the key under which two paths collide on a case-insensitive or normalising filesystem."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def collisions(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of different paths that are one path on a case-insensitive or normalising filesystem.

    Folders count: `A/x` and `a/y` collide, as they would be merged.
    """
    seen: dict[str, str] = {}
    found: dict[tuple[str, str], None] = {}
    for path in paths:
        end = -1
        while end != len(path):
            following = path.find("/", end + 1)
            end = len(path) if following < 0 else following
            part = path[:end]
            first = seen.setdefault(fold(part) if not part.isascii() else part.lower(), part)
            if first != part:
                found[(first, part)] = None
    return list(found)
