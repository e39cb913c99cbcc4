"""`mlver clone`: parse → `mlver.ops.remotes.clone` → say what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.cli.remote_options import (
    Anonymous,
    Endpoint,
    KeyFile,
    KnownHosts,
    Library,
    Prefix,
    Profile,
    Project,
    Region,
    given_options,
)
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


def command(
    call: Call,
    url: _Url,
    folder: _Folder = None,
    endpoint: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    prefix: Prefix = None,
    project: Project = None,
    key_file: KeyFile = None,
    known_hosts: KnownHosts = None,
    library: Library = None,
    anonymous: Anonymous = False,
) -> None:
    """Make a new repository that knows what a remote has.

    The weights stay there until `mlver pull` asks for them.
    """
    options = given_options(
        anonymous,
        endpoint=endpoint,
        region=region,
        profile=profile,
        prefix=prefix,
        project=project,
        key_file=key_file,
        known_hosts=known_hosts,
        library=library,
    )
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
