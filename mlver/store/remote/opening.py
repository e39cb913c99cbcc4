"""From an address to a storage. The SDKs are imported here, by the one branch that needs them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlver.errors import MlverError, RemoteError, UsageError
from mlver.store.local import LocalStorage
from mlver.store.remote.address import Address
from mlver.store.remote.failures import remote_error
from mlver.store.remote.service import Service
from mlver.store.remote.storage import RemoteStorage

if TYPE_CHECKING:
    from mlver.store.remote.gcs import GcsService
    from mlver.store.remote.s3 import S3Service


def open_storage(address: Address) -> RemoteStorage | LocalStorage:
    """Open the storage at an address. A folder is opened as the local storage it is, and must exist.

    Raises:
        RemoteError: The protocol is not known here, there are no credentials, or there is no such folder.
    """
    if address.protocol == "file":
        if not os.path.isdir(address.path):
            raise RemoteError(f"There is no folder {address.path}.", "Is its disk mounted?")
        return LocalStorage(Path(address.path))
    try:
        return RemoteStorage(_service(address), address.url)
    except MlverError:
        raise
    except Exception as error:  # every library has errors of its own
        raise remote_error(error, address.url, "open", "") from error


def _service(address: Address) -> Service:
    library = address.options.get("library")
    if address.protocol == "s3" and library == "obstore":
        return _obstore(address)
    if library is not None:
        raise UsageError(f"{address.url} cannot be used through {library!r}.", "s3:// can, through obstore.")
    if address.protocol == "s3":
        return s3_service(address)
    if address.protocol == "gs":
        return gcs_service(address)
    if address.protocol == "sftp":
        return _sftp(address)
    from mlver.store.remote.generic import FsspecService, is_installed

    if not is_installed(address.protocol):
        raise RemoteError(
            f"The protocol of {address.url} is not known here.",
            "Use s3://, gs://, sftp://, https:// or a folder, or install fsspec's package for it.",
        )
    return FsspecService(f"{address.protocol}://{address.host}{address.path}")


def s3_service(address: Address) -> S3Service:
    """Open a prefix in a bucket of S3."""
    from mlver.store.remote.s3 import S3Service

    options = address.options
    return S3Service(
        address.host,
        address.path,
        options.get("endpoint"),
        options.get("region"),
        options.get("profile"),
        _is_anonymous(address),
    )


def gcs_service(address: Address) -> GcsService:
    """Open a prefix in a bucket of Google Cloud Storage."""
    from mlver.store.remote.gcs import GcsService

    options = address.options
    return GcsService(
        address.host, address.path, options.get("endpoint"), options.get("project"), _is_anonymous(address)
    )


def _obstore(address: Address) -> Service:
    from mlver.store.remote.rust import ObstoreService

    options = address.options
    if "profile" in options:
        raise UsageError("obstore knows no profiles.", "Leave --profile out, or --library.")
    return ObstoreService(
        address.host,
        address.path,
        options.get("endpoint"),
        options.get("region"),
        _is_anonymous(address),
    )


def _is_anonymous(address: Address) -> bool:
    return address.options.get("anonymous", "").lower() in ("true", "yes", "1")


def _sftp(address: Address) -> Service:
    from mlver.store.remote.sftp import SftpService

    parts = urlsplit(address.url)
    options = address.options
    return SftpService(
        parts.hostname or "",
        address.path,
        parts.port or 22,
        parts.username,
        options.get("key-file"),
        options.get("known-hosts"),
    )
