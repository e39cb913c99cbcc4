"""What fuzzing found once is read again with every run of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.check import check

CRASHES = sorted((Path(__file__).parent / "crashes").glob("*"))


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.name)
def test_what_fuzzing_found_stays_fixed(path: Path) -> None:
    check(path.read_bytes())
