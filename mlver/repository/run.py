"""Runs in Python: `with mlver.run(config={...}) as run`, and what can be said of a run while it goes on.

    run.use → run.log … → run.add → the end of the `with`

A run belongs to the process that began it; processes that it starts are part of it by themselves (`MLVER_RUN`). Within
`mlver run -- python train.py`, `mlver.run` is that run, which ends with the command. Of the many processes of one
training, as torchrun starts them, the one of rank 0 speaks; in the others the same code runs, and says nothing.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsFloat, TypeVar

from mlver.errors import UsageError
from mlver.history.records import LinkedVersion, MetricSummary, VersionRecord
from mlver.ids import RunId
from mlver.lineage.journal import Journal
from mlver.lineage.live import live_folder
from mlver.ops.opening import find_repository, open_repository
from mlver.ops.runs.current import current_run, run_variable
from mlver.repository import Repository, surroundings
from mlver.repository.nodes import Version
from mlver.repository.opened import AnyPath
from mlver.repository.plain import plain_values

if TYPE_CHECKING:
    from mlver.ops.add import AddResult
    from mlver.ops.opening import OpenRepository
    from mlver.ops.runs.living import LivingRun

T = TypeVar("T")
Status = Literal["finished", "failed", "killed"]
_INTERRUPTED = 130


def run(
    *,
    config: Any = None,
    job_type: str | None = None,
    name: str | None = None,
    repository: AnyPath = ".",
    uses: Sequence[str] = (),
) -> Run:
    """Begin a run of this process, or take part in the one that it is part of.

    Use it in a `with`, which ends it; else call `finish`, or let it end with the process: as failed if an exception
    ended that, but nobody can tell then that `sys.exit(1)` did. A process that is killed loses nothing that was logged:
    the next command on the repository finds it dead, and ends its run.

    Args:
        config: Settings: a mapping, a dataclass, or what argparse makes. What is no JSON is recorded as what is most
            like it: paths as text, NumPy's numbers as numbers, functions by their names.
        job_type: What kind of work it is, such as `train`.
        name: What to call it; others may be called so too.
        repository: A folder in the repository.
        uses: Versions that it reads, as `Run.use` would say.

    Raises:
        UsageError: There is a run in this process already, or a setting, the name or the job type is not allowed.
        NotFoundError: There is no such version.
        NotARepositoryError: The folder is in no repository.
    """
    root = find_repository(Path(repository))
    settings = {} if config is None else plain_values(config)
    if not surroundings.speaks():
        return _Silent(root, settings)
    _Active.refuse_second()
    opened = open_repository(root)
    try:
        opened.run_variable = surroundings.run_variable()
        outer = current_run(opened)
        if outer is not None:
            return _take_part(opened, outer, settings, job_type, name, uses)
        return _begin(opened, settings, job_type, name, uses)
    finally:
        opened.close()


class _Active:
    """The run of this process: there is one at a time."""

    run: weakref.ref[Run] | None = None

    @classmethod
    def refuse_second(cls) -> None:
        run = cls.run() if cls.run is not None else None
        if run is not None and not run.is_over and run.is_own_process:
            raise UsageError(
                f"Run {run.id} goes on in this process, and a run has no runs inside it.",
                "End it first: run.finish(), or the end of its with.",
            )


def _begin(
    opened: OpenRepository,
    config: dict[str, Any],
    job_type: str | None,
    name: str | None,
    uses: Sequence[str],
) -> Run:
    from mlver.lineage.capture.record import capture
    from mlver.ops.runs.living import begin_living
    from mlver.ops.runs.recover import recover

    recover(opened)
    captured = capture(surroundings.own_command(), Path.cwd(), surroundings.environment(), own=True)
    living = begin_living(opened, captured, name=name, job_type=job_type, config=config, uses=uses)
    before = surroundings.run_variable()
    surroundings.set_run_variable(run_variable(opened, living.id))
    return Run(opened.root, living.id, config, captured.notes, living, before)


def _take_part(
    opened: OpenRepository,
    outer: RunId,
    config: dict[str, Any],
    job_type: str | None,
    name: str | None,
    uses: Sequence[str],
) -> Run:
    from mlver.ops.runs.configure import update_config
    from mlver.ops.runs.use import use_version

    update_config(opened, outer, config, name=name, job_type=job_type)
    for revision in uses:
        use_version(opened, outer, revision)
    record = opened.runs.run(outer)
    known = record.config if record is not None else {}
    return Run(opened.root, outer, {**known, **config}, (), None, None)


class Run:
    """A run that goes on. Any thread may use it; processes that were forked may log and use, and do not end it.

    Do not make one yourself: `mlver.run` does.

    Args:
        root: The `.mlver` folder.
        identity: Its id; None where nothing is recorded.
        config: Its settings.
        notes: What could not be recorded of its circumstances.
        living: What ends it; None if another process does.
        before: What `MLVER_RUN` was before.
    """

    def __init__(
        self,
        root: Path,
        identity: RunId | None,
        config: dict[str, Any],
        notes: tuple[str, ...],
        living: LivingRun | None,
        before: str | None,
    ) -> None:
        self.id = identity
        self.config: Mapping[str, Any] = config
        self.notes = notes
        self.is_over = False
        self._root = root
        self._living = living
        self._before = before
        self._process = os.getpid()
        self._journal = Journal(live_folder(root, identity)) if identity is not None else None
        if identity is not None:
            _Active.run = weakref.ref(self)
            atexit.register(self._end_with_process)

    @property
    def is_own_process(self) -> bool:
        """Whether this process is the one that began the run, or took part in it: not one that was forked since."""
        return os.getpid() == self._process

    def log(self, metrics: Mapping[str, SupportsFloat], step: int | None = None) -> None:
        """Record metrics that belong together. It costs some microseconds, and is on disk in the next instant.

        Args:
            metrics: Numbers by name, such as `{"loss": 0.3}`. NaN and infinities are kept, and left out of summaries.
            step: Such as the number of batches so far; by default one more than the last.

        Raises:
            UsageError: A value is no number, or the run is over.
            MlverError: The disk is full.
        """
        if self._journal is None:
            raise self._over()
        self._journal.log(metrics, step)

    def use(self, revision: str, role: str | None = None) -> Version:
        """Record that the run reads a version, and return it.

        Args:
            revision: Which version, such as `inat:best`.
            role: What as, such as `test`.

        Raises:
            NotFoundError: There is no such version.
            ConflictError: It follows from what this run made.
            UsageError: The run is over.
        """
        from mlver.ops.runs.use import use_version

        run = self._going_on()
        found = self._with(lambda repository: use_version(repository._opened, run, revision, role).version)
        return Version(self._root, _link(found, role))

    def add(self, *paths: AnyPath, **details: Any) -> AddResult | None:
        """Make files a version that this run made; see `Repository.add` for the arguments.

        The newest values of what was logged become metrics of the version, where `metrics` does not say otherwise.

        Returns:
            What was added; None in processes that do not speak for their training.

        Raises:
            MlverError: As `Repository.add`; or the run is over.
        """
        self._going_on()
        return self._with(lambda repository: repository.add(*paths, **details))

    def configure(self, **values: Any) -> None:
        """Set some of the run's settings; the others stay.

        Raises:
            UsageError: A value is not allowed, or the run is over.
        """
        from mlver.ops.runs.configure import update_config

        run, settings = self._going_on(), plain_values(values)
        self._with(lambda repository: update_config(repository._opened, run, settings))
        self.config = {**self.config, **settings}

    @property
    def summary(self) -> dict[str, MetricSummary]:
        """What became so far of each metric, as far as the run is not over."""
        from mlver.lineage.journal_reader import read_summaries

        return read_summaries(live_folder(self._root, self._going_on()))

    def finish(self, status: Status = "finished", exit_code: int | None = None) -> None:
        """End the run. One that another process began goes on until that ends it. The second time nothing happens.

        Args:
            status: How it went.
            exit_code: What the process is about to exit with, if that is known.

        Raises:
            MlverError: The repository cannot be written; a later command will end the run then.
        """
        if self.is_over or not self.is_own_process:
            return
        self.is_over = True
        atexit.unregister(self._end_with_process)
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        living = self._living
        if living is not None:
            from mlver.ops.runs.living import end_living

            surroundings.set_run_variable(self._before)
            self._with(lambda repository: end_living(repository._opened, living, status, exit_code))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, SystemExit):
            code = _exit_code(error)
            self.finish("failed" if code else "finished", code)
        elif isinstance(error, KeyboardInterrupt):
            self.finish("killed", _INTERRUPTED)
        else:
            self.finish("failed")

    def _end_with_process(self) -> None:
        self.finish("failed" if surroundings.has_failed() else "finished")

    def _going_on(self) -> RunId:
        if self.is_over or self.id is None:
            raise self._over()
        return self.id

    def _over(self) -> UsageError:
        return UsageError(f"Run {self.id} is over.", "Begin another one: mlver.run()")

    def _with(self, work: Callable[[Repository], T]) -> T:
        """Work on the repository, which is opened for it: so any thread may, and nothing stays open for days."""
        with Repository.open(self._root.parent) as repository:
            if self.id is not None:
                repository._own_run = run_variable(repository._opened, self.id)
            return repository._run(lambda: work(repository))


class _Silent(Run):
    """The run as processes see it that do not speak for their training: they can read versions."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        super().__init__(root, None, config, (), None, None)

    def log(self, metrics: Mapping[str, SupportsFloat], step: int | None = None) -> None:
        """Do nothing: the process of rank 0 logs."""

    def use(self, revision: str, role: str | None = None) -> Version:
        """Return a version, without a word: the process of rank 0 says that it is used."""
        found = self._with(lambda repository: repository.resolve(revision))
        return Version(self._root, _link(found, role))

    def add(self, *paths: AnyPath, **details: Any) -> AddResult | None:  # noqa: ARG002
        """Do nothing: the process of rank 0 adds."""
        return None

    def configure(self, **values: Any) -> None:
        """Set some of the run's settings in this process."""
        self.config = {**self.config, **plain_values(values)}

    @property
    def summary(self) -> dict[str, MetricSummary]:
        """Nothing: this process has logged nothing."""
        return {}


def _link(version: VersionRecord, role: str | None) -> LinkedVersion:
    return LinkedVersion(version.artifact, version.number, version.id, role)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1
