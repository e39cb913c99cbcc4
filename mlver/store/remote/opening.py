"""From an address to a storage. The SDKs are imported here, by the one branch that needs them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from mlver.errors import MlverError, RemoteError
from mlver.store.local import LocalStorage
from mlver.store.remote.address import Address
from mlver.store.remote.failures import remote_error
from mlver.store.remote.service import Service
from mlver.store.remote.storage import RemoteStorage


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
    options = address.options
    anonymous = options.get("anonymous", "").lower() in ("true", "yes", "1")
    if address.protocol == "s3":
        from mlver.store.remote.s3 import S3Service

        return S3Service(
            address.host,
            address.path,
            options.get("endpoint"),
            options.get("region"),
            options.get("profile"),
            anonymous,
        )
    if address.protocol == "gs":
        from mlver.store.remote.gcs import GcsService

        return GcsService(address.host, address.path, options.get("endpoint"), options.get("project"), anonymous)
    if address.protocol == "sftp":
        return _sftp(address)
    from mlver.store.remote.generic import FsspecService, is_installed

    if not is_installed(address.protocol):
        raise RemoteError(
            f"The protocol of {address.url} is not known here.",
            "Use s3://, gs://, sftp://, https:// or a folder, or install fsspec's package for it.",
        )
    return FsspecService(f"{address.protocol}://{address.host}{address.path}")


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
