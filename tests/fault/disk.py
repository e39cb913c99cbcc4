"""A disk whose power may fail: what was written, what of it is durable, and every state that may be found afterwards.

Only what POSIX promises counts: the bytes of a file are durable after an `fsync` of it, a change of a folder after an
`fsync` of the folder. That is less than any file system does. One thing more is believed, as all of them keep it: a
rename is one step, so that the old name goes if and only if the new one comes.

Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), sections 3 and 4.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tests.fault.tracing import DATA, Call

PAGE = 4096
FATES = ("kept", "lost", "halved", "zeroed", "torn", "backwards")
"""What may become of the bytes of a file that were not flushed; see `File.content`."""
_ALL_SUBSETS = 5
_CHANCES = 24
_FEW = 8


class Content(NamedTuple):
    """Bytes of a file, and their digest."""

    data: bytes
    digest: bytes


Files = dict[str, Content]


class Write(NamedTuple):
    """Bytes that were written, or (None) a new size."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        """Do it."""
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
        elif self.data:
            content.extend(bytes(max(0, self.offset - len(content))))
            content[self.offset : self.offset + len(self.data)] = self.data


class File:
    """Bytes as processes see them, as they are on the platter, and what is between.

    Args:
        data: What it holds, all of it durable.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self._durable = data
        self._pending: list[Write] = []
        self._contents: dict[str, Content] = {}

    def write(self, write: Write) -> None:
        """Change it, not durably."""
        write.apply(self.data)
        self._pending.append(write)
        self._contents.clear()

    def flush(self) -> None:
        """Make all that was written durable."""
        self._durable = bytes(self.data)
        self._pending.clear()
        self._contents.clear()

    @property
    def is_dirty(self) -> bool:
        """Whether a power cut may change it."""
        return bool(self._pending)

    def content(self, fate: str) -> Content:
        """Return what is found after a power cut.

        Args:
            fate: Of what was not flushed, `kept` is there and `lost` is not; of `halved`, the first half of the bytes
                is; `zeroed` made the file as long as it is, with zeros; of `torn`, every other page is there; of
                `backwards`, only the last write.
        """
        if fate not in self._contents:
            data = bytearray(self._durable)
            for write in self._surviving(fate):
                write.apply(data)
            self._contents[fate] = Content(bytes(data), hashlib.blake2b(data, digest_size=16).digest())
        return self._contents[fate]

    def _surviving(self, fate: str) -> list[Write]:
        if fate == "kept":
            return self._pending
        if fate == "lost":
            return []
        if fate == "backwards":
            return self._pending[-1:]
        if fate == "zeroed":
            return [Write(offset, data and bytes(len(data))) for offset, data in self._pending]
        return self._halved() if fate == "halved" else self._torn()

    def _halved(self) -> list[Write]:
        left = sum(len(write.data or b"") for write in self._pending) // 2
        surviving = []
        for offset, data in self._pending:
            surviving.append(Write(offset, data if data is None else data[:left]))
            left = max(0, left - len(data or b""))
        return surviving

    def _torn(self) -> list[Write]:
        surviving: list[Write] = []
        for offset, data in self._pending:
            if data is None:
                surviving.append(Write(offset, None))
                continue
            for start in range(offset // PAGE * PAGE, offset + len(data), PAGE):
                begin, end = max(start, offset), min(start + PAGE, offset + len(data))
                if start // PAGE % 2 == 1:
                    surviving.append(Write(begin, data[begin - offset : end - offset]))
        return surviving


Names = dict[str, File | None]
"""What has a name; None for a folder."""


@dataclass(frozen=True, eq=False)
class Change:
    """A change of names, all or nothing.

    Attributes:
        new: What has these names now.
        gone: The names that are no more.
        folders: Flushing any of these makes it durable.
    """

    new: Names
    gone: set[str]
    folders: frozenset[str]

    def apply(self, names: Names) -> None:
        """Do it."""
        for name in self.gone:
            names.pop(name, None)
        names.update(self.new)


@dataclass(slots=True)
class Disk:
    """A folder of files. All paths are relative to it; a folder is a name that has no file.

    Attributes:
        root: Its path.
        names: What processes see.
        durable: What is named after a power cut, whatever becomes of `pending`.
        pending: Changes of names that are not durable, in order.
    """

    root: str
    names: Names = field(default_factory=dict)
    durable: Names = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    _open: dict[int, tuple[File, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, root: Path) -> Disk:
        """Return what a folder has, all of it durable, as if it were at `root`."""
        disk = cls(str(root))
        for path in sorted(folder.rglob("*")):
            disk.names[str(path.relative_to(folder))] = File(path.read_bytes()) if path.is_file() else None
        disk.durable = dict(disk.names)
        return disk

    def apply(self, call: Call) -> None:
        """Do what a process did.

        Raises:
            NotImplementedError: It is a call of which this does not know what it does.
        """
        if call.ended:
            return
        inside = [path for path in call.paths if path.startswith(f"{self.root}/")]
        if call.name in ("openat", "open", "creat"):
            self._opened(call, inside)
        elif call.name == "lseek" and call.descriptor in self._open and call.numbers:
            self._open[call.descriptor] = (self._open[call.descriptor][0], call.numbers[0])
        elif inside:
            self._do(call, [path[len(self.root) + 1 :] for path in inside])

    def _opened(self, call: Call, inside: list[str]) -> None:
        self._open.pop(call.descriptor, None)
        if not inside or "O_DIRECTORY" in call.flags:
            return
        name = inside[0][len(self.root) + 1 :]
        if name not in self.names and "O_CREAT" in call.flags:
            self._change({name: File()}, set(), name)
        file = self.names.get(name)
        if file is None:
            return
        if "O_TRUNC" in call.flags:
            file.write(Write(0, None))
        self._open[call.descriptor] = (file, len(file.data) if "O_APPEND" in call.flags else 0)

    def _do(self, call: Call, names: list[str]) -> None:
        name = names[0]
        if call.name.startswith("rename"):
            self._rename(name, names[1])
        elif call.name.startswith("link"):
            self._change({names[1]: self.names[name]}, set(), names[1])
        elif call.name.startswith(("unlink", "rmdir")):
            self._change({}, {name}, name)
        elif call.name.startswith("mkdir"):
            self._change({name: None}, set(), name)
        elif call.name in ("fsync", "fdatasync"):
            self._flush(name, call.descriptor)
        elif call.name in DATA and call.descriptor in self._open:
            self._write(call)

    def _change(self, new: Names, gone: set[str], *touched: str) -> None:
        change = Change(new, gone - new.keys(), frozenset(map(os.path.dirname, touched)))
        change.apply(self.names)
        self.pending.append(change)

    def _rename(self, old: str, new: str) -> None:
        moved = [name for name in self.names if name == old or name.startswith(f"{old}/")]
        self._change({new + name[len(old) :]: self.names[name] for name in moved}, {*moved}, old, new)

    def _flush(self, name: str, descriptor: int) -> None:
        if descriptor in self._open:
            self._open[descriptor][0].flush()
            return
        folder = "" if name == "." else name
        for change in [change for change in self.pending if folder in change.folders]:
            for earlier in self.pending[: self.pending.index(change)]:
                # What comes later holds, and it is durable now: what an earlier change made of the name is history.
                for touched in {*change.new, *change.gone}:
                    earlier.new.pop(touched, None)
                    earlier.gone.discard(touched)
            change.apply(self.durable)
        self.pending = [
            change for change in self.pending if folder not in change.folders and (change.new or change.gone)
        ]

    def _write(self, call: Call) -> None:
        file, offset = self._open[call.descriptor]
        if call.name == "ftruncate":
            file.write(Write(call.numbers[-1], None))
        elif call.name in ("write", "writev", "pwrite64"):
            file.write(Write(call.numbers[-1] if call.name == "pwrite64" else offset, call.data))
            if call.name != "pwrite64":
                self._open[call.descriptor] = (file, offset + len(call.data))
        elif call.name == "fallocate":
            if "KEEP_SIZE" not in call.flags:
                file.write(Write(max(len(file.data), sum(call.numbers[-2:])), None))
        else:
            raise NotImplementedError(call.name)

    def states(self) -> Iterator[tuple[str, Files]]:
        """Yield what the power may leave if it fails now, each with what became of names and data.

        Of the changes of names that are not durable, any part may be there: all parts are tried of up to five, else
        none, all, the first ones, each alone, all but each, and some by chance. Of the files that are not flushed, all
        may meet the same fate, or one its own.
        """
        for survivors in self._survivors():
            names = dict(self.durable)
            for number in survivors:
                self.pending[number].apply(names)
            title = f"{len(survivors)} of {len(self.pending)} changes of names {survivors}"
            named = {name: file for name, file in names.items() if file is not None and _has_folders(name, names)}
            for fates in _fates([name for name, file in named.items() if file.is_dirty]):
                files = {name: file.content(fates.get(name, "kept")) for name, file in named.items()}
                yield f"{title}, {_told(fates)}", files

    def _survivors(self) -> list[tuple[int, ...]]:
        count = len(self.pending)
        every = range(count)
        if count <= _ALL_SUBSETS:
            return [kept for size in range(count + 1) for kept in itertools.combinations(every, size)]
        chance = random.Random(count)
        kept = [tuple(every[:size]) for size in range(count + 1)]
        kept += [(one,) for one in every]
        kept += [tuple(other for other in every if other != one) for one in every]
        kept += [tuple(one for one in every if chance.random() < 0.5) for _ in range(_CHANCES)]
        return list(dict.fromkeys(kept))

    def undurable(self) -> list[str]:
        """Return the names of files that a power cut could take or damage now."""
        touched = {name for change in self.pending for name in change.new}
        files = {name: file for name, file in self.names.items() if file is not None}
        return [name for name, file in files.items() if file.is_dirty or not touched.isdisjoint(_ways(name))]


def _fates(dirty: list[str]) -> Iterator[Mapping[str, str]]:
    """Yield what becomes of files that are not flushed; those that are not named are kept."""
    for fate in FATES if dirty else ("kept",):
        yield dict.fromkeys(dirty, fate)
    if 1 < len(dirty) <= _FEW:
        for one in dirty:
            for fate in FATES[1:]:
                yield {one: fate}
            yield dict.fromkeys([name for name in dirty if name != one], "lost")


def _told(fates: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {fate}" for name, fate in fates.items()) or "all data kept"


def _has_folders(name: str, names: Names) -> bool:
    return all(way in names for way in _ways(name))


def _ways(name: str) -> list[str]:
    """Return a name and those of the folders it is in."""
    path = PurePosixPath(name)
    return [name, *map(str, list(path.parents)[:-1])]


def write_files(files: Files, root: Path) -> None:
    """Make a folder that has these files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.data)
