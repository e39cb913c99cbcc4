"""`python -m tests.support.pusher REPOSITORY WRITER COUNT`: add and push versions, one by one.

Killed and run again, it goes on: content that is there already makes no second version, so whoever restarts it need not
know how far it came.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mlver.ops.add import AddRequest, add
from mlver.ops.opening import open_repository
from mlver.ops.remotes.push import push

ARTIFACT = "shared"


def main(root: Path, writer: str, count: int) -> None:
    """Give a remote `count` versions of one artifact that nobody else gives it."""
    repository = open_repository(root)
    with tempfile.TemporaryDirectory(prefix="mlver-pusher-") as folder:
        file = Path(folder) / "weights"
        for number in range(count):
            file.write_text(f"{writer} {number}\n" * 50)
            add(repository, AddRequest([file], name=ARTIFACT, type="model"))
            push(repository)
    repository.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
