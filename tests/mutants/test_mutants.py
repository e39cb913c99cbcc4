"""That the bugs of the table can still be planted, and name tests that are there. `__main__.py` runs them."""

from __future__ import annotations

import ast
from itertools import pairwise

import pytest

from tests.mutants.__main__ import PROJECT, mutated
from tests.mutants.table import MUTANTS, Mutant

ids = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@ids
def test_it_can_be_planted(mutant: Mutant) -> None:
    ast.parse(mutated(mutant))


@ids
def test_its_catchers_are_there(mutant: Mutant) -> None:
    assert mutant.catchers
    for catcher in mutant.catchers:
        path, _, test = catcher.partition("::")
        text = (PROJECT / path).read_text()
        assert f"def {test.partition('[')[0]}(" in text or not test


def test_no_two_are_called_alike() -> None:
    names = sorted(mutant.name for mutant in MUTANTS)
    assert all(one != other for one, other in pairwise(names))
    assert len(MUTANTS) >= 25
