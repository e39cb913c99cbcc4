"""Processes that are killed, limited, or many at once: old state or new state, and the next command just works."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from mlver.history.index import VersionIndex
from mlver.history.records import ArtifactRecord
from mlver.ops.commit import check_artifact
from mlver.ops.opening import open_repository
from mlver.repository import Repository
from tests.support.child import run_python, start_python
from tests.support.trees import read_tree, write_tree

ADD = """
repository = Repository.open(sys.argv[1])
print("adding", flush=True)
repository.add(sys.argv[2], name="net", type="t", aliases=["best"])
print("done", flush=True)
"""


def test_add_killed_at_any_time_leaves_the_old_state_or_the_new(repository: Repository, tmp_path: Path) -> None:
    chance = random.Random(2)
    folder = write_tree(tmp_path / "m", {f"f{n}": chance.randbytes(40_000) for n in range(40)})
    repository.add(folder, name="net", type="t", aliases=["best"])
    outcomes = set()
    for number in range(1, 13):
        write_tree(folder, {f"f{n}": chance.randbytes(40_000) for n in range(20)} | {"big": chance.randbytes(3 << 20)})
        process = start_python(ADD, tmp_path, folder)
        assert process.stdout
        assert process.stdout.readline() == "adding\n"
        time.sleep(chance.random() * 0.15)
        process.kill()
        acknowledged = "done" in process.communicate()[0]
        before = len(repository.log("net"))
        assert before in (number, number + 1)
        assert before == number + 1 or not acknowledged, "what was acknowledged is gone"
        assert repository.resolve("net:best").number == before - 1, "half of an event"
        assert repository.verify().ok
        done = repository.add(folder, name="net", aliases=["best"])
        assert (done.version.number, done.created) == (number, before == number)
        outcomes.add(acknowledged)
    repository.pull("net:best", tmp_path / "out")
    assert read_tree(tmp_path / "out") == read_tree(folder)
    assert False in outcomes


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    with Repository.open(sys.argv[1]) as repository:
        {work}
    print("done")
except mlver.MlverError as error:
    print(error.message, error.hint)
"""


@pytest.mark.parametrize("limit", [0, 200, 5_000, 300_000, 5_000_000])
def test_full_disk_is_a_clean_refusal_of_add(repository: Repository, tmp_path: Path, limit: int) -> None:
    chance = random.Random(limit)
    repository.add(write_tree(tmp_path / "old", {"w": b"old"}), name="net", type="t", aliases=["best"])
    folder = write_tree(tmp_path / "m", {"w": chance.randbytes(9 << 20), "x": b"1"})
    before = read_tree(repository.path)
    work = 'repository.add(sys.argv[2], name="net", aliases=["best"])'
    out = run_python(LIMITED.format(work=work), tmp_path, folder, str(limit))
    assert "File too large" in out
    assert "Free some space" in out
    after = read_tree(repository.path)
    for path in before.keys() | after.keys():
        if not path.startswith("index.sqlite"):
            assert before.get(path) == after.get(path), f"{path} was left behind or changed"
    assert repository.verify().ok
    assert repository.resolve("best").number == 0
    assert repository.add(folder, aliases=["best"]).version.name == "net:v1"


def test_full_disk_is_a_clean_refusal_of_pull(repository: Repository, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", {"w": random.Random(1).randbytes(3 << 20), "x": b"1"})
    repository.add(folder, name="net", type="t")
    work = 'repository.pull("net", sys.argv[2])'
    out = run_python(LIMITED.format(work=work), tmp_path, tmp_path / "out", "1000000")
    assert "Cannot write" in out
    assert "File too large" in out
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlver", "m"]
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == read_tree(folder)


def test_version_is_recorded_though_the_index_has_no_room(repository: Repository, tmp_path: Path) -> None:
    """Only `index.sqlite` is larger than the limit: it is a cache, and nothing may fail on its account."""
    for number in range(40):
        repository.add(write_tree(tmp_path / "m", {"w": b"%d" % number}), name="net", type="t")
    folder = write_tree(tmp_path / "m", {"w": b"new"})
    work = 'repository.add(sys.argv[2], name="net")'
    assert run_python(LIMITED.format(work=work), tmp_path, folder, "20000") == "done\n"
    assert repository.resolve("net").number == 40


MANY = """
import time
root, me, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
folder = root / ("m" + me)
folder.mkdir()
print("ready", flush=True)
while not (root / "go").exists():
    time.sleep(0.001)
with Repository.open(root) as repository:
    for number in range(count):
        (folder / "w").write_text(f"{me}.{number}")
        done = repository.add(folder, name="net", type="t", aliases=["best", "p" + me])
        assert done.created
        repository.tag(done.version.name, "t" + me)
        print(done.version.number)
"""


def test_an_artifact_that_somebody_else_creates_this_moment_is_the_same_one(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = VersionIndex.artifact

    def find_too_early(index: VersionIndex, name: str) -> ArtifactRecord | None:
        found = find(index, name)
        monkeypatch.setattr(VersionIndex, "artifact", find)
        repository.add(write_tree(tmp_path / "m", {"w": b"theirs"}), name="net", type="t")
        return found

    monkeypatch.setattr(VersionIndex, "artifact", find_too_early)
    assert check_artifact(open_repository(tmp_path / ".mlver"), "net", "t") == []


def test_many_processes_adding_at_once_get_each_number_once(repository: Repository, tmp_path: Path) -> None:
    processes, count = 8, 10
    running = [start_python(MANY, tmp_path, str(me), str(count)) for me in range(processes)]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    outputs = [process.communicate(timeout=120) for process in running]
    assert [err for _, err in outputs] == [""] * processes
    given: dict[int, str] = {}
    for me, (out, _) in enumerate(outputs):
        for number, version in enumerate(out.split()):
            assert given.setdefault(int(version), f"{me}.{number}") == f"{me}.{number}"
    assert sorted(given) == list(range(processes * count))
    for record in repository.log("net"):
        assert repository.open(record.name, "w").read().decode() == given[record.number]
        assert record.tags == ("t" + given[record.number][0],)
    for me in range(processes):
        last = max(number for number, content in given.items() if content.startswith(f"{me}."))
        assert repository.resolve(f"net:p{me}").number == last
    assert repository.resolve("net:best").number == processes * count - 1
    assert repository.verify().ok


READERS = """
import time
with Repository.open(sys.argv[1]) as repository:
    print("ready", flush=True)
    seen = -1
    while seen < int(sys.argv[2]):
        try:
            version = repository.resolve("net:best")
        except mlver.NotFoundError:
            continue
        assert version.number >= seen, (version.number, seen)
        seen = version.number
        assert repository.open(version.name, "w").read() == str(seen).encode() * 1000
"""


def test_readers_never_see_half_of_a_version(repository: Repository, tmp_path: Path) -> None:
    readers = [start_python(READERS, tmp_path, "24") for _ in range(2)]
    for reader in readers:
        assert reader.stdout
        assert reader.stdout.readline() == "ready\n"
    for number in range(25):
        folder = write_tree(tmp_path / "m", {"w": str(number).encode() * 1000})
        repository.add(folder, name="net", type="t", aliases=["best"])
    assert [reader.communicate(timeout=60)[1] for reader in readers] == ["", ""]


def test_temporary_files_of_killed_processes_hurt_nobody(repository: Repository, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", {"w": random.Random(1).randbytes(9 << 20)})
    code = """
class Stop:
    def start(self, total, what): pass
    def advance(self, size): os.kill(os.getpid(), 9)
    def done(self): pass
Repository.open(sys.argv[1]).add(sys.argv[2], name="net", type="t", progress=Stop())
"""
    process = start_python(code, tmp_path, folder)
    process.communicate()
    assert process.returncode == -9
    assert any((repository.path / "tmp").iterdir())
    assert repository.verify().ok
    assert repository.add(folder, name="net", type="t").version.number == 0
    assert not any((repository.path / "tmp").iterdir())
    assert repository.verify().ok
