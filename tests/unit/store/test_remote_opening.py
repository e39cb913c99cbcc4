"""Remotes that cannot be opened, and services that answer oddly: said in one line."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mlver.errors import MlverError, RemoteError, UsageError
from mlver.store.memory import MemoryStorage
from mlver.store.remote import generic, opening, rust, sftp
from mlver.store.remote.address import Address, check_address
from mlver.store.remote.generic import FsspecService
from mlver.store.remote.opening import open_storage
from mlver.store.remote.probe import probe
from mlver.store.remote.storage import RemoteStorage


def test_a_library_that_cannot_start_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no credentials anywhere")

    monkeypatch.setattr(opening, "s3_service", broken)
    with pytest.raises(RemoteError, match="no credentials anywhere"):
        open_storage(check_address("s3://bucket/x"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (Address("gs://bucket/x", {"library": "obstore"}), "cannot be used through 'obstore'"),
        (Address("s3://bucket/x", {"library": "boto"}), "cannot be used through 'boto'"),
        (Address("s3://bucket/x", {"library": "obstore", "profile": "work"}), "obstore knows no profiles"),
    ],
)
def test_libraries_that_do_not_fit_are_refused(address: Address, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_storage(address)


def test_protocols_that_nobody_speaks_are_refused() -> None:
    with pytest.raises(RemoteError, match="is not known here"):
        open_storage(Address("nonsense://host/x", {}))


def test_packages_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(rust, "import_module", absent)
    with pytest.raises(RemoteError, match="obstore is not installed"):
        rust.ObstoreService("bucket", "")
    monkeypatch.setattr(sftp, "import_module", absent)
    with pytest.raises(RemoteError, match="needs the package paramiko"):
        sftp.SftpService("host", "/x")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "empty or has control"), ("s3://b\n", "empty or has control"), ("http://[::1/x", "is no URL"),
        ("s3://", "names no bucket"),
        ("s3:///", "names no bucket"), ("https:///x", "names no host"), ("s3://bucket:80/x", "has a port"),
    ],
)  # fmt: skip
def test_addresses_of_nothing_are_refused(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_address(url)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match="no option 'colour'"):
        check_address("s3://bucket", {"colour": "red"})


def test_a_folder_by_way_of_fsspec(tmp_path: Path) -> None:
    service = FsspecService(f"file://{tmp_path}")
    service.put("a/b", b"0123456789")
    assert (tmp_path / "a/b").read_bytes() == b"0123456789"
    assert service.get("a/b", 2, 5) == b"234"
    assert service.size("a/b") == 10
    with pytest.raises(FileNotFoundError):
        service.size("a")  # a folder is no blob
    assert {entry.name for entry in service.list("", deep=False)} == {"a"}
    assert service.list("absent", deep=False) == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"mtime": 1.5}, 1_500_000_000), ({"created": 2}, 2_000_000_000),
        ({"created": datetime(1970, 1, 1, 0, 0, 3)}, 3_000_000_000),  # noqa: DTZ001 - as fsspec before 2025 tells it
        ({"LastModified": datetime(1970, 1, 1, 1, 0, 4, tzinfo=timezone(timedelta(hours=1)))}, 4_000_000_000),
        ({"mtime": None}, None), ({"created": "yesterday"}, None),
    ],
)  # fmt: skip
def test_filesystems_tell_the_time_by_many_names(told: dict[str, object], expected: int | None) -> None:
    assert generic._modified_ns(told) == expected


class Liar(MemoryStorage):
    """Keeps other bytes than it was given."""

    def create(self, name: str, data: bytes | bytearray | memoryview) -> bool:
        return super().create(name, os.urandom(32))


def test_a_place_that_keeps_other_bytes_is_no_remote() -> None:
    with pytest.raises(MlverError, match="not what was written"):
        probe(Liar(), read_only=False)


def test_the_top_of_a_storage_can_be_synced() -> None:
    MemoryStorage().sync("")
    RemoteStorage(FsspecService("memory://top"), "memory://top").sync("")
