"""Whatever runs do in whatever order: nothing follows from itself, and all machines see the same in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mlver.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from mlver.history.records import Graph, VersionKey
from mlver.ids import RunId
from mlver.ops.init import init_repository
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.configure import add_remote
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.ops.runs.find import find_run
from mlver.ops.runs.use import use_version
from mlver.store.memory import MemoryStorage
from tests.support.places import quick_folder
from tests.unit.ops.remotes.stories import record

PEOPLE = 2
RUNS = 3
VERBS = ["begin", "use", "use", "add", "add", "add", "add from", "end", "push", "fetch"]
STEP = st.tuples(
    st.integers(0, PEOPLE - 1),
    st.sampled_from(VERBS),
    st.integers(0, RUNS - 1),
    st.integers(0, 2),
    st.sampled_from(["data", "net"]),
)
Told = dict[str, tuple[str, set[str], set[str]]]


def act(person: OpenRepository, verb: str, run: RunId, number: int, name: str) -> None:
    """Do one thing, with few contents, so that versions are made again and again."""
    person.run_variable = None
    if verb == "begin":
        begin_run(person, run=run)
    elif verb == "use":
        find_run(person, run)
        use_version(person, run, f"{name}:v{number}")
    elif verb == "add":
        person.run_variable = run_variable(person, run)
        record(person, b"%d" % number, name)
    elif verb == "add from":
        record(person, b"more %d" % number, name, uses=[f"data:v{number}"])
    elif verb == "end":
        end_run(person, run, RunOutcome("finished", number))
    elif verb == "push":
        push(person)
    else:
        fetch(person)


def told(person: OpenRepository) -> Told:
    """Return what is known of each run, with the contents that it used and made."""
    person.index.refresh()
    return {
        run.id: (run.status, {f"{x.name} {x.id}" for x in run.inputs}, {f"{x.name} {x.id}" for x in run.outputs})
        for run in person.runs.runs()
    }


def is_without_circle(graph: Graph) -> bool:
    """Tell whether everything can be put in an order in which it may have come about."""
    needs: dict[VersionKey | RunId, set[VersionKey | RunId]] = {}
    links: list[tuple[VersionKey | RunId, VersionKey | RunId]] = [*graph.used, *graph.made, *graph.derived]
    for before, after in links:
        needs.setdefault(before, set())
        needs.setdefault(after, set()).add(before)
    while ready := {node for node, others in needs.items() if not others & needs.keys()}:
        for node in ready:
            del needs[node]
    return not needs


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP.map(lambda step: (0, *step[1:])), min_size=5, max_size=40))
def test_nothing_follows_from_itself(steps: list[tuple[int, str, int, int, str]]) -> None:
    with quick_folder() as place:
        person = open_repository(Path(init_repository(place / "one").path))
        for _, verb, run, number, name in steps:
            if verb in ("push", "fetch"):
                continue
            try:
                act(person, verb, RunId(f"{run:016x}"), number, name)
            except (ConflictError, NotFoundError, UsageError):
                continue
            assert is_without_circle(person.runs.graph()), f"{verb} closed a circle"
        before = (told(person), person.runs.graph())
        person.close()
        (person.root / "index.sqlite").unlink()
        again = open_repository(person.root)
        assert (told(again), again.runs.graph()) == before, "a lost cache is rebuilt to the same"
        again.close()


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, min_size=5, max_size=40))
def test_all_see_the_same_in_the_end(steps: list[tuple[int, str, int, int, str]]) -> None:
    with quick_folder() as place:
        people = [open_repository(Path(init_repository(place / f"p{n}").path)) for n in range(PEOPLE)]
        for person in people:
            add_remote(person, "origin", str(place / "remote"))
        for who, verb, run, number, name in steps:
            try:
                act(people[who], verb, RunId(f"{who:08x}{run:08x}"), number, name)
            except (ConflictError, NotFoundError, UsageError):
                continue
        mine = [{run: links[0] for run, links in told(person).items()} for person in people]
        for person in [*people, *people]:
            push(person)
            fetch(person)
        first, *others = [told(person) for person in people]
        assert all(other == first for other in others)
        for who, known in enumerate(mine):
            for begun, status in known.items():
                assert first[begun][0] == status or not begun.startswith(f"{who:08x}"), "what was said of a run is lost"
        for person in people:
            person.close()


def test_a_blob_of_a_run_declares_its_size_and_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlver.digests import blob_id
    from mlver.history import run_blob

    undeclared = zstandard.ZstdCompressor(write_content_size=False).compress(b"a patch")
    with pytest.raises(IntegrityError, match="declares"):
        run_blob.check_blob(undeclared, blob_id(b"a patch"))
    monkeypatch.setattr(run_blob, "MAX_BLOB_BYTES", 3)
    with pytest.raises(UsageError, match="it may have 3"):
        run_blob.store_blob(MemoryStorage(), b"a patch")
    with pytest.raises(IntegrityError, match="declares 7 bytes"):
        run_blob.check_blob(zstandard.compress(b"a patch"), blob_id(b"a patch"))
