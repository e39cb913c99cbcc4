"""Hooks of one repository: asked before an event is recorded or a remote changed, told afterwards.

A `pre-` hook that fails, hangs or cannot be trusted refuses what it was asked about. A `post-` hook cannot: what it is
told of has happened. It runs when the verb is done, so that it finds everything in its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlver.errors import ConflictError, MlverError
from mlver.history.happenings import happenings
from mlver.ops.hooks.documents import LogNews, happening_document, remote_document
from mlver.ops.hooks.execution import execute
from mlver.ops.hooks.found import FoundHook, find_hook
from mlver.ops.opening import HOOK_VARIABLE, HOOKS_FOLDER, REPOSITORY_VARIABLE

if TYPE_CHECKING:
    from mlver.history.event import Action, Event
    from mlver.history.records import ArtifactRecord
    from mlver.ops.opening import OpenRepository
    from mlver.ops.remotes.opening import OpenRemote

_MAX_ROUNDS = 5


class _Problem(NamedTuple):
    what: str
    hint: str | None = None


class Hooks:
    """The hooks of an open repository.

    Args:
        environment: The variables that programs get.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._happened: list[tuple[ArtifactRecord, Event]] = []
        self._told: list[tuple[str, dict[str, Any]]] = []

    def ask(self, repository: OpenRepository, kind: str, document: Mapping[str, Any]) -> None:
        """Run a `pre-` hook.

        Raises:
            MlverError: It refuses.
        """
        problem = self._run(repository, f"pre-{kind}", document)
        if problem is not None:
            place = repository.root / HOOKS_FOLDER / f"pre-{kind}"
            hint = f"It is {place}; without execute permission it is not asked."
            raise MlverError(f"Hook pre-{kind} {problem.what}: nothing was done.", problem.hint or hint)

    def ask_event(
        self,
        repository: OpenRepository,
        artifact: ArtifactRecord | None,
        actions: Sequence[Action],
        asked: list[Sequence[Action]],
    ) -> None:
        """Ask about the actions of an event that is about to be recorded.

        Args:
            repository: The repository.
            artifact: Whose log; None is the log of names, of which hooks hear nothing.
            actions: What is to happen.
            asked: What was allowed already for the same event: someone else was faster, which changed nothing here.

        Raises:
            MlverError: A hook refuses.
            ConflictError: The hook itself changes what it is asked about, again and again.
        """
        if artifact is None or actions in asked:
            return
        if len(asked) == _MAX_ROUNDS:
            raise ConflictError(f"{artifact.name!r} changed each time that its hooks were asked about it.")
        asked.append(actions)
        for happening in happenings(actions):
            self.ask(repository, happening.kind, happening_document(repository, artifact, None, happening))

    def note_event(self, artifact: ArtifactRecord | None, event: Event) -> None:
        """Remember what happened, for `finish`."""
        if artifact is not None:
            self._happened.append((artifact, event))

    def ask_remote(self, repository: OpenRepository, kind: str, remote: OpenRemote, logs: Sequence[LogNews]) -> None:
        """Ask whether a remote may be told of events, if there are any.

        Raises:
            MlverError: A hook refuses.
        """
        if logs:
            self.ask(repository, kind, remote_document(repository, kind, remote, logs))

    def note_remote(self, repository: OpenRepository, kind: str, remote: OpenRemote, logs: Sequence[LogNews]) -> None:
        """Remember what a remote was told, or told, for `finish`."""
        if logs:
            self._told.append((kind, remote_document(repository, kind, remote, logs)))

    def finish(self, repository: OpenRepository) -> list[str]:
        """Run the `post-` hooks of all that happened; return what went wrong with them."""
        happened, self._happened = self._happened, []
        told, self._told = self._told, []
        for artifact, event in happened:
            followed = repository.index.followed(artifact).get(event.number, [])
            told += [
                (happening.kind, happening_document(repository, artifact, event, happening))
                for happening in happenings(event.actions, followed)
            ]
        problems = ((kind, self._run(repository, f"post-{kind}", document)) for kind, document in told)
        return [
            f"Hook post-{kind} {problem.what}." + (f" {problem.hint}" if problem.hint else "")
            for kind, problem in problems
            if problem is not None
        ]

    def _run(self, repository: OpenRepository, name: str, document: Mapping[str, Any]) -> _Problem | None:
        """Run a hook if there is one; return what went wrong."""
        found = find_hook(repository.root, name)
        if found is None:
            return None
        if not found.is_on:
            self._say_off(repository, found)
            return None
        if found.distrust is not None:
            return _Problem(f"is not run, because {found.distrust}", found.hint)
        told = json.dumps({"hook": name, **document}, allow_nan=False).encode() + b"\n"
        variables = {HOOK_VARIABLE: name, REPOSITORY_VARIABLE: str(repository.root)}
        ended = execute(
            [found.path],
            told,
            repository.root.parent,
            {**self._environment, **variables},
            repository.config.hook_timeout_seconds,
        )
        return None if ended.problem is None else _Problem(ended.problem)

    def _say_off(self, repository: OpenRepository, found: FoundHook) -> None:
        """Say once that a hook is off: it may have been forgotten to switch it on."""
        notice = f"Hook {found.path.name} is off, since it is not executable: chmod +x {found.path}"
        if notice not in repository.notices:
            repository.notices.append(notice)
