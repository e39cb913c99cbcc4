"""Two opened repositories on one `.mlver`, driven at random beside a plain dictionary of what they must say.

The model knows nothing of logs and events: it has cells (an alias, a tag of a version, whether it is removed, …), and
a command is a list of cells with their old and new values. Undo is allowed when every cell still has its new value and
no alias would name a removed version; that is all the model says of it. What `gc --grace 0` deleted is what no version
uses that is not removed: then a version with that content cannot come back.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mlver.errors import ConflictError, MlverError, NotFoundError, UsageError
from mlver.ids import RunId
from mlver.ops import source_file
from mlver.ops.collect.auto import collect_now_and_then
from mlver.ops.removal import whole_artifact
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.ops.runs.use import use_version
from mlver.ops.undo import ReflogEntry
from mlver.repository import Repository
from tests.stateful.artifact_model import Cell, Model
from tests.support.keys import make_key
from tests.support.places import quick_folder
from tests.support.trees import read_tree

Content = dict[str, bytes | None]
CONTENTS: list[Content] = [
    {"w": b"one"},
    {"w": b"two"},
    {"w": b"one", "sub/x": b"\0" * 70_000},
    {"w": b"two", "hollow/": None},
    {"v": b"one", "w": b"two" * 120_000},
]
NAMES = ["net", "data", "web"]

opened = st.integers(0, 1)
names = st.sampled_from(NAMES)
contents = st.integers(0, len(CONTENTS) - 1)
labels = st.sampled_from(["a", "b"])
picks = st.integers(0, 1 << 16)


class RepositoryMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.home = self.stack.enter_context(quick_folder())
        self.models: list[Model] = []
        self.present: set[int] = set()
        """Contents that are in the store: they were added, and not deleted since."""
        self.acted = 0
        self.key = make_key(self.home, "ada")
        self.signed: list[object] = []
        """What was said of each version that was signed, at that time."""
        self.runs: dict[RunId, tuple[str, tuple[Model, int] | None]] = {}
        patch = pytest.MonkeyPatch()
        patch.setattr(source_file, "_TICK_SECONDS", 0.0)  # nobody writes to what is being added
        self.stack.callback(patch.undo)
        self.by_name: dict[str, Model] = {}
        self.current: Model | None = None
        self.open: list[Repository] = []

    @initialize()
    def start(self) -> None:
        self.open = [Repository.init(self.home), Repository.open(self.home)]

    def teardown(self) -> None:
        try:
            for which, repository in enumerate(self.open):
                self._compare_all(which)
                for model in self.models:
                    self.reflog(repository, model)
        finally:
            for repository in self.open:
                repository.close()
            self.stack.close()

    def write(self, content: Content) -> Path:
        """Bring the folder that is added to `content`, touching only what differs."""
        folder = self.home / "model"
        folder.mkdir(exist_ok=True)
        there = read_tree(folder)
        for path in there.keys() - content.keys():
            (folder / path).rmdir() if path.endswith("/") else (folder / path).unlink()
        for path, data in content.items():
            place = folder / path
            place.parent.mkdir(exist_ok=True)
            if data is None:
                place.mkdir(exist_ok=True)
            elif there.get(path) != data:
                place.write_bytes(data)
        for place in folder.iterdir():
            if place.is_dir() and not any(place.iterdir()) and f"{place.name}/" not in content:
                place.rmdir()
        return folder

    def pick(self, name: str) -> Model | None:
        return self.by_name.get(name)

    @rule(which=opened, name=names, content=contents, alias=st.none() | labels, tag=st.none() | labels)
    def add(self, which: int, name: str, content: int, alias: str | None, tag: str | None) -> None:
        self._add(which, name, content, alias, tag, {})

    def _add(
        self,
        which: int,
        name: str,
        content: int,
        alias: str | None,
        tag: str | None,
        metrics: dict[str, int],
        keep_if_best: str | None = None,
    ) -> None:
        model = self.by_name.get(name)
        if model and alias and (alias in model.tracked() or model.is_protected(alias)):
            with pytest.raises(MlverError, match=r"by itself|is protected"):
                self.open[which].add(self.write(CONTENTS[content]), name=name, aliases=[alias])
            return
        done = self.open[which].add(
            self.write(CONTENTS[content]), name=name, type="t", metrics=metrics, keep_if_best=keep_if_best,
            aliases=[alias] if alias else [], tags=[tag] if tag else [], metadata={"c": content},
        )  # fmt: skip
        if model is None:
            model = Model(name, cells={("name",): name})
            self.models.append(model)
            self.by_name[name] = model
        self.present.add(content)
        same = [number for number in model.live() if model.contents[number] == content]
        number = done.version.number
        assert done.created == (not same)
        assert number in (same or [len(model.contents)])
        pairs: list[tuple[Cell, Any]] = [(("meta", number, "c"), content)]
        if not same:
            model.contents.append(content)
            model.cells.update({("meta", number, "c"): content} | ({("tag", number, tag): True} if tag else {}))
            pairs = [(("removed", number), False)]
        elif tag:
            pairs.append((("tag", number, tag), True))
        if alias:
            pairs.append((("alias", alias), number))
        for metric, value in metrics.items():
            if same:
                pairs.append((("metric", number, metric), value))
            else:
                model.cells["metric", number, metric] = value
        model.set(*pairs)
        self.current = model

    def version(self, model: Model, pick: int) -> int:
        return pick % len(model.contents)

    @rule(which=opened, name=names, alias=labels, pick=picks, force=st.booleans())
    def alias(self, which: int, name: str, alias: str, pick: int, force: bool) -> None:
        model = self.pick(name)
        if model is None:
            with pytest.raises(NotFoundError):
                self.open[which].alias(alias, f"{name}:v0")
            return
        number = self.version(model, pick)
        if model.cells["removed", number]:
            with pytest.raises(NotFoundError):
                self.open[which].alias(alias, f"{name}:v{number}")
            return
        is_there = model.set_aliases().get(alias) == number
        if alias in model.tracked() or (model.is_protected(alias) and not force and not is_there):
            with pytest.raises(MlverError, match=r"by itself|is protected"):
                self.open[which].alias(alias, f"{name}:v{number}", force=force)
            return
        self.open[which].alias(alias, f"{name}:v{number}", force=force)
        model.set((("alias", alias), number))

    @rule(which=opened, name=names, alias=labels, force=st.booleans())
    def delete_alias(self, which: int, name: str, alias: str, force: bool) -> None:
        model = self.pick(name)
        if model is None or not (alias in model.set_aliases() or alias in model.tracked()):
            with pytest.raises(NotFoundError):
                self.open[which].delete_alias(f"{name}:{alias}")
            return
        if model.is_protected(alias) and not force:
            with pytest.raises(MlverError, match="is protected"):
                self.open[which].delete_alias(f"{name}:{alias}")
            return
        self.open[which].delete_alias(f"{name}:{alias}", force=force)
        if alias in model.tracked():
            model.set((("track", alias), None))
        else:
            model.set((("alias", alias), None), (("protect", alias), None))

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, alias=labels, text=st.sampled_from(["max(m)", "min(m)", None]))
    def track(self, which: int, name: str, alias: str, text: str | None) -> None:
        """An alias goes where the metric says from then on, or stays where that was."""
        model = self.by_name.get(name, self.models[0])
        revision = f"{model.name}:{alias}"
        if text is None and alias not in model.tracked():
            with pytest.raises(NotFoundError, match="follows nothing"):
                self.open[which].track(revision, None)
        elif text is not None and model.is_protected(alias):
            with pytest.raises(MlverError, match="cannot move by itself"):
                self.open[which].track(revision, text)
        elif text is None:
            stays = model.aliases().get(alias)
            assert self.open[which].track(revision, None) == (None if stays is None else f"{model.name}:v{stays}")
            model.set((("track", alias), None), (("alias", alias), stays))
        else:
            told = self.open[which].track(revision, text)
            model.set((("alias", alias), None), (("track", alias), text))
            names = model.aliases().get(alias)
            assert told == (None if names is None else f"{model.name}:v{names}")

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, alias=labels, protected=st.booleans())
    def protect(self, which: int, name: str, alias: str, protected: bool) -> None:
        model = self.by_name.get(name, self.models[0])
        revision = f"{model.name}:{alias}"
        if protected and alias in model.tracked():
            with pytest.raises(UsageError, match="by itself"):
                self.open[which].protect(revision)
        elif not model.is_protected(alias) and alias not in model.aliases():
            with pytest.raises(NotFoundError):
                self.open[which].protect(revision, protected)
        else:
            self.open[which].protect(revision, protected)
            model.set((("protect", alias), protected or None))

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, pick=picks, value=st.none() | labels, kind=st.sampled_from(["tag", "note", "meta"]))
    def label(self, which: int, name: str, pick: int, value: str | None, kind: str) -> None:
        model = self.by_name.get(name, self.models[0])
        number = self.version(model, pick)
        revision = f"{model.name}:v{number}"
        if model.cells["removed", number]:
            with pytest.raises(NotFoundError):
                self.open[which].note(revision, value)
        elif kind == "note":
            self.open[which].note(revision, value)
            model.set((("note", number), value))
        elif kind == "tag":
            has = model.keys("tag", number)
            if value is None and not has:
                return
            tag = value or min(has)
            self.open[which].tag(revision, *([tag] if value else []), remove=[] if value else [tag])
            model.set((("tag", number, tag), True if value else None))
        else:
            has = model.keys("meta", number)
            if value is None and not has:
                return
            key = value or min(has)
            self.open[which].meta(revision, {key: pick} if value else {}, remove=[] if value else [key])
            model.set((("meta", number, key), pick if value else None))

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, pick=picks, force=st.booleans())
    def remove(self, which: int, name: str, pick: int, force: bool) -> None:
        model = self.by_name.get(name, self.models[0])
        number = self.version(model, pick)
        borne = {alias for alias, to in model.aliases().items() if to == number}
        if model.cells["removed", number] or (borne and not force):
            with pytest.raises(MlverError, match=r"was removed|bears the alias"):
                self.open[which].remove(f"{model.name}:v{number}", force=force)
            return
        done = self.open[which].remove(f"{model.name}:v{number}", force=force)
        assert set(done.dropped_aliases) == {f"{model.name}:{alias}" for alias in borne - model.tracked().keys()}
        model.set(*model.dropped([number]), (("removed", number), True))

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, pick=picks)
    def restore(self, which: int, name: str, pick: int) -> None:
        model = self.by_name.get(name, self.models[0])
        gone = sorted(set(range(len(model.contents))) - set(model.live()))
        number = gone[pick % len(gone)] if gone else 0
        if not gone:
            with pytest.raises(NotFoundError, match="is not removed"):
                self.open[which].restore(f"{model.name}:v{number}")
            return
        if model.contents[number] not in self.present:
            with pytest.raises(NotFoundError, match="is gone"):
                self.open[which].restore(f"{model.name}:v{number}")
            return
        self.open[which].restore(f"{model.name}:v{number}")
        model.set((("removed", number), False))

    @rule(which=opened, old=names, new=names)
    def rename(self, which: int, old: str, new: str) -> None:
        model, owner = self.by_name.get(old), self.by_name.get(new)
        if model is None or owner not in (None, model):
            with pytest.raises((NotFoundError, UsageError)):
                self.open[which].rename(old, new)
            return
        self.open[which].rename(old, new)
        self.by_name[new] = model
        model.set((("name",), new))

    @rule(which=opened, name=names)
    def switch(self, which: int, name: str) -> None:
        model = self.by_name.get(name)
        if model is None:
            with pytest.raises(NotFoundError):
                self.open[which].switch(name)
            return
        self.open[which].switch(name)
        self.current = model

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, pick=picks, force=st.booleans())
    def undo(self, which: int, name: str, pick: int, force: bool) -> None:
        model = self.by_name.get(name, self.models[0])
        repository = self.open[which]
        number = pick % len(model.events)
        entry = self.reflog(repository, model)[number]
        is_kept = model.would_move_protected(number) and not force
        if model.is_undone(number) or not model.may_undo(number) or self._would_miss(model, number) or is_kept:
            with pytest.raises(MlverError) as caught:
                repository.undo(model.name, entry.id, force=force)
            may_be_missing = model.is_undone(number) or self._would_miss(model, number)
            assert isinstance(caught.value, ConflictError) or may_be_missing or is_kept
            return
        assert repository.undo(model.name, entry.id, force=force).event == entry.event
        model.undo(number)

    def _would_miss(self, model: Model, number: int) -> bool:
        """Whether taking an event back would bring a version back whose content was deleted."""
        back = [cell[1] for cell, old, new in model.events[number] if cell[0] == "removed" and new and not old]
        return any(model.contents[version] not in self.present for version in back)

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names)
    def undo_newest(self, which: int, name: str) -> None:
        model = self.by_name.get(name, self.models[0])
        open_events = [n for n in range(len(model.events)) if n not in model.undoes and not model.is_undone(n)]
        if not open_events:
            with pytest.raises(NotFoundError, match="nothing to undo"):
                self.open[which].undo(model.name)
        elif model.would_move_protected(open_events[-1]):
            with pytest.raises(MlverError):
                self.open[which].undo(model.name)
        elif not model.may_undo(open_events[-1]) or self._would_miss(model, open_events[-1]):
            with pytest.raises((ConflictError, NotFoundError)):
                self.open[which].undo(model.name)
        else:
            self.open[which].undo(model.name)
            model.undo(open_events[-1])

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, pick=picks)
    def pull(self, which: int, name: str, pick: int) -> None:
        model = self.by_name.get(name, self.models[0])
        if not model.live():
            return
        number = model.live()[pick % len(model.live())]
        with tempfile.TemporaryDirectory(dir=self.home) as place:
            out = Path(place) / "out"
            self.open[which].pull(f"{name if name in self.by_name else model.name}:v{number}", out)
            assert read_tree(out) == CONTENTS[model.contents[number]]

    @precondition(lambda self: self.models)
    @rule(which=opened, what=st.sampled_from(["gc", "gc now", "gc auto", "repack", "verify", "repair"]))
    def keep_in_order(self, which: int, what: str) -> None:
        """Nothing that can be seen changes, but that removed versions may be gone for good."""
        repository = self.open[which]
        live = {model.contents[number] for model in self.models for number in model.live()}
        if what == "gc now":
            repository.gc("0")
            self.present &= live
        elif what == "gc":
            assert repository.gc("2w").collected.versions == ()
        elif what == "gc auto":
            repository._run(lambda: collect_now_and_then(repository._opened))
        elif what == "repack":
            assert repository.repack("fast").damaged == ()
        elif what == "verify":
            assert repository.verify().ok
        else:
            assert repository.repair().is_needless

    @precondition(lambda self: self.models)
    @rule(which=opened, last=st.integers(1, 3))
    def retain(self, which: int, last: int) -> None:
        """Keep the last ones of each artifact, what bears a label, and the latest; the others are removed."""
        self.open[which].retain({"last": last})
        self.open[which].gc("2w")
        self.open[which].retain(None)
        for model in self.models:
            model.set(*[(("removed", number), True) for number in self._going(model, last)])

    @precondition(lambda self: self.models)
    @rule(which=opened, last=st.integers(1, 3), name=names, pick=picks, note=labels, disturb=st.booleans())
    def plan_and_apply(self, which: int, last: int, name: str, pick: int, note: str, disturb: bool) -> None:
        """A plan does what it says, or nothing if the other opening did something in between."""
        self.open[which].retain({"last": last})
        plan = self.open[which].plan_gc("2w")
        going = [(model, number) for model in self.models for number in self._going(model, last)]
        assert {item.version for item in plan.remove} == {f"{model.name}:v{number}" for model, number in going}
        before = sum(len(model.events) for model in self.models)
        if disturb:
            self.label(1 - which, name, pick, note, "note")
        if sum(len(model.events) for model in self.models) != before:
            with pytest.raises(ConflictError, match="does not fit any more"):
                self.open[which].apply_gc(plan)
        else:
            self.open[which].apply_gc(plan)
            for model in self.models:
                gone = [number for of, number in going if of is model]
                model.set(*[(("removed", number), True) for number in gone])
        self.open[which].retain(None)

    def _going(self, model: Model, last: int) -> list[int]:
        live = model.live()
        kept = {*live[-last:], *model.aliases().values(), *(n for n in live if model.keys("tag", n))}
        return [number for number in live if number not in kept]

    @rule(which=opened, name=names, content=contents, value=st.integers(-2, 2))
    def add_if_best(self, which: int, name: str, content: int, value: int) -> None:
        """Only what is better than all that are there is added."""
        model = self.by_name.get(name)
        live = model.live() if model else []
        standing = [model.cells["metric", n, "m"] for n in live if "m" in model.keys("metric", n)] if model else []
        if not standing or value > max(standing):
            self._add(which, name, content, None, None, {"m": value}, keep_if_best="m:max")
            return
        done = self.open[which].add(
            self.write(CONTENTS[content]), name=name, type="t", metrics={"m": value}, keep_if_best="m:max"
        )
        assert done.not_better
        assert not done.created
        assert done.version.metrics["m"] == max(standing)

    @precondition(lambda self: self.models)
    @rule(which=opened, name=names, pick=picks)
    def sign(self, which: int, name: str, pick: int) -> None:
        model = self.by_name.get(name, self.models[0])
        if not model.live():
            return
        number = model.live()[pick % len(model.live())]
        self.open[which].sign(f"{model.name}:v{number}", self.key)
        self.signed.append(model.said_of(number))
        model.set((("signature", number, len(self.signed) - 1), True))

    @precondition(lambda self: any(model.live() for model in self.models))
    @rule(which=opened)
    def check_signatures(self, which: int) -> None:
        """A signature counts as long as all is said that was said when it was made, however that came about."""
        for check in self.open[which].verify_signatures(None, [self.key.with_suffix(".pub")]):
            name, _, number = check.version.rpartition(":v")
            model = next(model for model in self.models if model.name == name)
            said = [self.signed[int(place)] for place in model.keys("signature", int(number))]
            expected = "valid" if model.said_of(int(number)) in said else "changed" if said else "unsigned"
            assert (check.version, check.status) == (check.version, expected)

    @rule(which=opened, name=names, pick=picks, status=st.sampled_from(["finished", "failed", None]))
    def record_run(self, which: int, name: str, pick: int, status: Literal["finished", "failed"] | None) -> None:
        """A run uses a version, which may be renamed or removed later, and ends, or does not."""
        opened = self.open[which]._opened
        run = RunId(f"{len(self.runs) + 1:016x}")
        model = self.pick(name)
        used = (model, model.live()[pick % len(model.live())]) if model and model.live() else None
        self.open[which]._run(lambda: begin_run(opened, run=run, name=name))
        if used is not None:
            self.open[which]._run(lambda: use_version(opened, run, f"{name}:v{used[1]}"))
        if status is not None:
            self.open[which]._run(lambda: end_run(opened, run, RunOutcome(status, 0, 1.0)))
        self.runs[run] = (status or "running", used)

    @precondition(lambda self: any(model.live() for model in self.models))
    @rule(which=opened, name=names, force=st.booleans())
    def remove_all(self, which: int, name: str, force: bool) -> None:
        model = self.by_name.get(name, self.models[0])
        if not model.live():
            return
        opened = self.open[which]
        versions = opened._run(lambda: whole_artifact(opened._opened, model.name)).revisions
        assert len(versions) == len(model.live())
        if model.aliases() and not force:
            with pytest.raises(MlverError, match="bears the alias"):
                self.open[which].remove(*versions)
            return
        self.open[which].remove(*versions, force=force)
        gone = [(("removed", number), True) for number in model.live()]
        model.set(*model.dropped(model.live()), *gone)

    @rule(which=opened)
    def reopen(self, which: int) -> None:
        self.open[which].close()
        self.open[which] = Repository.open(self.home)

    @rule()
    def lose_index(self) -> None:
        (self.home / ".mlver" / "index.sqlite").unlink(missing_ok=True)

    @rule(keep=st.integers(0, 1 << 15), junk=st.binary(min_size=1, max_size=40))
    def spoil_index(self, keep: int, junk: bytes) -> None:
        index = self.home / ".mlver" / "index.sqlite"
        if index.exists():
            good = index.read_bytes()
            page = keep // 4096 * 4096
            index.write_bytes(good[:page] + (junk * 4096)[: len(good) - page])

    @rule(which=opened)
    def lose_packs_and_mend(self, which: int) -> None:
        """Lose all bytes, and add everything again: nothing else changes."""
        shutil.rmtree(self.home / ".mlver" / "packs", ignore_errors=True)
        used = {content for model in self.models for content in model.contents} & self.present
        live = {model.contents[number] for model in self.models for number in model.live()}
        assert not live or not self.open[which].verify().ok
        for content in sorted(used):
            model = next(model for model in self.models if content in model.contents)
            self.add(which, model.name, content, None, None)
        assert self.open[1 - which].verify().ok

    @invariant()
    def says_what_the_model_says(self) -> None:
        """The two take turns, so what one did is seen by the other, sooner or later."""
        if self.open:
            self.acted = 1 - self.acted
            self._compare_all(self.acted)

    def _compare_all(self, which: int) -> None:
        repository = self.open[which]
        assert {artifact.name for artifact in repository.artifacts()} == {model.name for model in self.models}
        for model in self.models:
            self._compare(repository, model)
        runs = repository._run(repository._opened.runs.runs)
        told = {run.id: (run.status, [link.name for link in run.inputs]) for run in runs}
        assert told == {
            run: (status, [f"{used[0].name}:v{used[1]}"] if used else []) for run, (status, used) in self.runs.items()
        }
        if self.current is not None and self.current.live():
            assert repository.resolve("latest").artifact == self.current.name

    def _compare(self, repository: Repository, model: Model) -> None:
        latest = max(model.live(), default=None)
        found = repository.log(model.name, removed=True)
        assert [version.number for version in found] == list(reversed(range(len(model.contents))))
        for version in found:
            number = version.number
            named = sorted(alias for alias, to in model.aliases().items() if to == number)
            assert version.aliases == (("latest",) if number == latest else ()) + tuple(named)
            assert version.removed == model.cells["removed", number]
            assert not (version.removed and version.aliases)
            assert set(version.tags) == model.keys("tag", number).keys()
            assert version.note == model.cells.get(("note", number))
            assert version.metadata == model.keys("meta", number)
            assert version.metrics == model.keys("metric", number)

    def reflog(self, repository: Repository, model: Model) -> list[ReflogEntry]:
        """Return what happened to an artifact since it was made, in order, after comparing it with the model."""
        told = list(reversed(repository.reflog(model.name)))[1:]
        assert [entry.undone for entry in told] == [model.is_undone(number) for number in range(len(model.events))]
        return told


def test_repository_does_what_the_model_says() -> None:
    run_state_machine_as_test(
        RepositoryMachine,
        settings=settings(
            max_examples=200, stateful_step_count=75, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
