from __future__ import annotations

from pathlib import Path

import pytest

from mlver.store.local import LocalStorage
from mlver.store.memory import MemoryStorage
from mlver.store.storage import Storage
from tests.contract.storage import StorageContract
from tests.support.faulty import FaultyStorage


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path)


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage()


class TestFaultyStorageWithoutFaults(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return FaultyStorage(MemoryStorage())
