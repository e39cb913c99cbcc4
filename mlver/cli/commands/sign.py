"""`mlver sign`: put one's name to a version."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count
from mlver.ops.signing.sign import SignResult
from mlver.store.failures import cannot_write

EXAMPLES = (
    Example("mlver sign best --key me.pem", "vouch for a version"),
    Example("mlver sign best --key me.pem -o model.sig", "and write the signature for model_signing, too"),
)
PASSWORD_VARIABLE = "MLVER_KEY_PASSWORD"  # noqa: S105 - a name

_Revision = Annotated[str, typer.Argument(metavar="REF", help="A version: v4, best, best~1, NAME, NAME:v4, an id.")]
_Key = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="Your private key, as PEM.", parser=path_of, show_default=False)
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the signature there, too.", parser=path_of),
]


def command(call: Call, key: _Key, revision: _Revision = "latest", output: _Output = None) -> None:
    """Put your name to a version, so that others can check that it is yours.

    What is signed is its name and number, its files, and what the log says of it. The signature is an event of the
    log, and is pushed and fetched with it. It is in the format of OpenSSF's model-signing. Whoever changes a metric,
    metadata or the name afterwards has to sign again.

    The key is one on the curve P-256, P-384 or P-521; its password, if it has one, comes from MLVER_KEY_PASSWORD. To
    make one: openssl ecparam -name prime256v1 -genkey -noout -out me.pem. And what others need to check signatures:
    openssl ec -in me.pem -pubout -out me.pub.
    """
    from mlver.ops.signing.keys import read_private_key
    from mlver.ops.signing.sign import sign

    private = read_private_key(key, os.environ.get(PASSWORD_VARIABLE))
    with call.repository() as repository, call.progress() as progress:
        result = sign(repository, revision, private, progress)
    if output is not None:
        try:
            output.write_bytes(result.bundle)
        except OSError as error:
            raise cannot_write(error, str(output)) from error
    call.out.result(result, document=_document, brief=lambda done: done.version.name, human=_human)


def _document(result: SignResult) -> dict[str, Any]:
    version = result.version
    return {
        "artifact": version.artifact,
        "version": f"v{version.number}",
        "id": version.id,
        "key": result.key,
        "file_count": result.file_count,
    }


def _human(out: Output, result: SignResult) -> None:
    files = count(result.file_count, "file")
    out.line("Signed ", Styled(result.version.name, "name"), f": {files}, with the key {result.key[:12]}")
