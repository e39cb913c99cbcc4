"""`mlver switch`: choose the current artifact."""

from __future__ import annotations

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import artifact_document
from mlver.cli.options import ArtifactName
from mlver.cli.style import Styled
from mlver.ops.artifacts import switch

EXAMPLES = (Example("mlver switch resnet50_attn", "from now on, v4 and best mean this artifact's"),)


def command(call: Call, name: ArtifactName) -> None:
    """Choose the current artifact.

    Bare revisions, such as v4 and best, are those of the current artifact. Adding to an artifact makes it current.
    """
    with call.repository() as repository:
        artifact = switch(repository, name)
    call.out.result(
        artifact,
        document=artifact_document,
        brief=lambda found: found.name,
        human=lambda out, found: out.line("The current artifact is ", Styled(found.name, "name"), " now"),
    )
