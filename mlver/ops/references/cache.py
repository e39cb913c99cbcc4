"""What was downloaded of references: contents by their digest, and the digests that were learned on the way.

All of it may be deleted at any time: contents are downloaded again, and their digests learned again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlver.digests import canonical_json
from mlver.history.reference import ReferenceEntry
from mlver.ids import is_hex
from mlver.ops.opening import OpenRepository
from mlver.ops.placing import is_alive
from mlver.store.failures import cannot_write

REFERENCES_FOLDER = "references"
_DIGESTS = "digests.jsonl"
_PARTIAL = "partial-"


class ReferenceCache:
    """The cache of one repository.

    Args:
        repository: Whose.

    Raises:
        IntegrityError: There is a link in the folder's place.
    """

    def __init__(self, repository: OpenRepository) -> None:
        self._folder = repository.own_folder(REFERENCES_FOLDER)
        self._limit_bytes = repository.config.reference_cache_bytes
        self._learned: dict[bytes, str] | None = None

    def digest(self, reference: ReferenceEntry) -> str | None:
        """Return the digest of a reference's content: the one recorded, or the one that was learned here."""
        return reference.digest or self._known().get(_identity(reference))

    def learn(self, digests: Mapping[ReferenceEntry, str]) -> None:
        """Note the digests of contents that were read, durably.

        Raises:
            MlverError: They cannot be written.
        """
        news = {reference: digest for reference, digest in digests.items() if self.digest(reference) is None}
        if not news:
            return
        lines = b"".join(b"\n" + _identity(reference, digest) for reference, digest in news.items()) + b"\n"
        try:
            self._folder.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._folder / _DIGESTS, flags, 0o666)
            try:
                with open(descriptor, "wb", buffering=0, closefd=False) as file:
                    file.write(lines)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise cannot_write(error, str(self._folder / _DIGESTS)) from error
        self._known().update((_identity(reference), digest) for reference, digest in news.items())

    def place(self, digest: str) -> Path | None:
        """Return the file that should have a content, if there is one; whoever reads it checks it."""
        path = self._folder / digest.partition(":")[2]
        try:
            os.utime(path, follow_symlinks=False)  # the last ones used are kept longest
        except OSError:
            return path if path.is_file() and not path.is_symlink() else None
        return None if path.is_symlink() else path

    def drop(self, digest: str) -> None:
        """Remove a content that turned out to be damaged."""
        with contextlib.suppress(OSError):
            (self._folder / digest.partition(":")[2]).unlink()

    def keep(self, file: Path, digest: str) -> None:
        """Keep a copy of a checked file, if it fits. A cache that cannot be written is no reason to fail."""
        place = self._folder / digest.partition(":")[2]
        partial = self._folder / f"{_PARTIAL}{os.getpid()}-{os.urandom(8).hex()}"
        with contextlib.suppress(OSError):
            if file.stat().st_size > self._limit_bytes or place.exists():
                return
            self._folder.mkdir(exist_ok=True)
            try:
                shutil.copyfile(file, partial)
                partial.chmod(0o444)
                partial.rename(place)
            finally:
                partial.unlink(missing_ok=True)

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """Return a folder to make copies in, for a `with`.

        Raises:
            OSError: It cannot be made.
        """
        self._folder.mkdir(exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f"{_PARTIAL}{os.getpid()}-", dir=self._folder)

    def trim(self) -> None:
        """Remove what was not used for longest until the rest fits, and what killed processes left."""
        with contextlib.suppress(OSError):
            found = [entry for entry in os.scandir(self._folder) if len(entry.name) == 64 and is_hex(entry.name)]
            newest = sorted(((entry.stat(follow_symlinks=False), entry.path) for entry in found), key=_age)
            total = 0
            for status, path in newest:
                total += status.st_size
                if total > self._limit_bytes:
                    os.unlink(path)
            _sweep(entry for entry in os.scandir(self._folder) if entry.name.startswith(_PARTIAL))

    def _known(self) -> dict[bytes, str]:
        if self._learned is None:
            try:
                lines = (self._folder / _DIGESTS).read_bytes().splitlines()
            except OSError:
                lines = []
            self._learned = dict(filter(None, map(_learned, lines)))
        return self._learned


def _age(entry: tuple[os.stat_result, str]) -> int:
    return -entry[0].st_mtime_ns


def _sweep(entries: Iterable[os.DirEntry[str]]) -> None:
    for entry in entries:
        process = entry.name.removeprefix(_PARTIAL).partition("-")[0]
        if process.isdigit() and not is_alive(int(process)):
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def _identity(reference: ReferenceEntry, digest: str | None = None) -> bytes:
    """Return what identifies a content besides its digest, as one line; with the digest, as it is noted."""
    document: dict[str, Any] = {
        "etag": reference.etag,
        "size": reference.size_bytes,
        "uri": reference.uri,
        "version": reference.version,
    }
    return canonical_json(document if digest is None else document | {"digest": digest})


def _learned(line: bytes) -> tuple[bytes, str] | None:
    """Read a note; None for one that is cut off or no note."""
    try:
        document = json.loads(line)
        digest = document.pop("digest")
        is_note = isinstance(digest, str) and len(digest) == 71 and is_hex(digest.removeprefix("blake3:"))
        return (canonical_json(document), digest) if is_note else None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None
