"""Metrics of two versions, and whether a change of one is good news."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mlver.ops.diff.result import MetricChange

Direction = Literal["higher", "lower"]

_LOWER_IS_BETTER = frozenset({
    "loss", "losses", "error", "err", "errors", "perplexity", "ppl", "mse", "rmse", "mae", "mape", "nll", "bpc",
    "bpb", "wer", "cer", "fid", "kid", "lpips", "latency", "time", "seconds", "ms", "eer", "brier", "ece", "hamming",
    "regret", "cost",
})  # fmt: skip
_HIGHER_IS_BETTER = frozenset({
    "acc", "accuracy", "f1", "auc", "auroc", "auprc", "precision", "recall", "bleu", "rouge", "meteor", "map", "iou",
    "miou", "dice", "r2", "psnr", "ssim", "score", "reward", "mrr", "ndcg", "em", "exact", "kappa", "mcc", "hits",
    "throughput", "return", "win", "wins", "top1", "top5",
})  # fmt: skip
_WORD = re.compile(r"[a-z]+\d*")


def compare_metrics(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[MetricChange, ...]:
    """Return the metrics that changed, came or went, by name."""
    return tuple(
        MetricChange(name, before.get(name), after.get(name), _is_better(name, before.get(name), after.get(name)))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def better(name: str) -> Direction | None:
    """Return which values of a metric are better, as far as its name tells."""
    words = set(_WORD.findall(name.lower()))
    lower, higher = bool(words & _LOWER_IS_BETTER), bool(words & _HIGHER_IS_BETTER)
    if lower == higher:
        return None  # neither is known, or both: an "accuracy loss" could be anything
    return "lower" if lower else "higher"


def best(name: str, values: Iterable[float | None]) -> float | None:
    """Return the best of several values of a metric; None if they are all the same, or it is not known which is."""
    known = {value for value in values if value is not None}
    direction = better(name)
    if len(known) < 2 or direction is None:
        return None
    return min(known) if direction == "lower" else max(known)


def _is_better(name: str, before: float | None, after: float | None) -> bool | None:
    direction = better(name)
    if before is None or after is None or direction is None:
        return None
    return (after < before) == (direction == "lower")
