"""A command of the person's that runs below mlver: what it writes passes through unchanged, and its end is remembered.

Where a stream of mlver's is a terminal, the command gets a terminal too, so that progress bars and colours stay. What
comes from the keyboard goes to the command by itself, as it has mlver's standard input and its place in the terminal.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import selectors
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from mlver.errors import MlverError

TAIL_BYTES = 64 << 10
"""What is remembered of what a command writes."""
_KEPT_BYTES = 4 * TAIL_BYTES
_READ_BYTES = 64 << 10
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)
_SILENT_SECONDS, _LATE_SECONDS = 0.2, 5.0
"""How long processes that the command left behind are listened to: while they write, and at most."""
_SIGN_SECONDS = 5.0
"""How often whoever waits hears that the command goes on."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_OPOST_PLACE = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        exit_code: Its own, or 128 and the signal's number.
        killed: A signal ended it: one that it did not catch, or one that was passed on and that its exit code names.
        tail: The end of what it wrote, without colours and what a progress bar wrote over.
    """

    exit_code: int
    killed: bool
    tail: str


class Signals:
    """While it is entered, signals to mlver are for the command: passed on, or left to the terminal that sent them."""

    def __init__(self) -> None:
        self._child: int | None = None
        self._window: Callable[[], None] | None = None
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self.passed_on: set[int] = set()

    def __enter__(self) -> Self:
        for number in (*_FORWARDED, *_FROM_KEYBOARD, signal.SIGWINCH):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, for one, has it ignored
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def send_to(self, child: int | None, window: Callable[[], None] | None) -> None:
        """Pass signals on to a process from here on, and call `window` when the terminal's size changes."""
        self._child, self._window = child, window

    def _take(self, number: int, _frame: object) -> None:
        if number == signal.SIGWINCH:
            if self._window is not None:
                self._window()
            return
        self.passed_on.add(number)
        if self._child is None or (number in _FROM_KEYBOARD and _is_in_foreground()):
            return
        with suppress(ProcessLookupError):
            os.kill(self._child, number)


def _is_in_foreground() -> bool:
    """Tell whether the terminal sends what is typed, such as ^C, to the command too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@dataclass(slots=True)
class _Channel:
    """What the command writes to, where that is read, and where it goes.

    Attributes:
        command_end: Descriptor that the command writes to.
        our_end: Descriptor that mlver reads.
        target: Descriptor that it is written to.
    """

    command_end: int
    our_end: int
    target: int


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    signals: Signals,
    targets: tuple[int, int],
    goes_on: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        environment: Its environment.
        signals: What is entered meanwhile.
        targets: Descriptors that its standard output and standard error go to.
        goes_on: Called every few seconds while it does.

    Raises:
        MlverError: It cannot be run.
    """
    with ExitStack() as stack:
        out = _channel(stack, targets[0])
        err = out if targets[0] == targets[1] or _are_one_terminal(targets) else _channel(stack, targets[1])
        channels = [out] if err is out else [out, err]
        try:
            child = _spawn(command, environment, out, err)
        finally:
            for channel in channels:
                os.close(channel.command_end)
        signals.send_to(child, lambda: _copy_window(channels))
        tail = _Tail()
        try:
            _pass_through(child, channels, tail, goes_on)
        finally:
            signals.send_to(None, None)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    exit_code = code if code >= 0 else 128 - code
    return Ended(exit_code, code < 0 or exit_code - 128 in signals.passed_on, tail.text())


def _spawn(command: Sequence[str], environment: Mapping[str, str], out: _Channel, err: _Channel) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, out.command_end, 1), (os.POSIX_SPAWN_DUP2, err.command_end, 2)]
    usual = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores them, and a command would inherit that
    try:
        return os.posix_spawnp(command[0], list(command), environment, file_actions=actions, setsigdef=usual)
    except OSError as error:
        raise MlverError(f"{command[0]!r} cannot be run: {os.strerror(error.errno or 0)}.") from error


def _channel(stack: ExitStack, target: int) -> _Channel:
    """Return a pipe, or a terminal if what it leads to is one."""
    if not os.isatty(target):
        our_end, command_end = os.pipe()
    else:
        our_end, command_end = os.openpty()
        attributes = termios.tcgetattr(command_end)
        attributes[_OPOST_PLACE] &= ~termios.OPOST  # the person's terminal does that
        termios.tcsetattr(command_end, termios.TCSANOW, attributes)
        os.set_inheritable(our_end, False)
    channel = _Channel(_beyond_streams(command_end), _beyond_streams(our_end), target)
    _copy_window([channel])
    stack.callback(_close, channel.our_end)
    return channel


def _beyond_streams(descriptor: int) -> int:
    """Return a descriptor that is none of the standard streams, one of which may be closed."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def _close(descriptor: int) -> None:
    with suppress(OSError):  # closed when nobody read it any more
        os.close(descriptor)


def _are_one_terminal(targets: tuple[int, int]) -> bool:
    return all(map(os.isatty, targets)) and os.path.samestat(*map(os.fstat, targets))


def _copy_window(channels: Sequence[_Channel]) -> None:
    """Give the command's terminals the size of the person's."""
    for channel in channels:
        if os.isatty(channel.target):
            with suppress(OSError):
                size = fcntl.ioctl(channel.target, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(channel.our_end, termios.TIOCSWINSZ, size)


def _pass_through(child: int, channels: Sequence[_Channel], tail: _Tail, goes_on: Callable[[], None]) -> None:
    """Pass on what a command writes until it has ended, and whatever it left behind is silent."""
    with selectors.DefaultSelector() as selector, _End(child) as end:
        selector.register(end.sign, selectors.EVENT_READ, None)
        for channel in channels:
            selector.register(channel.our_end, selectors.EVENT_READ, channel)
        open_channels = len(channels)
        deadline: float | None = None
        sign_due = time.monotonic() + _SIGN_SECONDS
        while open_channels or deadline is None:
            ready = selector.select(_SIGN_SECONDS if deadline is None else _SILENT_SECONDS)
            if time.monotonic() >= sign_due:
                goes_on()
                sign_due = time.monotonic() + _SIGN_SECONDS
            if deadline is not None and (not ready or time.monotonic() > deadline):
                return
            for key, _ in ready:
                if key.data is None:
                    selector.unregister(end.sign)
                    deadline = time.monotonic() + _LATE_SECONDS
                elif not _pass_on(key.data, tail):
                    selector.unregister(key.data.our_end)
                    os.close(key.data.our_end)
                    open_channels -= 1


class _End:
    """Makes a descriptor readable once a process has ended, which stays unreaped: its number is not used again."""

    def __init__(self, child: int) -> None:
        self.sign, self._pen = os.pipe()
        self._thread = threading.Thread(target=self._wait, args=(child,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self._thread.join()
            os.close(self._pen)
            os.close(self.sign)

    def _wait(self, child: int) -> None:
        _await_end(child)
        os.write(self._pen, b"\0")


if sys.platform == "darwin":  # where Python has no waitid before 3.13

    def _await_end(child: int) -> None:
        """Wait until a process has ended, and leave it unreaped."""
        queue = select.kqueue()
        wanted = select.kevent(
            child, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
        )
        with suppress(ProcessLookupError):  # it has ended already
            queue.control([wanted], 1, None)
        queue.close()
else:

    def _await_end(child: int) -> None:
        """Wait until a process has ended, and leave it unreaped."""
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def _pass_on(channel: _Channel, tail: _Tail) -> bool:
    """Pass on what is there to read; False if nothing more will come, or nobody wants it."""
    try:
        data = os.read(channel.our_end, _READ_BYTES)
    except OSError as error:
        if error.errno != errno.EIO:  # how a terminal says that its last user is gone
            raise
        return False
    if not data:
        return False
    tail.append(data)
    try:
        _write_all(channel.target, data)
    except BrokenPipeError:
        return False  # the command will be told so too
    return True


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:  # whoever shares it wants it so
            time.sleep(0.01)


class _Tail:
    """The end of what a command wrote."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def append(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > 2 * _KEPT_BYTES:
            self._pieces = [_settled(b"".join(self._pieces))[-_KEPT_BYTES:]]
            self._size = len(self._pieces[0])

    def text(self) -> str:
        data = b"".join(self._pieces)
        text = (_settled(data + b"\n")[:-1] if data else data).decode("utf-8", "backslashreplace")
        text = _ESCAPES.sub("", text)
        if len(text) <= TAIL_BYTES:
            return text
        return text[-TAIL_BYTES:].partition("\n")[2] or text[-TAIL_BYTES:]


def _settled(data: bytes) -> bytes:
    """Return what is left of lines that were written over, as progress bars do; the last line is not over yet."""
    if b"\r" not in data:
        return data
    *lines, last = data.split(b"\n")
    return b"\n".join([*(line.rstrip(b"\r").rpartition(b"\r")[2] for line in lines), last])
