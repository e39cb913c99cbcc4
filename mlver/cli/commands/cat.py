"""`mlver cat`: one file of a version, as bytes on stdout."""

from __future__ import annotations

from typing import Annotated

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.errors import UsageError
from mlver.ops.version_files import stream_file

EXAMPLES = (
    Example("mlver cat best:config.json", "look at a file of a version"),
    Example("mlver cat bert:v2:model.safetensors > copy", "get one file out"),
)

_Place = Annotated[str, typer.Argument(metavar="REF:PATH", help="A file of a version.", show_default=False)]


def command(call: Call, place: _Place) -> None:
    """Write one file of a version to standard output.

    Each piece is checked against its digest before it is written. --json and -q change nothing here: the bytes are
    the answer.
    """
    revision, separator, path = place.rpartition(":")
    if not separator or not revision:
        raise UsageError(f"{place!r} names no file of a version.", "Write it like best:config.json or NAME:v4:PATH.")
    with call.repository() as repository:
        out = call.out.binary
        for piece in stream_file(repository, revision, path):
            out.write(piece)
        out.flush()
