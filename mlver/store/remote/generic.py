"""Everything else that fsspec speaks: memory, web servers, and whatever protocols are installed.

Only the memory of this process has exclusive creation here (by a lock). For others fsspec looks first and then writes,
which is no promise; `mlver remote add` finds that out by trying.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mlver.store.remote.service import Entry

_MEMORY_LOCK = threading.Lock()


class FsspecService:
    """A folder of an fsspec filesystem.

    Args:
        url: The folder, with its protocol.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        settings: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        if url.startswith("https:"):
            import ssl

            settings["ssl"] = ssl.create_default_context()  # aiohttp's own is as old as its import
        self._fs, root = fsspec.core.url_to_fs(url, **settings)
        self._root = str(root).rstrip("/")
        protocols = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else tuple(self._fs.protocol)
        self.is_read_only = "http" in protocols
        self._is_memory = "memory" in protocols

    def get(self, path: str, start: int, end: int | None) -> bytes:
        """See `Service.get`. A server that ignores ranges sends everything: what was asked for is cut out of it."""
        if start == 0 and end is None:
            return bytes(self._fs.cat_file(self._full(path)))
        data = bytes(self._fs.cat_file(self._full(path), start=start, end=end))
        return data if end is None or len(data) <= end - start else data[start:end]

    def size(self, path: str) -> int:
        """See `Service.size`."""
        found = self._fs.info(self._full(path))
        if found["type"] != "file" or found.get("size") is None:
            raise FileNotFoundError(path)
        return int(found["size"])

    def list(self, folder: str, deep: bool) -> Sequence[Entry]:
        """See `Service.list`."""
        top = self._full(folder)
        if deep:
            found = list(self._fs.find(top, detail=True).values())
        else:
            try:
                found = self._fs.ls(top, detail=True)
            except FileNotFoundError:
                return []
        start = len(top.rstrip("/")) + 1
        return [
            Entry(item["name"].rstrip("/")[start:], None, None)
            if item["type"] == "directory"
            else Entry(item["name"].rstrip("/")[start:], int(item["size"] or 0), _modified_ns(item))
            for item in found
            if item["name"].startswith(top) and item["name"].rstrip("/")[start:]
        ]

    def create(self, path: str, data: bytes) -> bool:
        """See `Service.create`."""
        with _MEMORY_LOCK:
            if self._exists(path):
                return False
            self._put(path, data)
        return True

    def put(self, path: str, data: bytes) -> None:
        """See `Service.put`."""
        with _MEMORY_LOCK:
            self._put(path, data)

    def delete(self, path: str) -> None:
        """See `Service.delete`."""
        self._fs.rm_file(self._full(path))

    def close(self) -> None:
        """See `Service.close`."""

    def _exists(self, path: str) -> bool:
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def _put(self, path: str, data: bytes) -> None:
        full = self._full(path)
        if not self._is_memory:
            self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(full, data)

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def _modified_ns(item: dict[str, Any]) -> int | None:
    """Return when a blob was written, by whatever name the filesystem tells that."""
    told = next((item[name] for name in ("mtime", "LastModified", "created") if item.get(name) is not None), None)
    if isinstance(told, datetime):
        return round((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1e6) * 1000
    return round(told * 1e6) * 1000 if isinstance(told, int | float) else None


def is_installed(protocol: str) -> bool:
    """Tell whether fsspec can speak a protocol here."""
    import fsspec

    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError):
        return False
    return True
