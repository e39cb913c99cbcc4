"""Hooks, watches, bisection, queries, export and making again, as a person or a script meets them."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mlver.lineage.live import is_surely_running, process
from tests.cli.conftest import Person
from tests.support.process import COMMAND, PROJECT, environment


def wait_for(holds: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def write_hook(person: Person, name: str, text: str) -> None:
    folder = person.here / ".mlver" / "hooks"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_aliases_that_follow_or_are_protected(person: Person) -> None:
    assert person.screen("alias", "top", "--track", "max(acc)") == "top is net:v2, and follows max(acc) from here on\n"
    done = person.run("alias", "none", "--track", "max(ac)")
    assert done.out == "none names no version yet, and follows max(ac) from here on\n"
    assert done.err == "Hint: No version has that metric yet. Did you mean 'acc'?\n"
    assert person.run("alias", "none", "--track", "max(x)").err == "Hint: No version has that metric yet.\n"
    assert person.screen("alias", "best", "--protect") == "best is net:v0; it is protected\n"
    assert (
        person.screen("alias")
        == """ALIAS   VERSION   MOVES             GUARD
latest  net:v2
best    net:v0                      protected
top     net:v2    follows max(acc)
none    none yet  follows max(x)
"""
    )
    document = person.json("alias")
    assert document["tracked"] == {"none": "max(x)", "top": "max(acc)"}
    assert document["protected"] == ["best"]
    assert person.fails("alias", "top", "v1")[1] == [
        "Error: Alias 'top' of 'net' follows max(acc) by itself.",
        "Hint: Let it stay where it is first: mlver alias net:top --untrack",
    ]
    assert person.fails("alias", "best", "v1")[1][0] == "Error: Alias 'best' of 'net' is protected."
    (person.here / "new").write_text("new")
    error, hint = person.fails("add", "new", "--name", "net", "--alias", "best")[1]
    assert error == "Error: Alias 'best' of 'net' is protected."
    assert hint.startswith("Hint: Add it without, then: mlver alias best --force. Or take the protection away: ")
    assert person.screen("alias", "best", "v1", "--force") == "best is net:v1 now; it was net:v0\n"
    assert person.fails("undo")[1][0] == "Error: Alias 'best' of 'net' is protected."
    assert person.run("undo", "--force").code == 0
    assert person.screen("alias", "top", "--untrack", "-q") == "net:v2\n"
    assert person.screen("alias", "-d", "none") == "Deleted alias none, which named nothing\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("alias", "--track", "max(acc)"),
        ("alias", "x", "--track", "acc"),
        ("alias", "x", "v1", "--track", "max(acc)"),
        ("alias", "x", "--track", "max(acc)", "--protect"),
        ("alias", "x", "--untrack", "-d"),
        ("alias", "latest", "--track", "max(acc)"),
        ("watch", "--on", "add"),
        ("watch", "--once", "--", "true"),
        ("watch", "--once", "--on", "nothing", "--", "true"),
        ("watch", "--once", "--on", "alias:", "--", "true"),
        ("watch", "--once", "--on", "add", "--remote", "x", "--", "true"),
        ("alias", "net:best", "v1"),
        ("bisect", "--good", "v0"),
        ("bisect", "--good", "v2", "--bad", "v0", "--", "true"),
        ("query",),
        ("query", "SELECT 1", "--schema"),
        ("query", "DELETE FROM versions"),
        ("export",),
        ("export", "--format", "xml"),
        ("export", "--parquet", "t", "-o", "x"),
        ("reproduce", "--script", "--patch"),
    ],
)
def test_bad_requests(person: Person, arguments: tuple[str, ...]) -> None:
    assert person.fails(*arguments)[0] == 2


def test_hooks(person: Person) -> None:
    write_hook(person, "post-alias", "cat > told; echo out; exit 3")
    done = person.run("alias", "new", "v1")
    assert done.err.startswith("Warning: Hook post-alias is not run, because this repository came here with it: ")
    assert person.run("init", "--trust-hooks").err == "Its hooks are run from here on.\n"
    done = person.run("alias", "new", variables={})
    assert (done.code, done.out) == (0, "new is net:v2 now; it was net:v1\n")
    assert done.err.splitlines() == ["out", "Warning: Hook post-alias failed with exit code 3."]
    assert json.loads((person.here / "told").read_text())["alias"] == "new"
    write_hook(person, "pre-alias", "exit 1")
    assert person.fails("alias", "other")[1][0] == "Error: Hook pre-alias failed with exit code 1: nothing was done."
    done = person.run("alias", "other", variables={"MLVER_HOOK": "post-add"})
    assert (done.code, done.err) == (0, ""), "within a hook, none is run"


def test_a_watch_that_runs_on(person: Person) -> None:
    words = ["watch", "--on", "alias:best", "--interval", "0.05", "--", "sh", "-c", "cat >> told; sleep 0$SLEEP"]
    begun = subprocess.Popen(
        [*COMMAND, *words], cwd=person.here, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    journals = person.here / ".mlver" / "watch"
    wait_for(lambda: journals.exists() and any(path.stat().st_size for path in journals.iterdir()))
    assert person.run("alias", "best", "v1").code == 0
    wait_for(lambda: b'"end"' in b"".join(path.read_bytes() for path in journals.iterdir()))
    assert person.run(*words[:3], "--once", *words[5:], variables={}).code == 14, "it runs already"
    begun.send_signal(signal.SIGTERM)
    out, err = begun.communicate(timeout=30)
    assert begun.returncode == 143, err
    assert b"Traceback" not in err
    assert out.decode() == "alias best net:v1: done\n"

    assert person.run("alias", "best", "v2").code == 0
    slow = subprocess.Popen([*COMMAND, *words], cwd=person.here, env=environment(SLEEP="60"), stderr=subprocess.DEVNULL)
    wait_for(lambda: len((person.here / "told").read_text().splitlines()) == 2)
    slow.kill()
    slow.wait()
    done = person.run(*words[:3], "--once", "--json", *words[5:], variables={})
    (reaction,) = json.loads(done.out)["reactions"]
    assert (reaction["version"], reaction["attempt"], reaction["exit_code"]) == ("net:v2", 2, 0)
    lines = [json.loads(line) for line in (person.here / "told").read_text().splitlines()]
    assert [line["version"] for line in lines] == ["net:v1", "net:v2", "net:v2"]
    assert lines[1]["watch_id"] == lines[2]["watch_id"]
    done = person.run(*words[:3], "--once", "--json", *words[5:], variables={})
    assert json.loads(done.out)["reactions"] == []


def test_a_command_that_outlived_its_watch_is_ended_before_it_is_run_again(person: Person) -> None:
    on = ("watch", "--on", "alias:best", "--interval", "0.05")
    script = "echo $$ >> pids; test $MLVER_ATTEMPT = 2 || exec sleep 300"
    words = [*COMMAND, *on, "--", "sh", "-c", script]
    pids = person.here / "pids"
    watch = subprocess.Popen(words, cwd=person.here, env=environment(), stderr=subprocess.DEVNULL)
    journals = person.here / ".mlver" / "watch"
    wait_for(lambda: journals.exists() and any(path.stat().st_size for path in journals.iterdir()))
    assert person.run("alias", "best", "v1").code == 0
    wait_for(lambda: any(b'"run"' in path.read_bytes() for path in journals.iterdir()))
    watch.kill()
    watch.wait()
    wait_for(pids.exists)
    left = int(pids.read_text())
    assert is_surely_running(process(left))
    done = person.run(*on[:3], "--once", "--interval", "0.05", "--", "sh", "-c", script)
    assert done.code == 0, done.err
    assert not is_surely_running(process(left))
    assert len(pids.read_text().split()) == 2


def test_a_watch_whose_command_fails(person: Person) -> None:
    on = ("watch", "--on", "tag:good", "--once")
    assert person.run(*on, "--", "false").code == 0
    assert person.run("tag", "v1", "good").code == 0
    done = person.run(*on, "--", "false")
    assert done.code == 1
    assert done.out == "tag good net:v1: failed with exit code 1\n"
    assert person.run(*on, "--", "false").code == 0, "it is not repeated"
    assert person.fails(*on, "--", "no-such-program")[1][0] == "Error: There is no program 'no-such-program'."


def test_a_watch_whose_command_cannot_be_run_goes_on_with_it(person: Person) -> None:
    """What was not even begun is not done."""
    program = person.here / "deploy.sh"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    on = ("watch", "--on", "tag:good", "--once", "--", "./deploy.sh")
    assert person.run(*on).code == 0
    assert person.run("tag", "v1", "good").code == 0
    assert person.fails(*on)[1][1] == (
        "Error: ./deploy.sh cannot be run: No such file or directory: nothing was done for tag good net:v1."
    )
    program.write_text("#!/bin/sh\necho $MLVER_VERSION $MLVER_ATTEMPT > done\n")
    assert person.run(*on).code == 0
    assert (person.here / "done").read_text() == "net:v1 2\n"
    assert person.run(*on).out == ""


def test_a_watch_that_fetches(person: Person, tmp_path: Path) -> None:
    assert person.run("remote", "add", "origin", str(tmp_path / "remote")).code == 0
    on = ("watch", "--on", "alias:best", "--once", "--fetch")
    assert person.run("push").code == 0
    other = Person(tmp_path / "other")
    assert person.run("clone", str(tmp_path / "remote"), str(other.here)).code == 0
    assert other.run(*on, "--", "true").code == 0
    assert person.run("alias", "best", "v1").code == 0
    assert person.run("push").code == 0
    assert other.run(*on, "--", "true").out == "alias best net:v1: done\n"
    assert other.run(*on, "-q", "--", "true").out == ""
    (tmp_path / "remote").rename(tmp_path / "gone")
    done = other.run(*on, "--", "true")
    assert done.code == 13
    assert done.err.startswith("Warning: ")


def test_what_a_watch_fetches_is_told_while_it_runs(person: Person, tmp_path: Path) -> None:
    """A hook that would hear of a fetch when the watch ends would hear of it never."""
    remote = tmp_path / "remote"
    assert person.run("remote", "add", "origin", str(remote)).code == 0
    assert person.run("push").code == 0
    other = Person(tmp_path / "other")
    assert person.run("clone", str(remote), str(other.here)).code == 0
    write_hook(other, "post-fetch", "cat >> told")
    words = ["watch", "--on", "alias:best", "--fetch", "--interval", "0.05", "--", "true"]
    watch = subprocess.Popen([*COMMAND, *words], cwd=other.here, env=environment(), stderr=subprocess.PIPE)
    try:
        journals = other.here / ".mlver" / "watch"
        wait_for(lambda: journals.exists() and any(path.stat().st_size for path in journals.iterdir()))
        remote.rename(tmp_path / "gone")
        time.sleep(1)  # several looks
        (tmp_path / "gone").rename(remote)
        assert person.run("alias", "best", "v1").code == 0
        assert person.run("push").code == 0
        wait_for((other.here / "told").exists)
    finally:
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=30)
    assert watch.returncode == 130, err
    lines = err.decode().splitlines()
    warnings = [line for line in lines if line.startswith("Warning: ")]
    assert len(warnings) == len(set(warnings)) > 0, "said once, and not at every look"
    assert "The remote can be reached again." in lines


def test_bisect(person: Person) -> None:
    done = person.run("bisect", "--good", "v0", "--bad", "v2", "--", "sh", "-c", "test -f {}/net.safetensors; exit 1")
    assert done.out == "net:v1 is the first bad version: second\n"
    assert done.err.splitlines()[-1] == "Hint: See what changed: mlver diff net:v0 net:v1"
    done = person.run("bisect", "--good", "v0", "--bad", "v2", "-q", "--no-pull", "--", "sh", "-c", "exit 125")
    assert done.out == "net:v1\nnet:v2\n"
    assert person.fails("bisect", "--good", "v0", "--bad", "v2", "--", "sh", "-c", "exit 200")[0] == 1
    assert person.fails("bisect", "--good", "v0", "--bad", "v2", "--", "no-such-program")[0] == 1


def test_query(person: Person) -> None:
    sql = "SELECT version, value FROM metrics ORDER BY value DESC LIMIT 2"
    assert person.screen("query", sql) == "version  value\nnet:v2   0.875\nnet:v1   0.75\n"
    assert person.run("query", sql, "-q", variables={}).out == "net:v2\t0.875\nnet:v1\t0.75\n"
    rows = list(csv.reader(io.StringIO(person.run("query", sql, "--csv", variables={}).out)))
    assert rows == [["version", "value"], ["net:v2", "0.875"], ["net:v1", "0.75"]]
    assert person.json("query", sql) == {"columns": ["version", "value"], "rows": [["net:v2", 0.875], ["net:v1", 0.75]]}
    (person.here / "question.sql").write_text(sql)
    with (person.here / "question.sql").open("rb") as question:
        assert "net:v2" in person.run("query", "-", stdin=question).out
    assert person.run("query", "SELECT 1 WHERE 0").err == "No rows.\n"
    assert person.screen("query", "--schema").startswith("artifacts: an artifact that ever had a version\n")


def _has_threads(tasks: Path) -> bool:
    return len(list(tasks.iterdir())) > 1


def test_a_query_is_interrupted(person: Person) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        asked = subprocess.Popen(
            [*COMMAND, "query", endless], cwd=person.here, env=environment(), stderr=subprocess.PIPE
        )
        tasks = Path(f"/proc/{asked.pid}/task")
        wait_for(partial(_has_threads, tasks))  # it is being asked
        asked.send_signal(number)
        _, err = asked.communicate(timeout=30)
        assert (asked.returncode, err) == (code, b"")


def test_export(person: Person) -> None:
    done = person.run("export", "set", "--format", "croissant", variables={})
    assert json.loads(done.out)["name"] == "set"
    assert person.screen("export", "--format", "ro-crate", "-o", "crate.json") == "Wrote crate.json: 1 document\n"
    assert json.loads((person.here / "crate.json").read_text())["@graph"]
    assert person.json("export", "--format", "openlineage")["documents"] == []
    assert person.fails("export", "--format", "ro-crate", "-o", "no/such/folder")[0] == 1
    assert not list(person.here.glob(".*.part"))


def test_reproduce(person: Person) -> None:
    shown = person.screen("reproduce", "v1")
    assert shown.startswith("How net:v1 was made\n")
    assert "The command was not recorded." in shown
    done = person.run("reproduce", "v1", "--script", variables={})
    assert done.out.startswith("#!/bin/sh\n")
    assert "Warning: The command was not recorded." in done.err
    assert person.run("reproduce", "v1", "--patch", variables={}).out == ""
    assert person.fails("reproduce", "nothing")[0] == 1
    assert person.fails("reproduce", "v1", "--worktree", "again")[0] == 1


TRAIN = """
import hashlib, pathlib, struct, sys
data = pathlib.Path("data/train.csv").read_bytes()
header = b'{"w":{"dtype":"U8","shape":[32],"data_offsets":[0,32]}}'
weights = hashlib.sha256(data + sys.argv[1].encode()).digest()
pathlib.Path("out").mkdir()
pathlib.Path("out/w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + weights)
"""


def test_a_training_is_made_again(tmp_path: Path) -> None:
    """From a commit, changes on top of it and a dataset to the same weights, in a folder that has nothing else."""
    person = Person(tmp_path / "code")
    person.here.mkdir()

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=person.here, check=True, capture_output=True)

    git("init", "-q")
    (person.here / ".gitignore").write_text(".mlver\ndata\nout\n")
    (person.here / "train.py").write_text("raise SystemExit('not yet')\n")
    git("add", ".")
    git("commit", "-qm", "first")
    (person.here / "train.py").write_text(TRAIN)
    (person.here / "notes").write_text("x")
    (person.here / "data").mkdir()
    (person.here / "data" / "train.csv").write_text("1,2\n3,4\n")
    assert person.run("init").code == 0
    assert person.run("add", "data", "--name", "inat", "--type", "dataset").code == 0
    command = f"'{sys.executable}' train.py 0.1 && '{sys.executable}' -m mlver add out --name net --type model"
    variables = {"PYTHONPATH": str(PROJECT)}
    ran = person.run("run", "--uses", "inat", "--", "sh", "-c", command, variables=variables)
    assert ran.code == 0, ran.err

    made = person.json("reproduce", "net", "--worktree", "../again")
    assert [(used["version"], used["place"]) for used in made["inputs"]] == [("inat:v0", "data")]
    assert made["missing"] == ["Files that git did not know were not recorded, and may have been used: notes."]
    again = tmp_path / "again"
    assert made["worktree"] == str(again)
    script = (again / "mlver-reproduce.sh").read_text()
    (again / "mlver-reproduce.sh").write_text(script.replace("--name net", "--name again"))
    subprocess.run(["sh", again / "mlver-reproduce.sh"], env=environment(**variables), check=True, cwd="/")
    assert person.json("show", "again")["weights"] == person.json("show", "net")["weights"]
