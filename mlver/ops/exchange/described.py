"""What an export tells of a version: its files with digests that everybody can check, and the run that made it."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass

from mlver.history.records import RunRecord, VersionRecord
from mlver.ops.obtaining import manifest_of
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent
from mlver.ops.version_files import iterate

_KINDS = {
    ".safetensors": "application/x-safetensors",
    ".gguf": "application/x-gguf",
    ".onnx": "application/x-onnx",
    ".h5": "application/x-hdf5",
    ".keras": "application/zip",
    ".pt": "application/zip",
    ".pth": "application/zip",
    ".npy": "application/x-npy",
    ".npz": "application/zip",
    ".parquet": "application/vnd.apache.parquet",
    ".jsonl": "application/jsonl",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".md": "text/markdown",
}


@dataclass(frozen=True, slots=True)
class DescribedFile:
    """A file of a version, or a reference.

    Attributes:
        path: Where it is in the version.
        size_bytes: Its length.
        media_type: By the end of its name.
        sha256: Of its bytes, in hex; None of a reference, which was not read for this.
        uri: Where a reference is; None of a file.
    """

    path: str
    size_bytes: int
    media_type: str
    sha256: str | None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class DescribedVersion:
    """A version with what an export tells of it.

    Attributes:
        version: The version.
        files: Its files and references, by path.
        run: The run that made it, if one did.
    """

    version: VersionRecord
    files: tuple[DescribedFile, ...]
    run: RunRecord | None


def describe_version(
    repository: OpenRepository, revision: str, *, digests: bool, progress: Progress | None = None
) -> DescribedVersion:
    """Look up what is told of a version.

    Args:
        repository: The repository.
        revision: Which version.
        digests: Read its files for their SHA-256, which nothing else needs.
        progress: Told of the bytes read.

    Raises:
        NotFoundError: There is no such version, or its content is nowhere.
        IntegrityError: It is damaged.
        RemoteError: A remote failed.
    """
    found = repository.resolve(revision)
    manifest = manifest_of(repository, found.version)
    if digests and repository.config.remotes:
        from mlver.ops.remotes.receiving import obtain_chunks

        repository.refresh_packs()
        chunks = {chunk.id for file in manifest.files for chunk in file.chunks}
        obtain_chunks(repository, found.version.id, chunks, progress)
    progress = progress or Silent()
    reader = repository.chunk_reader() if digests else None
    progress.start(sum(file.size_bytes for file in manifest.files) if digests else 0, "Reading for SHA-256")
    files = []
    for file in manifest.files:
        digest = None
        if reader is not None:
            sums = hashlib.sha256()
            for piece in iterate(reader, file):
                sums.update(piece)
                progress.advance(len(piece))
            digest = sums.hexdigest()
        files.append(DescribedFile(file.path, file.size_bytes, media_type(file.path), digest))
    progress.done()
    files += [
        DescribedFile(reference.path, reference.size_bytes, media_type(reference.path), None, reference.uri)
        for reference in manifest.references
    ]
    makers = repository.runs.maker_of(found.artifact, found.version.number)
    run = repository.runs.run(makers[0]) if makers else None
    return DescribedVersion(found.version, tuple(sorted(files, key=lambda file: file.path)), run)


def media_type(path: str) -> str:
    """Return the media type that the end of a name stands for."""
    suffix = f".{path.rpartition('.')[2].lower()}" if "." in path else ""
    return _KINDS.get(suffix) or mimetypes.guess_type(path, strict=False)[0] or "application/octet-stream"


def described_text(version: VersionRecord) -> str:
    """Return a sentence or two on a version, from what people said of it."""
    said = [text for text in (version.message, version.note) if text]
    return " ".join(said) or f"Version {version.number} of {version.artifact} ({version.type})."
