"""Raw chunks in, raw chunks out: where codec and store meet.

add: … → identity → **known already? → encode → pack** → …
pull: … → **fetch packs' ranges → decode → verify** → …

`writer` puts chunks in, each once; `encoding` makes a frame of one, against a base if one was named and helps; `reader`
gives chunks back, whatever they rest on.
"""

from __future__ import annotations

from mlver.chunks.encoding import MAX_CHAIN, Base, BaseBytes, Guide, Level, Piece, encode_against, joined
from mlver.chunks.reader import MAX_BASE_DEPTH, ChunkReader, Decoded
from mlver.chunks.writer import ChunkWriter, PreparedChunk

__all__ = [
    "MAX_BASE_DEPTH",
    "MAX_CHAIN",
    "Base",
    "BaseBytes",
    "ChunkReader",
    "ChunkWriter",
    "Decoded",
    "Guide",
    "Level",
    "Piece",
    "PreparedChunk",
    "encode_against",
    "joined",
]
