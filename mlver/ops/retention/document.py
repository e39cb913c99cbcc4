"""A plan as a JSON document, which `mlver gc --plan --json` prints and `--apply` reads. Strict: it says what goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlver.errors import UsageError
from mlver.ops.collect.collect import CollectResult
from mlver.ops.retention.plan import GcPlan, GoingVersion

PLAN_FORMAT = 1
MAX_PLAN_BYTES = 256 << 20
_GOING = {
    "version": str, "policy": str, "kept": list, "exclusive_bytes": int, "shared_bytes": int, "held_bytes": int,
}  # fmt: skip
_RESULT = {
    "deleted_packs": int, "rewritten_packs": int, "bytes_before": int, "bytes_after": int, "left_bytes": int,
    "held_bytes": int,
}  # fmt: skip
_PLAN = {
    "mlver_plan": int, "grace_seconds": float, "remove": list, "delete": list, "waiting": list, "logs": dict,
    "packs_digest": str, "later_bytes": int, **_RESULT,
}  # fmt: skip


def plan_document(plan: GcPlan) -> dict[str, Any]:
    """Return a plan as its document."""
    return {
        "mlver_plan": PLAN_FORMAT,
        "grace_seconds": float(plan.grace_seconds),
        "remove": [
            {
                "version": item.version,
                "policy": item.policy,
                "kept": list(item.kept_is),
                "exclusive_bytes": item.exclusive_bytes,
                "shared_bytes": item.shared_bytes,
                "held_bytes": item.held_bytes,
            }
            for item in plan.remove
        ],
        "delete": list(plan.delete),
        "waiting": list(plan.result.waiting),
        **{key: getattr(plan.result, key) for key in _RESULT},
        "later_bytes": plan.later_bytes,
        "logs": dict(plan.heads),
        "packs_digest": plan.packs_state,
    }


def read_plan(text: bytes, shown: str = "This") -> GcPlan:
    """Return the plan that a document is.

    Args:
        text: The document.
        shown: What to call it in errors.

    Raises:
        UsageError: It is none.
    """
    hint = "Make one with: mlver gc --plan --json > PLANFILE"
    try:
        document = json.loads(text[:MAX_PLAN_BYTES])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{shown} is no plan: it is no JSON.", hint) from error
    try:
        _check(document, _PLAN)
        for item in document["remove"]:
            _check(item, _GOING)
        texts = [*document["delete"], *document["waiting"], *document["logs"].values()]
        texts += [rule for item in document["remove"] for rule in item["kept"]]
        if document["mlver_plan"] != PLAN_FORMAT or not all(isinstance(each, str) for each in texts):
            raise ValueError("it has another form")
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{shown} is no plan: {error}.", hint) from error
    return _plan_from(document)


def _plan_from(document: Mapping[str, Any]) -> GcPlan:
    items = [
        GoingVersion(**{key: value for key, value in item.items() if key != "kept"}, kept_is=tuple(item["kept"]))
        for item in document["remove"]
    ]
    result = CollectResult(
        is_dry_run=True,
        versions=tuple(document["delete"]),
        waiting=tuple(document["waiting"]),
        **{key: document[key] for key in _RESULT},
    )
    return GcPlan(
        document["grace_seconds"],
        tuple(items),
        tuple(document["delete"]),
        document["packs_digest"],
        document["logs"],
        result,
        document["later_bytes"],
    )


def _check(value: Any, fields: Mapping[str, type]) -> None:
    if not isinstance(value, dict) or value.keys() != fields.keys():
        raise ValueError("its fields are others")
    for name, kind in fields.items():
        if type(value[name]) is not kind or (kind in (int, float) and not 0 <= value[name] < 1 << 62):
            raise ValueError(f"{name} is malformed")
