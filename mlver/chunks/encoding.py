"""A raw chunk → its frame, against a base if one was named and helps; read back before anyone relies on it.

Chains of bases are bounded, so that reading any version costs a bounded number of steps: where a base is `MAX_CHAIN`
steps deep already, the chunk is taken against the root of that chain instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from mlver import codec
from mlver.chunks.places import Places
from mlver.chunks.reader import ChunkReader
from mlver.digests import Buffer, chunk_id
from mlver.errors import IntegrityError
from mlver.formats import NO_ROWS, Rows
from mlver.ids import ChunkId
from mlver.store.pack import Frame, FrameHeader, build_frame

Level = codec.Effort
"""How much time smaller packs are worth."""
MAX_CHAIN = 8
"""Chunks that are decoded one after another before a chunk that is written here."""
_AFRESH = 64
"""One chunk in so many is asked how it is best encoded, whatever those before it said."""


class Base(NamedTuple):
    """Stored elements that may resemble those of a chunk.

    Attributes:
        chunks: One or two chunks that hold them, in order.
        dtype: Their type.
        skip_bytes: What comes before the first of them in the first chunk.
    """

    chunks: tuple[ChunkId, ...]
    dtype: str
    skip_bytes: int = 0


class Originals(Protocol):
    """Where stored chunks lie as they are, besides in packs. Safe in any thread."""

    def read(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, Buffer]:
        """Return what should be the bytes of chunks, of those that lie somewhere."""


class Guide:
    """What chunks of one kind of tensor say of how those after them are best encoded. Safe in any thread."""

    def __init__(self) -> None:
        self._choice: codec.Choice | None = None
        self._asked = 0

    def choice(self) -> codec.Choice | None:
        """Return what the next chunk may follow; None if that is to be found out."""
        self._asked += 1
        return self._choice if self._asked % _AFRESH else None

    def learn(self, choice: codec.Choice | None) -> None:
        """Note how a chunk was encoded; None if that says nothing of others."""
        self._choice = choice or self._choice


class Piece(NamedTuple):
    """A chunk to be stored.

    Attributes:
        raw: Its bytes.
        dtype: Element type if it lies in a tensor.
        base: What it may resemble.
        rows: Where in the rows of its tensor it lies, if it lies in one.
        guide: What the chunks of its kind before it say.
    """

    raw: Buffer
    dtype: str | None = None
    base: Base | None = None
    rows: Rows = NO_ROWS
    guide: Guide | None = None


class BaseBytes(NamedTuple):
    """The bytes of a base, and the ids of the chunks they are from, end to end."""

    raw: Buffer
    ids: bytes


def encode_chunk(
    identity: ChunkId,
    piece: Piece,
    reader: ChunkReader,
    places: Places,
    level: Level,
    originals: Mapping[ChunkId, Buffer] = MappingProxyType({}),
) -> tuple[Frame, str | None]:
    """Return the frame of a chunk, and why its base could not be read, if so: it is stored without one then.

    Args:
        identity: The chunk's id.
        piece: The chunk, and its base if it has one.
        reader: Reads the base.
        places: Where that is and what it rests on, as far as it is known.
        level: How much time a smaller frame is worth.
        originals: What should be the bytes of chunks, the base's among them if they need not be decoded.

    Raises:
        IntegrityError: What was encoded does not decode to what it was: this machine computes wrongly.
    """
    try:
        base = _read_base(reader, piece.base, places, originals) if piece.base is not None else None
    except IntegrityError as error:
        return encode_against(identity, piece, None, level), error.message
    return encode_against(identity, piece, base, level), None


def encode_against(identity: ChunkId, piece: Piece, base: BaseBytes | None, level: Level) -> Frame:
    """Return the frame of a chunk, after reading back what was encoded.

    Args:
        identity: The chunk's id.
        piece: The chunk, and where in the bytes of `base` the elements are that it may resemble.
        base: The bytes that `piece.base` means, or others of the same type and place; None for none.
        level: How much time a smaller frame is worth.

    Raises:
        IntegrityError: What was encoded does not decode to what it was: this machine computes wrongly.
    """
    choice = piece.guide.choice() if piece.guide is not None else None
    if base is None or piece.base is None:
        encoded = codec.encode(piece.raw, piece.dtype, effort=level, choice=choice)
    else:
        encoded = codec.encode(
            piece.raw,
            piece.dtype,
            base.raw,
            level,
            base_dtype=piece.base.dtype,
            base_skip=piece.base.skip_bytes,
            columns=piece.rows.columns,
            column=piece.rows.column,
            choice=choice,
        )
    if piece.guide is not None:
        piece.guide.learn(encoded.choice)
    used = base if encoded.encoding in codec.BASE_ENCODINGS else None
    _check(identity, piece.raw, encoded, used)
    header = FrameHeader(identity, len(piece.raw), encoded.encoding, used.ids if used else b"")
    return build_frame(header, encoded.parts)


def _read_base(
    reader: ChunkReader, base: Base, places: Places, originals: Mapping[ChunkId, Buffer]
) -> BaseBytes | None:
    """Return a base, or the root of its chain if that is long enough; None if neither may be built upon.

    Raises:
        IntegrityError: It is missing or damaged.
    """
    found = [raw for chunk in base.chunks if (raw := _original(reader, chunk, places, originals)) is not None]
    if len(found) == len(base.chunks):
        return BaseBytes(joined(found), b"".join(base.chunks))
    decoded = [reader.decode(chunk, places) for chunk in base.chunks]
    if all(one.depth < MAX_CHAIN for one in decoded):
        return BaseBytes(joined([one.raw for one in decoded]), b"".join(base.chunks))
    root = decoded[0].root if len(decoded) == 1 and not base.skip_bytes else None
    if root is None or root.depth >= MAX_CHAIN:
        return None
    return BaseBytes(reader.decode(root.chunk).raw, root.chunk)


def _original(
    reader: ChunkReader, chunk: ChunkId, places: Places, originals: Mapping[ChunkId, Buffer]
) -> Buffer | None:
    """Return a chunk that need not be decoded, if it may be built upon: the packs must be able to give it back, too."""
    raw = originals.get(chunk)
    if raw is None or chunk_id(raw) != chunk:
        return None
    depth = reader.depth(chunk, places)
    return raw if depth is not None and depth < MAX_CHAIN else None


def joined(raws: Sequence[Buffer]) -> Buffer:
    """Return buffers end to end, without a copy if there is one."""
    return raws[0] if len(raws) == 1 else b"".join(raws)


def _check(identity: ChunkId, raw: Buffer, encoded: codec.Encoded, base: BaseBytes | None) -> None:
    if encoded.encoding == codec.RAW:
        return  # the bytes themselves
    broken: IntegrityError | None = None
    try:
        if codec.decodes_to(encoded, raw, base.raw if base else None):
            return
    except IntegrityError as error:
        broken = error
    raise IntegrityError(
        f"Chunk {identity.hex()} did not come back as it was when its encoding was read again.",
        "Nothing was recorded. The memory of this machine may be faulty: test it.",
    ) from broken
