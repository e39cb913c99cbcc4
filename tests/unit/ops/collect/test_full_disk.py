"""A disk that is full: `gc` is what people run then, and it makes room."""

from __future__ import annotations

from pathlib import Path

from tests.support.small_disk import on_small_disk

_CODE = """
import sys
from pathlib import Path
import numpy as np
from mlver.errors import MlverError
from mlver.repository import Repository

home = Path(sys.argv[1])
random = np.random.default_rng(1)
outside = Path(sys.argv[2])
count = 0
with Repository.init(home) as repository:
    while True:
        (outside / "w").write_bytes(random.bytes(1_500_000))
        try:
            repository.add(outside / "w", name="net", type="t")
        except MlverError as error:
            assert "No space left" in error.message, error.message
            break
        count += 1
    repository.remove(*(f"net:v{number}" for number in range(0, count - 2)))
filler = open(home / "filler", "wb", buffering=0)
try:
    while filler.write(bytes(4096)) == 4096:
        pass
except OSError:
    pass
assert __import__("os").statvfs(home).f_bavail == 0
with Repository.open(home) as repository:
    freed = repository.gc("0").collected.freed_bytes
    assert repository.verify().ok
    assert [version.number for version in repository.log("net")] == [count - 1, count - 2]
    (outside / "w").write_bytes(random.bytes(1_500_000))
    repository.add(outside / "w", name="net")
print(count, freed)
"""


def test_it_makes_room_on_a_disk_without_any(tmp_path: Path) -> None:
    count, freed = map(int, on_small_disk(_CODE, tmp_path).split())
    assert count >= 12  # a pack asks for more room than it needs, and does without it
    assert freed > 1_400_000 * (count - 2)
