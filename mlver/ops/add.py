"""`add`: files → spans → chunks → identity → known already? → encode → pack → manifest → event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlver.chunks import Level
from mlver.config import check_compression
from mlver.errors import NotFoundError, UsageError
from mlver.history.event import Action, AddVersion, MoveAlias, SetTag, SetValue
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.names import check_alias, check_artifact_name, check_tag, check_text
from mlver.ops.bases import BaseFinder, base_number_for
from mlver.ops.best import best_standing
from mlver.ops.commit import check_artifact, commit, ensure_artifact
from mlver.ops.content import StoredContent, store_content
from mlver.ops.moving import check_all_free, check_free_to_set
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import Origin, read_origin, write_origin
from mlver.ops.progress import Progress, Silent
from mlver.ops.references.copies import warn_of_copies
from mlver.ops.references.found import DEFAULT_MAX_FILES, FoundReferences
from mlver.ops.reliance import confirm
from mlver.ops.runs.made import note_made_again
from mlver.ops.runs.provenance import Caller, Provenance, find_provenance
from mlver.ops.scan import Scan, scan
from mlver.ops.values import check_is_list, check_metadata, check_metrics

_OLDER = 4
"""Newest versions that are looked at for tensors which the likeliest one lacks, less one."""


@dataclass(frozen=True, slots=True)
class AddRequest:
    """What to add, and what to say of it.

    Attributes:
        paths: Files and folders.
        name: Artifact; None means the one that was added from there before, else the current one.
        type: Its type; needed for a new artifact only.
        message: One line on this version.
        aliases: Aliases to move to the version.
        tags: Tags to put on it.
        metadata: JSON values by key.
        metrics: Finite numbers by key.
        exclude: Patterns of files to leave out, in gitignore syntax.
        rehash: Read every file, whatever the stat cache says.
        base: A version whose tensors the new ones probably resemble, as a revision; None finds one.
        compression: `fast`, `balanced` or `max`; None is what the repository's settings say.
        provenance: What the caller knows of where the content came from, as JSON values.
        references: URIs of objects, and of prefixes, that stay where they are.
        digest: Read all of them, to record digests of their contents too.
        max_files: How many objects there may be below prefixes.
        reference_options: Options of their bucket, such as its endpoint; kept in `config.toml`.
        uses: Revisions of what it was made from.
        caller: What is around the command, if the code and the command are to be recorded where no run tells them.
        keep_if_best: A metric, and perhaps `:min` or `:max`: add only what is better than every version so far.
    """

    paths: Sequence[Path]
    name: str | None = None
    type: str | None = None
    message: str | None = None
    aliases: Sequence[str] = ()
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    rehash: bool = False
    base: str | None = None
    compression: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    references: Sequence[str] = ()
    digest: bool = False
    max_files: int = DEFAULT_MAX_FILES
    reference_options: Mapping[str, str] = field(default_factory=dict)
    keep_if_best: str | None = None
    uses: Sequence[str] = ()
    caller: Caller | None = None


@dataclass(frozen=True, slots=True)
class AddResult:
    """What `add` did. Sizes are bytes.

    Attributes:
        version: The version that holds the content now.
        created: False when a version had the content already.
        new_bytes: Raw bytes that the store did not have.
        stored_bytes: What they take in packs.
        delta_bytes: How many of the new bytes are stored as differences to what was stored before.
        moved_aliases: Aliases that moved or are new.
        updated: What was said anew of a version that had the content already, such as `metric val_acc`.
        weights_identical_to: Another version with the same weights in other bytes, as `NAME:vN`.
        tensors_in: Another version that has all of its tensors, under other names or among others.
        warnings: What a person should know.
        not_better: The content was not added, since `version` is as good or better.
    """

    version: VersionRecord
    created: bool
    new_bytes: int
    stored_bytes: int
    delta_bytes: int
    moved_aliases: tuple[str, ...]
    updated: tuple[str, ...]
    weights_identical_to: str | None
    tensors_in: str | None
    warnings: tuple[str, ...]
    not_better: bool = False


def add(repository: OpenRepository, request: AddRequest, progress: Progress | None = None) -> AddResult:
    """Make the content of files and folders a version, unless a version of the artifact has it already.

    Raises:
        NotFoundError: A path or a referenced object does not exist.
        UsageError: A name, type, metric, metadata value, level or URI is not allowed.
        ConflictError: A file keeps changing while it is read.
        RemoteError: A server of references failed or refused.
        MlverError: A file cannot be read or kept, or the store cannot be written.
    """
    _check(request)
    repository.index.refresh()
    name = _artifact_name(repository, request)
    check_artifact(repository, name, request.type)  # before reading gigabytes
    check_all_free(repository, name, request.aliases)
    standing = best_standing(repository, name, request)
    if standing is not None:
        return _not_better(standing)
    provenance = find_provenance(repository, request.uses, request.caller)
    level = check_compression(request.compression or repository.config.compression)
    bases = _base_finder(repository, name, request, level)
    found = scan(request.paths, request.exclude, keep_names=bool(request.references))
    if request.paths and not found.sources and not found.folders:
        raise NotFoundError("There is nothing to add: no file was found, or all are ignored.")
    pointers = _references(repository, name, request, found, progress or Silent())
    content = store_content(repository, found, bases, level, request.rehash, progress or Silent(), pointers.entries)
    artifact = ensure_artifact(repository, name, request.type)
    publication = _Publication(repository, artifact, request, content, provenance)
    publication.prepare()
    commit(repository, artifact, publication.decide)
    if publication.standing is not None:
        return _not_better(publication.standing)
    if publication.created:
        confirm(repository, artifact, publication.number, content.id)
    repository.set_current(artifact.name)
    version = repository.index.version(artifact, publication.number)
    assert version is not None
    if provenance.run is not None and not publication.created:
        note_made_again(repository, provenance.run, artifact, version)
    if len(request.paths) == 1 and not request.references:
        origin = Origin(artifact.name, version.number, version.id, tuple(request.exclude))
        write_origin(repository, request.paths[0], origin)
    return AddResult(
        version=version,
        created=publication.created,
        new_bytes=content.new_bytes,
        stored_bytes=content.stored_bytes,
        delta_bytes=content.delta_bytes,
        moved_aliases=tuple(publication.moved),
        updated=tuple(publication.updated),
        weights_identical_to=publication.weights_identical_to,
        tensors_in=publication.tensors_in,
        warnings=(*found.warnings, *pointers.warnings, *_warnings(request, content, publication)),
    )


def _not_better(standing: VersionRecord) -> AddResult:
    return AddResult(standing, False, 0, 0, 0, (), (), None, None, (), not_better=True)


class _Publication:
    """Decides, on the newest state, which actions make the content a version."""

    def __init__(
        self,
        repository: OpenRepository,
        artifact: ArtifactRecord,
        request: AddRequest,
        content: StoredContent,
        provenance: Provenance,
    ) -> None:
        self._repository = repository
        self._index = repository.index
        self._artifact = artifact
        self._request = request
        self.standing: VersionRecord | None = None
        self._content = content
        self._provenance = provenance
        self._said: dict[str, Any] = {}
        self._metrics = dict(request.metrics)
        self.is_of_run = provenance.run is not None
        self.number = -1
        self.created = False
        self.moved: list[str] = []
        self.updated: list[str] = []
        self.weights_identical_to: str | None = None
        self.tensors_in: str | None = None

    def prepare(self) -> None:
        """Find out what takes time, if there is likely to be a new version: others may append until it is decided."""
        if not self._existing():
            self._said = self._provenance.document()
            self._metrics = {**self._provenance.metrics(), **self._request.metrics}

    def _existing(self) -> list[VersionRecord]:
        return [v for v in self._index.live_versions_of(self._content.id) if v.artifact == self._artifact.name]

    def decide(self) -> list[Action]:
        self.standing = best_standing(self._repository, self._artifact.name, self._request)
        if self.standing is not None:
            return []
        existing = self._existing()
        self.created = not existing
        if existing:
            self.number = existing[-1].number
            return self._updates(existing[-1]) + self._alias_moves()
        self.number = self._index.next_version(self._artifact)
        if self._content.weights is not None:
            twin = self._index.version_with_weights(self._content.weights, self._artifact)
            self.weights_identical_to = twin.name if twin else None
        if self._content.tensors_in is not None and self.weights_identical_to is None:
            holders = self._index.live_versions_of(self._content.tensors_in)
            self.tensors_in = holders[0].name if holders else None
        return [self._new_version(), *self._alias_moves()]

    def _new_version(self) -> AddVersion:
        request, content = self._request, self._content
        return AddVersion(
            version=self.number,
            manifest=content.id,
            logical_bytes=content.logical_bytes,
            new_bytes=content.new_bytes,
            stored_bytes=content.stored_bytes,
            file_count=content.file_count,
            tensor_count=content.tensor_count,
            weights=content.weights,
            message=request.message,
            tags=sorted(set(request.tags)),
            metadata=dict(request.metadata),
            metrics=self._metrics,
            provenance={**request.provenance, **self._said},
            reference_count=content.reference_count,
            reference_bytes=content.reference_bytes,
        )

    def _updates(self, version: VersionRecord) -> list[Action]:
        """Return what is to be said anew of a version that has the content already."""
        actions: list[Action] = [
            SetTag(version.number, tag, True) for tag in sorted(set(self._request.tags) - set(version.tags))
        ]
        for field_name, given, has in (
            ("metadata", self._request.metadata, version.metadata),
            ("metrics", self._request.metrics, version.metrics),
        ):
            for key, value in given.items():
                if key not in has or has[key] != value:
                    was = [has[key]] if key in has else []
                    actions.append(SetValue(version.number, field_name, key, [value], was))
        kinds = {"metadata": "metadata", "metrics": "metric"}
        self.updated = [
            f"tag {action.tag}" if isinstance(action, SetTag) else f"{kinds[action.field]} {action.key}"
            for action in actions
            if isinstance(action, SetTag | SetValue)
        ]
        return actions

    def _alias_moves(self) -> list[Action]:
        moves: list[Action] = []
        for alias in dict.fromkeys(self._request.aliases):
            was = self._index.alias(self._artifact, alias)
            if was != self.number or alias in self._index.tracked(self._artifact):
                check_free_to_set(self._repository, self._artifact, alias, adding=True)
                moves.append(MoveAlias(alias, self.number, was))
        self.moved = [move.alias for move in moves if isinstance(move, MoveAlias)]
        return moves


def _check(request: AddRequest) -> None:
    if not request.paths and not request.references:
        raise UsageError("There is nothing to add: no path was given.")
    for what in ("aliases", "tags", "exclude", "references", "uses"):
        check_is_list(getattr(request, what), what)
    if request.max_files < 1:
        raise UsageError("max_files must be at least 1.")
    if not request.references and (request.digest or request.reference_options):
        raise UsageError("Digests and options are of references, and none was given.", "Name one with --ref URI.")
    if request.name is not None:
        check_artifact_name(request.name)
    for alias in request.aliases:
        check_alias(alias)
    for tag in request.tags:
        check_tag(tag)
    check_text("The message", request.message or "")
    check_metrics(request.metrics)
    check_metadata(request.metadata)


def _references(
    repository: OpenRepository, name: str, request: AddRequest, found: Scan, progress: Progress
) -> FoundReferences:
    """Return what is to be recorded of the references, after checking that they fit beside the files."""
    if not request.references:
        return FoundReferences(warnings=warn_of_copies(repository, request.paths[0], found))
    from mlver.ops.references.adding import find_references

    return find_references(repository, name, request, found, progress)


def _artifact_name(repository: OpenRepository, request: AddRequest) -> str:
    """Return the present name of the artifact to add to."""
    wanted = request.name
    if wanted is None and len(request.paths) == 1:
        origin = read_origin(repository, request.paths[0])
        wanted = origin.artifact if origin else None
    if wanted is None:
        wanted = repository.current()
    if wanted is None:
        raise UsageError("No artifact is named, and none is current.", "Name one: --name NAME --type TYPE")
    renamed = None if repository.index.artifact(wanted) else repository.index.renamed_artifact(wanted)
    if renamed is not None:
        repository.notices.append(f"Artifact {wanted!r} was renamed: it is {renamed.name!r} now.")
        return renamed.name
    return wanted


def _base_finder(repository: OpenRepository, name: str, request: AddRequest, level: Level) -> BaseFinder:
    """Return what finds bases: first in the version that the next one of the artifact is to rest on.

    At level fast nothing is looked for: reading the base alone would take as long as all the rest.

    Raises:
        NotFoundError: The version that the request names does not exist.
    """
    if request.base is not None:
        return BaseFinder(repository, [repository.resolve(request.base).version.id], is_final=True)
    if level == "fast":
        return BaseFinder(repository, [], is_final=True)
    artifact = repository.index.artifact(name)
    newest = repository.index.versions(artifact, limit=_OLDER + 1) if artifact is not None else []
    likely = [version.id for version in newest[:1]]
    if artifact is not None and newest:
        number = base_number_for(repository.index.next_version(artifact), newest[0].logical_bytes)
        chosen = repository.index.version(artifact, number)
        if chosen is not None and not chosen.removed:
            likely = [chosen.id]
    if len(request.paths) == 1 and (origin := read_origin(repository, request.paths[0])) is not None:
        # A folder that is added time and again came from the newest version, which says nothing.
        came_from = [version.id for version in repository.index.live_versions_of(origin.id)[:1]]
        likely += [identity for identity in came_from if identity != newest[0].id] if newest else came_from
    return BaseFinder(repository, likely, [version.id for version in newest])


def _warnings(request: AddRequest, content: StoredContent, publication: _Publication) -> list[str]:
    warnings = list(content.warnings)
    if request.uses and not publication.created and not publication.is_of_run:
        warnings.append("What it was made from was not recorded, since no version was made.")
    if request.message and not publication.created:
        warnings.append("The message was not recorded, since no version was made; mlver note records one.")
    return warnings
