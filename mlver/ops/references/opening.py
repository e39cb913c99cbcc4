"""The buckets and servers that references point to, each opened once, with the options that it needs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from mlver.config import CONFIG_NAME, Config, with_reference_options
from mlver.errors import NotFoundError, UsageError
from mlver.ops.opening import OpenRepository
from mlver.ops.placing import umask
from mlver.store.objects.address import Location, locate
from mlver.store.objects.opening import open_objects
from mlver.store.objects.patient import ObjectStore
from mlver.store.remote.address import Address, check_address

_OPTIONS = ("endpoint", "region", "profile", "project", "anonymous")


class ReferenceStores:
    """Opens a bucket or server when it is first needed; close it at the end. Safe in any thread.

    Args:
        config: Has options of buckets, and remotes in them.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stores: dict[str, ObjectStore] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for store in self._stores.values():
            store.close()

    def at(self, uri: str) -> tuple[ObjectStore, Location]:
        """Return the store that a URI points into, and where.

        Raises:
            UsageError: Its protocol is not known here.
            RemoteError: It cannot be opened.
        """
        location = locate(uri)
        with self._lock:
            if location.root not in self._stores:
                options = reference_options(self._config, location.root)
                self._stores[location.root] = open_objects(location.root, options)
        return self._stores[location.root], location


def reference_options(config: Config, root: str) -> Mapping[str, str]:
    """Return the options of a bucket: those kept for it, else those of a remote in it."""
    if root in config.references:
        return config.references[root]
    for settings in config.remotes.values():
        address = Address(settings["url"])
        if f"{address.protocol}://{address.host}" == root:
            return {name: value for name, value in settings.items() if name in _OPTIONS}
    return {}


def keep_options(repository: OpenRepository, uri: str, options: Mapping[str, str]) -> None:
    """Keep the options of the bucket of a URI in `config.toml`, where later commands find them.

    Raises:
        UsageError: An option is not known, or the URI is not in a bucket.
    """
    root = locate(uri).root
    for name in options:
        if name not in _OPTIONS:
            raise UsageError(f"A reference has no option {name!r}.", f"Choose from: {', '.join(_OPTIONS)}.")
    if not root.startswith(("s3://", "gs://")):
        raise UsageError(f"{root} takes no options: only buckets do.")
    check_address(root, options)
    if repository.config.references.get(root) == options:
        return
    try:
        text = repository.storage.read(CONFIG_NAME)
    except NotFoundError:
        text = b""
    repository.storage.put(CONFIG_NAME, with_reference_options(text, root, options))
    with suppress(OSError):  # unlike all else in here, it is for people to edit
        (repository.root / CONFIG_NAME).chmod(0o666 & ~umask())
