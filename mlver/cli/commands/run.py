"""`mlver run`: capture → begin → the command, with everything it does → end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mlver.cli import values
from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Mode, Output
from mlver.cli.program import check_program
from mlver.cli.relay import Ended, Signals, run_command
from mlver.cli.run_documents import run_document
from mlver.cli.text import duration
from mlver.errors import MlverError, UsageError
from mlver.history.records import LinkedVersion, RunRecord
from mlver.history.run_actions import RunEnd
from mlver.lineage.capture.record import Captured, capture
from mlver.lineage.capture.secrets import masked, secret_values
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.current import RUN_VARIABLE, current_run, run_variable
from mlver.ops.runs.living import LivingRun, begin_living, end_living
from mlver.ops.runs.recover import recover

EXAMPLES = (
    Example("mlver run -- python train.py --lr 0.01", "record what it was, what it used and made, and how it went"),
    Example(
        "mlver run --job-type train --config lr=0.01 --uses inat:best -- python train.py",
        "and say what kind of work it is, with which settings, on which data",
    ),
    Example("mlver run --config-file train.toml -- make model", "with the settings of a file"),
)

_Command = Annotated[list[str], typer.Argument(metavar="CMD...", help="The program and its arguments, after --.")]
_JobType = Annotated[str | None, typer.Option("--job-type", metavar="TYPE", help="What kind of work: train, evaluate.")]
_Name = Annotated[str | None, typer.Option("--name", "-n", metavar="TEXT", help="What to call the run.")]
_Config = Annotated[list[str], typer.Option("--config", metavar="K=V", help="A setting: a JSON value, or else text.")]
_ConfigFile = Annotated[
    Path | None,
    typer.Option("--config-file", metavar="FILE", help="Settings from a JSON, TOML or YAML file.", parser=path_of),
]
_Uses = Annotated[list[str], typer.Option("--uses", metavar="REF", help="A version that it reads.")]
_NOT_EXECUTED = 126


def command(
    call: Call,
    arguments: _Command,
    job_type: _JobType = None,
    name: _Name = None,
    config: _Config = [],  # noqa: B006 - typer makes the list anew
    config_file: _ConfigFile = None,
    uses: _Uses = [],  # noqa: B006
) -> None:
    """Run a command, and record what it was, what it used and made, and how it went.

    What the command adds or pulls with mlver is attached to the run by itself. Its exit code becomes that of mlver, and
    128 and the signal's number if a signal ended it. With --json and -q its standard output goes to standard error.

    Recorded are the commit and what was changed since, the command line, the machine, Python and its packages, chosen
    environment variables, and the end of what the command writes; what looks like a password or token is masked.
    """
    settings = values.metadata(config, config_file, "--config")
    check_program(arguments[0], "mlver run -- python train.py")
    captured = capture(arguments, Path.cwd(), os.environ)
    with call.repository() as repository:
        _refuse_inner(repository)
        recover(repository)
        run = begin_living(repository, captured, name=name, job_type=job_type, config=settings, uses=uses)
        environment = {**os.environ, RUN_VARIABLE: run_variable(repository, run.id)}
        root = repository.root
    _warn(call.out, captured)
    with Signals() as signals:
        ended = _run(call, arguments, environment, signals, run, root)
        record = _end(root, run, ended)
    call.out.result(record, document=run_document, brief=lambda run: run.id, human=_human)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)


def _refuse_inner(repository: OpenRepository) -> None:
    outer = current_run(repository)
    if outer is not None:
        raise UsageError(
            f"This is part of run {outer} already, and a run has no runs inside it.",
            f"Call the command itself; or, for a run of its own: env -u {RUN_VARIABLE} mlver run …",
        )


def _warn(out: Output, captured: Captured) -> None:
    for note in captured.notes:
        out.warn(note)


def _run(
    call: Call, arguments: Sequence[str], environment: dict[str, str], signals: Signals, run: LivingRun, root: Path
) -> Ended:
    """Run the command; if that cannot be, the run has failed."""
    sys.stdout.flush()
    targets = (1, 2) if call.mode is Mode.HUMAN else (2, 2)
    try:
        return run_command(arguments, environment, signals, targets, run.live.give_sign)
    except MlverError:
        _end(root, run, Ended(_NOT_EXECUTED, False, ""))
        raise


def _end(root: Path, run: LivingRun, ended: Ended) -> RunRecord:
    from mlver.ops.opening import open_repository
    from mlver.store.sqlite import CacheDamaged

    repository = open_repository(root)
    try:
        try:
            return _record_end(repository, run, ended)
        except CacheDamaged as damage:  # the command has run, and is not to be run once more
            repository.reopen(damage)
            return _record_end(repository, run, ended)
    finally:
        repository.close()


def _record_end(repository: OpenRepository, run: LivingRun, ended: Ended) -> RunRecord:
    status: RunEnd = "killed" if ended.killed else "failed" if ended.exit_code else "finished"
    output = masked(ended.tail, secret_values(os.environ)).encode()
    end_living(repository, run, status, ended.exit_code, output or None)
    repository.index.refresh()
    record = repository.runs.run(run.id)
    assert record is not None
    return record


def _human(out: Output, run: RunRecord) -> None:
    said = [_how(run), *(f"{verb} {_names(links)}" for verb, links in _links(run) if links)]
    out.note(f"Run {run.title}: {'; '.join(said)}")


def _links(run: RunRecord) -> tuple[tuple[str, Sequence[LinkedVersion]], ...]:
    return ("used", run.inputs), ("made", run.outputs)


def _names(links: Sequence[LinkedVersion]) -> str:
    return ", ".join(link.name for link in links)


def _how(run: RunRecord) -> str:
    code = f" with exit code {run.exit_code}" if run.exit_code else ""
    return f"{'was killed' if run.status == 'killed' else run.status}{code} after {duration(run.duration_seconds or 0)}"
