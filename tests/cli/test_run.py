"""`mlver run`: what is recorded of a command, however it ends, and that the command notices nothing of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlver.ops.runs.current import RUN_VARIABLE
from tests.cli.conftest import Person
from tests.support.process import COMMAND, environment, run_in_terminal

PYTHON = sys.executable
MLVER = f'"{PYTHON}" -m mlver'


def shown(person: Person, name: str) -> Any:
    return person.json("show", f"run:{name}")


def begin(person: Person, name: str, script: str) -> subprocess.Popen[bytes]:
    """Start `mlver run` of a Python script that says `go` when it is under way; return once it has.

    A script that waits for the end of its input ends with the test, also when mlver was killed.
    """
    command = [*COMMAND, "run", "--name", name, "--", PYTHON, "-uc", script]
    process = subprocess.Popen(
        command,
        cwd=person.here,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    return process


def test_what_is_recorded(person: Person) -> None:
    (person.here / "train.yaml").write_text("lr: 0.5\nlayers: [1, 2]\n")
    secrets = {"HF_TOKEN": "hf-hunter22", "CUDA_VISIBLE_DEVICES": "0,1", "SHELL_THING": "not listed"}
    said = ("--name", "first", "--job-type", "train", "--config-file", "train.yaml", "--config", "lr=0.25")
    script = "import os; print(os.environ['HF_TOKEN'])"
    command = (PYTHON, "-c", script, "--password", "hunter33", "--url=https://ada:hunter44@x.org")
    done = person.run("run", *said, "--uses", "set", "--", *command, variables=secrets)
    assert (done.code, done.out) == (0, "hf-hunter22\n"), "what it writes is passed on as it is"
    document = shown(person, "first")
    assert (document["status"], document["exit_code"], document["job_type"]) == ("finished", 0, "train")
    assert document["config"] == {"lr": 0.25, "layers": [1, 2]}
    assert [link["artifact"] for link in document["inputs"]] == ["set"]
    record = document["record"]
    assert record["command"] == [PYTHON, "-c", script, "--password", "***", "--url=https://x.org"]
    assert record["folder"] == str(person.here)
    assert record["environment"]["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert not {"HF_TOKEN", "SHELL_THING"} & record["environment"].keys()
    assert record["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert "numpy" in record["packages"]
    assert record["host"]["name"] == os.uname().nodename
    assert record["hardware"]["cores"] >= 1
    assert record["hardware"]["memory_bytes"] > 0
    assert document["output"] == "***\n"
    assert b"hunter" not in b"".join(path.read_bytes() for path in (person.here / ".mlver/runs").rglob("*.json"))
    screen = person.screen("show", "run:first")
    for line in ("Circumstances", "folder    HERE", "Config", "  set:v0", "End of its output"):
        assert line in screen


def test_what_it_does_with_mlver_is_its(person: Person) -> None:
    script = f"{MLVER} pull set -o out && echo new > out/x && {MLVER} add out --name made --type dataset"
    assert person.run("run", "--name", "copy", "--", "sh", "-c", script, variables={}).code == 0
    document = shown(person, "copy")
    assert [f"{link['artifact']}:{link['version']}" for link in document["inputs"]] == ["set:v0"]
    assert [f"{link['artifact']}:{link['version']}" for link in document["outputs"]] == ["made:v0"]
    assert person.json("show", "made")["provenance"]["run"] == document["id"]


def test_what_it_does_with_the_python_api_is_its(person: Person) -> None:
    script = (
        "import mlver; repository = mlver.Repository.open(); repository.pull('set', 'out');"
        "open('out/x', 'w').write('new'); repository.add('out', name='made', type='dataset')"
    )
    assert person.run("run", "--name", "api", "--", PYTHON, "-c", script, variables={}).code == 0
    document = shown(person, "api")
    assert [link["artifact"] for link in document["inputs"]] == ["set"]
    assert [link["artifact"] for link in document["outputs"]] == ["made"]


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [
        ("exit 0", 0, "finished"),
        ("exit 3", 3, "failed"),
        ("kill -9 $$", 137, "killed"),
        ("kill -TERM $$", 143, "killed"),
    ],
)
def test_its_end_is_that_of_mlver(person: Person, script: str, code: int, status: str) -> None:
    done = person.run("run", "--name", "it", "--", "sh", "-c", f"echo said; {script}", variables={})
    assert done.code == code
    document = shown(person, "it")
    assert (document["status"], document["exit_code"], document["output"]) == (status, code, "said\n")


def test_a_signal_to_mlver_is_passed_on(person: Person) -> None:
    script = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('go'); signal.pause()"
    process = begin(person, "told", script)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 7
    assert shown(person, "told")["status"] == "failed", "it ended in its own way"
    process = begin(person, "obeys", "import signal; print('go'); signal.pause()")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    assert shown(person, "obeys")["status"] == "killed"


def test_when_mlver_is_killed_the_next_command_ends_the_run(person: Person) -> None:
    script = "import mlver, sys\nwith mlver.run() as run:\n run.log({'loss': 0.5}); print('go'); sys.stdin.read()"
    process = begin(person, "orphan", script)
    assert shown(person, "orphan")["status"] == "running"
    assert shown(person, "orphan")["courses"] == {"loss": [0.5]}, "what it has logged so far"
    process.kill()
    process.communicate()
    document = shown(person, "orphan")
    assert (document["status"], document["exit_code"]) == ("killed", None)
    assert document["metrics"]["loss"]["last"] == 0.5


def test_keyboard(person: Person) -> None:
    """^C goes to the command, and its end is recorded; what is typed reaches it."""
    script = (
        "import sys, time; print('go', sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty()); time.sleep(1000)"
    )
    import pty

    screen, terminal = pty.openpty()
    command = [*COMMAND, "run", "--name", "typed", "--", PYTHON, "-uc", script]
    # The session's leader makes the terminal its own, as a shell's is.
    lead = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [PYTHON, "-c", lead, *command],
        cwd=person.here,
        env=environment(),
        start_new_session=True,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    text = b""
    while b"go True True True" not in text:
        text += os.read(screen, 1000)
    os.write(screen, b"\x03")
    assert process.wait(timeout=60) == 130
    os.close(screen)
    assert shown(person, "typed")["status"] == "killed"


def test_standard_input_and_both_outputs(person: Person) -> None:
    script = "import sys; data = sys.stdin.read(); print(data[::-1]); print('loud', file=sys.stderr); sys.exit(2)"
    (person.here / "typed").write_text("abc")
    with open(person.here / "typed") as typed:
        done = person.run("run", "--name", "pipe", "--", PYTHON, "-c", script, stdin=typed)
    assert (done.code, done.out) == (2, "cba\n")
    assert "loud\n" in done.err
    assert sorted(shown(person, "pipe")["output"].split()) == ["cba", "loud"]


def test_scripts_get_the_document_and_nothing_else(person: Person) -> None:
    done = person.run("run", "--json", "--", "echo", "out", variables={})
    assert json.loads(done.out)["status"] == "finished"
    assert "out\n" in done.err
    done = person.run("run", "-q", "--", "echo", "out", variables={})
    assert person.json("show", f"run:{done.out.strip()}")["output"] == "out\n"


def test_of_a_progress_bar_the_last_state_is_kept(person: Person) -> None:
    script = (
        "import sys\nfor n in range(3): sys.stderr.write(f'\\r\\033[32m{n}/2\\033[0m')\n"
        "sys.stderr.write('\\n'); print('done')"
    )
    code, text = run_in_terminal(*COMMAND, "run", "--name", "bar", "--", PYTHON, "-uc", script, folder=person.here)
    assert code == 0
    assert "\r\x1b[32m0/2\x1b[0m\r\x1b[32m1/2" in text, "the terminal gets every byte of it"
    assert shown(person, "bar")["output"] == "2/2\ndone\n"


def test_a_run_inside_a_run_is_refused(person: Person) -> None:
    done = person.run("run", "--name", "outer", "--", *COMMAND, "run", "--", "true", variables={})
    assert done.code == 2
    assert "Error: This is part of run" in done.err
    assert len(person.json("runs")["runs"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--uses", "nothing", "--", "true"), "Error: There is no version, alias of 'net', or artifact 'nothing'."),
        (("--", "no-such-program"), "Error: There is no program 'no-such-program'."),
        (("--", "./data.csv"), "Error: './data.csv' may not be executed."),
        (("--", ""), "Error: The command is empty."),
        ((), "Error: Missing argument 'CMD...'."),
        (("--config", "lr", "--", "true"), "Error: 'lr' is not KEY=VALUE."),
        (("--name", "a\nb", "--", "true"), "Error: A run has a name of 1 to 128 printable characters, not 'a\\nb'."),
        (("--job-type", "a b", "--", "true"), "Error: "),
    ],
)
def test_what_cannot_be_run_is_no_run(person: Person, arguments: tuple[str, ...], message: str) -> None:
    _, lines = person.fails("run", *arguments)
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(message)
    assert person.json("runs")["runs"] == []


def test_without_git_and_without_home(person: Person) -> None:
    """The poorest machine: nothing in PATH but the shell, no HOME, no TERM."""
    done = person.run(
        "run", "--name", "poor", "--", "/bin/sh", "-c", "true", variables={"PATH": "/nowhere", "HOME": ""}
    )
    assert done.code == 0
    assert "git is not installed" in done.err
    assert shown(person, "poor")["code"] == {}


def test_the_run_lives_on_while_its_process_does(person: Person) -> None:
    """A sign of life is left now and then, so that a run that dies silently is known to have lived so long."""
    process = begin(person, "silent", "import sys; print('go'); sys.stdin.read()")
    live = next((person.here / ".mlver/runs/live").iterdir())
    os.utime(live / "owner", (0, 0))
    deadline = time.monotonic() + 60
    while (live / "owner").stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (live / "owner").stat().st_mtime > 0
    process.kill()
    process.communicate()


def test_the_variable_that_tells_of_the_run_is_not_inherited_by_the_next(person: Person) -> None:
    script = f"import os; print(os.environ['{RUN_VARIABLE}'])"
    texts = {person.run("run", "-q", "--", PYTHON, "-c", script, variables={}).err for _ in range(2)}
    assert len(texts) == 2


def test_what_it_leaves_behind_does_not_hold_it(person: Person, tmp_path: Path) -> None:
    done = person.run(
        "run", "--name", "daemon", "--", "sh", "-c", "sleep 1000 & echo $! > pid; echo said", variables={}
    )
    os.kill(int((person.here / "pid").read_text()), signal.SIGKILL)
    assert (done.code, done.out) == (0, "said\n")
