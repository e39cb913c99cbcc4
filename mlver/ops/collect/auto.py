"""`gc --auto`: a collection after `add`, now and then, when there is something to gain, and never for long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlver.errors import MlverError
from mlver.history.manifest_blob import manifest_name
from mlver.ops.collect.clock import COLLECTED_NAME
from mlver.ops.opening import OpenRepository

if TYPE_CHECKING:
    from mlver.ops.collect.collect import CollectResult

INTERVAL_SECONDS = 86_400
"""How long it is left alone after a collection."""
_MAX_VERSIONS = 2_000
_MAX_LOGICAL_BYTES = 1 << 40
"""Marking more versions, or the chunks of more bytes, takes longer than someone who waits for `add` should notice."""
_MAX_REWRITE_BYTES = 256 << 20


def collect_now_and_then(repository: OpenRepository) -> CollectResult | None:
    """Collect if that is due and worth it; None if it is not, or if it failed.

    What is wrong with the repository is not for whoever adds something to hear of: `gc` and `verify` tell.
    """
    try:
        if not repository.config.gc_auto or not _is_due(repository) or not _is_worth_it(repository):
            return None
        from mlver.ops.collect.collect import DEFAULT_GRACE_SECONDS, collect  # costs start-up time of every `add`

        return collect(repository, DEFAULT_GRACE_SECONDS, max_rewrite_bytes=_MAX_REWRITE_BYTES)
    except MlverError as error:
        import logging

        logging.getLogger(__name__).debug("Nothing was collected: %s", error)
        return None


def _is_due(repository: OpenRepository) -> bool:
    collected_ns = repository.storage.modified_ns(COLLECTED_NAME)
    return collected_ns is None or repository.storage.now_ns() - collected_ns >= INTERVAL_SECONDS * 10**9


def _is_worth_it(repository: OpenRepository) -> bool:
    """Tell whether a removed version has its content still, and looking through all of them takes no time."""
    versions, logical_bytes = repository.index.extent()
    if versions > _MAX_VERSIONS or logical_bytes > _MAX_LOGICAL_BYTES:
        return False
    removed = repository.index.removed_manifests()
    return any(repository.storage.exists(manifest_name(identity)) for identity in removed)
