"""The circumstances of a run, put together: what is stored as its record.

Everything is asked at once, since git, the interpreter and the graphics driver each take their time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Generic, TypeVar

from mlver.lineage.capture.environment import recorded_environment
from mlver.lineage.capture.git import CapturedCode, capture_code
from mlver.lineage.capture.host import hardware, host, user
from mlver.lineage.capture.python import CapturedPython, capture_python, this_python
from mlver.lineage.capture.secrets import masked_arguments, secret_values

RECORD_FORMAT = 1
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Captured:
    """What is known of a run before it begins.

    Attributes:
        record: The document to store; docs/format.md has its fields.
        patch: What was changed in the code since its commit; None if nothing was.
        notes: What could not be recorded, and what a person should know.
    """

    record: dict[str, Any]
    patch: bytes | None
    notes: tuple[str, ...]


def capture(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, own: bool = False) -> Captured:
    """Return the circumstances of a command that is about to run.

    Args:
        command: The program and its arguments.
        folder: Where it runs, absolute.
        environment: Its environment.
        own: It is this very process.
    """
    code = _Asked(lambda: capture_code(folder, environment))
    machine = _Asked(lambda: hardware(environment))
    python = _Asked(lambda: this_python() if own else capture_python(command, environment, folder))
    return _put_together(command, folder, environment, code.answer(), python.answer(), machine.answer())


def _put_together(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    code: CapturedCode,
    python: CapturedPython,
    machine: dict[str, Any],
) -> Captured:
    record = {
        "mlver_run_record": RECORD_FORMAT,
        "command": masked_arguments(_texts(command), secret_values(environment)),
        "folder": str(folder),
        "host": host(),
        "user": user(),
        "python": python.document,
        "packages": python.packages,
        "environment": recorded_environment(environment),
        "hardware": machine,
        "code": code.document,
        "notes": list(code.notes),
    }
    return Captured(_writable(record), code.patch, code.notes)


def _texts(words: Sequence[str]) -> list[str]:
    return [_writable(word) for word in words]


def _writable(value: Any) -> Any:
    """Return a value whose texts are valid Unicode: paths and arguments may be in another encoding."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_writable(item) for item in value]
    if isinstance(value, dict):
        return {_writable(key): _writable(item) for key, item in value.items()}
    return value


class _Asked(Generic[_T]):
    """An answer that is being worked out meanwhile."""

    def __init__(self, question: Callable[[], _T]) -> None:
        self._question = question
        self._answers: list[_T] = []
        self._problems: list[BaseException] = []
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def answer(self) -> _T:
        """Wait for the answer."""
        self._thread.join()
        if self._problems:
            raise self._problems[0]
        return self._answers[0]

    def _work(self) -> None:
        try:
            self._answers.append(self._question())
        except BaseException as problem:  # noqa: BLE001 - it is raised where the answer is wanted
            self._problems.append(problem)
