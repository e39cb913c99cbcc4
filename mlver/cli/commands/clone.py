"""`mlver clone`: parse → `mlver.ops.remotes.clone` → say what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.cli.text import count
from mlver.ops.remotes.clone import CloneResult, clone

EXAMPLES = (
    Example("mlver clone s3://bucket/models", "a new repository in ./models"),
    Example("mlver clone /mnt/nas/models here", "in a folder of one's choice"),
)

_Url = Annotated[str, typer.Argument(metavar="URL", help="The remote.")]
_Folder = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", help="The new folder; default: the URL's last name.", parser=path_of),
]
_Endpoint = Annotated[str | None, typer.Option("--endpoint", metavar="URL", help="A server that is not the usual one.")]
_Region = Annotated[str | None, typer.Option("--region", metavar="NAME", help="Where the bucket is.")]
_Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Section of the credentials file.")]
_Anonymous = Annotated[bool, typer.Option("--anonymous", help="Send no credentials.")]


def command(
    call: Call,
    url: _Url,
    folder: _Folder = None,
    endpoint: _Endpoint = None,
    region: _Region = None,
    profile: _Profile = None,
    anonymous: _Anonymous = False,
) -> None:
    """Make a new repository that knows what a remote has.

    The weights stay there until `mlver pull` asks for them.
    """
    given = {
        "endpoint": endpoint,
        "region": region,
        "profile": profile,
        "anonymous": "true" if anonymous else None,
    }
    options = {option: value for option, value in given.items() if value is not None}
    call.out.result(clone(url, folder, options), document=_document, brief=lambda made: made.path, human=_human)


def _document(made: CloneResult) -> dict[str, Any]:
    return {
        "path": made.path,
        "url": made.fetched.url,
        "artifact_count": len(made.fetched.artifacts),
        "version_count": _versions(made),
    }


def _versions(made: CloneResult) -> int:
    return sum(len(news.versions) for news in made.fetched.artifacts)


def _human(out: Output, made: CloneResult) -> None:
    what = f"{count(len(made.fetched.artifacts), 'artifact')}, {count(_versions(made), 'version')}"
    out.line(f"Cloned {made.fetched.url} into {made.path}: {what}")
    out.hint("Get the weights of a version with: mlver pull NAME -o DIR")
