"""Which chunks a remote has: its packs' own indexes, read in parallel and cached, since packs never change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mlver.digests import canonical_json
from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import ChunkId, ManifestId, PackId, is_hex, manifest_hex
from mlver.ops.remotes.opening import OpenRemote
from mlver.store.pack import PACKS_FOLDER, PackEntry, pack_id_of, pack_name, read_pack_index, split_bases

CONNECTIONS = 8
_RECORDED_PACKS = 64
_MAX_HINTS = 1 << 20


def refresh_packs(remote: OpenRemote, leave_out: Collection[PackId] = ()) -> tuple[int, list[str]]:
    """Catch up with the packs that a remote has.

    Args:
        remote: The remote.
        leave_out: Packs that are there and not to be relied on.

    Returns:
        How many packs that were known are gone, and what is wrong with each that cannot be read.

    Raises:
        RemoteError: The remote failed; nothing was dropped on account of that.
    """
    known = set(remote.chunk_index.packs())
    there = {pack for name in remote.storage.list(PACKS_FOLDER) if (pack := pack_id_of(name)) is not None}
    there -= set(leave_out)
    for pack in sorted(known - there):
        remote.chunk_index.forget_pack(pack)
    return len(known - there), learn_packs(remote, sorted(there - known))


def learn_packs(remote: OpenRemote, packs: Sequence[PackId]) -> list[str]:
    """Read and record the indexes of packs; return what is wrong with those that are damaged.

    Raises:
        RemoteError: The remote failed.
    """
    damaged: list[str] = []

    def read(pack: PackId) -> tuple[PackId, int, list[PackEntry]] | str | None:
        try:
            entries = read_pack_index(remote.storage, pack_name(pack))
        except NotFoundError:
            return None  # removed since it was listed
        except IntegrityError as error:
            return error.message
        return pack, sum(entry.frame_length for entry in entries), entries

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mlver-packs") as pool:
        for start in range(0, len(packs), _RECORDED_PACKS):
            found = list(pool.map(read, packs[start : start + _RECORDED_PACKS]))
            damaged += [item for item in found if isinstance(item, str)]
            remote.chunk_index.add_packs({item[0]: (item[1], item[2]) for item in found if isinstance(item, tuple)})
    return damaged


def hint_name(manifest: ManifestId) -> str:
    """Return the name of the blob that says which packs of a remote hold what a manifest needs."""
    return f"manifests/{manifest_hex(manifest)}.packs"


def write_hint(remote: OpenRemote, manifest: ManifestId, chunks: Iterable[ChunkId]) -> None:
    """Say which packs hold the chunks of a manifest and what they rest on, so that a reader need not list packs.

    Raises:
        RemoteError: The remote failed. Without it, reading takes more requests.
    """
    packs: set[PackId] = set()
    seen: set[ChunkId] = set()
    wanted = list(chunks)
    while wanted:
        seen.update(wanted)
        found = remote.chunk_index.find_many(wanted)
        packs.update(location.pack for location in found.values())
        bases = {base for location in found.values() for base in split_bases(location.entry.bases)}
        wanted = list(bases - seen)
    remote.storage.put(hint_name(manifest), canonical_json({"packs": sorted(packs)}))


def read_hint(remote: OpenRemote, manifest: ManifestId) -> list[PackId]:
    """Return the packs that a manifest needs; none where the remote does not say, or what it says is malformed.

    Raises:
        RemoteError: The remote failed.
    """
    import json

    try:
        document = json.loads(remote.storage.read(hint_name(manifest)))
        packs = document["packs"]
    except (NotFoundError, ValueError, LookupError, TypeError, RecursionError):
        return []
    if not isinstance(packs, list) or len(packs) > _MAX_HINTS:
        return []
    return [PackId(pack) for pack in packs if isinstance(pack, str) and len(pack) == 64 and is_hex(pack)]
