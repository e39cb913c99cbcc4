"""`mlver watch`: run a command for each event of a kind."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.program import check_program
from mlver.cli.style import Styled
from mlver.errors import MlverError, UsageError
from mlver.ops.hooks.execution import Ended, execute
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.opening import address_of, choose_remote
from mlver.ops.watch.watch import Pending, Watch, watched

EXAMPLES = (
    Example("mlver watch --on alias:production -- ./deploy.sh", "deploy each version that gets the alias"),
    Example("mlver watch --on add:type=model --fetch -- python evaluate.py", "evaluate what anybody adds and pushes"),
    Example("mlver watch --once --on tag:approved -- ./notify.sh", "for cron: what is new since the last time"),
)
INTERVAL_SECONDS = 1.0
FETCH_INTERVAL_SECONDS = 30.0
_STDOUT, _STDERR = 1, 2

_Command = Annotated[
    list[str] | None, typer.Argument(metavar="-- CMD [ARG...]", help="What to run.", show_default=False)
]
_On = Annotated[
    list[str], typer.Option("--on", metavar="CONDITION", help="add, alias, tag, note, meta, rm, restore; with :FILTER.")
]
_Name = Annotated[str | None, typer.Option("--name", metavar="WATCH", help="Its name; else made from what it does.")]
_Once = Annotated[bool, typer.Option("--once", help="Do what is to be done now, and end.")]
_Fetch = Annotated[bool, typer.Option("--fetch", help="Fetch first, each time.")]
_Remote = Annotated[str | None, typer.Option("--remote", metavar="REMOTE", help="From where; default: origin.")]
_Interval = Annotated[
    float | None, typer.Option("--interval", metavar="SECONDS", min=0.05, help="How often to look: 1, or 30 to fetch.")
]
_FromStart = Annotated[bool, typer.Option("--from-start", help="A new watch: all that ever happened, too.")]


class _Reaction(NamedTuple):
    pending: Pending
    ended: Ended


def command(
    call: Call,
    words: _Command = None,
    on: _On = [],  # noqa: B006 - typer makes the list anew
    name: _Name = None,
    once: _Once = False,
    fetching: _Fetch = False,
    remote: _Remote = None,
    interval: _Interval = None,
    from_start: _FromStart = False,
) -> None:
    """Run a command for each event of a kind, once each, across restarts.

    It gets the version in MLVER_VERSION and all about the event as JSON on its standard input. A watch begins
    with what happens from now on, and goes on where it was when it is started again. A command that fails is not
    repeated; one that was cut off with its watch is, with a higher MLVER_ATTEMPT.
    """
    words = _checked(words, remote, fetching=fetching)
    pause = interval or (FETCH_INTERVAL_SECONDS if fetching else INTERVAL_SECONDS)
    with call.repository() as repository:
        if fetching:
            address_of(repository, choose_remote(repository, remote))  # one that is not there is nothing to wait for
        with Watch(repository, on, name=name, subject=words, from_start=from_start) as watch:
            _begin(call.out, watch, on, once=once, from_start=from_start)
            problem: MlverError | None = None
            while True:
                problem = _fetch_problem(call, repository, remote, problem) if fetching else None
                reactions: list[_Reaction] = []
                try:
                    reactions.extend(_reactions(call.out, repository, watch, words))
                finally:  # what was done before something went wrong is told, too
                    if once or reactions:
                        call.out.result((watch.name, reactions), document=_document, brief=_brief, human=_human)
                        call.out.flush()
                if once:
                    break
                time.sleep(pause)
    if problem is not None:
        raise typer.Exit(problem.exit_code)
    if any(reaction.ended.problem for reaction in reactions):
        raise typer.Exit(1)


def _begin(out: Output, watch: Watch, on: Sequence[str], *, once: bool, from_start: bool) -> None:
    if watch.is_new and not from_start:
        out.note(f"Watch {watch.name} is new: it begins with what happens from now on.")
    elif from_start and not watch.is_new:
        out.note(f"Watch {watch.name} is not new: it goes on where it was.")
    if not once:
        out.note(f"Waiting for {', '.join(on)}; ^C ends it.")


def _checked(words: list[str] | None, remote: str | None, *, fetching: bool) -> list[str]:
    if not words:
        raise UsageError("There is nothing to run.", "Write it at the end: mlver watch --on alias:production -- CMD")
    check_program(words[0], "mlver watch --on alias:production -- ./deploy.sh")
    if remote is not None and not fetching:
        raise UsageError("--remote says where to fetch from.", "Give it with --fetch.")
    return words


def _fetch_problem(
    call: Call, repository: OpenRepository, remote: str | None, before: MlverError | None
) -> MlverError | None:
    """Fetch, and go on without if that fails: it may work the next time. Return what is wrong."""
    try:
        fetch(repository, remote)
    except MlverError as error:
        if before is None or error.message != before.message:  # said once, and not every time while it lasts
            call.out.warn(error.message)
        return error
    if before is not None:
        call.out.note("The remote can be reached again.")
    call.tell(repository)
    return None


def _reactions(out: Output, repository: OpenRepository, watch: Watch, words: Sequence[str]) -> Iterator[_Reaction]:
    for pending in watched(watch, repository):
        out.note(f"{_what(pending)}: running {words[0]}")
        told = json.dumps(pending.told(), allow_nan=False).encode() + b"\n"
        variables = {
            **os.environ,
            "MLVER_VERSION": pending.version,
            "MLVER_WATCH_ID": pending.id,
            "MLVER_ATTEMPT": str(pending.attempt),
        }
        stdout = _STDOUT if out.is_human else _STDERR
        begun = partial(watch.run_by, pending)
        ended = execute(words, told, Path.cwd(), variables, stdout=stdout, begun=begun)
        if ended.exit_code is None:  # not even begun: it waits for whoever can do it
            raise MlverError(
                f"{words[0]} {ended.problem}: nothing was done for {_what(pending)}.", "The watch goes on with it."
            )
        watch.end(pending, ended.exit_code)
        if ended.problem is not None:
            out.warn(f"{words[0]} {ended.problem} ({_what(pending)}).")
        if out.is_human:  # others get one document of all that there was to do
            out.line(f"{_what(pending)}: ", Styled(ended.problem or "done", "bad" if ended.problem else "good"))
            out.flush()
        yield _Reaction(pending, ended)


def _what(pending: Pending) -> str:
    subject = pending.document.get("alias") or pending.document.get("tag") or ""
    return " ".join(filter(None, [pending.document["kind"], subject, pending.version]))


def _document(found: tuple[str, list[_Reaction]]) -> dict[str, Any]:
    name, reactions = found
    return {
        "watch": name,
        "reactions": [
            {
                "id": pending.id,
                "attempt": pending.attempt,
                "kind": pending.document["kind"],
                "artifact": pending.document["artifact"],
                "version": pending.version,
                "exit_code": ended.exit_code,
            }
            for pending, ended in reactions
        ],
    }


def _brief(found: tuple[str, list[_Reaction]]) -> list[str]:
    return [reaction.pending.version for reaction in found[1]]


def _human(out: Output, found: tuple[str, list[_Reaction]]) -> None:
    """Show nothing: each was shown when it was done."""
