"""Hooks: what they are told, what they refuse, what becomes of those that hang, fail or are somebody else's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlver.errors import ConflictError, MlverError
from mlver.ops.hooks.found import find_hook
from mlver.ops.opening import HOOK_VARIABLE
from mlver.ops.remotes.configure import add_remote
from mlver.repository import Repository
from tests.support.process import PROJECT

WriteHook = Callable[..., Path]


@pytest.fixture
def hook(repository: Repository) -> WriteHook:
    """Return what writes a hook and switches hooks on."""

    def write(name: str, *lines: str, mode: int = 0o755, first: str = "#!/bin/sh") -> Path:
        folder = repository.path / "hooks"
        folder.mkdir(mode=0o755, exist_ok=True)
        path = folder / name
        path.write_text("\n".join([first, *lines]) + "\n")
        path.chmod(mode)
        repository._opened.use_hooks(os.environ)
        return path

    return write


def told(repository: Repository) -> list[dict[str, Any]]:
    """Return what hooks that write what they read to `told` were told."""
    place = repository.path.parent / "told"
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


def test_they_are_told_what_happened(repository: Repository, model: Path, hook: WriteHook) -> None:
    for kind in ("add", "alias", "tag", "note", "meta", "rm", "restore"):
        hook(f"post-{kind}", "cat >> told")
    repository.add(model, name="net", type="t", metrics={"acc": 0.5}, aliases=["best"], message="m")
    repository.tag("latest", "good")
    repository.note("latest", "fine")
    repository.meta("latest", {"lr": 1}, {"acc": 0.75})
    repository.remove("net:v0", force=True)
    repository.restore("net:v0")
    found = told(repository)
    assert [each["hook"] for each in found] == [
        *("post-add", "post-alias", "post-tag", "post-note", "post-meta", "post-meta", "post-rm", "post-alias"),
        "post-restore",
    ]
    added, moved = found[:2]
    assert added["kind"] == "add"
    assert (added["version"], added["event"], added["message"]) == ("net:v0", 0, "m")
    assert (added["metrics"], added["tags"], added["file_count"]) == ({"acc": 0.5}, [], 1)
    assert added["repository"] == str(repository.path)
    assert (moved["alias"], moved["version"], moved["was"]) == ("best", "net:v0", None)
    assert found[4]["key"] == "lr"
    assert (found[5]["field"], found[5]["value"], found[5]["was"]) == ("metrics", 0.75, 0.5)
    assert (found[7]["version"], found[7]["was"]) == (None, "net:v0"), "an alias that went"


def test_they_are_told_of_what_moved_by_itself(repository: Repository, model: Path, hook: WriteHook) -> None:
    repository.add(model, name="net", type="t", metrics={"acc": 0.5})
    repository.track("best", "max(acc)")
    hook("post-alias", "cat >> told")
    repository.meta("v0", metrics={"acc": 0.6})
    assert told(repository) == []
    (model / "w").write_bytes(b"second")
    repository.add(model, metrics={"acc": 0.7})
    assert [(each["alias"], each["was"], each["version"]) for each in told(repository)] == [
        ("best", "net:v0", "net:v1")
    ]


def test_everything_is_in_its_place_when_they_run(repository: Repository, model: Path, hook: WriteHook) -> None:
    hook("post-add", "cat ../.mlver/HEAD .mlver/HEAD 2>/dev/null >> told-head", "ls .mlver/log/net >> told-head")
    repository.add(model, name="net", type="t")
    assert (repository.path.parent / "told-head").read_text().split() == ["net", "000000000000.json"]


def test_one_that_refuses(repository: Repository, model: Path, hook: WriteHook) -> None:
    hook("pre-add", "grep -q '\"acc\": 0.9' || exit 3")
    with pytest.raises(MlverError, match=r"Hook pre-add failed with exit code 3: nothing was done"):
        repository.add(model, name="net", type="t", metrics={"acc": 0.5})
    assert repository.artifacts() == []
    assert repository.add(model, name="net", type="t", metrics={"acc": 0.9}).created
    hook("pre-alias", "exit 1")
    with pytest.raises(MlverError, match="Hook pre-alias"):
        repository.alias("best")
    assert repository.resolve("latest").aliases == ("latest",)
    (model / "w").write_bytes(b"second")
    with pytest.raises(MlverError, match="Hook pre-alias"):
        repository.add(model, metrics={"acc": 0.9}, aliases=["best"])
    assert len(repository.log("net")) == 1, "all of an event, or nothing"


def test_one_that_fails_afterwards_changes_nothing(
    repository: Repository, model: Path, hook: WriteHook, caplog: pytest.LogCaptureFixture
) -> None:
    hook("post-add", "exit 7")
    assert repository.add(model, name="net", type="t").created
    assert "Hook post-add failed with exit code 7." in caplog.messages
    hook("post-alias", "kill -9 $$")
    repository.alias("best")
    assert "Hook post-alias was killed by signal 9." in caplog.messages


def test_one_that_hangs_is_ended_with_all_it_started(repository: Repository, model: Path, hook: WriteHook) -> None:
    (repository.path / "config.toml").write_text("[hooks]\ntimeout = 0.3\n")
    hook("pre-add", "sleep 60 & echo $! > child", "wait")
    began = time.monotonic()
    with pytest.raises(MlverError, match=r"did not end within 0.3 s and was killed"):
        repository.add(model, name="net", type="t")
    assert time.monotonic() - began < 30
    child = int((repository.path.parent / "child").read_text())
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "zombie" in Path(f"/proc/{child}/status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("what it started lives on")


def test_one_that_does_not_read_or_writes_much(repository: Repository, model: Path, hook: WriteHook) -> None:
    hook("post-add", "exec 0<&-", "head -c 200000 /dev/zero > much")
    repository.add(model, name="net", type="t", metadata={"big": "x" * 200_000})
    assert (repository.path.parent / "much").stat().st_size == 200_000


def test_those_of_others_are_not_run(
    repository: Repository, model: Path, hook: WriteHook, caplog: pytest.LogCaptureFixture
) -> None:
    path = hook("pre-add", "touch ran", mode=0o757)
    with pytest.raises(MlverError, match="can be written by others"):
        repository.add(model, name="net", type="t")
    path.rename(path.with_name("post-add"))
    repository.add(model, name="net", type="t")
    assert "can be written by others" in caplog.text
    assert not (repository.path.parent / "ran").exists()
    path.parent.chmod(0o777)
    path.with_name("post-add").chmod(0o755)
    found = find_hook(repository.path, "post-add")
    assert found is not None
    assert found.distrust == f"{path.parent} can be written by others"


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")
def test_one_that_belongs_to_another_is_not_run(repository: Repository, hook: WriteHook) -> None:
    path = hook("pre-add")
    os.chown(path, 12345, -1)
    found = find_hook(repository.path, "pre-add")
    assert found is not None
    assert found.distrust == f"{path} belongs to another user"


@pytest.mark.parametrize("bring", [shutil.copytree, shutil.move, "archive"])
def test_those_that_came_with_a_repository_are_not_run(
    repository: Repository, model: Path, hook: WriteHook, tmp_path: Path, bring: Any
) -> None:
    """From an archive, in a checkout of git, as a copy: whoever made it is not whoever uses it."""
    hook("post-add", "touch ran")
    hook("pre-alias", "touch ran")
    place = tmp_path / "elsewhere"
    if bring == "archive":
        archive = shutil.make_archive(str(tmp_path / "archive"), "tar", repository.path)
        (place / ".mlver").mkdir(parents=True)
        subprocess.run(["tar", "-xf", archive, "-C", place / ".mlver"], check=True)
    else:
        place.mkdir()
        bring(repository.path, place / ".mlver")
    with Repository.open(place) as brought:
        brought.add(model, name="net", type="t")
        if bring is shutil.move:
            assert (place / "ran").exists(), "it is the very same, elsewhere"
            return
        with pytest.raises(MlverError, match="this repository came here with it") as caught:
            brought.alias("best")
        assert caught.value.hint == "Look at what is in .mlver/hooks; then: mlver init --trust-hooks"
        assert not (place / "ran").exists()
    with Repository.init(place, trust_hooks=True) as trusted:
        trusted.alias("best")
        assert (place / "ran").exists()


def test_one_finds_the_repository_that_it_is_of(repository: Repository, model: Path, hook: WriteHook) -> None:
    hook("post-add", 'echo "$MLVER_DIR" > dir')
    repository.add(model, name="net", type="t")
    assert (repository.path.parent / "dir").read_text() == f"{repository.path}\n"


def test_one_that_leaves_something_running_is_not_waited_for(
    repository: Repository, model: Path, hook: WriteHook
) -> None:
    hook("post-add", "sleep 60 &", "echo $! > child")
    repository.add(model, name="net", type="t")
    os.kill(int((repository.path.parent / "child").read_text()), signal.SIGKILL)  # it is there


def test_one_that_is_no_program_is_none(
    repository: Repository, model: Path, hook: WriteHook, caplog: pytest.LogCaptureFixture
) -> None:
    path = hook("pre-add", "exit 1", mode=0o644)
    repository.add(model, name="net", type="t")
    assert caplog.messages == [f"Hook pre-add is off, since it is not executable: chmod +x {path}"]
    (repository.path / "hooks" / "pre-alias").mkdir()
    with pytest.raises(MlverError, match=r"pre-alias is not run, because .* is no file: nothing was done"):
        repository.alias("best")
    (repository.path / "hooks" / "pre-note").symlink_to("nothing")
    with pytest.raises(MlverError, match=r"pre-note is not run, because .* is a link to nothing: nothing was done"):
        repository.note("latest", "x")
    hook("pre-tag", first="#!/no/such/program")
    with pytest.raises(MlverError, match="cannot be run: No such file"):
        repository.tag("net:v0", "x")


def test_a_hook_that_uses_mlver_is_told_of_nothing(repository: Repository, hook: WriteHook) -> None:
    hook("post-add", "true")
    repository._opened.hooks = None
    repository._opened.use_hooks({**os.environ, HOOK_VARIABLE: "post-add"})
    assert repository._opened.hooks is None


def test_one_that_changes_what_it_is_asked_about(repository: Repository, model: Path, hook: WriteHook) -> None:
    repository.add(model, name="net", type="t")
    place = repository.path.parent
    program = "from mlver.repository import Repository as R; R.open().alias('x%s' % __import__('time').time_ns())"
    hook("pre-tag", f'cd {place} && PYTHONPATH={PROJECT} {sys.executable} -c "{program}"')
    repository.tag("v0", "t")
    assert repository.resolve("v0").tags == ("t",)
    assert sum(alias.startswith("x") for alias in repository.resolve("v0").aliases) == 1, "asked once, though it raced"


def test_one_that_can_never_agree_ends(repository: Repository, model: Path) -> None:
    from mlver.history.event import SetTag
    from mlver.ops.hooks.hooks import Hooks

    repository.add(model, name="net", type="t")
    hooks, asked = Hooks({}), []  # type: ignore[var-annotated]
    artifact = repository._opened.artifact("net")

    def ask(number: int) -> None:
        hooks.ask_event(repository._opened, artifact, (SetTag(0, f"t{number}", True),), asked)

    for number in range(5):
        ask(number)
    with pytest.raises(ConflictError, match="changed each time"):
        ask(5)
    ask(4)


def test_pushes_and_fetches(repository: Repository, model: Path, hook: WriteHook, tmp_path: Path) -> None:
    add_remote(repository._opened, "origin", str(tmp_path / "remote"))
    hook("pre-push", "cat >> told")
    hook("post-push", "cat >> told")
    repository.add(model, name="net", type="t")
    repository.push()
    repository.push()
    before, after = told(repository)
    assert (before["hook"], after["hook"]) == ("pre-push", "post-push")
    assert before["artifacts"] == after["artifacts"] == [{"artifact": "net", "versions": ["net:v0"], "event_count": 1}]
    assert after["remote"] == "origin"
    hook("pre-push", "exit 1")
    repository.alias("best")
    with pytest.raises(MlverError, match="Hook pre-push"):
        repository.push()
    with Repository.clone(str(tmp_path / "remote"), tmp_path / "clone") as clone:
        assert clone.resolve("net:v0").aliases == ("latest",), "nothing was sent"
        (clone.path / "hooks").mkdir()
        (clone.path / "hooks" / "post-fetch").write_text("#!/bin/sh\ncat >> told\n")
        (clone.path / "hooks" / "post-fetch").chmod(0o755)
        clone._opened.use_hooks(os.environ)
        hook("pre-push", "exit 0")
        repository.push()
        clone.fetch()
        clone.fetch()
        assert [each["hook"] for each in told(clone)] == ["post-fetch"]


@pytest.mark.parametrize("seconds", ["0", "-1", "true", '"x"', "inf", "nan"])
def test_a_timeout_that_is_none(repository: Repository, seconds: str) -> None:
    (repository.path / "config.toml").write_text(f"[hooks]\ntimeout = {seconds}\n")
    with pytest.raises(MlverError, match=r"hooks\.timeout must be a number of seconds"):
        _ = repository._opened.config
