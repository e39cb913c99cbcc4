"""`mlver diff`: what changed between two versions, and how much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.diff_document import diff_document
from mlver.cli.diff_screen import show_diff, show_stat
from mlver.cli.diff_tensors import TensorView
from mlver.cli.output import Output
from mlver.differences.rows.change import Wanted
from mlver.errors import MlverError, UsageError
from mlver.expressions import Expression
from mlver.ops.diff.diff import diff
from mlver.ops.diff.gates import GateFailure, check_frozen, check_limits
from mlver.ops.diff.result import DiffResult
from mlver.ops.diff.tree import SORTS, Sort

EXAMPLES = (
    Example("mlver diff v4 v6", "what changed between two versions"),
    Example("mlver diff best", "between a version and the one before it"),
    Example("mlver diff resnet:best resnet_pruned:production", "between versions of two artifacts"),
    Example("mlver diff best ./model", "between a version and a folder"),
    Example("mlver diff v4..v6 --tensor 'encoder.*' --all", "every changed tensor of a module"),
    Example("mlver diff preds:v1 preds:v2 --key id", "who fixed what: predictions row by row"),
    Example(
        "mlver diff production best --expect-frozen 'encoder.*' --fail-if 'val_acc < -0.01'", "a gate in a pipeline"
    ),
)

_SHOWN_FAILURES = 10
_ROWS, _EVERY_ROW = 20, 1000
"""Rows that are kept as examples, without and with --all."""

_First = Annotated[
    str, typer.Argument(metavar="REF", help="A version, a range such as v4..v6, or a path.", show_default=False)
]
_Second = Annotated[
    str | None,
    typer.Argument(
        metavar="REF|DIR", help="A version or a path; without it, REF is compared with the version before it."
    ),
]
_Names = Annotated[bool, typer.Option("--names-only", help="Compare digests only; read no weights.")]
_Stat = Annotated[bool, typer.Option("--stat", help="Show the summary and counts only.")]
_Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")]
_Depth = Annotated[int | None, typer.Option("--depth", metavar="N", min=1, help="Show modules down to this depth.")]
_All = Annotated[bool, typer.Option("--all", help="Show every changed tensor, and lists in full.")]
_Tensor = Annotated[
    list[str],
    typer.Option("--tensor", metavar="GLOB", help="Compare only tensors of these names."),
]
_Sort = Annotated[str, typer.Option("--sort", metavar="KEY", help="change, max, cosine, elements, size or name first.")]
_Rank = Annotated[bool, typer.Option("--rank", help="Find in how many directions each matrix changed: few for a LoRA.")]
_Key = Annotated[
    list[str], typer.Option("--key", metavar="COLUMN", help="Match the rows of tables by this column, or several.")
]
_Label = Annotated[
    str | None, typer.Option("--label", metavar="COLUMN", help="The column of tables that says what is right.")
]
_Prediction = Annotated[
    str | None, typer.Option("--prediction", metavar="COLUMN", help="The column of tables that was predicted.")
]
_ExitCode = Annotated[
    bool, typer.Option("--exit-code", help="Exit with 1 if something differs, with 2 or more on errors.")
]
_Frozen = Annotated[
    list[str],
    typer.Option(
        "--expect-frozen",
        metavar="GLOB",
        help="Exit with 1 if a tensor of these names changed.",
    ),
]
_FailIf = Annotated[
    list[str],
    typer.Option(
        "--fail-if",
        metavar="EXPR",
        help="Exit with 1 if this holds of a changed tensor, or of the changes of metrics.",
    ),
]


def command(
    call: Call,
    first: _First,
    second: _Second = None,
    names_only: _Names = False,
    stat: _Stat = False,
    markdown: _Markdown = False,
    depth: _Depth = None,
    every: _All = False,
    tensors: _Tensor = [],  # noqa: B006 - typer makes the list anew
    sort: _Sort = "change",
    rank: _Rank = False,
    key: _Key = [],  # noqa: B006
    label: _Label = None,
    prediction: _Prediction = None,
    exit_code: _ExitCode = False,
    frozen: _Frozen = [],  # noqa: B006
    fail_if: _FailIf = [],  # noqa: B006
) -> None:
    """Show what changed between two versions, or a version and a folder.

    Tensors are found by name in any file format. Their change is ‖Δ‖ / ‖before‖; modules with the largest come first.
    Changes that were measured once are remembered. Tables (.csv, .tsv, .jsonl, .parquet) are compared by rows; key,
    labels and predictions are found by their names where those are plain. --fail-if knows relative_change, max_abs,
    cosine, changed_fraction, new_nan, new_inf, name and dtype of each changed tensor, and every metric by its name:
    after minus before.
    """
    view = TensorView(depth, every, _checked(sort))
    if names_only and (key or label is not None or prediction is not None):
        raise UsageError("--key, --label and --prediction need tables to be read; --names-only reads nothing.")
    if names_only and rank:
        raise UsageError("--rank needs weights to be read; --names-only reads nothing.")
    if markdown and stat:
        raise UsageError("--markdown and --stat are two views of a diff: choose one.")
    rows = Wanted(tuple(key), label, prediction, _EVERY_ROW if every else _ROWS)
    limits = [Expression(text) for text in fail_if]
    try:
        with call.repository() as repository, call.progress() as progress:
            result = diff(
                repository,
                first,
                second,
                tensor_globs=tensors,
                names_only=names_only,
                with_ranks=rank,
                rows=rows,
                progress=progress,
            )
        failures = check_frozen(result, frozen) + check_limits(result, limits)
    except MlverError as error:
        if exit_code or frozen or fail_if:
            error.exit_code = max(error.exit_code, UsageError.exit_code)  # 1 says that something differs
        raise

    def human(out: Output, found: DiffResult) -> None:
        if markdown:
            from mlver.cli.diff_markdown import show_markdown

            show_markdown(out, found, view, failures)
        elif stat:
            show_stat(out, found)
        else:
            show_diff(out, found, view)

    call.out.result(
        result,
        document=lambda found: diff_document(found, failures),
        brief=lambda found: _brief(found, tensors),
        human=human,
    )
    _tell(call.out, failures)
    if failures or (exit_code and not result.is_same):
        raise typer.Exit(1)


def _checked(sort: str) -> Sort:
    if sort not in SORTS:
        raise UsageError(f"Tensors cannot be sorted by {sort!r}.", f"Choose one of: {', '.join(SORTS)}.")
    return sort


def _brief(result: DiffResult, globs: Sequence[str]) -> Iterable[str]:
    """Return the paths of files that differ, or the names of tensors if it was asked for some."""
    if globs:
        tensors = result.tensors
        return (*tensors.removed, *tensors.added, *(pair.name for pair in (*tensors.moved, *tensors.changed)))
    files = result.files
    moved = (path for pair in files.renamed for path in (pair.before, pair.after))
    modified = (entry.path for file in files.modified for entry in (file.before, file.after))
    return sorted({*files.added, *files.removed, *moved, *modified})


def _tell(out: Output, failures: Sequence[GateFailure]) -> None:
    for failure in failures[:_SHOWN_FAILURES]:
        out.error(failure.message)
    if len(failures) > _SHOWN_FAILURES:
        out.error(f"… and {len(failures) - _SHOWN_FAILURES:,} more.")
