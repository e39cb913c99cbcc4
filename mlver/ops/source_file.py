"""A source file while it is read: stamped before and after, so that a mix of two states never goes unnoticed."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from mlver.chunks import Base, Guide
from mlver.errors import MlverError
from mlver.formats import TENSOR_CHUNK_BYTES, ChunkSpan, Layout, diagnose
from mlver.history.manifest import ChunkRef
from mlver.ops.scan import Source
from mlver.ops.stat_cache import Stamp
from mlver.ops.twins import Twin
from mlver.store.storage import TICK_NS

_Kind = tuple[str, str, int, bool]
"""A tensor's name but for numbers, its type, its columns, and whether it is a whole chunk of it or what is left."""
_TICK_SECONDS = TICK_NS / 1e9
_HEAD_BYTES = 256


@cache
def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "#", name)


class ChangedError(Exception):
    """The file is not what it was when reading it began."""


@dataclass(slots=True)
class Reading:
    """What is known so far of a file that is being read.

    Attributes:
        source: What is read.
        stamp: What the filesystem said of it when reading began.
        read_at_ns: Unix time at which reading began.
        layout: Its tensors, if it is a weight file.
        problem: Why it is none, if it starts as one.
        head: Its first bytes.
        chunks: The chunks read so far, in order.
        twins: What each of its tensors may resemble, none if nothing was looked for.
        guides: What chunks of its tensors said of those after them, by the kind of tensor.
    """

    source: Source
    stamp: Stamp
    read_at_ns: int
    layout: Layout | None
    problem: str | None
    head: bytes
    chunks: list[ChunkRef] = field(default_factory=list)
    twins: Sequence[Twin | None] = ()
    guides: dict[_Kind, Guide] = field(default_factory=dict)

    def base(self, span: ChunkSpan) -> Base | None:
        """Return what the chunk at `span` may resemble."""
        if not self.twins or span.tensor is None or self.layout is None:
            return None
        twin, start = self.twins[span.tensor], span.offset - self.layout.tensors[span.tensor].offset
        return twin.base(start, span.size_bytes) if twin is not None and twin.is_promising(start) else None

    def guide(self, span: ChunkSpan) -> Guide | None:
        """Return what chunks before the one at `span` said of it, also those of the same matrix of other layers."""
        if span.tensor is None or self.layout is None:
            return None
        tensor = self.layout.tensors[span.tensor]
        is_whole = span.size_bytes == TENSOR_CHUNK_BYTES
        kind = (_without_numbers(tensor.name), tensor.dtype, span.rows.columns, is_whole)
        return self.guides.setdefault(kind, Guide())

    def learn(self, span: ChunkSpan, helped: bool) -> None:
        """Note whether its base helped the chunk at `span`."""
        if span.tensor is not None and (twin := self.twins[span.tensor]) is not None:
            twin.learn(helped)


class WholeFile:
    """A whole small file as a `ByteSource`."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return len(self._content)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, fewer where the file ends."""
        return self._content[offset : offset + length]


class OpenFile:
    """An open file as a `ByteSource`."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self._descriptor = descriptor
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return self._size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, fewer where the file ends."""
        pieces = []
        while length > 0 and (piece := os.pread(self._descriptor, length, offset)):
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)


def open_source(source: Source) -> int:
    """Return a descriptor to read `source` with.

    Raises:
        MlverError: It cannot be opened, or is no file any more.
    """
    try:
        descriptor = os.open(source.location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(source, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MlverError(f"{source.location} is no file any more.")
    return descriptor


def unreadable(source: Source, error: OSError) -> MlverError:
    """Return the error that tells a person that `source` cannot be read."""
    return MlverError(
        f"{source.location} cannot be read: {os.strerror(error.errno or 0)}.",
        "Leave it out with --exclude or .mlverignore.",
    )


def _stamp(descriptor: int) -> tuple[Stamp, int]:
    """Stamp a file before it is read, waiting until a later change could not go unnoticed.

    Raises:
        ChangedError: It changed during the wait: someone is writing it, and what it holds may be half of something.
    """
    stamp = Stamp.of(os.fstat(descriptor))
    read_at_ns = time.time_ns()
    if 0 <= read_at_ns - max(stamp.mtime_ns, stamp.ctime_ns) < _TICK_SECONDS * 1e9:
        time.sleep(_TICK_SECONDS)
        read_at_ns = time.time_ns()
        if Stamp.of(os.fstat(descriptor)) != stamp:
            raise ChangedError
    return stamp, read_at_ns


def start_reading(source: Source, descriptor: int) -> Reading:
    """Stamp an open file and find its tensors.

    Raises:
        ChangedError: Someone is writing it.
        MlverError: It cannot be read.
    """
    stamp, read_at_ns = _stamp(descriptor)
    file = OpenFile(descriptor, stamp.size_bytes)
    try:
        return Reading(source, stamp, read_at_ns, *diagnose(file, source.others), file.read(0, _HEAD_BYTES))
    except OSError as error:
        raise unreadable(source, error) from error


def read_whole(source: Source, max_bytes: int) -> tuple[Reading, bytes]:
    """Read a small file in one go.

    Raises:
        ChangedError: It changed meanwhile, or has more than `max_bytes` now.
        MlverError: It cannot be read.
    """
    descriptor = open_source(source)
    try:
        stamp, read_at_ns = _stamp(descriptor)
        if stamp.size_bytes > max_bytes:
            raise ChangedError  # it grew since the walk
        try:
            content = os.read(descriptor, stamp.size_bytes + 1)
        except OSError as error:
            raise unreadable(source, error) from error
        if len(content) != stamp.size_bytes:
            raise ChangedError
        check_unchanged(source, stamp, descriptor)
    finally:
        os.close(descriptor)
    return Reading(
        source, stamp, read_at_ns, *diagnose(WholeFile(content), source.others), content[:_HEAD_BYTES]
    ), content


def check_unchanged(source: Source, stamp: Stamp, descriptor: int) -> None:
    """Compare a file with its stamp, by descriptor and by path.

    Raises:
        ChangedError: It changed, or another file took its place.
    """
    try:
        same = Stamp.of(os.fstat(descriptor)) == stamp == Stamp.of(os.stat(source.location))
    except FileNotFoundError:
        same = False
    if not same:
        raise ChangedError
