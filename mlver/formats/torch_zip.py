"""PyTorch zip files (`torch.save` since 1.6) → `Layout`.

`NAME/data.pkl` describes the objects, `NAME/data/KEY` are the storages, uncompressed and aligned. The pickle is
interpreted by `PickleMachine`; nothing in the file is imported or run.

Source: PyTorch `torch/serialization.py` (`_save`, `_load`) and `caffe2/serialize/inline_container.h`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlver.formats.layout import ByteSource, FormatError, Layout, read_exactly
from mlver.formats.pickle_machine import PickleMachine
from mlver.formats.shared_storage import Extent
from mlver.formats.torch_tensors import MAX_PICKLE_BYTES, torch_layout
from mlver.formats.zip_directory import Member, check_disjoint, locate

_PICKLE_NAME = "/data.pkl"


def find_pickle(members: dict[str, Member]) -> str | None:
    """Return the name of the member that describes a torch file's objects, if the zip file is one."""
    names = [name for name in members if name.endswith(_PICKLE_NAME) and name.count("/") == 1]
    return names[0] if len(names) == 1 else None


def parse_torch(
    source: ByteSource, members: dict[str, Member], pickle_name: str, machine: PickleMachine | None = None
) -> Layout:
    """Return the layout of a torch zip file.

    Args:
        source: The file.
        members: Its directory.
        pickle_name: The member from `find_pickle`.
        machine: What reads the pickle. It may have read others: the limits are for all of them.

    Raises:
        FormatError: It is malformed, big-endian, or larger than the limits.
        OSError: The file cannot be read.
    """
    folder = pickle_name.removesuffix("data.pkl")
    _check_byte_order(source, members.get(folder + "byteorder"))
    machine = machine or PickleMachine()
    root = machine.run(_read_member(source, members[pickle_name], MAX_PICKLE_BYTES))
    extents = _extents(source, members, folder + "data/", machine.storages)
    return torch_layout(machine, root, extents, source.size_bytes)


def _check_byte_order(source: ByteSource, member: Member | None) -> None:
    if member is not None and _read_member(source, member, 16) != b"little":
        raise FormatError("the tensors are big-endian")


def _read_member(source: ByteSource, member: Member, limit_bytes: int) -> bytes:
    if member.size > limit_bytes:
        raise FormatError("a zip member is too large")
    return read_exactly(source, locate(source, member), member.size)


def _extents(source: ByteSource, members: dict[str, Member], folder: str, keys: Iterable[str]) -> dict[str, Extent]:
    """Return where the content of each storage is, by key."""
    extents: dict[str, Extent] = {}
    located: list[tuple[Member, int]] = []
    for key in keys:
        member = members.get(folder + key)
        if member is None:
            raise FormatError("a storage is missing")
        start = locate(source, member)
        located.append((member, start))
        extents[key] = Extent(key, start, member.size)
    check_disjoint(located)
    return extents
