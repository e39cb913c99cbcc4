"""`mlver rename`: give an artifact another name."""

from __future__ import annotations

from typing import Annotated

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import artifact_document
from mlver.cli.options import ArtifactName
from mlver.cli.style import Styled
from mlver.ops.artifacts import rename

EXAMPLES = (Example("mlver rename resnet50_attn resnet50_se", "its history and aliases stay"),)

_New = Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", show_default=False)]


def command(call: Call, old: ArtifactName, new: _New) -> None:
    """Give an artifact another name; the old one still resolves."""
    with call.repository() as repository:
        artifact = rename(repository, old, new)
    call.out.result(
        artifact,
        document=lambda found: artifact_document(found) | {"was": old},
        brief=lambda found: found.name,
        human=lambda out, found: out.line(f"{old} is ", Styled(found.name, "name"), " now"),
    )
