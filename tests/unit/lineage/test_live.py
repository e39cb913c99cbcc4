"""Live folders: whether the owner of a run is gone is told surely, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlver.errors import IntegrityError
from mlver.ids import RunId
from mlver.lineage.live import (
    OWNER_NAME,
    LiveRun,
    is_abandoned,
    last_sign_ns,
    live_folder,
    live_runs,
    remove_live,
    this_process,
)
from tests.support.process import environment

RUN = RunId("0" * 16)
SCRIPT = (
    "import sys; from pathlib import Path; from mlver.lineage.live import LiveRun; LiveRun(Path(sys.argv[1]), '{}'); {}"
)


def begin_elsewhere(root: Path, then: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT.format(RUN, then), str(root)]
    return subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_run_of_this_process_lives_until_it_is_removed(tmp_path: Path) -> None:
    live = LiveRun(tmp_path, RUN)
    assert live_runs(tmp_path) == [RUN]
    assert not is_abandoned(live.folder)
    live.remove()
    assert live_runs(tmp_path) == []
    live.give_sign()  # of a run that somebody took for dead


def test_one_of_another_process_is_abandoned_once_that_is_gone(tmp_path: Path) -> None:
    process = begin_elsewhere(tmp_path, "print(flush=True); sys.stdin.read()")
    assert process.stdout is not None
    process.stdout.readline()
    folder = live_folder(tmp_path, RUN)
    assert not is_abandoned(folder)
    process.kill()
    process.communicate()
    assert is_abandoned(folder)


def change_owner(folder: Path, **changes: object) -> None:
    owner = json.loads((folder / OWNER_NAME).read_text()) | changes
    (folder / OWNER_NAME).write_text(json.dumps(owner))


def test_of_another_machine_nobody_knows_unless_it_was_this_one_before_it_started_anew(tmp_path: Path) -> None:
    begin_elsewhere(tmp_path, "pass").communicate()
    folder = live_folder(tmp_path, RUN)
    change_owner(folder, host="elsewhere", boot="another")
    assert not is_abandoned(folder)
    change_owner(folder, host=os.uname().nodename)
    assert is_abandoned(folder)


def test_without_locks_the_process_is_looked_at(tmp_path: Path) -> None:
    begin_elsewhere(tmp_path, "pass").communicate()
    folder = live_folder(tmp_path, RUN)
    (folder / "lock").unlink()
    assert is_abandoned(folder)
    own = this_process()
    change_owner(folder, pid=os.getppid(), started=own.started)
    assert is_abandoned(folder), "another process has the number now"


def test_a_folder_that_nobody_owns_is_abandoned_when_it_is_old(tmp_path: Path) -> None:
    folder = live_folder(tmp_path, RUN)
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    assert not is_abandoned(folder), "its owner may be about to say so"
    long_ago = time.time() - 7200
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    assert is_abandoned(folder)
    remove_live(folder)
    remove_live(folder)
    assert last_sign_ns(folder) == 0


def test_a_sign_of_life(tmp_path: Path) -> None:
    live = LiveRun(tmp_path, RUN)
    for path in live.folder.iterdir():
        os.utime(path, (1, 1))
    assert last_sign_ns(live.folder) == 10**9
    live.give_sign()
    assert last_sign_ns(live.folder) > 10**9
    live.remove()


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is a link"):
        live_folder(tmp_path, RUN)
