"""`mlver alias`: list, set, delete."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Output
from mlver.cli.style import Styled
from mlver.errors import UsageError
from mlver.ops.labels import delete_alias, set_alias
from mlver.ops.moving import alias_of, metrics_like, protect_alias, track_alias, untrack_alias
from mlver.ops.opening import OpenRepository

EXAMPLES = (
    Example("mlver alias", "list those of the current artifact"),
    Example("mlver alias best", "call the current artifact's latest version best"),
    Example("mlver alias production resnet50_attn:v4", "move it to a given version"),
    Example("mlver alias best --track 'max(val_acc)'", "let it name the best version from here on, by itself"),
    Example("mlver alias production --protect", "let nobody move it by mistake"),
    Example("mlver alias -d best", "delete it"),
)

_Word = Annotated[str | None, typer.Argument(metavar="ALIAS", help="The name.", show_default=False)]
_Revision = Annotated[str | None, typer.Argument(metavar="REF", help="The version; default: latest.")]
_Delete = Annotated[bool, typer.Option("--delete", "-d", help="Delete the alias.")]
_Track = Annotated[
    str | None, typer.Option("--track", metavar="RULE", help="Follow a metric by itself: max(METRIC), min(METRIC).")
]
_Untrack = Annotated[bool, typer.Option("--untrack", help="Stay where it is.")]
_Protect = Annotated[bool | None, typer.Option("--protect/--unprotect", help="Move only with --force.")]
_Force = Annotated[bool, typer.Option("--force", "-f", help="Move or delete it though it is protected.")]
_Artifact = Annotated[str | None, typer.Option("--artifact", metavar="NAME", help="List those of this artifact.")]


def command(
    call: Call,
    alias: _Word = None,
    revision: _Revision = None,
    delete: _Delete = False,
    track: _Track = None,
    untrack: _Untrack = False,
    protect: _Protect = None,
    force: _Force = False,
    artifact: _Artifact = None,
) -> None:
    """List, set or delete movable names of versions.

    `latest` moves by itself and cannot be set; neither can names like v4. An alias that follows a metric moves by
    itself too, on every machine alike: with each version that is added or removed, and each metric that is set.
    """
    chosen = [delete, track is not None, untrack, protect is not None]
    if sum(chosen) > 1 or (any(chosen[1:]) and revision is not None):
        raise UsageError("These exclude each other: REF, --delete, --track, --untrack, --protect.")
    if alias is None and any(chosen[1:]):
        raise UsageError("Which alias?", "Name it: mlver alias best --track 'max(val_acc)'")
    if alias is None and delete:
        raise UsageError("Which alias is to be deleted?", "Name it: mlver alias -d best")
    if delete and revision is not None:
        raise UsageError("-d takes an alias only.", "Of another artifact than the current one, write NAME:best.")
    with call.repository() as repository:
        if alias is None:
            call.out.result(_list(repository, artifact), document=_list_document, brief=_names, human=_table)
        elif delete:
            bearer = delete_alias(repository, alias, force)
            gone = _Alias(alias.rpartition(":")[2], None, bearer)
            call.out.result(gone, document=_document, brief=lambda gone: gone.was or "", human=_deleted)
        elif any(chosen[1:]):
            ruled = _rule(repository, alias, track, untrack=untrack, protect=bool(protect))
            call.out.result(ruled, document=_document, brief=lambda ruled: ruled.version or "", human=_ruled)
            if track is not None and ruled.version is None:
                close = metrics_like(repository, alias_of(repository, alias)[0], track)
                meant = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
                call.out.hint(f"No version has that metric yet.{meant}")
        else:
            version, was = set_alias(repository, alias, revision, force)
            found = repository.index.artifact(version.artifact)
            is_protected = found is not None and alias in repository.index.protected(found)
            moved = _Alias(alias, version.name, was, None, is_protected)
            call.out.result(moved, document=_document, brief=lambda _: version.name, human=_moved)


class _Alias(NamedTuple):
    alias: str
    version: str | None
    was: str | None
    tracks: str | None = None
    protected: bool = False


def _document(alias: _Alias) -> dict[str, Any]:
    return alias._asdict()


class _Listing(NamedTuple):
    artifact: str
    aliases: dict[str, int]
    tracked: dict[str, str]
    protected: tuple[str, ...]


def _list(repository: OpenRepository, name: str | None) -> _Listing:
    artifact = repository.artifact(name)
    index = repository.index
    return _Listing(artifact.name, index.aliases(artifact), index.tracked(artifact), index.protected(artifact))


def _list_document(listing: _Listing) -> dict[str, Any]:
    return {
        "artifact": listing.artifact,
        "aliases": {alias: f"v{number}" for alias, number in listing.aliases.items()},
        "tracked": listing.tracked,
        "protected": list(listing.protected),
    }


def _names(listing: _Listing) -> list[str]:
    return list(listing.aliases)


def _table(out: Output, listing: _Listing) -> None:
    named: dict[str, int | None] = {**listing.aliases, **dict.fromkeys(listing.tracked.keys() - listing.aliases.keys())}
    rows = [
        [
            Styled(alias, "alias"),
            Styled("none yet" if number is None else f"{listing.artifact}:v{number}", "name"),
            f"follows {listing.tracked[alias]}" if alias in listing.tracked else "",
            "protected" if alias in listing.protected else "",
        ]
        for alias, number in named.items()
    ]
    filled = [column for column in range(4) if column < 2 or any(row[column] for row in rows)]
    titles = [Column(title) for title in ("ALIAS", "VERSION", "MOVES", "GUARD")]
    out.table([titles[column] for column in filled], [[row[column] for column in filled] for row in rows])


def _rule(repository: OpenRepository, alias: str, track: str | None, *, untrack: bool, protect: bool) -> _Alias:
    if track is not None:
        name, version = track_alias(repository, alias, track)
    elif untrack:
        name, version = untrack_alias(repository, alias)
    else:
        name, version = protect_alias(repository, alias, protect)
    artifact, word = alias_of(repository, name)
    index = repository.index
    return _Alias(word, version, None, index.tracked(artifact).get(word), word in index.protected(artifact))


def _ruled(out: Output, ruled: _Alias) -> None:
    names = (" is ", Styled(ruled.version, "name")) if ruled.version else (" names no version yet",)
    how = f", and follows {ruled.tracks} from here on" if ruled.tracks else ""
    out.line(Styled(ruled.alias, "alias"), *names, how, "; it is protected" if ruled.protected else "")


def _deleted(out: Output, gone: _Alias) -> None:
    out.line(f"Deleted alias {gone.alias}, which named ", Styled(gone.was or "nothing", "name"))


def _moved(out: Output, moved: _Alias) -> None:
    was = f" now; it was {moved.was}" if moved.was else ""
    out.line(Styled(moved.alias, "alias"), " is ", Styled(moved.version or "", "name"), was)
