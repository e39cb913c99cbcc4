"""A storage that fails on order: wraps a real one, so that production code needs no hooks for tests.

Modelled on kopia's `internal/blobtesting/faulty.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mlver.errors import MlverError
from mlver.store.local import LocalStorage
from mlver.store.memory import MemoryStorage
from mlver.store.storage import Buffer, StagedBlob, Storage

T = TypeVar("T")

OPERATIONS = frozenset(
    {
        "read",
        "size",
        "exists",
        "list",
        "create",
        "put",
        "delete",
        "sync",
        "stage",
        "write",
        "commit",
        "abort",
        "rename",
        "modified",
        "now",
        "sweep",
    }
)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, some number of times.

    Attributes:
        operation: One of `OPERATIONS`; `write`, `commit` and `abort` are those of staged blobs.
        error: Raised to the caller; None to only run `action`.
        skip: Calls that pass before the first fault.
        times: Calls that fail after those.
        after: Raise after the inner call was made rather than instead of it: a reply that was lost.
        where: Applies only to names that contain this.
        action: Runs before the inner call: another process that gets in between.
    """

    operation: str
    error: MlverError | None
    skip: int = 0
    times: int = 1
    after: bool = False
    where: str = ""
    action: Callable[[], object] | None = None

    def applies(self, operation: str, name: str) -> bool:
        """Tell whether this very call is to fail, and count it."""
        if operation != self.operation or self.where not in name or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class FaultyStorage:
    """A `Storage` that passes every call on to `inner`, but for the faults it was given.

    Attributes:
        calls: Every call so far, as (operation, name), in order; staged blobs write and abort under no name.
    """

    def __init__(self, inner: Storage) -> None:
        self.inner = inner
        self.calls: list[tuple[str, str]] = []
        self._faults: list[Fault] = []
        self._alter: dict[str, Callable[[bytes], bytes]] = {}
        self._hidden: dict[str, int] = {}

    def fail(
        self,
        operation: str,
        *,
        skip: int = 0,
        times: int = 1,
        after: bool = False,
        where: str = "",
        error: MlverError | None = None,
    ) -> Fault:
        """Let an operation fail; see `Fault` for the arguments."""
        fault = Fault(operation, error or MlverError(f"Injected: {operation}."), skip, times, after, where)
        return self._add(fault)

    def before(self, operation: str, action: Callable[[], object], *, skip: int = 0, where: str = "") -> Fault:
        """Run `action` once, just before the call is made."""
        return self._add(Fault(operation, None, skip, where=where, action=action))

    def rot(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Let a blob be read as `change` of its bytes; its size changes with it."""
        self._alter[name] = change

    def hide(self, folder: str, kept: int = 0) -> None:
        """List only the first names of a folder: the lie of a storage that takes an error for the end of the answer."""
        self._hidden[folder] = kept

    def _add(self, fault: Fault) -> Fault:
        if fault.operation not in OPERATIONS:
            raise ValueError(f"There is no operation {fault.operation!r}.")
        self._faults.append(fault)
        return fault

    def call(self, operation: str, name: str, inner: Callable[[], T]) -> T:
        """Make one call, with the fault that applies to it."""
        self.calls.append((operation, name))
        fault = next((fault for fault in self._faults if fault.applies(operation, name)), None)
        if fault and fault.action:
            fault.action()
        if fault and fault.error and not fault.after:
            raise fault.error
        result = inner()
        if fault and fault.error:
            raise fault.error
        return result

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See `Storage.read`."""
        if name in self._alter:
            return self.call("read", name, lambda: self._rotten(name).read(name, start, length))
        return self.call("read", name, lambda: self.inner.read(name, start, length))

    def size(self, name: str) -> int:
        """See `Storage.size`."""
        if name in self._alter:
            return self.call("size", name, lambda: self._rotten(name).size(name))
        return self.call("size", name, lambda: self.inner.size(name))

    def exists(self, name: str) -> bool:
        """See `Storage.exists`."""
        return self.call("exists", name, lambda: self.inner.exists(name))

    def list(self, folder: str) -> list[str]:
        """See `Storage.list`."""
        return self.call("list", folder, lambda: self.inner.list(folder)[: self._hidden.get(folder)])

    def create(self, name: str, data: Buffer) -> bool:
        """See `Storage.create`."""
        return self.call("create", name, lambda: self.inner.create(name, data))

    def put(self, name: str, data: Buffer) -> None:
        """See `Storage.put`."""
        self.call("put", name, lambda: self.inner.put(name, data))

    def delete(self, name: str) -> None:
        """See `Storage.delete`."""
        self.call("delete", name, lambda: self.inner.delete(name))

    def sync(self, folder: str) -> None:
        """See `Storage.sync`."""
        self.call("sync", folder, lambda: self.inner.sync(folder))

    def stage(self) -> FaultyStagedBlob:
        """See `Storage.stage`."""
        return FaultyStagedBlob(self, self.call("stage", "", self.inner.stage))

    def rename(self, name: str, to: str, *, replace: bool = True) -> bool:
        """See `AsideStorage.rename`."""
        return self.call("rename", name, lambda: self._local.rename(name, to, replace=replace))

    def modified_ns(self, name: str) -> int | None:
        """See `AsideStorage.modified_ns`."""
        return self.call("modified", name, lambda: self._local.modified_ns(name))

    def now_ns(self) -> int:
        """See `AsideStorage.now_ns`."""
        return self.call("now", "", self._local.now_ns)

    def sweep(self) -> int:
        """See `LocalStorage.sweep`."""
        return self.call("sweep", "", self._local.sweep)

    @property
    def _local(self) -> LocalStorage:
        assert isinstance(self.inner, LocalStorage)
        return self.inner

    def _rotten(self, name: str) -> Storage:
        rotten = MemoryStorage()
        rotten.put(name, self._alter[name](self.inner.read(name)))
        return rotten


class FaultyStagedBlob:
    """A `StagedBlob` of a `FaultyStorage`. As promised, an error throws the bytes away."""

    def __init__(self, storage: FaultyStorage, inner: StagedBlob) -> None:
        self._storage = storage
        self._inner = inner

    @property
    def size_bytes(self) -> int:
        """See `StagedBlob.size_bytes`."""
        return self._inner.size_bytes

    def write(self, *buffers: Buffer) -> None:
        """See `StagedBlob.write`."""
        self._call("write", "", lambda: self._inner.write(*buffers))

    def commit(self, name: str) -> None:
        """See `StagedBlob.commit`."""
        self._call("commit", name, lambda: self._inner.commit(name))

    def abort(self) -> None:
        """See `StagedBlob.abort`."""
        self._storage.call("abort", "", self._inner.abort)

    def _call(self, operation: str, name: str, inner: Callable[[], None]) -> None:
        try:
            self._storage.call(operation, name, inner)
        except MlverError:
            self._inner.abort()
            raise
