"""Real processes: writers beside collectors, collectors that are killed, writers that are stopped for long."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from mlver.repository import Repository
from mlver.store.pack import pack_name
from tests.support.child import run_python, start_python
from tests.unit.ops.collect.conftest import Home, weights

GC = """
from mlver.ops.collect.collect import collect
from mlver.ops.opening import open_repository
print("started", flush=True)
while True:
    opened = open_repository(Path(sys.argv[1]) / ".mlver")
    try:
        collect(opened, float(sys.argv[2]))
    except mlver.MlverError:
        if float(sys.argv[2]):
            raise  # without grace, it may meet a version whose writer is about to take it back
    opened.close()
    if sys.argv[3] == "once":
        break
print("done", flush=True)
"""

WRITER = """
import random
me = sys.argv[2]
chance = random.Random(me)
home = Path(sys.argv[1])
place = home / f"w{me}"
place.mkdir()
refused = 0
with Repository.open(home) as repository:
    for number in range(int(sys.argv[3])):
        content = chance.randrange(6)
        (place / "w").write_bytes(bytes([content]) * 70_000 + random.Random(content).randbytes(90_000))
        try:
            version = repository.add(place, name="n" + me, type="t").version
        except mlver.ConflictError:
            refused += 1
            continue
        assert repository.open(version.name, "w").read() == (place / "w").read_bytes()
        if chance.random() < 0.7:
            repository.remove(version.name)
            if chance.random() < 0.3:
                try:
                    repository.restore(version.name)
                except mlver.NotFoundError:
                    pass
print(refused)
"""


@pytest.mark.parametrize("grace_seconds", [0, 1000])
def test_writers_beside_collectors(home: Home, grace_seconds: int) -> None:
    collectors = [start_python(GC, home.path, str(grace_seconds), "for ever") for _ in range(2)]
    for process in collectors:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
    writers = [start_python(WRITER, home.path, str(me), "12") for me in range(2)]
    ends = [process.communicate(timeout=300) for process in writers]
    for process in collectors:
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
    assert [err for _, err in ends] == ["", ""]
    if grace_seconds:
        assert [out for out, _ in ends] == ["0\n", "0\n"]
    (home.path / ".mlver" / "index.sqlite").unlink(missing_ok=True)
    with Repository.open(home.path) as repository:
        for artifact in repository.artifacts():
            for version in repository.log(artifact.name):
                content = repository.open(version.name, "w").read()
                assert content == bytes([content[0]]) * 70_000 + random.Random(content[0]).randbytes(90_000)
        assert repository.verify().ok


def test_killed_at_any_time(trained: Home, tmp_path: Path) -> None:
    chance = random.Random(4)
    state = tmp_path.parent / f"{tmp_path.name}-state"
    shutil.copytree(trained.path / ".mlver", state, copy_function=shutil.copy2)
    try:
        for _ in range(8):
            shutil.rmtree(trained.path / ".mlver")
            shutil.copytree(state, trained.path / ".mlver", copy_function=shutil.copy2)
            process = start_python(GC, trained.path, "0", "once")
            assert process.stdout
            assert process.stdout.readline() == "started\n"
            time.sleep(chance.random() * 0.25)
            process.kill()
            process.communicate()
            assert trained.check() == {"m:v0", "m:v2", "m:v3", "data:v1", "parts:v1"}
            trained.collect()
            assert trained.check() == {"m:v0", "m:v2", "m:v3", "data:v1", "parts:v1"}
    finally:
        shutil.rmtree(state)


STOPPED = """
import os, signal
from mlver.store import temporary
real, left = os.fsync, [int(sys.argv[3])]
def stop_before(descriptor):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    real(descriptor)
os.fsync = stop_before
with Repository.open(sys.argv[1]) as repository:
    try:
        print(repository.add(sys.argv[2], name="again", type="t").version.name)
    except mlver.ConflictError as error:
        print("refused", error.message)
"""


@pytest.mark.parametrize("stop", range(1, 15))
def test_a_writer_that_is_stopped_for_longer_than_the_grace_period(trained: Home, stop: int) -> None:
    """It is stopped at each of its flushes. A month passes, and what is idle goes; then it goes on."""
    place = trained.write(trained.content["m:v4"]["model.safetensors"])
    process = start_python(STOPPED, trained.path, place, str(stop))
    stopped = os.waitpid(process.pid, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(stopped):
        assert stop > 5
        return
    trained.grow_old()
    run_python(GC, trained.path, str(14 * 86_400), "once")
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert err == ""
    trained.content["again:v0"] = trained.content["m:v4"]
    there = trained.check()
    assert ("again:v0" in there) == (out == "again:v0\n")
    assert out == "again:v0\n" or "kept waiting" in out


def test_what_was_received_and_waits_is_kept_with_what_it_rests_on(home: Home) -> None:
    """v1 is stored as a difference to v0. Its pack waits in `incoming/`; v0 is removed."""
    home.add(weights(0))
    home.add(weights(1))
    home.add(np.random.default_rng(1).bytes(90_000), "data", "x")
    home.remove("m:v0", "m:v1")
    home.grow_old()
    with Repository.open(home.path) as repository:
        (file,) = repository._opened.index.versions(repository.artifacts()[1], removed=True)[:1]
        from mlver.history.manifest import read_manifest

        chunks = read_manifest(repository._opened.storage, file.id).files[0].chunks
        places = {repository._opened.chunk_index.find(chunk.id) for chunk in chunks}
    waiting = {where.pack for where in places if where is not None and where.entry.bases}
    assert waiting
    packs = home.path / ".mlver" / "incoming" / "packs"
    packs.mkdir(parents=True)
    for pack in waiting:
        (home.path / ".mlver" / pack_name(pack)).rename(packs / f"{pack}.pack")
    home.collect(0)
    assert any(where.pack not in waiting for where in places if where is not None)
    for pack in waiting:
        (packs / f"{pack}.pack").rename(home.path / ".mlver" / pack_name(pack))
    with Repository.open(home.path) as repository:
        repository._opened.refresh_packs()
        reader = repository._opened.chunk_reader()
        for chunk in chunks:
            where = repository._opened.chunk_index.find(chunk.id)
            if where is not None and where.pack in waiting:
                reader.decode(chunk.id)
