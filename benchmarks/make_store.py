"""Makes repositories for `collect.py` and `runs.py`: `python benchmarks/make_store.py KIND PATH AMOUNT`.

`marks` has AMOUNT versions of 500 chunks, of which each changes 50, half of these stored as differences; every fifth of
the first AMOUNT is removed. Its chunks hold nothing, since marking reads none. `apart` and `mixed` have AMOUNT bytes of
noise in files of 10 MB: of `apart` each version has files of its own, and every fifth is removed; of `mixed` each
changes a third of its files, and every other one is removed. `runs` has AMOUNT versions of 100 artifacts and the AMOUNT
runs that made them, each of up to three earlier versions; their manifests are not there, since nobody reads them.
Nothing is flushed.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from mlver.digests import file_digest
from mlver.history.event import Action, AddVersion, CreateArtifact, SetRemoved, new_event
from mlver.history.log import EventLog
from mlver.history.manifest import ChunkRef, FileEntry, TensorEntry, build_manifest, write_manifest
from mlver.history.run_actions import FinishRun, StartRun, UseVersion
from mlver.ids import ChunkId, RunId
from mlver.names import check_artifact_name, check_artifact_type
from mlver.ops.init import init_repository
from mlver.ops.opening import OpenRepository, open_repository
from mlver.repository import Repository
from mlver.store.pack import FrameHeader, PackWriter, build_frame, pack_name

CHUNKS, CHANGED, CHUNK_BYTES = 500, 50, 1 << 20
FRAMES_A_PACK = 1000
SEGMENT_EVENTS = 256
FILE_BYTES = 10_000_000
FILES = 10
ARTIFACTS = 100
JOB_TYPES = ("prepare", "train", "predict", "evaluate")


class Packs:
    """Packs of chunks that hold nothing.

    Args:
        repository: Where to put them.
    """

    def __init__(self, repository: OpenRepository) -> None:
        self._storage = repository.storage
        self._writer: PackWriter | None = None

    def put(self, chunk: bytes, base: bytes = b"") -> None:
        """Add a chunk."""
        if self._writer is None:
            self._writer = PackWriter(self._storage.stage())
        header = FrameHeader(ChunkId(chunk), CHUNK_BYTES, 16 if base else 0, base)
        self._writer.append(build_frame(header, [chunk[:20]]))
        if len(self._writer.entries) >= FRAMES_A_PACK:
            self.seal()

    def seal(self) -> None:
        """Write the pack that is under way."""
        if self._writer is not None:
            pack, _ = self._writer.finish()
            self._writer.staged.commit(pack_name(pack))
            self._writer = None


def make_marks(path: Path, versions: int) -> None:
    """Make a long history of much content."""
    repository = open_repository(Path(init_repository(path).path))
    source = random.Random(1)
    EventLog(repository.storage, "names").append(new_event(0, "bench", (CreateArtifact("m", "t"),)))
    log, packs = EventLog(repository.storage, "log/m"), Packs(repository)
    ids = [source.randbytes(32) for _ in range(CHUNKS)]
    for chunk in ids:
        packs.put(chunk)
    for version in range(versions):
        for _ in range(CHANGED):
            place, chunk = source.randrange(CHUNKS), source.randbytes(32)
            packs.put(chunk, ids[place] if source.random() < 0.5 else b"")
            ids[place] = chunk
        manifest = write_manifest(repository.storage, build_manifest([weights(ids)], ()))
        action = AddVersion(version, manifest, CHUNKS * CHUNK_BYTES, 1, 1, 1, CHUNKS // 5)
        log.append(new_event(version, "bench", (action,)))
        if (version + 1) % SEGMENT_EVENTS == 0:
            log.write_segment(version // SEGMENT_EVENTS)
    packs.seal()
    for number in range(versions // 5):
        log.append(new_event(versions + number, "bench", (SetRemoved(5 * number, True),)))
    repository.close()


def weights(ids: list[bytes]) -> tuple[FileEntry, list[TensorEntry]]:
    """Return a file of these chunks, and its tensors, of five chunks each."""
    size, refs = len(ids) * CHUNK_BYTES, tuple(ChunkRef(ChunkId(chunk), CHUNK_BYTES) for chunk in ids)
    tensors = [
        TensorEntry(
            f"layer.{number}.weight", "F32", (512, 2560), f"blake3-tensor:{ids[5 * number].hex()}", 0,
            5 * number * CHUNK_BYTES, 5 * CHUNK_BYTES,
        )
        for number in range(len(ids) // 5)
    ]  # fmt: skip
    digest = file_digest(size, [ref.id for ref in refs])
    return FileEntry("model.safetensors", size, digest, refs, format="safetensors"), tensors


def make_noise(path: Path, size_bytes: int, *, mixed: bool) -> None:
    """Make versions of noise until there are so many bytes, and remove some."""
    source, folder = random.Random(1), path / "model"
    with Repository.init(path) as repository:
        folder.mkdir()
        written = versions = 0
        while written < size_bytes:
            changed = [n for n in range(FILES) if source.random() < 1 / 3] or [versions % FILES]
            for number in changed if mixed and versions else range(FILES):
                (folder / str(number)).write_bytes(source.randbytes(FILE_BYTES))
                written += FILE_BYTES
            repository.add(folder, name="m", type="t", compression="fast")
            versions += 1
        for number in range(0, versions - 1, 2 if mixed else 5):
            repository.remove(f"m:v{number}")
    for file in folder.iterdir():
        file.unlink()


class Events:
    """A log that grows, in segments as soon as they are full.

    Args:
        repository: Whose log.
        folder: Its folder.
    """

    def __init__(self, repository: OpenRepository, folder: str) -> None:
        self._log = EventLog(repository.storage, folder)
        self._count = 0

    def append(self, *actions: Action) -> None:
        """Add an event."""
        self._log.append(new_event(self._count, "bench", actions))
        self._count += 1
        if self._count % SEGMENT_EVENTS == 0:
            self._log.write_segment(self._count // SEGMENT_EVENTS - 1)


def make_runs(path: Path, amount: int) -> None:
    """Make a history of runs: each reads up to three versions of those before, and makes one."""
    repository = open_repository(Path(init_repository(path).path))
    source = random.Random(1)
    names = Events(repository, "names")
    kinds = [JOB_TYPES[number % len(JOB_TYPES)] for number in range(ARTIFACTS)]
    for number, kind in enumerate(kinds):
        names.append(CreateArtifact(check_artifact_name(f"m{number}"), check_artifact_type(f"of_{kind}")))
    logs = [Events(repository, f"log/m{number}") for number in range(ARTIFACTS)]
    told = Events(repository, "runs/log")
    made: list[tuple[int, int, str]] = []
    counts = [0] * ARTIFACTS
    for number in range(amount):
        run, place = RunId(source.randbytes(8).hex()), source.randrange(ARTIFACTS)
        config = {"lr": 10 ** source.uniform(-5, -1), "batch": 2 ** source.randrange(4, 10), "seed": number}
        used = source.sample(made[-1000:], min(3, len(made)))
        inputs = [UseVersion(run, f"m{of}", version, manifest) for of, version, manifest in used]
        told.append(StartRun(run, f"run-{number}", kinds[place], config, None), *inputs)
        made.append((place, counts[place], f"blake3:{source.randbytes(32).hex()}"))
        counts[place] += 1
        metrics = {"val_acc": source.random(), "loss": source.expovariate(1)}
        add = AddVersion(*made[-1][1:], 1000, 1000, 1000, 1, 0, metrics=metrics, provenance={"run": run})
        logs[place].append(add)
        summaries = {
            name: {"last": value, "min": value, "max": value, "count": 1000, "nan": 0}
            for name, value in metrics.items()
        }
        told.append(FinishRun(run, "failed" if number % 10 == 9 else "finished", 0, source.uniform(1, 1e4), summaries))
    repository.close()


def main() -> None:
    """Make what the arguments say."""
    os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    kind, path, amount = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    path.mkdir(parents=True)
    if kind == "marks":
        make_marks(path, amount)
    elif kind == "runs":
        make_runs(path, amount)
    else:
        make_noise(path, amount, mixed=kind == "mixed")


if __name__ == "__main__":
    main()
