"""What is in the packs, as arrays: **packs' indexes → which chunks are needed → which packs may go**.

A chunk is known here by the first 8 bytes of its id: that is enough, since two chunks that agree in them are both kept
as soon as one is needed. A frame takes 30 bytes of memory, a reference to it 8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlver.ids import PackId
from mlver.store.pack import read_index_bytes
from mlver.store.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Keys = npt.NDArray[np.uint64]
    """The first 8 bytes of chunk ids, as little-endian integers."""
    _Counts = npt.NDArray[np.int64]

KEY_BYTES = 8
_ID_FIELDS = [("key", "<u8"), ("rest", "V24")]


@dataclass(frozen=True, slots=True)
class PackContent:
    """What one pack holds, in the order of its frames.

    Attributes:
        keys: uint64 [frames], of the chunks.
        lengths: uint32 [frames], of the whole frames in bytes.
        resting: int64 [edges], positions of frames that have bases, once for each base.
        bases: uint64 [edges], what they rest on.
    """

    keys: Keys
    lengths: npt.NDArray[np.uint32]
    resting: npt.NDArray[np.int64]
    bases: Keys


@dataclass(frozen=True, slots=True)
class Stock:
    """What several packs hold.

    Attributes:
        packs: The packs; their positions here are their numbers.
        pack_of: int32 [frames], the number of each frame's pack.
        keys: uint64 [frames], chunks.
        lengths: int64 [frames], in bytes.
        base_pack_of: int32 [edges], the number of the pack of the frame that rests on something.
        resting: uint64 [edges], its chunk.
        bases: uint64 [edges], what it rests on.
    """

    packs: tuple[PackId, ...]
    pack_of: npt.NDArray[np.int32]
    keys: Keys
    lengths: _Counts
    base_pack_of: npt.NDArray[np.int32]
    resting: Keys
    bases: Keys


def read_content(storage: Storage, name: str) -> PackContent:
    """Read the index of a pack, from the pack itself.

    Raises:
        NotFoundError: There is no such pack.
        IntegrityError: Its index is damaged.
        MlverError: It cannot be read.
    """
    import numpy as np

    index, version = read_index_bytes(storage, name)
    entries: Any = np.frombuffer(index, np.dtype(_entry_fields(version)))
    keys = entries["id"]["key"]
    resting, bases = [], []
    for base in range(version):
        ids = entries[f"base{base}"]
        there = (ids["key"] != 0) | (ids["rest"] != np.void(bytes(24)))
        resting.append(np.flatnonzero(there))
        bases.append(ids["key"][there])
    return PackContent(keys.copy(), entries["length"].copy(), np.concatenate(resting), np.concatenate(bases))


def _entry_fields(version: int) -> list[tuple[str, Any]]:
    """Return the fields of an index entry; see `mlver.store.pack`, whose format's version is the number of bases."""
    bases = [(f"base{number}", _ID_FIELDS) for number in range(version)]
    return [
        ("id", _ID_FIELDS), *bases, ("offset", "<u8"), ("checksum", "<u8"), ("length", "<u4"), ("raw_size", "<u4"),
        ("encoding", "u1"), ("zero", "V3"),
    ]  # fmt: skip


def gather(contents: dict[PackId, PackContent]) -> Stock:
    """Return the content of several packs as one."""
    import numpy as np

    frames = [len(content.keys) for content in contents.values()]
    edges = [len(content.bases) for content in contents.values()]
    numbers = np.arange(len(contents), dtype=np.int32)

    def joined(arrays: list[Any], dtype: str) -> Any:
        return np.concatenate(arrays).astype(dtype, copy=False) if arrays else np.empty(0, dtype)

    return Stock(
        tuple(contents),
        np.repeat(numbers, frames),
        joined([content.keys for content in contents.values()], "uint64"),
        joined([content.lengths for content in contents.values()], "int64"),
        np.repeat(numbers, edges),
        joined([content.keys[content.resting] for content in contents.values()], "uint64"),
        joined([content.bases for content in contents.values()], "uint64"),
    )


def keys_of(ids: bytes) -> Keys:
    """Return the keys of chunk ids that are given raw, end to end; sorted, each once."""
    import numpy as np

    return united(np.frombuffer(ids, np.dtype(_ID_FIELDS))["key"])


def united(*keys: Keys) -> Keys:
    """Return all keys, sorted, each once."""
    import numpy as np

    if not keys:
        return np.empty(0, np.uint64)
    every = np.concatenate(keys)
    every.sort()  # `numpy.unique` takes ten times as long
    is_first = np.ones(len(every), np.bool_)
    np.not_equal(every[1:], every[:-1], out=is_first[1:])
    return every[is_first]


def contains(keys: Keys, sought: Keys) -> npt.NDArray[np.bool_]:
    """Tell of each of `sought` whether it is among `keys`, which are sorted."""
    import numpy as np

    if not len(keys):
        return np.zeros(len(sought), np.bool_)
    places = np.searchsorted(keys, sought)
    places[places == len(keys)] = 0
    found: npt.NDArray[np.bool_] = keys[places] == sought
    return found


def with_bases(stock: Stock, keys: Keys) -> Keys:
    """Return chunks and everything that any copy of them rests on, directly or not; sorted."""
    found = news = united(keys)
    while len(news):
        bases = united(stock.bases[contains(news, stock.resting)])
        news = bases[~contains(found, bases)]
        found = united(found, news)
    return found


def undecodable(contents: Iterable[PackContent], keys: Keys) -> set[int]:
    """Return which chunks no frame gives back: it is not there, or what it rests on is not. Slow, and seldom asked."""
    frames: dict[int, list[set[int]]] = {}
    for content in contents:
        bases: dict[int, set[int]] = {}
        for position, base in zip(content.resting.tolist(), content.bases.tolist(), strict=True):
            bases.setdefault(position, set()).add(base)
        for position, key in enumerate(content.keys.tolist()):
            frames.setdefault(key, []).append(bases.get(position, set()))
    sound: set[int] = set()
    while news := {key for key, copies in frames.items() if key not in sound and any(copy <= sound for copy in copies)}:
        sound |= news
    return set(keys.tolist()) - sound
