"""Two machines and a remote, driven at random beside plain lists of what each of them was told.

A version is a token here, and its number is its place among those that a log adds: so what renumbering comes to is only
the order of lists. What `fetch` and `push` do is said once more, in a few lines: see `Log.say_again`. The first machine
has its repository open twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mlver.errors import ConflictError, MlverError, NotFoundError
from mlver.ops import source_file
from mlver.repository import Repository
from tests.stateful.sharing_model import (
    NAMES,
    Action,
    AliasMovedError,
    Event,
    Log,
    Machine,
    Naming,
    folded,
    named_again,
    titles,
    undone,
)
from tests.support.keys import make_key
from tests.support.places import quick_folder
from tests.support.trees import read_tree

CONTENTS: list[dict[str, bytes]] = [{"w": bytes([number]) * 900 + b"x" * 300} for number in range(4)]

openings = st.integers(0, 2)
names = st.sampled_from(NAMES)
contents = st.integers(0, len(CONTENTS) - 1)
labels = st.sampled_from(["a", "b"])
picks = st.integers(0, 1 << 16)


class SharingMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.home = self.stack.enter_context(quick_folder())
        self.machines = [Machine(), Machine()]
        self.remote: dict[str, list[Event]] = {}
        self.remote_names: list[Naming] = []
        self.remote_has: set[int] = set()
        self.open: list[Repository] = []
        self.key = make_key(self.home, "key")
        self.ids: dict[int, str] = {}
        self.tokens = 0
        self.acted = 0
        patch = pytest.MonkeyPatch()
        patch.setattr(source_file, "_TICK_SECONDS", 0.0)  # nobody writes to what is being added
        self.stack.callback(patch.undo)

    @initialize()
    def start(self) -> None:
        for name in ("ada", "bob"):
            (self.home / name).mkdir()
            self.open.append(Repository.init(self.home / name))
            self.open[-1].add_remote("origin", str(self.home / "remote"))
        self.open.insert(1, Repository.open(self.home / "ada"))

    def teardown(self) -> None:
        try:
            self._check_all()
        finally:
            for repository in self.open:
                repository.close()
            self.stack.close()

    def _check_all(self) -> None:
        for which in range(len(self.open)):
            self._compare(which)
            repository, machine = self.open[which], self.machines[which // 2]
            for artifact in repository.artifacts():
                self._compare_reflog(repository, artifact.name, machine.events(artifact.name.partition("-")[0]))
            assert repository.verify().ok
        if self.open:
            assert self.open[2].verify_remote().ok

    def at(self, which: int) -> tuple[Repository, Machine]:
        self.acted = which
        return self.open[which], self.machines[which // 2]

    def pick(self, machine: Machine, name: str, pick: int) -> tuple[str, Log, int] | None:
        """Return a version, of another artifact if there is none of this name."""
        for chosen in (name, *NAMES):
            log = machine.log(chosen)
            if log.versions:
                return chosen, log, log.versions[pick % len(log.versions)]
        return None

    @rule(which=openings, name=names, content=contents, alias=st.none() | labels, tag=st.none() | labels)
    def add(self, which: int, name: str, content: int, alias: str | None, tag: str | None) -> None:
        repository, machine = self.at(which)
        folder = self.home / f"model{which // 2}"
        folder.mkdir(exist_ok=True)
        for path, data in CONTENTS[content].items():
            if not (folder / path).exists() or (folder / path).read_bytes() != data:
                (folder / path).write_bytes(data)
        done = repository.add(folder, name=name, type="t", aliases=[alias] if alias else [], tags=[tag] if tag else [])
        log = machine.log(name)
        same = [token for token in log.live if log.content[token] == content]
        assert done.created == (not same)
        assert self.ids.setdefault(content, done.version.id) == done.version.id
        actions: list[Action] = []
        if same:
            token = next(token for token in same if log.number(token) == done.version.number)
        else:
            token = self.tokens = self.tokens + 1
            assert done.version.number == len(log.versions)
            actions.append(("add", token, content, tag))
        if same and tag and tag not in log.tags[token]:
            actions.append(("tag", token, tag, True))
        if alias and log.aliases.get(alias) != token:
            actions.append(("alias", alias, token, log.aliases.get(alias)))
        if name not in machine.titles():
            machine.pending_names.append((name, None, name))
        machine.record(name, *actions)
        machine.has.add(content)

    @rule(which=openings, name=names, content=contents, alias=labels)
    def add_the_best(self, which: int, name: str, content: int, alias: str) -> None:
        self.add(which, name, content, alias, None)

    @rule(which=openings, name=names, ending=st.sampled_from(["", "-x", "-y"]))
    def rename(self, which: int, name: str, ending: str) -> None:
        repository, machine = self.at(which)
        before, after = machine.titles().get(name), name + ending
        if before is not None:
            repository.rename(before, after)
        if before not in (None, after):
            machine.pending_names.append((name, before, after))

    @rule(which=openings, name=names, pick=picks, alias=labels)
    def alias(self, which: int, name: str, pick: int, alias: str) -> None:
        repository, machine = self.at(which)
        found = self.pick(machine, name, pick)
        if found is None:
            return
        name, log, token = found
        with _refused(token in log.removed):
            repository.alias(alias, f"{name}:v{log.number(token)}")
        if token not in log.removed and log.aliases.get(alias) != token:
            machine.record(name, ("alias", alias, token, log.aliases.get(alias)))

    @rule(which=openings, name=names, alias=labels)
    def delete_alias(self, which: int, name: str, alias: str) -> None:
        repository, machine = self.at(which)
        log = machine.log(name)
        with _refused(alias not in log.aliases):
            repository.delete_alias(f"{name}:{alias}")
        if alias in log.aliases:
            machine.record(name, ("alias", alias, None, log.aliases[alias]))

    @rule(which=openings, name=names, pick=picks, label=st.none() | labels, is_tag=st.booleans())
    def label(self, which: int, name: str, pick: int, label: str | None, is_tag: bool) -> None:
        repository, machine = self.at(which)
        found = self.pick(machine, name, pick)
        if found is None or found[2] in found[1].removed:
            return
        name, log, token = found
        revision = f"{name}:v{log.number(token)}"
        if not is_tag:
            repository.note(revision, label)
            if log.notes.get(token) != label:
                machine.record(name, ("note", token, label, log.notes.get(token)))
        elif label is not None:
            repository.tag(revision, label)
            if label not in log.tags[token]:
                machine.record(name, ("tag", token, label, True))
        elif log.tags[token]:
            tag = min(log.tags[token])
            repository.tag(revision, remove=[tag])
            machine.record(name, ("tag", token, tag, False))

    @rule(which=openings, name=names, pick=picks)
    def remove(self, which: int, name: str, pick: int) -> None:
        repository, machine = self.at(which)
        found = self.pick(machine, name, pick)
        if found is None or found[2] in found[1].removed:
            return
        name, log, token = found
        repository.remove(f"{name}:v{log.number(token)}", force=True)
        dropped = [("alias", alias, None, token) for alias in log.borne(token)]
        machine.record(name, *dropped, ("remove", token, True))

    @rule(which=openings, name=names, pick=picks)
    def restore(self, which: int, name: str, pick: int) -> None:
        repository, machine = self.at(which)
        found = self.pick(machine, name, 0)
        name, log, _ = found or (name, Log(), 0)
        gone = [token for token in log.versions if token in log.removed]
        if not gone:
            return
        token = gone[pick % len(gone)]
        try:
            repository.restore(f"{name}:v{log.number(token)}")
        except NotFoundError:
            assert log.content[token] not in machine.has
            assert log.content[token] not in self.remote_has
        else:
            machine.record(name, ("remove", token, False))

    @rule(which=openings, name=names, pick=picks)
    def sign(self, which: int, name: str, pick: int) -> None:
        repository, machine = self.at(which)
        found = self.pick(machine, name, pick)
        if found is None or found[2] in found[1].removed or found[1].content[found[2]] not in machine.has:
            return
        name, log, token = found
        number = log.number(token)
        repository.sign(f"{name}:v{number}", self.key)
        (new,) = signatures(repository, machine.titles()[name], number) - log.signed[token]
        machine.record(name, ("sign", token, number, new, True))

    @rule(which=openings, name=names, pick=picks, newest=st.booleans())
    def undo(self, which: int, name: str, pick: int, newest: bool) -> None:
        repository, machine = self.at(which)
        events = machine.events(name)
        if not events:
            return
        number = len(events) - 1 if newest else pick % len(events)
        event, log = events[number], machine.log(name)
        back = None if event.id in undone(events) else log.taken_back(event)
        if back is None:
            with pytest.raises(MlverError):
                repository.undo(name, str(number))
            return
        try:
            repository.undo(name, str(number))
        except NotFoundError:
            coming = {log.content[action[1]] for action in back if action[0] == "remove" and not action[2]}
            assert coming - machine.has - self.remote_has
        else:
            machine.record(name, *back, undoes=event.id)

    @rule(which=openings, name=names, pick=picks)
    def pull(self, which: int, name: str, pick: int) -> None:
        repository, machine = self.at(which)
        found = self.pick(machine, name, 0)
        name, log, _ = found or (name, Log(), 0)
        if not log.live:
            return
        token = log.live[pick % len(log.live)]
        content = log.content[token]
        out = self.home / f"out{sum(1 for _ in self.home.glob('out*'))}"
        try:
            repository.pull(f"{name}:v{log.number(token)}", out)
        except MlverError:
            assert content not in machine.has
            assert content not in self.remote_has, "whoever has it removed it, and collected it"
            return
        assert read_tree(out) == CONTENTS[content]
        machine.has.add(content)

    @rule(which=openings)
    def fetch(self, which: int) -> None:
        repository, machine = self.at(which)
        repository.fetch()
        for name in NAMES:
            self._adopt(machine, name)
        machine.pending_names = named_again(self.remote_names, machine.pending_names)
        machine.known_names = list(self.remote_names)

    def _adopt(self, machine: Machine, name: str) -> None:
        state = folded(self.remote.get(name, []))
        machine.pending[name] = state.say_again(machine.pending.get(name, []), give_way=True)
        machine.known[name] = list(self.remote.get(name, []))

    @rule(which=openings, force=st.booleans())
    def push(self, which: int, force: bool) -> None:
        repository, machine = self.at(which)
        said: dict[str, list[Event]] = {}
        try:
            for name in NAMES:
                said[name] = folded(self.remote.get(name, [])).say_again(machine.pending.get(name, []), force=force)
        except AliasMovedError:
            with pytest.raises(ConflictError):
                repository.push(force=force)
            return
        lacking = self._lacking(machine, said)
        if lacking:
            with pytest.raises(MlverError):
                repository.push(force=force)
            for name, token in lacking:
                repository.remove(f"{name}:v{machine.log(name).number(token)}", force=True)
                borne = [("alias", alias, None, token) for alias in machine.log(name).borne(token)]
                machine.record(name, *borne, ("remove", token, True))
            return
        repository.push(force=force)
        if machine.pending_names:
            self.remote_names += named_again(self.remote_names, machine.pending_names)
            machine.known_names, machine.pending_names = list(self.remote_names), []
        for name, events in said.items():
            if not machine.pending.get(name):
                continue  # what others said of it is not asked for
            added = {action[1]: action[2] for event in events for action in event.actions if action[0] == "add"}
            self.remote_has |= {content for content in added.values() if content in machine.has}
            self.remote.setdefault(name, []).extend(events)
            state = folded(self.remote[name])
            back = {
                action[1] for event in events for action in event.actions if action[0] == "remove" and not action[2]
            }
            self.remote_has |= {state.content[token] for token in back if token not in state.removed}
            machine.known[name], machine.pending[name] = list(self.remote[name]), []

    def _lacking(self, machine: Machine, said: dict[str, list[Event]]) -> list[tuple[str, int]]:
        """Return the versions that come back with a push, and whose content is nowhere any more."""
        found = []
        for name, events in said.items():
            state = folded(self.remote.get(name, []), events)
            for action in (action for event in events for action in event.actions):
                is_back = action[0] == "remove" and not action[2] and action[1] not in state.removed
                if is_back and state.content[action[1]] not in machine.has | self.remote_has:
                    found.append((name, action[1]))
        return list(dict.fromkeys(found))

    @rule(
        which=openings,
        what=st.sampled_from(["gc", "gc remote", "repack", "repair", "reopen", "clone"]),
        at_once=st.booleans(),
    )
    def keep_in_order(self, which: int, what: str, at_once: bool) -> None:
        repository, machine = self.at(which)
        grace = "0" if at_once else "2w"
        if what == "gc":
            repository.gc(grace)
            machine.has &= self._used(map(machine.log, NAMES)) if at_once else machine.has
        elif what == "gc remote" and any(self.remote.values()):
            repository.gc_remote(grace=grace)
            used = self._used(folded(events) for events in self.remote.values())
            self.remote_has &= used if at_once else self.remote_has
        elif what == "repack":
            repository.repack("fast")
        elif what == "repair":
            assert repository.repair().left.ok
        elif what == "reopen":
            self.open[which].close()
            self.open[which] = Repository.open(repository.path.parent)
        elif what == "clone":
            self._check_clone()

    def _used(self, logs: Iterable[Log]) -> set[int]:
        return {log.content[token] for log in logs for token in log.live}

    def _check_clone(self) -> None:
        place = self.home / f"copy{sum(1 for _ in self.home.glob('copy*'))}"
        with Repository.clone(str(self.home / "remote"), place) as copy:
            for name, events in self.remote.items():
                if folded(events).versions:
                    self._compare_log(copy, titles(self.remote_names)[name], events)

    @invariant()
    def says_what_the_model_says(self) -> None:
        if self.open:
            self._compare(self.acted)

    def _compare(self, which: int) -> None:
        repository, machine = self.open[which], self.machines[which // 2]
        there = {artifact.name for artifact in repository.artifacts()}
        called = {name: title for name, title in machine.titles().items() if machine.log(name).versions}
        assert there == set(called.values())
        for name, title in called.items():
            self._compare_log(repository, title, machine.events(name))

    def _compare_log(self, repository: Repository, name: str, events: list[Event]) -> None:
        log = folded(events)
        found = repository.log(name, removed=True)
        assert [version.number for version in found] == list(reversed(range(len(log.versions))))
        latest = log.live[-1] if log.live else None
        for version in found:
            token = log.versions[version.number]
            assert version.id == self.ids[log.content[token]]
            assert version.removed == (token in log.removed)
            assert version.aliases == (("latest",) if token == latest else ()) + tuple(log.borne(token))
            assert set(version.tags) == log.tags[token]
            assert version.note == log.notes.get(token)
            assert signatures(repository, name, version.number) == log.signed[token]

    def _compare_reflog(self, repository: Repository, name: str, events: list[Event]) -> None:
        told = {entry.event.number: entry.undone for entry in repository.reflog(name) if not entry.is_naming}
        back = undone(events)
        assert told == {number: event.id in back for number, event in enumerate(events)}


def signatures(repository: Repository, name: str, number: int) -> set[str]:
    index = repository._opened.index
    artifact = index.artifact(name)
    assert artifact is not None
    return {signature.signature for signature in index.signatures(artifact, number)}


@contextmanager
def _refused(is_refused: bool) -> Iterator[None]:
    """Expect that something is not found, if it is to be refused."""
    if not is_refused:
        yield
        return
    with pytest.raises(NotFoundError):
        yield


def run(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Drive a machine."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck), deadline=None
        ),
    )


def test_two_machines_and_a_remote() -> None:
    run(SharingMachine, 100, 75)
