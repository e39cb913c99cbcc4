"""Versions and runs as things to hold on to: to be read, and to walk the graph from one to the next.

    version.run → run.inputs → version.run …        version.ancestors(type="dataset")

Each opens the repository for what it is asked, so any thread may use it, and what it says is as of then.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlver.errors import NotFoundError
from mlver.history.records import LinkedVersion, RunRecord, VersionRecord
from mlver.ids import ManifestId, RunId
from mlver.lineage.graph import Direction, Node, run_id, version_id
from mlver.ops import neighbours
from mlver.ops.lineage import LineageRequest, lineage
from mlver.ops.opening import OpenRepository, open_repository
from mlver.repository.opened import AnyPath, Opened

if TYPE_CHECKING:
    import numpy as np

    from mlver.lineage.series import Series
    from mlver.ops.runs.details import RunDetails

T = TypeVar("T")


class _Walk:
    """A node of the graph.

    Args:
        root: The `.mlver` folder.
        node: Its id in the graph.
    """

    def __init__(self, root: Path, node: str) -> None:
        self._root = root
        self._node = node

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Walk) and (self._root, self._node) == (other._root, other._node)

    def __hash__(self) -> int:
        return hash((self._root, self._node))

    def ancestors(
        self,
        type: str | None = None,  # noqa: A002 - the word of every record
        job_type: str | None = None,
        depth: int | None = None,
    ) -> list[Version | RecordedRun]:
        """Return what this rests on, the nearest first: versions and runs.

        Args:
            type: Only versions of artifacts of this type.
            job_type: Only runs of this job type. With both, what is of either.
            depth: At most so many steps away; a run is one step, its versions the next.

        Raises:
            NotFoundError: Nothing is of that type, or this is not known any more.
        """
        return self._reached("up", type, job_type, depth)

    def descendants(
        self,
        type: str | None = None,  # noqa: A002 - the word of every record
        job_type: str | None = None,
        depth: int | None = None,
    ) -> list[Version | RecordedRun]:
        """Return what follows from this, the nearest first; the arguments are those of `ancestors`.

        Raises:
            NotFoundError: Nothing is of that type, or this is not known any more.
        """
        return self._reached("down", type, job_type, depth)

    def _reached(
        self, direction: Direction, kind: str | None, job_type: str | None, depth: int | None
    ) -> list[Version | RecordedRun]:
        types, job_types = [[] if wanted is None else [wanted] for wanted in (kind, job_type)]
        request = LineageRequest([self._node], (direction,), depth, types, job_types)
        found = self._ask(lambda opened: lineage(opened, request))
        return [self._held(found.lineage.nodes[node]) for node in found.matching]

    def _held(self, node: Node) -> Version | RecordedRun:
        if node.kind == "run":
            return RecordedRun(self._root, RunId(node.id.removeprefix(run_id(""))))
        number = int(node.id.rpartition(":v")[2])
        return Version(self._root, LinkedVersion(node.name, number, ManifestId(node.manifest or "")))

    def _ask(self, question: Callable[[OpenRepository], T]) -> T:
        opened = open_repository(self._root)
        try:
            part = Opened(opened)
            return part._run(lambda: question(part._opened))
        finally:
            opened.close()

    def _versions(self, links: Sequence[LinkedVersion]) -> list[Version]:
        return [Version(self._root, link) for link in links]

    def _runs(self, runs: Sequence[RunId]) -> list[RecordedRun]:
        return [RecordedRun(self._root, run) for run in runs]


class Version(_Walk):
    """One version, whatever its aliases do meanwhile. `Repository.version` and `Run.use` return it.

    Args:
        root: The `.mlver` folder.
        link: Which version.

    Attributes:
        artifact: The name that its artifact had when this was asked for.
        number: Its number.
        id: Its content's id.
        role: What a run used it as, such as `test`, where this came from the run's inputs.
    """

    def __init__(self, root: Path, link: LinkedVersion) -> None:
        super().__init__(root, version_id((link.artifact, link.number)))
        self.artifact = link.artifact
        self.number = link.number
        self.id = link.id
        self.role = link.role

    def __repr__(self) -> str:
        return f"<version {self.name}>"

    @property
    def name(self) -> str:
        """Such as `inat:v3`."""
        return self._node

    @property
    def record(self) -> VersionRecord:
        """All that is known of it: metrics, aliases, sizes and so on.

        Raises:
            NotFoundError: This repository does not have it.
        """
        return self._ask(lambda opened: opened.resolve(self.name).version)

    @property
    def run(self) -> RecordedRun | None:
        """The run that made it; None if none did. Runs that made the same again are among `made_by`."""
        return next(iter(self.made_by), None)

    @property
    def made_by(self) -> list[RecordedRun]:
        """The run that made it, and those that made the same again."""
        return self._runs(self._ask(lambda opened: neighbours.makers(opened, self.artifact, self.number)))

    @property
    def used_by(self) -> list[RecordedRun]:
        """The runs that used it, the oldest first."""
        return self._runs(self._ask(lambda opened: neighbours.users(opened, self.artifact, self.number)))

    @property
    def inputs(self) -> list[Version]:
        """The versions that it was made from: by a run, or as `add` was told."""
        return self._versions(self._ask(lambda opened: neighbours.sources(opened, self.artifact, self.number)))

    @property
    def outputs(self) -> list[Version]:
        """The versions that were made from it."""
        return self._versions(self._ask(lambda opened: neighbours.products(opened, self.artifact, self.number)))

    def pull(self, folder: AnyPath | None = None, paths: Sequence[str] = (), *, force: bool = False) -> Path:
        """Write its files into a folder, by default one of the artifact's name, and return the folder.

        Raises:
            MlverError: As `Repository.pull`.
        """
        from mlver.repository import Repository

        place = Path(self.artifact if folder is None else folder)
        with Repository.open(self._root.parent) as repository:
            repository.pull(self.name, place, paths, force=force)
        return place

    def open(self, path: str) -> io.BufferedReader:
        """Open one of its files for reading in binary; only the chunks read are fetched.

        Raises:
            NotFoundError: It has no such file.
            IntegrityError: It is damaged.
        """
        from mlver.repository import Repository

        return Repository.open(self._root.parent).open(self.name, path)

    def tensor(self, name: str) -> np.ndarray[Any, Any]:
        """Return one of its tensors, reading only its chunks.

        Raises:
            NotFoundError: It has no such tensor.
            IntegrityError: A chunk is missing or damaged.
        """
        from mlver.repository import Repository

        with Repository.open(self._root.parent) as repository:
            return repository.tensor(self.name, name)


class RecordedRun(_Walk):
    """A run that was recorded, here or elsewhere; it may still go on. `Repository.runs` returns them.

    Args:
        root: The `.mlver` folder.
        run: Its id.

    Attributes:
        id: Its id.
    """

    def __init__(self, root: Path, run: RunId) -> None:
        super().__init__(root, run_id(run))
        self.id = run

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    @property
    def record(self) -> RunRecord:
        """All that the logs say of it: name, status, settings, what became of its metrics, inputs, outputs and so on.

        Raises:
            NotFoundError: It is not known here.
        """

        def find(opened: OpenRepository) -> RunRecord:
            opened.index.refresh()
            record = opened.runs.run(self.id)
            if record is None:
                raise NotFoundError(f"There is no run {self.id!r}.", "See: mlver runs")
            return record

        return self._ask(find)

    @property
    def inputs(self) -> list[Version]:
        """The versions that it used, in the order it did."""
        return self._versions(self.record.inputs)

    @property
    def outputs(self) -> list[Version]:
        """The versions that it made, then those that it made again."""
        return self._versions(self.record.outputs)

    def details(self) -> RunDetails:
        """Return its circumstances, the courses of its metrics in short, and the end of what its command wrote.

        Raises:
            NotFoundError: It is not known here.
        """
        from mlver.ops.runs.details import run_details

        record = self.record
        return self._ask(lambda opened: run_details(opened, record))

    def series(self, *metrics: str) -> dict[str, Series]:
        """Return all values that were logged, by metric: `steps`, `times` and `values`, arrays of one length.

        Args:
            metrics: Only these; none for all.

        Raises:
            NotFoundError: It is not known here.
            IntegrityError: What it left is damaged, or missing here and at the remotes.
        """
        from mlver.ops.runs.details import run_series

        record = self.record
        return self._ask(lambda opened: run_series(opened, record, metrics or None))
