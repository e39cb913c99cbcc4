"""`mlver remote`: add, list, remove, show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Output
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
from mlver.cli.style import Styled
from mlver.cli.text import count
from mlver.errors import UsageError
from mlver.ops.remotes.configure import RemoteRecord, add_remote, list_remotes, remove_remote, show_remote

EXAMPLES = (
    Example("mlver remote add origin s3://bucket/models", "share through a bucket"),
    Example("mlver remote add origin s3://bucket/models --endpoint http://minio:9000", "one that is not Amazon's"),
    Example("mlver remote add nas /mnt/nas/models", "share through a folder"),
    Example("mlver remote", "list them"),
    Example("mlver remote show origin", "ask one what it is"),
    Example("mlver remote remove nas", "forget one; nothing there changes"),
)
_ACTIONS = ("add", "list", "remove", "show")

_Action = Annotated[str, typer.Argument(metavar="ACTION", help="add, list, remove or show.")]
_Name = Annotated[str | None, typer.Argument(metavar="REMOTE", help="The remote's name.", show_default=False)]
_Url = Annotated[
    str | None, typer.Argument(metavar="URL", help="s3://, gs://, sftp://, https://, or a folder.", show_default=False)
]


def command(
    call: Call,
    action: _Action = "list",
    name: _Name = None,
    url: _Url = None,
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
    """Add, list, remove or show remotes: where versions are shared.

    `add` tries out whether the place can be written and whether it refuses a name that is taken, which is what
    keeps people who push at once apart. Credentials come from the usual places of each service and are never kept.
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
    _check(action, name, url)
    with call.repository() as repository:
        if action == "list":
            found = list_remotes(repository)
            call.out.result(found, document=_list_document, brief=lambda all_: [r.name for r in all_], human=_table)
            return
        if action == "add" and name is not None and url is not None:
            record = add_remote(repository, name, url, options)
        elif action == "remove" and name is not None:
            record = remove_remote(repository, name)
        else:
            record = show_remote(repository, name)
    verb = {"add": "Added", "remove": "Removed", "show": ""}[action]
    call.out.result(record, document=_document, brief=lambda r: r.name, human=lambda out, r: _human(out, r, verb))
    if record.exclusive is False:
        call.out.warn(
            f"{record.url} does not refuse a name that is taken: when two push at the same moment, one may overwrite "
            "what the other pushed. Let one machine push at a time, or choose another place."
        )


def _check(action: str, name: str | None, url: str | None) -> None:
    if action not in _ACTIONS:
        raise UsageError(f"mlver remote cannot {action!r}.", f"Choose from: {', '.join(_ACTIONS)}.")
    if action == "add" and (name is None or url is None):
        raise UsageError("A name and a URL are needed.", "Write: mlver remote add origin URL")
    if action == "remove" and name is None:
        raise UsageError("Which remote is to be removed?", "Write: mlver remote remove NAME")
    if action != "add" and url is not None:
        raise UsageError(f"mlver remote {action} takes no URL.")


def _document(record: RemoteRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "url": record.url,
        "options": dict(record.options),
        "writable": record.writable,
        "exclusive": record.exclusive,
        "artifact_count": record.artifact_count,
    }


def _list_document(records: Sequence[RemoteRecord]) -> dict[str, Any]:
    return {"remotes": [_document(record) for record in records]}


def _table(out: Output, records: Sequence[RemoteRecord]) -> None:
    rows: list[list[str | Styled]] = [[Styled(record.name, "name"), record.url] for record in records]
    out.table([Column("REMOTE"), Column("URL")], rows)


def _human(out: Output, record: RemoteRecord, verb: str) -> None:
    out.line(f"{verb} " if verb else "", Styled(record.name, "name"), f": {record.url}")
    words = {True: "yes", False: "no", None: "not known"}
    if verb != "Removed":
        out.fields(
            [
                *((option, value) for option, value in record.options.items()),
                ("writable", words[record.writable]),
                ("refuses names that are taken", words[record.exclusive]),
                *(
                    [("artifacts", count(record.artifact_count, "artifact"))]
                    if record.artifact_count is not None
                    else []
                ),
            ]
        )
