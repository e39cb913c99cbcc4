"""What a command asks of the system, call by call, by strace; and the same with a call that fails or kills it.

Source: strace(1), "Tampering".
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import environment

HAS_STRACE = shutil.which("strace") is not None
NAMES = ("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir")
DATA = ("write", "writev", "pwrite64", "pwritev", "ftruncate", "fallocate", "copy_file_range", "sendfile")
SYNCS = ("fsync", "fdatasync")
MUTATING = ("openat", *NAMES, *DATA, *SYNCS)
"""What changes a file system, and what makes it durable. An `openat` counts if it may create or empty a file."""
_FOLLOWED = (*MUTATING, "open", "creat", "lseek", "execve")
_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_ON = re.compile(r"(?P<number>\d+|AT_FDCWD)<(?P<path>(?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that was made and succeeded.

    Attributes:
        name: Such as `renameat`.
        paths: The files or folders it is about: of descriptors, where they were then.
        data: What was written.
        numbers: Arguments that are numbers, in order.
        descriptor: The one it is about, or the new one.
        flags: As strace writes them.
    """

    name: str
    paths: tuple[str, ...]
    data: bytes
    numbers: tuple[int, ...]
    descriptor: int
    flags: str


def command_line(argv: tuple[str, ...]) -> list[str]:
    """Return how mlver is started here; no bytecode is written, which would only blur the trace."""
    return [sys.executable, "-B", "-m", "mlver", *argv]


def record(argv: tuple[str, ...], folder: Path, trace: Path) -> list[Call]:
    """Run a command to its end, and return what it asked for that changes or flushes something."""
    options = ["-qq", "-f", "-y", "-xx", "-s", "100000000", "-o", str(trace), "-e", f"trace={','.join(_FOLLOWED)}"]
    done = subprocess.run(
        ["strace", *options, *command_line(argv)], cwd=folder, env=environment(), check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return parse(trace.read_text())


def parse(trace: str) -> list[Call]:
    """Return the calls of the first process that succeeded, in the order in which they returned.

    Processes that it starts have files of their own, which are none of this.
    """
    calls: list[Call] = []
    begun: dict[str, str] = {}
    lines = trace.splitlines()
    others = {line.split(maxsplit=1)[0] for line in lines if " execve(" in line} - {lines[0].split(maxsplit=1)[0]}
    for line in lines:
        pid, _, rest = line.partition(" ")
        if pid in others or "execve" in rest[:12]:
            continue
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r" *<\.\.\. \w+ resumed>", rest)
        whole = f"{pid} {begun.pop(pid).strip()}{rest[resumed.end() :]}" if resumed else line
        match = _LINE.match(whole)
        if match and not match["result"].startswith("-1"):
            calls.append(_call(match["call"], match["arguments"], match["result"]))
    return calls


def _call(name: str, arguments: str, result: str) -> Call:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    on = [(number, _path(path)) for number, path in _ON.findall(arguments)]
    plain = _ON.sub("", _TEXT.sub("", arguments))
    numbers = tuple(int(number) for number in re.findall(r"(?<![\w.])\d+(?![\w.])", plain))
    descriptor = int(on[0][0]) if on and on[0][0] != "AT_FDCWD" else -1
    if name in ("openat", "open", "creat"):
        opened = _ON.match(result)
        assert opened is not None, result
        return Call(name, (_path(opened["path"]),), b"", (), int(opened["number"]), arguments)
    if name in NAMES:
        folders = [path for _, path in on] or [""]
        names = [text.decode() for text in texts]
        folders += folders[-1:] * (len(names) - len(folders))
        paths = tuple(str(Path(folder, given)) for folder, given in zip(folders, names, strict=False))
        return Call(name, paths, b"", numbers, -1, arguments)
    paths = tuple(path for _, path in on)
    if name == "lseek":
        numbers = (int(result),)
    return Call(name, paths, b"".join(texts), numbers, descriptor, arguments)


def _path(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode().removesuffix(" (deleted)")


def changes(calls: list[Call], world: Path) -> list[Call]:
    """Return the calls that change or flush something in a folder."""
    return [
        call
        for call in calls
        if call.name in MUTATING
        and any(path.startswith(f"{world}/") for path in call.paths)
        and (call.name != "openat" or "O_CREAT" in call.flags or "O_TRUNC" in call.flags)
    ]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended that was interfered with.

    Attributes:
        code: Its exit code; negative for a signal.
        out: What it said on stdout.
        err: What it said on stderr.
        hit: Whether a call was made to fail, or to kill it.
    """

    code: int
    out: str
    err: str
    hit: bool


def interfere(argv: tuple[str, ...], folder: Path, trace: Path, call: str, nth: int, fault: str) -> Ended:
    """Run a command of which one system call fails or kills it.

    Args:
        argv: The command line.
        folder: Where.
        trace: A file for strace.
        call: Name of the system call.
        nth: Which of its calls, from 1, in each thread.
        fault: `signal=SIGKILL`, or `error=EIO` and the like.
    """
    options = ["-qq", "-f", "-o", str(trace), "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={nth}"]
    done = subprocess.run(
        ["strace", *options, *command_line(argv)],
        cwd=folder,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    text = trace.read_text()
    hit = "INJECTED" in text or "killed by SIGKILL" in text
    return Ended(done.returncode, done.stdout, done.stderr, hit)
