"""The views that a query sees: what the logs say, by other names than those of the cache's tables, which may change.

Columns are only ever added. docs/query.md is this page for people, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class View(NamedTuple):
    """One view.

    Attributes:
        meaning: What a row is.
        columns: Name, type and meaning of each column, in order.
        sql: The query behind it, over the tables of `mlver.history.tables`.
    """

    meaning: str
    columns: tuple[tuple[str, str, str], ...]
    sql: str


TABLES = ("artifacts", "versions", "aliases", "tracked", "protected", "runs", "run_versions", "run_outputs")
"""Tables of the cache that the views are made of."""
_OF_VERSION = (
    ("artifact", "text", "its artifact's present name"),
    ("number", "integer", "its number"),
    ("version", "text", "its name, such as `net:v4`"),
)
_NAMED = "a.name AS artifact, v.number AS number, a.name || ':v' || v.number AS version"
_VERSIONS = "main.versions v JOIN main.artifacts a ON a.key = v.artifact"
_LIVE = "NOT v.removed"
_SAME = "SELECT max(w.number) FROM main.versions w WHERE w.artifact = a.key AND w.manifest = l.manifest"
_LINKED = (
    "(SELECT l.run, l.made, l.role, l.manifest AS id, a.name AS artifact, "
    f"ifnull(({_SAME} AND w.number = l.number), ({_SAME})) AS number "
    "FROM main.run_versions l LEFT JOIN main.artifacts a ON a.folder = l.folder)"
)
_LINK_NAMED = "artifact, number, artifact || ':v' || number AS version, id"

VIEWS: dict[str, View] = {
    "artifacts": View(
        "an artifact that ever had a version",
        (
            ("artifact", "text", "its present name"),
            ("type", "text", "its type"),
            ("version_count", "integer", "versions that are not removed"),
            ("latest", "integer", "number of the newest of them"),
        ),
        "SELECT name AS artifact, type, version_count, latest FROM main.artifacts WHERE key > 0 AND next_version > 0",
    ),
    "versions": View(
        "a version, also a removed one",
        (
            *_OF_VERSION,
            ("type", "text", "its artifact's type"),
            ("id", "text", "its id: equal for equal content"),
            ("created_at", "text", "when, in UTC"),
            ("created_by", "text", "who"),
            ("message", "text", "given when it was added"),
            ("note", "text", "set later"),
            ("logical_bytes", "integer", "bytes of all its files"),
            ("new_bytes", "integer", "bytes that the store did not have"),
            ("stored_bytes", "integer", "what those take in packs"),
            ("file_count", "integer", "its files"),
            ("tensor_count", "integer", "its named tensors"),
            ("weights", "text", "digest of all its weights, whatever the file format"),
            ("reference_count", "integer", "files that stay where they are"),
            ("reference_bytes", "integer", "their size"),
            ("run", "text", "id of the run that made it"),
            ("metrics", "text", "metrics, as JSON"),
            ("metadata", "text", "metadata, as JSON"),
            ("provenance", "text", "where it came from, as JSON"),
            ("removed", "integer", "1 if it was removed"),
        ),
        f"SELECT {_NAMED}, a.type AS type, v.manifest AS id, v.created_at, v.created_by, v.message, v.note, "
        "v.logical_bytes, v.new_bytes, v.stored_bytes, v.file_count, v.tensor_count, v.weights, v.reference_count, "
        "v.reference_bytes, (SELECT o.run FROM main.run_outputs o WHERE o.artifact = v.artifact AND "
        f"o.number = v.number) AS run, v.metrics, v.metadata, v.provenance, v.removed FROM {_VERSIONS}",
    ),
    "aliases": View(
        "an alias, also `latest`, and the version that it names",
        (
            *_OF_VERSION,
            ("alias", "text", "the alias"),
            ("tracks", "text", "what it follows by itself, such as `max(val_acc)`"),
            ("protected", "integer", "1 if only who insists may move it"),
        ),
        f"SELECT {_NAMED}, l.alias AS alias, (SELECT t.rule FROM main.tracked t WHERE t.artifact = l.artifact AND "
        "t.alias = l.alias) AS tracks, EXISTS (SELECT 1 FROM main.protected p WHERE p.artifact = l.artifact AND "
        f"p.alias = l.alias) AS protected FROM {_VERSIONS} JOIN main.aliases l ON l.artifact = v.artifact AND "
        f"l.version = v.number UNION ALL SELECT {_NAMED}, 'latest', NULL, 0 FROM {_VERSIONS} WHERE v.number = a.latest",
    ),
    "tags": View(
        "a tag on a version that is not removed",
        (*_OF_VERSION, ("tag", "text", "the tag")),
        f"SELECT {_NAMED}, t.value AS tag FROM {_VERSIONS}, json_each(v.tags) t WHERE {_LIVE}",
    ),
    "metrics": View(
        "a metric of a version that is not removed",
        (*_OF_VERSION, ("metric", "text", "its name"), ("value", "number", "its value")),
        f"SELECT {_NAMED}, m.key AS metric, m.value AS value FROM {_VERSIONS}, json_each(v.metrics) m WHERE {_LIVE}",
    ),
    "metadata": View(
        "a metadata value of a version that is not removed",
        (*_OF_VERSION, ("key", "text", "its name"), ("value", "any", "its value; lists and objects as JSON")),
        f"SELECT {_NAMED}, m.key AS key, m.value AS value FROM {_VERSIONS}, json_each(v.metadata) m WHERE {_LIVE}",
    ),
    "runs": View(
        "a run",
        (
            ("run", "text", "its id"),
            ("name", "text", "its name"),
            ("job_type", "text", "such as `train`"),
            ("status", "text", "`running`, `finished`, `failed`, `killed` or `lost`"),
            ("started_at", "text", "when, in UTC"),
            ("started_by", "text", "who"),
            ("duration_seconds", "number", "how long it took"),
            ("exit_code", "integer", "what its command ended with"),
            ("commit_id", "text", "the commit of its code"),
            ("branch", "text", "the branch it was on"),
            ("dirty", "integer", "1 if there were changes that were not committed"),
            ("config", "text", "its configuration, as JSON"),
            ("metrics", "text", "its metrics, as JSON"),
        ),
        "SELECT id AS run, name, job_type, status, started_at, started_by, duration_seconds, exit_code, "
        "json_extract(code, '$.commit') AS commit_id, json_extract(code, '$.branch') AS branch, "
        "json_extract(code, '$.dirty') AS dirty, config, metrics FROM main.runs",
    ),
    "run_config": View(
        "a value of a run's configuration",
        (
            ("run", "text", "the run's id"),
            ("key", "text", "its name"),
            ("value", "any", "its value; lists and objects as JSON"),
        ),
        "SELECT r.id AS run, c.key AS key, c.value AS value FROM main.runs r, json_each(r.config) c",
    ),
    "run_metrics": View(
        "a metric of a run",
        (
            ("run", "text", "the run's id"),
            ("metric", "text", "its name"),
            ("last", "number", "its last value"),
            ("min", "number", "its least value"),
            ("max", "number", "its greatest value"),
            ("count", "integer", "how many values there were"),
        ),
        "SELECT r.id AS run, m.key AS metric, json_extract(m.value, '$.last') AS last, "
        "json_extract(m.value, '$.min') AS min, json_extract(m.value, '$.max') AS max, "
        "json_extract(m.value, '$.count') AS count FROM main.runs r, json_each(r.metrics) m",
    ),
    "run_inputs": View(
        "a version that a run used",
        (
            ("run", "text", "the run's id"),
            *_OF_VERSION,
            ("id", "text", "its id"),
            ("role", "text", "what it was used as"),
        ),
        f"SELECT run, {_LINK_NAMED}, role FROM {_LINKED} WHERE NOT made",
    ),
    "run_outputs": View(
        "a version that a run made, or made again",
        (("run", "text", "the run's id"), *_OF_VERSION, ("id", "text", "its id")),
        f"SELECT o.run AS run, {_NAMED}, v.manifest AS id FROM {_VERSIONS} JOIN main.run_outputs o ON "
        f"o.artifact = v.artifact AND o.number = v.number UNION ALL "
        f"SELECT run, {_LINK_NAMED} FROM {_LINKED} WHERE made",
    ),
}


def close_views(word: str) -> list[str]:
    """Return names of views that somebody who wrote `word` may have meant."""
    return _close(word, VIEWS)


def close_columns(word: str) -> list[str]:
    """Return names of columns that somebody who wrote `word`, or `v.word`, may have meant."""
    return _close(word, (column for view in VIEWS.values() for column, _, _ in view.columns))


def _close(word: str, names: Iterable[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(word.rpartition(".")[2], sorted(set(names)), n=2)
