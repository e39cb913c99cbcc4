"""Where the members of a zip file are, read with limits and believed only where its two listings agree.

Our own reader and not `zipfile`: that one allocates what a hostile directory asks for, and it never compares
the local headers with the directory. Nothing is ever decompressed here.

Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (ends) and
4.5.3 (zip64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlver.formats.layout import ByteSource, FormatError, read_exactly

STORED = 0
MAX_MEMBERS = 1 << 19
MAX_DIRECTORY_BYTES = 1 << 26
_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_MAX_COMMENT_BYTES = 0xFFFF
_IN_EXTRA = 0xFFFFFFFF
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 1, 1 << 3, 1 << 11


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the directory. All sizes in bytes.

    Attributes:
        name: Decoded as the entry says.
        method: Compression method; 0 is stored.
        flags: General purpose bit flag.
        compressed_size: Bytes in the zip file.
        size: Bytes of the content.
        header_offset: Where its local header is, from the start of the file.
    """

    name: str
    method: int
    flags: int
    compressed_size: int
    size: int
    header_offset: int

    @property
    def is_stored(self) -> bool:
        """Whether the zip file holds the very bytes of the content."""
        return self.method == STORED and not self.flags & _ENCRYPTED and self.size == self.compressed_size


def read_directory(source: ByteSource) -> dict[str, Member]:
    """Return the members of a zip file by name, in the order of its directory.

    Raises:
        FormatError: It is no zip file, breaks a rule of the format, or is larger than the limits.
        OSError: The file cannot be read.
    """
    count, size, offset = _find_directory(source)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise FormatError("the zip directory is too large")
    members: dict[str, Member] = {}
    for member in _members(read_exactly(source, offset, size), count):
        if member.name in members:
            raise FormatError("a zip member comes twice")
        members[member.name] = member
    return members


def locate(source: ByteSource, member: Member) -> int:
    """Return the offset of a stored member's content after comparing its local header with the directory.

    Raises:
        FormatError: They differ, the member is compressed or encrypted, or it lies outside the file.
        OSError: The file cannot be read.
    """
    if not member.is_stored:
        raise FormatError("a zip member is not stored as it is")
    name = _encoded_name(member)
    head = read_exactly(source, member.header_offset, _LOCAL.size + len(name))
    name_size: int
    extra_size: int
    magic, _, flags, method, _, _, _, compressed, size, name_size, extra_size = _LOCAL.unpack_from(head)
    if (magic, method, flags, head[_LOCAL.size :]) != (b"PK\x03\x04", STORED, member.flags, name):
        raise FormatError("a local header disagrees with the zip directory")
    start = member.header_offset + _LOCAL.size + name_size + extra_size
    if name_size != len(name) or start + member.size > source.size_bytes:
        raise FormatError("a zip member lies outside the file")
    extra = read_exactly(source, start - extra_size, extra_size) if _IN_EXTRA in (compressed, size) else b""
    sizes = _wide(extra, [size, compressed])
    # With this flag the sizes may come after the content only; the directory has them all the same.
    if sizes != [member.size] * 2 and not (flags & _SIZES_FOLLOW and sizes == [0, 0]):
        raise FormatError("a local header's sizes disagree with the zip directory")
    return start


def check_disjoint(placed: Iterable[tuple[Member, int]]) -> None:
    """Check that located members share no byte, headers included.

    Args:
        placed: Members with the offsets of their contents, from `locate`.

    Raises:
        FormatError: Two do.
    """
    end = 0
    for begin, until in sorted((member.header_offset, start + member.size) for member, start in placed):
        if begin < end:
            raise FormatError("zip members overlap")
        end = until


def _find_directory(source: ByteSource) -> tuple[int, int, int]:
    """Return the directory's number of entries, its size and its offset."""
    tail_size = min(source.size_bytes, _END.size + _MAX_COMMENT_BYTES)
    tail_offset = source.size_bytes - tail_size
    tail = read_exactly(source, tail_offset, tail_size)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise FormatError("the zip file has no end record")
    _, disk, first_disk, here, count, size, offset, comment_size = _END.unpack_from(tail, at)
    if disk or first_disk or here != count or at + _END.size + comment_size != len(tail):
        raise FormatError("the zip file's end record is damaged")
    if count == 0xFFFF or _IN_EXTRA in (size, offset):
        return _find_directory64(source, tail_offset + at)
    return count, size, offset


def _find_directory64(source: ByteSource, end_offset: int) -> tuple[int, int, int]:
    locator = read_exactly(source, end_offset - _LOCATOR.size, _LOCATOR.size)
    magic, _, end64_offset, _ = _LOCATOR.unpack(locator)
    if magic != b"PK\x06\x07":
        raise FormatError("the zip64 locator is missing")
    magic, _, _, _, disk, first_disk, here, count, size, offset = _END64.unpack(
        read_exactly(source, end64_offset, _END64.size)
    )
    if magic != b"PK\x06\x06" or disk or first_disk or here != count:
        raise FormatError("the zip64 end record is damaged")
    return count, size, offset


def _members(directory: bytes, count: int) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(directory):
            raise FormatError("the zip directory is truncated")
        entry = _ENTRY.unpack_from(directory, at)
        magic, _, _, flags, method, _, _, _, compressed, size, name_size, extra_size, comment_size = entry[:13]
        name_at, header_offset = at + _ENTRY.size, entry[16]
        extra_at = name_at + name_size
        at = extra_at + extra_size + comment_size
        if magic != b"PK\x01\x02" or at > len(directory):
            raise FormatError("the zip directory is damaged")
        name = _decoded_name(directory[name_at:extra_at], flags)
        if _IN_EXTRA in (size, compressed, header_offset):
            extra = directory[extra_at : extra_at + extra_size]
            size, compressed, header_offset = _wide(extra, [size, compressed, header_offset])
        yield Member(name, method, flags, compressed, size, header_offset)


def _wide(extra: bytes, fields: list[int]) -> list[int]:
    """Return the fields with each 0xFFFFFFFF replaced by the next number of the zip64 extra field."""
    if _IN_EXTRA not in fields:
        return fields
    numbers = _zip64_numbers(extra)
    try:
        return [next(numbers) if field == _IN_EXTRA else field for field in fields]
    except StopIteration:
        raise FormatError("a zip64 field is missing") from None


def _zip64_numbers(extra: bytes) -> Iterator[int]:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            body = extra[at + 4 : at + 4 + size]
            return (number for (number,) in struct.iter_unpack("<Q", body[: len(body) // 8 * 8]))
        at += 4 + size
    return iter(())


def _decoded_name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise FormatError("a zip member's name is no UTF-8") from None


def _encoded_name(member: Member) -> bytes:
    return member.name.encode("utf-8" if member.flags & _UTF8 else "cp437")
