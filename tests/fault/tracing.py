"""What a command asks of the system, call by call, by strace; and the same with a call that fails or kills it.

Source: strace(1), "Tampering".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.fault.launch import KILLING, MARK
from tests.fault.starting import Fresh, Watched
from tests.support.process import PROJECT

NAMES = (
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir"),
)
DATA = ("write", "writev", "pwrite64", "pwritev", "ftruncate", "fallocate", "copy_file_range", "sendfile")
SYNCS = ("fsync", "fdatasync")
ATTRIBUTES = ("chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "utimensat")
MUTATING = ("openat", *NAMES, *DATA, *SYNCS, *ATTRIBUTES)
"""What changes a file system, and what makes it durable. An `openat` counts if it may create or empty a file."""
OPENING = ("openat", "socket", "pipe2", "dup", "memfd_create")
"""What takes a descriptor."""
HARMLESS = frozenset(
    {
        *("access", "faccessat", "faccessat2", "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs"),
        *("readlink", "readlinkat", "getcwd", "chdir", "fchdir", "execve", "execveat", "getdents64", "lseek"),
        *("read", "readv", "pread64", "preadv", "fadvise64", "readahead", "mmap", "close", "dup", "dup2", "dup3"),
        *("fcntl", "flock", "ioctl", "poll", "ppoll", "select", "pselect6", "pipe", "pipe2", "socket", "socketpair"),
        *("connect", "bind", "listen", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "getsockname"),
        *("getpeername", "setsockopt", "getsockopt", "shutdown", "epoll_create1", "epoll_ctl", "epoll_wait"),
        *("epoll_pwait", "eventfd2", "memfd_create", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "close_range"),
        *("open", "umask", "accept4", "inotify_init1", "sync_file_range", "pidfd_open", "pidfd_send_signal"),
    }
)
"""Calls about files and descriptors that change nothing that is kept. An `open` is no `openat`: glibc makes none."""
_FOLLOWED = (*MUTATING, *OPENING, "open", "creat", "lseek", "execve", "flock", "fcntl")
_LINE = re.compile(r"(?P<call>\w+)\((?P<arguments>.*?)\) += (?P<result>.*)", re.DOTALL)
_ENTRY = re.compile(r"(\w+)\(")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_ON = re.compile(r"(?P<number>\d+|AT_FDCWD)<(?P<path>(?:\\x[0-9a-f]{2})*)>")
_MARK = re.compile(r"ftruncate\((-\d+), 0\)")
_MADE_UP = re.compile(r"[0-9a-f]*\d[0-9a-f-]{4,}|tmp\w{8}|(?<=/owner\.)\w{8}|pipe:.*")
_CODE = (sys.prefix, sys.base_prefix, str(PROJECT), "/usr/lib", "/lib", "/etc/ld.so")
_CHANGING = re.compile(r"O_CREAT|O_TRUNC")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call.

    Attributes:
        name: Such as `renameat`.
        paths: The files or folders it is about: of descriptors, where they were then.
        data: What was written.
        numbers: Arguments that are numbers, in order.
        descriptor: The one it is about, or the new one.
        flags: As strace writes them.
        thread: Which one made it; 0 is the first.
        nth: Which call of this name of the thread it was, from 1.
        ended: How: empty if it succeeded, else the error's name, or `?` if it never returned.
        injected: Whether it failed because it was made to.
    """

    name: str
    paths: tuple[str, ...]
    data: bytes
    numbers: tuple[int, ...]
    descriptor: int
    flags: str
    thread: int = 0
    nth: int = 0
    ended: str = ""
    injected: bool = False

    def changes(self, world: Path) -> bool:
        """Tell whether this changes or flushes something in a folder, or tells the caller that all is done."""
        if self.name not in MUTATING or (self.name == "openat" and not _CHANGING.search(self.flags)):
            return False
        return self.is_in(world) or self.tells()

    def is_in(self, world: Path) -> bool:
        """Tell whether it is about something in a folder."""
        return any(path.startswith(f"{world}/") for path in self.paths)

    def is_code(self) -> bool:
        """Tell whether it opens what is imported, or a folder to look for that."""
        return self.name == "openat" and self.paths[0].startswith(_CODE)

    def asked_for(self) -> str:
        """Return the path that an `openat` was given, where links in it are not followed."""
        (text, *_) = _TEXT.findall(self.flags)
        on = _ON.search(self.flags)
        return str(Path(_path(on["path"]) if on else "", _path(text)))

    def tells(self) -> bool:
        """Tell whether it writes to standard output, and is not of a process that the command has started."""
        return self.name == "write" and self.descriptor == 1 and self.thread >= 0

    def kind(self, world: Path) -> tuple[str, ...]:
        """Return what is the same for this call in another run: made-up names and numbers are left out."""
        places = (path.removeprefix(str(world)) for path in self.paths)
        return (self.name, *(_MADE_UP.sub("#", place) for place in places))


def missing_tools() -> str | None:
    """Return why nothing can be traced here, None if it can."""
    if not sys.platform.startswith("linux"):
        return "the fault harness needs Linux"
    if shutil.which("strace") is None:
        return "THE FAULT HARNESS DID NOT RUN: install strace"
    tried = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False, capture_output=True)
    return f"THE FAULT HARNESS DID NOT RUN: strace may not trace here: {tried.stderr!r}" if tried.returncode else None


def record(watched: Watched, argv: Sequence[str], folder: Path, trace: Path) -> list[Call]:
    """Run a command to its end, and return all calls that change or flush something, also those that failed.

    Raises:
        AssertionError: The command failed.
    """
    options = ["-qq", "-y", "-xx", "-s", "100000000", "-o", str(trace), "-e", f"trace={','.join(_FOLLOWED)}"]
    done = watched.run(argv, folder, options)
    assert done.returncode == 0, done.stderr
    return parse(trace.read_text())


def names_made(argv: Sequence[str], folder: Path, trace: Path) -> set[str]:
    """Run a command to its end, and return the names of all calls it makes that are about files or descriptors."""
    Fresh().run(argv, folder, ["-qq", "-s", "0", "-o", str(trace), "-e", "trace=%file,%desc,%network"])
    return set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))


def parse(trace: str, padding: int = 0) -> list[Call]:
    """Return the calls of the first process, in the order in which they returned.

    Processes that it starts have files of their own, which are none of this.

    Args:
        trace: What strace wrote.
        padding: How many calls the first thread made only to be counted; see `tests.fault.launch`.
    """
    lines = [line.split(maxsplit=1) for line in trace.splitlines()]
    others = {pid for pid, rest in lines if rest.startswith("execve(")} - {lines[0][0]} if lines else set()
    reader = _Reader({lines[0][0]: 0} if lines else {}, padding)
    for pid, rest in lines:
        if pid not in others and not rest.startswith(("execve(", "---", "+++", "???")):
            reader.read(pid, rest)
    return reader.all_calls()


class _Reader:
    """Puts calls together that returned after others had been made."""

    def __init__(self, threads: dict[str, int], padding: int) -> None:
        self._threads = threads
        self._padding = padding
        self._counted: Counter[tuple[str, str]] = Counter()
        self._begun: dict[str, tuple[str, int]] = {}
        self._calls: list[Call] = []

    def read(self, pid: str, rest: str) -> None:
        resumed = re.match(r" *<\.\.\. \w+ resumed>", rest)
        if resumed is None:
            entry = _ENTRY.match(rest)
            assert entry is not None, rest
            self._counted[pid, entry[1]] += 1
            self._begun[pid] = ("", self._counted[pid, entry[1]])
        start, nth = self._begun.pop(pid)
        text = start + (rest[resumed.end() :] if resumed else rest)
        if text.endswith("<unfinished ...>"):
            self._begun[pid] = (text.removesuffix("<unfinished ...>").removesuffix(") = ? ").rstrip(), nth)
        else:
            self._ended(pid, text, nth)

    def all_calls(self) -> list[Call]:
        """Return the calls that ended, then those that never did, since the process was killed."""
        for pid, (text, nth) in self._begun.items():
            self._ended(pid, f"{text}) = ?", nth)
        return self._calls

    def _ended(self, pid: str, text: str, nth: int) -> None:
        if (mark := _MARK.match(text)) and int(mark[1]) < MARK:
            self._threads[pid] = MARK - int(mark[1])
            return
        match = _LINE.match(text)
        if match is None:
            return
        thread = self._threads.get(pid, -1)
        failed = re.match(r"-1 (\w+)|\?", match["result"])
        ended = "" if failed is None else failed[1] or "?"
        own = self._own(match["call"], thread, nth)
        if own > 0:
            call = _call(match["call"], match["arguments"], match["result"], ended)
            injected = "INJECTED" in match["result"]
            self._calls.append(replace(call, thread=thread, nth=own, ended=ended, injected=injected))

    def _own(self, name: str, thread: int, nth: int) -> int:
        """Return which call of its own this is for a thread; 0 or less for those that pad its count."""
        nth -= name == "ftruncate" and thread > 0
        padding = self._padding * (thread + 1)
        return nth - padding if nth > padding else 0


def _call(name: str, arguments: str, result: str, ended: str) -> Call:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    on = [(number, _path(path)) for number, path in _ON.findall(arguments)]
    plain = _ON.sub("", _TEXT.sub("", arguments))
    numbers = tuple(int(number) for number in re.findall(r"(?<![\w.])\d+(?![\w.])", plain))
    descriptor = int(on[0][0]) if on and on[0][0] != "AT_FDCWD" else -1
    if name in ("openat", "open", "creat"):
        opened = _ON.match(result)
        if opened is None:
            # As strace writes the path of one that is open, but for links.
            paths = tuple(os.path.normpath(Path(on[0][1] if on else "", text.decode())) for text in texts[:1])
            return Call(name, paths, b"", (), -1, arguments)
        return Call(name, (_path(opened["path"]),), b"", (), int(opened["number"]), arguments)
    if name in NAMES or (name in ATTRIBUTES and texts):
        folders = [path for _, path in on] or [""]
        names = [text.decode() for text in texts]
        folders += folders[-1:] * (len(names) - len(folders))
        paths = tuple(str(Path(folder, given)) for folder, given in zip(folders, names, strict=False))
        return Call(name, paths, b"", numbers, -1, arguments)
    paths = tuple(path for _, path in on if name != "pipe2")  # which has none where it fails
    if name == "lseek" and not ended:
        numbers = (int(result),)
    if name in ("write", "writev", "pwrite64", "pwritev") and not ended:
        return Call(name, paths, b"".join(texts)[: int(result.split(maxsplit=1)[0])], numbers, descriptor, arguments)
    return Call(name, paths, b"".join(texts), numbers, descriptor, arguments)


def _path(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode().removesuffix(" (deleted)")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended that was interfered with.

    Attributes:
        code: Its exit code; negative for a signal.
        out: What it said on stdout.
        err: What it said on stderr.
        hit: The call that was made to fail or to kill it; None if it made none such.
        calls: All that were followed.
    """

    code: int
    out: str
    err: str
    hit: Call | None
    calls: list[Call]


KILL = f"signal={KILLING.name}"
"""The process ends as by SIGKILL, when the call has been made."""


def interfere(
    watched: Watched,
    argv: Sequence[str],
    folder: Path,
    trace: Path,
    target: Call,
    fault: str,
    padding: int,
    follow: Iterable[str] = (),
) -> Ended:
    """Run a command of which one system call fails or kills it.

    Args:
        watched: Starts it.
        argv: The command line.
        folder: Where.
        trace: A file for strace.
        target: The call, as it was recorded: its name, thread and number count.
        fault: `KILL`, `error=EIO` and the like.
        padding: More calls of that name than any thread or child process makes; see `tests.fault.launch`.
        follow: Names of other calls to write down.
    """
    names = {"execve", "ftruncate", target.name, *follow}
    nth = padding * (target.thread + 1) + target.nth + (target.name == "ftruncate" and target.thread > 0)
    options = ["-qq", "-y", "-xx", "-s", "0", "-o", str(trace), "-e", f"trace={','.join(names)}"]
    options += ["-e", f"inject={target.name}:{fault}:when={nth}"]
    done = watched.run(argv, folder, options, target.name, padding)
    calls = parse(trace.read_text(), padding)
    killed = done.returncode < 0 and fault == KILL
    wanted = (target.name, target.thread, target.nth)
    hits = [call for call in calls if (call.name, call.thread, call.nth) == wanted and (call.injected or killed)]
    return Ended(done.returncode, done.stdout, done.stderr, hits[0] if hits else None, calls)


def refuse(watched: Watched, argv: Sequence[str], folder: Path, trace: Path, place: str, error: str) -> Ended:
    """Run a command that may not open one place when it first wants to; others it may, whatever their number.

    Args:
        watched: Starts it.
        argv: The command line.
        folder: Where.
        trace: A file for strace.
        place: The path, as it was asked for.
        error: Such as `EMFILE`.
    """
    options = ["-qq", "-y", "-xx", "-o", str(trace), "-P", place, "-e", "trace=openat"]
    done = watched.run(argv, folder, [*options, "-e", f"inject=openat:error={error}:when=1"])
    calls = parse(trace.read_text())
    return Ended(
        done.returncode, done.stdout, done.stderr, next((call for call in calls if call.injected), None), calls
    )
