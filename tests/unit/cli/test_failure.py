from __future__ import annotations

import io
import json

import click
import pytest

from mlver.cli.failure import Failure, describe, show
from mlver.errors import ConflictError, IntegrityError, MlverError, NotARepositoryError, NotFoundError, RemoteError
from mlver.errors import UsageError as MlverUsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MlverError("m"), 1),
        (NotFoundError("m"), 1),
        (MlverUsageError("m"), 2),
        (NotARepositoryError("m"), 10),
        (IntegrityError("m"), 12),
        (RemoteError("m"), 13),
        (ConflictError("m"), 14),
    ],
)
def test_every_error_has_its_code(error: MlverError, code: int) -> None:
    error.hint = "h"
    assert describe(error) == Failure(error.kind, "m", "h", code)


def test_system_error_names_the_file() -> None:
    failure = describe(PermissionError(13, "Permission denied", "/a/b"))
    assert failure == Failure("error", "Permission denied: '/a/b'.", None, 1)


def _raised(source: str, name: str) -> Exception:
    """Return what the body of a module of this name raises."""
    try:
        exec(compile(source, f"{name}.py", "exec"), {"__name__": name})
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError(source)


def test_a_library_that_cannot_be_loaded_is_no_bug() -> None:
    text = "/usr/lib/x.so: cannot open shared object file: Too many open files"
    limit = "Too many files are open at once; raise the limit with 'ulimit -n'."
    expected = Failure("error", f"Cannot load a library that mlver needs: {text}.", limit, 1)
    assert describe(ImportError(text, name="x")) == expected
    wrapped = (
        f"try: raise ImportError({text!r})\nexcept ImportError as error: raise ImportError('Read this.') from error"
    )
    assert describe(_raised(wrapped, "numpy")) == expected
    failure = describe(ModuleNotFoundError("No module named 'numpy'", name="numpy"))
    assert failure.message == "Cannot load a library that mlver needs: No module named 'numpy'."
    assert failure.hint is not None
    assert "install mlver again" in failure.hint


def test_what_fails_in_the_body_of_a_library_is_no_bug_and_in_that_of_a_module_of_mlver_is() -> None:
    source = "{}.datetime_CAPI"
    assert describe(_raised(source, "numpy._core")).exit_code == 1
    assert describe(_raised(source, "mlver.codec.planes")).kind == "bug"
    assert describe(_raised("def f(): {}.x\nf()", "numpy")).kind == "bug"
    assert describe(ImportError("cannot import name 'x' from 'mlver.ids'", name="mlver.ids")).kind == "bug"


def test_click_errors_are_usage() -> None:
    assert describe(click.BadParameter("is odd")) == Failure("usage", "Invalid value: is odd.", None, 2)


def _shown(error: Exception, *, as_json: bool) -> tuple[int, str]:
    stderr = io.StringIO()
    return show(error, as_json=as_json, stderr=stderr), stderr.getvalue()


def test_message_and_hint() -> None:
    error = NotFoundError("Alias 'prdo' does not exist.", "Did you mean 'prod'?")
    expected = "Error: Alias 'prdo' does not exist.\nHint: Did you mean 'prod'?\n"
    assert _shown(error, as_json=False) == (1, expected)


def test_json() -> None:
    code, text = _shown(ConflictError("é\x1b"), as_json=True)
    assert code == 14
    assert json.loads(text) == {"error": {"kind": "conflict", "message": "é\x1b", "hint": None, "exit_code": 14}}
    assert text.isascii()
    assert text.isprintable() is False
    assert text.count("\n") == 1
    assert "\x1b" not in text


def test_a_bug_shows_a_traceback_escaped_and_asks_for_a_report() -> None:
    try:
        raise ZeroDivisionError("\x1b[2J")
    except ZeroDivisionError as error:
        code, text = _shown(error, as_json=False)
    assert code == 70
    assert text.startswith("Traceback (most recent call last):\n")
    assert "\x1b" not in text
    assert "Please report it" in text.splitlines()[-1]


def test_nothing_is_chained_away() -> None:
    """An OSError without an errno was not made by the system: it is a bug."""
    assert describe(OSError("odd")).exit_code == 70
