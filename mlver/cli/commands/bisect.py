"""`mlver bisect`: find the version where something broke."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.cli.program import check_program
from mlver.cli.style import Styled
from mlver.errors import MlverError, UsageError
from mlver.history.records import VersionRecord
from mlver.ops.bisect.bisect import BisectResult, Step, bisect
from mlver.ops.hooks.execution import execute

EXAMPLES = (
    Example("mlver bisect --good v3 --bad v40 -- ./eval.sh {}", "judge versions by the exit code of a program"),
    Example(
        "mlver bisect --good v3 --bad v40 --no-pull -- python eval.py", "do not pull: it reads MLVER_VERSION itself"
    ),
    Example("mlver bisect --good v3 --bad v40 --log b.jsonl -- ./eval.sh {}", "go on where it was interrupted"),
)
_STDOUT, _STDERR = 1, 2
_SHOWN = {"good": "good", "bad": "bad", "skip": "cannot be judged"}

_Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- CMD [ARG...]", help="What judges; {} is the folder.", show_default=False),
]
_Good = Annotated[str, typer.Option("--good", metavar="REF", help="A version that is good.")]
_Bad = Annotated[str, typer.Option("--bad", metavar="REF", help="A later one that is bad.")]
_NoPull = Annotated[bool, typer.Option("--no-pull", help="Do not write the versions' files into a folder.")]
_Log = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="Keep verdicts here, and use those kept.", parser=path_of)
]


def command(
    call: Call,
    good: _Good,
    bad: _Bad = "latest",
    words: _Command = None,
    no_pull: _NoPull = False,
    log: _Log = None,
) -> None:
    """Find the version where something broke, by halving.

    The command judges one version at a time: exit code 0 is good, 1 to 124 bad, 125 cannot tell; anything else ends the
    search. It gets the version's name in MLVER_VERSION and its files in a folder, which {} and MLVER_FOLDER name.
    """
    if not words:
        raise UsageError("There is nothing that judges.", "Write it at the end: mlver bisect --good v3 -- ./eval.sh {}")
    check_program(words[0], "mlver bisect --good v3 -- ./eval.sh {}")
    stdout = _STDOUT if call.out.is_human else _STDERR

    def judge(version: VersionRecord, folder: Path | None) -> int:
        call.out.note(f"{version.name}: judging")
        filled = [word.replace("{}", str(folder)) if folder is not None else word for word in words]
        variables = {**os.environ, "MLVER_VERSION": version.name}
        if folder is not None:
            variables["MLVER_FOLDER"] = str(folder)
        ended = execute(filled, b"", Path.cwd(), variables, stdout=stdout)
        if ended.exit_code is None:
            raise MlverError(f"{words[0]} {ended.problem}.")
        return ended.exit_code

    def told(step: Step, left: int) -> None:
        before = " (judged before)" if step.recorded else f" after {step.seconds:.1f} s"
        more = f"; about {left} more to judge" if left else ""
        call.out.note(f"{step.version}: {_SHOWN[step.verdict]}{before}{more}")

    with call.repository() as repository, call.progress() as progress:
        result = bisect(
            repository, good, bad, judge, subject=words, pulled=not no_pull, record=log, told=told, progress=progress
        )
    call.out.result(result, document=_document, brief=_brief, human=_human)


def _document(result: BisectResult) -> dict[str, Any]:
    return {
        "first_bad": result.first_bad.name if result.is_certain else None,
        "last_good": result.last_good.name,
        "certain": result.is_certain,
        "suspects": [version.name for version in result.suspects],
        "steps": [
            {
                "version": step.version,
                "id": step.id,
                "exit_code": step.exit_code,
                "verdict": step.verdict,
                "seconds": step.seconds,
                "recorded": step.recorded,
            }
            for step in result.steps
        ],
    }


def _brief(result: BisectResult) -> list[str]:
    return [version.name for version in result.suspects]


def _human(out: Output, result: BisectResult) -> None:
    if not result.is_certain:
        out.line("Some could not be judged. The first bad version is one of these:")
        for version in result.suspects:
            out.line("  ", Styled(version.name, "name"))
        return
    bad = result.first_bad
    out.line(Styled(bad.name, "name"), " is the first bad version", f": {bad.message}" if bad.message else "")
    out.hint(f"See what changed: mlver diff {result.last_good.name} {bad.name}")
