"""What happened, in a line that a person can repeat."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mlver.differences.values import ValueChange
from mlver.ops.diff.result import FileChanges, MetricChange, TensorChanges
from mlver.ops.diff.tree import main_module, module_tree

_MOST_VALUES = 2
_MOST_CHARACTERS = 24
_DIGITS = 5


def summarise(
    tensors: TensorChanges,
    files: FileChanges,
    metrics: Sequence[MetricChange],
    values: Sequence[ValueChange],
    identical_weights: bool | None,
) -> str:
    """Return the summary.

    Args:
        tensors: Which tensors changed, measured or not.
        files: Which files changed.
        metrics: Which metrics changed.
        values: Which metadata and configuration changed, the most telling first.
        identical_weights: As in `DiffResult`.
    """
    parts = [*_shouts(tensors), *_weights(tensors, files, identical_weights), *_values(values), *_metrics(metrics)]
    parts += _tables(files)
    if not parts and not files.is_empty:
        parts.append(_files(files))
    return "; ".join(parts) or "nothing differs"


def _weights(tensors: TensorChanges, files: FileChanges, identical: bool | None) -> Iterator[str]:
    if identical and not files.is_empty:
        yield "the weights are identical" + (", in other files" if any(_weight_files(files)) else "")
    if identical:
        return
    total = tensors.total
    if tensors.changed:
        main = main_module(module_tree(tensors))
        where = f", mostly {main.name}" if main is not None else ""
        if len(tensors.changed) == total:
            yield (f"all {total:,} tensors changed" if total > 1 else "the one tensor changed") + where
        else:
            yield f"{len(tensors.changed):,} of {total:,} tensors changed" + where
    counts = (len(tensors.added), "added"), (len(tensors.removed), "removed"), (len(tensors.renamed), "renamed")
    for count, verb in counts:
        if count:
            yield f"{count:,} {'tensor' if count == 1 else 'tensors'} {verb}"


def _shouts(tensors: TensorChanges) -> Iterator[str]:
    broken = tensors.broken
    if broken:
        where = broken[0].name if len(broken) == 1 else f"{len(broken):,} tensors"
        yield f"NaN or infinities appeared in {where}"


def _weight_files(files: FileChanges) -> Iterator[bool]:
    yield from (file.before.digest != file.after.digest and bool(file.after.format) for file in files.modified)
    yield bool(files.added and files.removed)


def _values(values: Sequence[ValueChange]) -> Iterator[str]:
    """Yield the first changes that fit into a line: what has a value on both sides, numbers before texts."""
    both = [change for change in values if change.kind == "changed" and _is_short(change)]
    both.sort(key=lambda change: not isinstance(change.after, int | float))
    told = (f"{change.key} {_show(change.before)} → {_show(change.after)}" for change in both)
    # Metadata and a configuration often say the same.
    yield from list(dict.fromkeys(told))[:_MOST_VALUES]


def _is_short(change: ValueChange) -> bool:
    return all(
        isinstance(value, str | int | float | None) and len(_show(value)) <= _MOST_CHARACTERS
        for value in (change.before, change.after)
    )


def _metrics(metrics: Sequence[MetricChange]) -> Iterator[str]:
    both = [metric for metric in metrics if metric.change is not None]
    both.sort(key=lambda metric: metric.is_better is None)
    for metric in both[:_MOST_VALUES]:
        yield f"{metric.name} {_show(metric.before)} → {_show(metric.after)}"


def _tables(files: FileChanges) -> list[str]:
    """Return what became of predictions, or of rows, in the first tables."""
    told = []
    for file in files.modified:
        table = file.table
        if table is not None and (found := table.predictions) is not None:
            accuracies = f"{_show(found.before.accuracy)} → {_show(found.after.accuracy)}"
            turns = f"{found.fixed_count:,} fixed, {found.broken_count:,} broken"
            told.append(f"accuracy of {file.after.path} {accuracies} ({turns})")
        elif table is not None:
            amounts = (table.changed_count, "changed"), (table.added_count, "added"), (table.removed_count, "removed")
            if rows := ", ".join(f"{amount:,} {verb}" for amount, verb in amounts if amount):
                told.append(f"rows of {file.after.path}: {rows}")
    return told[:_MOST_VALUES]


def _files(files: FileChanges) -> str:
    counts = (
        (len(files.modified), "modified"),
        (len(files.added), "added"),
        (len(files.removed), "removed"),
        (len(files.renamed), "renamed"),
    )
    shown = [f"{count:,} {'file' if count == 1 else 'files'} {verb}" for count, verb in counts if count]
    for kind, count in Counter(change.kind for change in files.references).items():
        shown.append(f"{count:,} {'reference' if count == 1 else 'references'} {kind}")
    return ", ".join(shown)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
