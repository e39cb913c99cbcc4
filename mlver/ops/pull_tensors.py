"""`pull --tensor`: some tensors of a version, out of whatever files they are in, as one safetensors file.

Only the chunks that these tensors are in are read, and so fetched where they are not here.

Source: https://huggingface.co/docs/safetensors (Format)
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mlver.chunks import ChunkReader
from mlver.digests import Buffer
from mlver.errors import ConflictError, MlverError, NotFoundError
from mlver.formats.dtypes import BITS_BY_DTYPE
from mlver.history.manifest import Manifest, TensorEntry
from mlver.history.records import VersionRecord
from mlver.ids import ChunkId
from mlver.names import check_artifact_name
from mlver.ops.obtaining import manifest_of
from mlver.ops.opening import OpenRepository
from mlver.ops.placing import is_in_use, move_into, refuse_repository, replace_empty, staging_folder
from mlver.ops.progress import Progress, Silent
from mlver.ops.pull import PullResult
from mlver.ops.signing.trust import Trust, check_trust
from mlver.ops.values import check_is_list
from mlver.ops.version_files import contiguous_tensor
from mlver.store.failures import cannot_write

FILE_NAME = "tensors.safetensors"


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """What a pull of tensors would do.

    Attributes:
        version: Which version.
        manifest: Its content.
        target: Folder to write to, absolute.
        tensors: By their names in the new file.
        overwrites: There is a file of that name already.
    """

    version: VersionRecord
    manifest: Manifest
    target: Path
    tensors: dict[str, TensorEntry]
    overwrites: bool

    @property
    def chunks(self) -> set[ChunkId]:
        """The chunks that the tensors are in."""
        return {
            chunk.id
            for tensor in self.tensors.values()
            for chunk, _ in self.manifest.files[tensor.file].chunks_between(
                tensor.offset, tensor.offset + tensor.size_bytes
            )
        }

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensors."""
        return sum(map(_written_bytes, self.tensors.values()))

    def outcome(self) -> PullResult:
        """Return what carrying it out comes to."""
        overwritten = (FILE_NAME,) if self.overwrites else ()
        return PullResult(self.version, str(self.target), (FILE_NAME,), overwritten, (), self.size_bytes)


def plan_tensors(
    repository: OpenRepository,
    revision: str,
    globs: Sequence[str],
    target: Path | None = None,
    trust: Trust | None = None,
) -> TensorPlan:
    """Find out which tensors match and whether they can be written.

    Args:
        repository: The repository.
        revision: Which version.
        globs: Patterns of tensors' names, as `diff` has them.
        target: Folder to write to; by default one of the artifact's name, here.
        trust: Whether a signature is required, and whose.

    Raises:
        NotFoundError: There is no such version, or no tensor matches one of the patterns.
        SignatureError: A signature is required, and there is none, or none that holds.
        IntegrityError: The manifest is damaged.
        MlverError: A tensor has elements that safetensors knows not, or the target is no folder.
        RemoteError: A remote failed.
    """
    check_is_list(globs, "tensors")
    version = repository.resolve(revision).version
    manifest = manifest_of(repository, version)
    check_trust(repository, version, manifest, trust or Trust())
    place = Path(os.path.abspath(target if target is not None else check_artifact_name(version.artifact)))
    refuse_repository(repository.root, place)
    if (place.exists() or place.is_symlink()) and not place.is_dir():
        raise MlverError(f"{place} is not a folder.", "Choose another place with -o DIR.")
    tensors = _matching(manifest, globs)
    for name, tensor in tensors.items():
        _check_writable(name, tensor)
    return TensorPlan(version, manifest, place, tensors, os.path.lexists(place / FILE_NAME))


def pull_tensors(
    repository: OpenRepository, plan: TensorPlan, force: bool = False, progress: Progress | None = None
) -> PullResult:
    """Carry a plan out.

    Raises:
        ConflictError: There is a file of that name, and `force` is not given.
        IntegrityError: A chunk is missing or damaged; nothing was written.
        MlverError: The target cannot be written.
    """
    if plan.overwrites and not force:
        raise ConflictError(
            f"{plan.target / FILE_NAME} is there already.",
            "Overwrite it with --force, or choose another place with -o DIR.",
        )
    whole = not plan.target.is_dir() or (not any(plan.target.iterdir()) and not is_in_use(plan.target))
    with staging_folder(plan.target, beside=whole) as staging:
        _write(repository.chunk_reader(), plan, staging / FILE_NAME, progress or Silent())
        if whole:
            replace_empty(staging, plan.target)
        else:
            move_into(staging, plan.target, [FILE_NAME], ())
    repository.note_use(plan.version)
    return plan.outcome()


def _matching(manifest: Manifest, globs: Sequence[str]) -> dict[str, TensorEntry]:
    """Return the tensors that match, by name; where several files have one of a name, by `FILE:NAME`."""
    every = [tensor for tensor in manifest.tensors if not tensor.anonymous]
    for glob in globs:
        if not any(fnmatchcase(tensor.name, glob) for tensor in every):
            raise NotFoundError(f"No tensor of this version matches {glob!r}.", "mlver show lists its tensors.")
    found = [tensor for tensor in every if any(fnmatchcase(tensor.name, glob) for glob in globs)]
    counts = Counter(tensor.name for tensor in found)
    return {
        tensor.name if counts[tensor.name] == 1 else f"{manifest.files[tensor.file].path}:{tensor.name}": tensor
        for tensor in found
    }


def _check_writable(name: str, tensor: TensorEntry) -> None:
    if tensor.dtype not in BITS_BY_DTYPE or tensor.dtype in ("C128", "I2", "U2", "I4", "U4"):
        raise MlverError(
            f"Tensor {name!r} has elements of type {tensor.dtype}, which safetensors files cannot have.",
            "Pull the file it is in, with --path.",
        )


def _write(reader: ChunkReader, plan: TensorPlan, path: Path, progress: Progress) -> None:
    """Write and flush the file; the largest elements come first, so that all tensors are aligned."""
    ordered = sorted(plan.tensors.items(), key=lambda item: (-BITS_BY_DTYPE[item[1].dtype], item[0]))
    progress.start(plan.size_bytes, "Writing")
    try:
        with open(path, "xb") as file:
            file.write(_header(ordered))
            for _, tensor in ordered:
                for piece in _pieces(reader, plan.manifest, tensor):
                    file.write(piece)
                    progress.advance(len(memoryview(piece).cast("B")))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(error, str(plan.target / FILE_NAME)) from error
    finally:
        progress.done()


def _header(ordered: Sequence[tuple[str, TensorEntry]]) -> bytes:
    document = {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + _written_bytes(tensor)
        document[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(document, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _written_bytes(tensor: TensorEntry) -> int:
    """Return the size of a tensor row by row, which is less than its stretch where that has gaps, and may be more."""
    if tensor.order in ("C", "F"):
        return tensor.size_bytes
    elements = 1
    for length in tensor.shape:
        elements *= length
    return elements * BITS_BY_DTYPE[tensor.dtype] // 8


def _pieces(reader: ChunkReader, manifest: Manifest, tensor: TensorEntry) -> Iterator[Buffer]:
    entry = manifest.files[tensor.file]
    end = tensor.offset + tensor.size_bytes
    if tensor.order != "C":
        yield contiguous_tensor(reader, entry, tensor)
        return
    for chunk, offset in entry.chunks_between(tensor.offset, end):
        raw = memoryview(reader.read(chunk.id, chunk.size_bytes))
        yield raw[max(0, tensor.offset - offset) : end - offset]
