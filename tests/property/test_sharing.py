"""Whatever people do in whatever order: after all have pushed and fetched, all see the same, and no version is lost."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mlver.errors import ConflictError, MlverError, NotFoundError, UsageError
from mlver.ops.artifacts import rename
from mlver.ops.init import init_repository
from mlver.ops.labels import change_tags, delete_alias, set_alias, set_note
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.configure import add_remote
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.ops.removal import remove, restore
from mlver.ops.undo import undo
from tests.support.places import quick_folder
from tests.unit.ops.remotes.stories import record

PEOPLE = 3
NAMES = ["other", "net", "NET", "net"]
STEP = st.tuples(
    st.integers(0, PEOPLE - 1),
    st.sampled_from(
        [
            "add",
            "add",
            "alias",
            "unalias",
            "tag",
            "note",
            "remove",
            "restore",
            "undo",
            "rename",
            "rename anew",
            "push",
            "force",
            "fetch",
        ]
    ),
    st.integers(0, 3),
)


def act(person: OpenRepository, verb: str, number: int, serial: int) -> str | None:  # noqa: C901 - a table of verbs
    """Do one thing; return the id of a new version."""
    version = f"net:v{number}"
    if verb == "add":
        name = record(person, b"%d" % serial, NAMES[number], aliases=["new"] if number == 3 else [])
        return person.resolve(name).version.id
    if verb == "alias":
        set_alias(person, "best", version)
    elif verb == "unalias":
        delete_alias(person, "net:best")
    elif verb == "tag":
        change_tags(person, version, [f"t{serial % 3}"])
    elif verb == "note":
        set_note(person, version, f"note {serial}")
    elif verb == "remove":
        remove(person, [version], force=True)
    elif verb == "restore":
        restore(person, [version])
    elif verb == "undo":
        undo(person, "net")
    elif verb == "rename":
        rename(person, NAMES[number], NAMES[(number + serial) % 4])
    elif verb == "rename anew":
        rename(person, NAMES[number], f"renamed{serial % 5}")
    elif verb == "fetch":
        fetch(person)
    else:
        push(person, force=verb == "force")
    return None


def push_at_last(person: OpenRepository) -> None:
    """Push; where a name cannot be told from another one, do what the hint says."""
    try:
        push(person, force=True)
    except ConflictError as conflict:
        old = re.search(r"mlver rename (\S+) NAME", conflict.hint or "")
        assert old is not None
        rename(person, old[1], f"{person.root.parent.name}-{old[1]}")
        push_at_last(person)


def view(person: OpenRepository) -> list[object]:
    """Return everything a person sees of versions."""
    person.index.refresh()
    return [
        (artifact.name, artifact.type, version[2:])
        for artifact in person.index.artifacts()
        for version in person.index.versions(artifact, removed=True)
    ]


@settings(max_examples=40)
@given(st.lists(STEP, max_size=30))
def test_all_see_the_same_in_the_end(steps: list[tuple[int, str, int]]) -> None:
    with quick_folder() as place:
        people = [open_repository(Path(init_repository(place / str(n)).path)) for n in range(PEOPLE)]
        for person in people:
            add_remote(person, "origin", str(place / "remote"))
        added = set()
        for serial, (who, verb, number) in enumerate(steps):
            try:
                added.add(act(people[who], verb, number, serial))
            except (NotFoundError, ConflictError, UsageError):
                pass
            except MlverError as error:
                if type(error) is not MlverError:  # damage, above all
                    raise
        for person in people:
            push_at_last(person)
        for person in people:
            fetch(person)
        views = [view(person) for person in people]
        for person, seen in zip(people, views, strict=True):
            assert seen == views[0]
            (person.root / "index.sqlite").unlink()
            again = open_repository(person.root)
            assert view(again) == seen, "folded anew"
            again.close()
            person.close()
        everything = {version[2][1] for version in views[0]}  # type: ignore[index]
        assert added - {None} <= everything
