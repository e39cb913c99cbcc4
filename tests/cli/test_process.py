from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.process import COMMAND, environment, run_mlver


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["inti"], 2, "Error: mlver has no command 'inti'.", "Hint: Did you mean 'init'?"),
        (["zzzzz"], 2, "Error: mlver has no command 'zzzzz'.", "Hint: See: mlver --help"),
        (["init", "--jsno"], 2, "Error: No such option '--jsno'.", "Hint: Did you mean '--json'?"),
        (["init", "a", "b"], 2, "Error: Got unexpected extra argument (b).", "Hint: See: mlver init --help"),
        (["init", "-q", "--json"], 2, None, None),
        (["-C", "absent", "init"], 2, None, "Hint: See: mlver --help"),
        (["init", "file"], 1, None, None),
    ],
)
def test_errors_name_the_culprit(
    tmp_path: Path, arguments: list[str], code: int, message: str | None, hint: str | None
) -> None:
    (tmp_path / "file").write_text("x")
    done = run_mlver(*arguments, folder=tmp_path)
    lines = done.err.splitlines()
    assert (done.code, done.out) == (code, "")
    if "--json" in arguments:
        assert json.loads(done.err)["error"]["kind"] == "usage"
        return
    assert lines[0].startswith("Error: ")
    assert message in (None, lines[0])
    assert hint in (None, lines[-1])
    assert "Traceback" not in done.err


def test_error_is_one_line_of_json_on_stderr_with_json(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = run_mlver("init", "file", "--json", folder=tmp_path)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    error = json.loads(done.err)["error"]
    assert error.keys() == {"kind", "message", "hint", "exit_code"}
    assert error["exit_code"] == done.code


def test_usage_error_is_json_too(tmp_path: Path) -> None:
    done = run_mlver("--json", "inti", folder=tmp_path)
    assert done.code == 2
    assert json.loads(done.err)["error"]["hint"] == "Did you mean 'init'?"


def test_json_after_two_dashes_is_no_option(tmp_path: Path) -> None:
    (tmp_path / "--json").write_text("x")
    assert run_mlver("init", "--", "--json", folder=tmp_path).err.startswith("Error: ")


def test_hostile_argument_is_shown_escaped(tmp_path: Path) -> None:
    done = run_mlver("\x1b[31m\u202eevil\nHint: rm -rf /", folder=tmp_path)
    assert done.err.count("\n") == 2
    assert done.err.isascii()
    assert "\x1b" not in done.err
    assert "\\x1b" in done.err


def test_argument_that_is_no_utf8_does_not_break_the_message(tmp_path: Path) -> None:
    done = run_mlver(os.fsdecode(b"caf\xe9"), folder=tmp_path)
    assert done.code == 2
    assert "caf" in done.err


def test_no_arguments_show_help_as_an_error(tmp_path: Path) -> None:
    done = run_mlver(folder=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: mlver")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_data(tmp_path: Path, option: str) -> None:
    done = run_mlver("init", option, folder=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "The folder; it is made if need be." in done.out
    assert "mlver init models" in done.out


def test_version(tmp_path: Path) -> None:
    from mlver import __version__

    assert run_mlver("--version", folder=tmp_path).out == f"mlver {__version__}\n"
    assert json.loads(run_mlver("--json", "--version", folder=tmp_path).out) == {"version": __version__}


@pytest.mark.parametrize("arguments", [["-q", "init"], ["init", "-q"], ["-q", "init", "-q"]])
def test_quiet_before_and_after_the_command(tmp_path: Path, arguments: list[str]) -> None:
    done = run_mlver(*arguments, folder=tmp_path)
    assert (done.code, done.out, done.err) == (0, f"{tmp_path}/.mlver\n", "")


@pytest.mark.parametrize("arguments", [["--json", "init"], ["init", "--json"]])
def test_json_before_and_after_the_command(tmp_path: Path, arguments: list[str]) -> None:
    done = run_mlver(*arguments, folder=tmp_path)
    assert json.loads(done.out) == {"path": f"{tmp_path}/.mlver", "created": True}
    assert done.err == ""


def test_init_twice_changes_nothing(tmp_path: Path) -> None:
    first = run_mlver("init", "models", folder=tmp_path)
    assert first.out == f"Made a repository: {tmp_path}/models/.mlver\n"
    assert first.err.startswith("Hint: ")
    second = run_mlver("init", "models", "--json", folder=tmp_path)
    assert json.loads(second.out)["created"] is False


@pytest.mark.parametrize("arguments", [["-C", "inner", "init", "deeper"], ["init", "-C", "inner", "deeper"]])
def test_directory_option_comes_first(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "inner").mkdir()
    assert run_mlver(*arguments, folder=tmp_path).code == 0
    assert (tmp_path / "inner/deeper/.mlver").is_dir()


def test_broken_pipe_is_quiet(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_mlver("--help", folder=tmp_path, stdout=writer)
    os.close(writer)
    assert (done.code, done.err) == (141, "")


@pytest.mark.parametrize("arguments", [["--help"], ["init", "-q"]])
def test_full_disk_behind_stdout_is_an_error(tmp_path: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_mlver(*arguments, folder=tmp_path, stdout=full)
    assert (done.code, done.err) == (1, "Error: No space left on device.\n")


def test_closed_stdout_is_no_error(tmp_path: Path) -> None:
    shell = ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "init"]
    done = subprocess.run(shell, cwd=tmp_path, env=environment(), capture_output=True, check=False, timeout=60)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)


def test_ascii_terminal_gets_escapes_instead_of_an_error(tmp_path: Path) -> None:
    variables = {"PYTHONIOENCODING": "ascii"}
    done = run_mlver("init", "modèle", "-q", folder=tmp_path, variables=variables)
    assert (done.code, done.out) == (0, f"{tmp_path}/mod\\xe8le/.mlver\n")


@pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="watches the process through Linux's /proc")
def test_interrupt_ends_with_130_and_no_traceback(tmp_path: Path) -> None:
    """The process is interrupted while it waits for a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
    process = subprocess.Popen(
        [*COMMAND, "--help"], cwd=tmp_path, env=environment(), stdout=writer, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not _writes_to_stdout(process.pid):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    os.close(reader)
    os.close(writer)
    assert (process.returncode, err) == (130, b"")


def _writes_to_stdout(process_id: int) -> bool:
    words = Path(f"/proc/{process_id}/syscall").read_text().split()
    return len(words) > 2 and words[1] == "0x1" and words[2] != "0x0"
