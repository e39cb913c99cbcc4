"""`mlver restore`: bring removed versions back."""

from __future__ import annotations

from typing import Annotated

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import version_document
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.history.records import VersionRecord
from mlver.ops.removal import restore

EXAMPLES = (Example("mlver restore resnet50_attn:v3", "bring a removed version back"),)

_Revisions = Annotated[list[str], typer.Argument(metavar="REF...", help="NAME:vN, or vN.", show_default=False)]


def command(call: Call, revisions: _Revisions) -> None:
    """Take removed versions back."""
    with call.repository() as repository:
        versions = restore(repository, revisions)
    call.out.result(
        versions,
        document=lambda found: {"restored": [version_document(version) for version in found]},
        brief=lambda found: [version.name for version in found],
        human=_human,
    )


def _human(out: Output, versions: list[VersionRecord]) -> None:
    for version in versions:
        out.line("Restored ", Styled(version.name, "name"))
