"""The options that say how a remote is reached, for the commands that make one."""

from __future__ import annotations

from typing import Annotated

import typer

Endpoint = Annotated[str | None, typer.Option("--endpoint", metavar="URL", help="A server that is not the usual one.")]
Region = Annotated[str | None, typer.Option("--region", metavar="NAME", help="Where the bucket is.")]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Section of the credentials file.")]
Prefix = Annotated[str | None, typer.Option("--prefix", metavar="KEY", help="What comes before all names there.")]
Project = Annotated[str | None, typer.Option("--project", metavar="NAME", help="Google project that is billed.")]
KeyFile = Annotated[str | None, typer.Option("--key-file", metavar="FILE", help="Private key for sftp.")]
KnownHosts = Annotated[str | None, typer.Option("--known-hosts", metavar="FILE", help="Known hosts for sftp.")]
Anonymous = Annotated[bool, typer.Option("--anonymous", help="Send no credentials.")]
Library = Annotated[str | None, typer.Option("--library", metavar="NAME", help="obstore, for s3: faster.")]


def given_options(anonymous: bool, **options: str | None) -> dict[str, str]:
    """Return those that were given, as `config.toml` has them."""
    every = {name.replace("_", "-"): value for name, value in options.items()}
    every["anonymous"] = "true" if anonymous else None
    return {name: value for name, value in every.items() if value is not None}
