"""From the root of references to a store. The SDKs are imported here, by the one branch that needs them."""

from __future__ import annotations

from collections.abc import Mapping

from mlver.errors import MlverError
from mlver.store.objects.patient import ObjectStore
from mlver.store.objects.service import Objects
from mlver.store.remote.address import check_address
from mlver.store.remote.failures import remote_error


def open_objects(root: str, options: Mapping[str, str]) -> ObjectStore:
    """Open the bucket or server `root`, as in `Location`.

    Args:
        root: Which.
        options: As a remote has them: endpoint, region, profile, project, anonymous.

    Raises:
        UsageError: An option is not known.
        RemoteError: There are no credentials, for example.
    """
    try:
        return ObjectStore(_objects(root, options), root)
    except MlverError:
        raise
    except Exception as error:  # every library has errors of its own
        raise remote_error(error, root, "open", "") from error


def _objects(root: str, options: Mapping[str, str]) -> Objects:
    if root == "file://":
        from mlver.store.objects.folder import FileObjects

        return FileObjects()
    address = check_address(root, {name: value for name, value in options.items() if name != "prefix"})
    if address.protocol == "s3":
        from mlver.store.objects.s3 import S3Objects
        from mlver.store.remote.opening import s3_service

        return S3Objects(s3_service(address))
    if address.protocol == "gs":
        from mlver.store.objects.gcs import GcsObjects
        from mlver.store.remote.opening import gcs_service

        return GcsObjects(gcs_service(address))
    from mlver.store.objects.web import WebObjects

    return WebObjects()
