"""Well-formed lies: repositories whose digests all match and whose content nobody honest would have written.

Whoever can write a remote can write all of this, so nothing but the reader's own checks stands in its way.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zstandard

from mlver.digests import blake3_hex, canonical_json, chunk_id, file_digest, manifest_id
from mlver.history.event import Action, AddVersion, CreateArtifact, Event, encode_event
from mlver.history.manifest import manifest_name
from mlver.ops.init import init_repository
from mlver.store.frames import FrameHeader, build_frame
from mlver.store.local import LocalStorage
from mlver.store.pack import PackWriter, pack_name

AT = "2026-01-31T08:15:00.000000Z"
Document = dict[str, Any]


class Forgery:
    """A repository (or a remote: the layout is the same) that somebody wrote by hand.

    Args:
        folder: Where its `.mlver` is to be.
        name: The artifact that `add` adds to.
        kind: Its type.
    """

    def __init__(self, folder: Path, name: str = "net", kind: str = "model") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.root = Path(init_repository(folder).path)
        self.storage = LocalStorage(self.root)
        self.name = name
        self.names(CreateArtifact(name, kind))
        self.storage.put("HEAD", name.encode("utf-8", "replace") + b"\n")

    def names(self, *actions: Action) -> None:
        """Append an event to the log of names."""
        self._append("names", actions)

    def log(self, *actions: Action, folder: str | None = None) -> None:
        """Append an event to an artifact's log."""
        self._append(f"log/{folder or self.name}", actions)

    def add(self, change: Callable[[Document], object] | None = None, files: Mapping[str, bytes] | None = None) -> str:
        """Record a version with these files, whose manifest was changed by hand; return its id."""
        files = files or {"w": b"weights"}
        document = manifest_of(files)
        self.pack(files.values())
        if change is not None:
            change(document)
        return self.add_manifest(canonical_json(document))

    def add_manifest(self, data: bytes, compressed: bytes | None = None) -> str:
        """Record a version with this text as its manifest; return its id."""
        identity = manifest_id(data)
        self.storage.put(manifest_name(identity), compressed or zstandard.compress(data))
        self.log(AddVersion(self._next(f"log/{self.name}"), identity, 1, 1, 1, 1, 0))
        return identity

    def pack(self, contents: Any) -> None:
        """Store chunks, each as it is."""
        self.frames([build_frame(FrameHeader(chunk_id(c), len(c), 0), [c]) for c in contents])

    def frames(self, frames: list[Any]) -> None:
        """Store frames."""
        writer = PackWriter(self.storage.stage())
        for frame in frames:
            writer.append(frame)
        identity, _ = writer.finish()
        writer.staged.commit(pack_name(identity))

    def event_text(self, folder: str, line: bytes) -> None:
        """Append bytes as an event, with a digest that fits."""
        name = f"{folder}/{self._next(folder):012d}.json"
        place = self.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(line + b"\nblake3:" + blake3_hex(line).encode() + b"\n")

    def _append(self, folder: str, actions: tuple[Action, ...]) -> None:
        number = self._next(folder)
        event = Event(number, secrets.token_hex(16), AT, "eve@host", actions)
        place = self.root / folder / f"{number:012d}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode_event(event))

    def _next(self, folder: str) -> int:
        return len(list((self.root / folder).glob("????????????.json")))


def manifest_of(files: Mapping[str, bytes]) -> Document:
    """Return the document of a manifest with these files, a chunk each, as format.md has it."""
    entries = []
    for path, content in sorted(files.items()):
        chunks = [chunk_id(content)] if content else []
        entries.append(
            {
                "chunks": [chunk.hex() for chunk in chunks],
                "digest": file_digest(len(content), chunks),
                "lengths": [len(content)] if content else [],
                "path": path,
                "size": len(content),
            }
        )
    return {"files": entries, "folders": [], "mlver_manifest": 1, "tensors": [], "weights": None}


def pretty(document: Document) -> str:
    """Return a document for a person who debugs a test."""
    return json.dumps(document, indent=1)
