"""A disk whose power may fail: what was written, what of it is durable, and every state that may be found afterwards.

Only what POSIX promises counts: the bytes of a file are durable after an `fsync` of it, a name in a folder after an
`fsync` of the folder. That is less than any file system does.

Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), section 3.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.fault.tracing import Call

Files = dict[str, bytes]


@dataclass(slots=True)
class File:
    """Bytes as processes see them, and as they are on the platter."""

    data: bytearray
    durable: bytes = b""


@dataclass(slots=True)
class Disk:
    """A folder of files. All paths are relative to it; a folder is a name that has no file.

    Attributes:
        names: What processes see.
        durable_names: What a power cut leaves.
    """

    root: str
    names: dict[str, File | None] = field(default_factory=dict)
    durable_names: dict[str, File | None] = field(default_factory=dict)
    _open: dict[int, tuple[File, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Disk:
        """Return what a folder has, all of it durable."""
        disk = cls(str(root))
        for path in sorted(root.rglob("*")):
            data = path.read_bytes() if path.is_file() else None
            disk.names[str(path.relative_to(root))] = None if data is None else File(bytearray(data), data)
        disk.durable_names = dict(disk.names)
        return disk

    def apply(self, call: Call) -> None:
        """Do what a process did.

        Raises:
            NotImplementedError: It is a call of which this does not know what it does.
        """
        inside = [path for path in call.paths if path.startswith(f"{self.root}/")]
        if call.name in ("openat", "open", "creat"):
            self._opened(call, inside)
        elif call.name == "lseek" and call.descriptor in self._open and call.numbers:
            self._open[call.descriptor] = (self._open[call.descriptor][0], call.numbers[0])
        elif inside:
            self._change(call, [path[len(self.root) + 1 :] for path in inside])

    def _opened(self, call: Call, inside: list[str]) -> None:
        self._open.pop(call.descriptor, None)
        if not inside or "O_DIRECTORY" in call.flags:
            return
        name = inside[0][len(self.root) + 1 :]
        if name not in self.names and "O_CREAT" in call.flags:
            self.names[name] = File(bytearray())
        file = self.names.get(name)
        if file is None:
            return
        if "O_TRUNC" in call.flags:
            del file.data[:]
        self._open[call.descriptor] = (file, len(file.data) if "O_APPEND" in call.flags else 0)

    def _change(self, call: Call, names: list[str]) -> None:
        name = names[0]
        if call.name.startswith("rename"):
            self._rename(name, names[1])
        elif call.name.startswith("link"):
            self.names[names[1]] = self.names[name]
        elif call.name.startswith(("unlink", "rmdir")):
            del self.names[name]
        elif call.name.startswith("mkdir"):
            self.names[name] = None
        elif call.name in ("fsync", "fdatasync"):
            self._flush(name, call.descriptor)
        elif call.descriptor in self._open:
            self._write(call)

    def _rename(self, old: str, new: str) -> None:
        for name in [name for name in self.names if name == old or name.startswith(f"{old}/")]:
            self.names[new + name[len(old) :]] = self.names.pop(name)

    def _flush(self, name: str, descriptor: int) -> None:
        if descriptor in self._open:
            file, _ = self._open[descriptor]
            file.durable = bytes(file.data)
            return
        for known in {*self.names, *self.durable_names}:
            if _folder(known) == name or (name == "." and "/" not in known):
                if known in self.names:
                    self.durable_names[known] = self.names[known]
                else:
                    del self.durable_names[known]

    def _write(self, call: Call) -> None:
        file, offset = self._open[call.descriptor]
        if call.name == "ftruncate":
            size = call.numbers[-1]
            del file.data[size:]
            file.data.extend(bytes(size - len(file.data)))
        elif call.name in ("write", "writev", "pwrite64"):
            position = call.numbers[-1] if call.name == "pwrite64" else offset
            file.data.extend(bytes(max(0, position - len(file.data))))
            file.data[position : position + len(call.data)] = call.data
            if call.name != "pwrite64":
                self._open[call.descriptor] = (file, offset + len(call.data))
        elif call.name == "fallocate":
            if "KEEP_SIZE" not in call.flags:
                file.data.extend(bytes(max(0, sum(call.numbers[-2:]) - len(file.data))))
        else:
            raise NotImplementedError(call.name)

    def states(self) -> Iterator[tuple[str, Files]]:
        """Yield what the power may leave if it fails now, each with what became of data and names.

        Unflushed bytes are all there, gone, cut in half or zeros; unflushed changes of names are all there, none of
        them, or one of them alone.
        """
        undurable = [
            name
            for name in {*self.names, *self.durable_names}
            if self.names.get(name, 0) is not self.durable_names.get(name, 0)
        ]
        kept = {"all names": self.names, "durable names": self.durable_names}
        for name in sorted(undurable):
            one = dict(self.durable_names)
            if name in self.names:
                one[name] = self.names[name]
            else:
                del one[name]
            kept[f"only {name}"] = one
        for title, names in kept.items():
            for fate in ("kept", "lost", "halved", "zeroed"):
                yield f"{title}, data {fate}", _files(names, fate)

    def undurable(self) -> list[str]:
        """Return the names of files that a power cut could take or damage now."""
        return [
            name
            for name, file in self.names.items()
            if file is not None and (self.durable_names.get(name) is not file or bytes(file.data) != file.durable)
        ]


def _files(names: dict[str, File | None], fate: str) -> Files:
    return {
        name: _content(file, fate)
        for name, file in names.items()
        if file is not None and all(str(parent) in names for parent in list(PurePosixPath(name).parents)[:-1])
    }


def _content(file: File, fate: str) -> bytes:
    data = bytes(file.data)
    if data == file.durable or fate == "kept":
        return data
    if fate == "lost":
        return file.durable
    return data[: len(data) // 2] if fate == "halved" else bytes(len(data))


def _folder(name: str) -> str:
    return os.path.dirname(name)


def write_files(files: Files, root: Path) -> None:
    """Make a folder that has these files."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
