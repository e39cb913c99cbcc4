"""References: files of a version that stay where they are, and what identifies their content.

Source: docs/format.md, References
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlver.names import path_problem

_DIGEST = re.compile(r"blake3:[0-9a-f]{64}")
_MAX_MARK = 1024


class ReferenceEntry(NamedTuple):
    """A file that stays where it is.

    Attributes:
        path: Where it is in the version; relative, `/` between parts.
        uri: Where its bytes are; without credentials and signatures.
        size_bytes: Its length.
        etag: Strong entity tag of its content, without quotes, if the server gave one.
        version: Version id or generation, if the bucket keeps any.
        digest: `blake3:` and 64 hex digits over all its bytes, if they were read. One of the three is always there.
    """

    path: str
    uri: str
    size_bytes: int
    etag: str | None = None
    version: str | None = None
    digest: str | None = None


def reference_document(reference: ReferenceEntry) -> dict[str, Any]:
    """Return a reference as a manifest has it."""
    marks = {"etag": reference.etag, "version": reference.version, "digest": reference.digest}
    return {
        "path": reference.path,
        "uri": reference.uri,
        "size": reference.size_bytes,
        **{name: mark for name, mark in marks.items() if mark is not None},
    }


def reference_from(document: dict[str, Any]) -> ReferenceEntry:
    """Read a reference of a manifest and check it.

    Raises:
        ValueError: It is malformed; or another error of a document that is not of this form.
    """
    from mlver.store.objects.address import uri_problem  # costs start-up time, and few versions have references

    found = ReferenceEntry(
        document["path"],
        document["uri"],
        document["size"],
        document.get("etag"),
        document.get("version"),
        document.get("digest"),
    )
    if problem := path_problem(found.path):
        raise ValueError(f"path {found.path!r} {problem}")
    if problem := uri_problem(found.uri):
        raise ValueError(f"the URI of {found.path!r} {problem}")
    if type(found.size_bytes) is not int or not 0 <= found.size_bytes < 1 << 62:
        raise ValueError(f"{found.path!r} has a malformed size")
    _check_marks(found)
    return found


def _check_marks(reference: ReferenceEntry) -> None:
    given: list[object] = [reference.etag, reference.version, reference.digest]
    marks = [mark for mark in given if mark is not None]
    if not marks or not all(isinstance(mark, str) and 0 < len(mark) <= _MAX_MARK for mark in marks):
        raise ValueError(f"nothing sound identifies the content of {reference.path!r}")
    if reference.digest is not None and not _DIGEST.fullmatch(reference.digest):
        raise ValueError(f"the digest of {reference.path!r} is malformed")


def check_order(references: Sequence[ReferenceEntry]) -> None:
    """Refuse references that are not sorted by path.

    Raises:
        ValueError: They are not.
    """
    paths = [reference.path for reference in references]
    if paths != sorted(paths):
        raise ValueError("its references are not in order")
