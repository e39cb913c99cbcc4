"""Which files came, went, moved and changed, and what changed in those that people write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from posixpath import basename, splitext

from mlver.differences.rows.change import Wanted
from mlver.differences.rows.readers import is_table
from mlver.differences.texts import MAX_BYTES, TextChange, compare_texts
from mlver.history.manifest import FileEntry
from mlver.ops.diff.references import compare_references
from mlver.ops.diff.result import FileChanges, ModifiedFile, RenamedFile
from mlver.ops.diff.sides import Side
from mlver.ops.progress import Progress


def compare_files(before: Side, after: Side, wanted: Wanted, progress: Progress, *, look_inside: bool) -> FileChanges:
    """Compare all files of two sides.

    Args:
        before: What was.
        after: What is.
        wanted: How tables are to be compared.
        progress: Told of the bytes read of tables.
        look_inside: Read the files that are text or tables; else only digests are compared.

    Raises:
        NotFoundError: No table has the columns that were asked for; or a file is neither here nor at a remote.
        RemoteError: A remote failed.
        IntegrityError: A stored file is damaged.
        MlverError: A file on disk cannot be read, or changed.
    """
    old, new = _by_path(before), _by_path(after)
    added, removed = sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys())
    renamed = _renamed({path: old[path] for path in removed}, {path: new[path] for path in added})
    gone, came = {pair.before for pair in renamed}, {pair.after for pair in renamed}
    both = sorted(old.keys() & new.keys())
    modified = [ModifiedFile(old[path], new[path]) for path in both if not _same(old[path], new[path])]
    unchanged_count = len(both) - len(modified)
    if (lone := _lone_tables(set(removed) - gone, set(added) - came)) is not None:
        modified.append(ModifiedFile(old[lone.before], new[lone.after]))
        gone.add(lone.before)
        came.add(lone.after)
    if look_inside:
        _obtain(before, after, modified)
        if wanted.columns or any(is_table(file.after.path) for file in modified):
            from mlver.ops.diff.rows import compare_rows

            modified = compare_rows(before, after, modified, wanted, progress)
        modified = [file if file.table else file._replace(content=_content(before, after, file)) for file in modified]
    folders = [{f"{folder}/" for folder in side.manifest.folders} for side in (before, after)]
    return FileChanges(
        added=tuple(sorted([path for path in added if path not in came] + list(folders[1] - folders[0]))),
        removed=tuple(sorted([path for path in removed if path not in gone] + list(folders[0] - folders[1]))),
        renamed=tuple(renamed),
        modified=tuple(modified),
        unchanged_count=unchanged_count,
        references=compare_references(before.manifest.references, after.manifest.references),
    )


def _obtain(before: Side, after: Side, files: Iterable[ModifiedFile]) -> None:
    """Make sure that what is looked into can be read."""
    read = [file for file in files if is_table(file.after.path) or _is_text(file)]
    for side, entries in ((before, [file.before for file in read]), (after, [file.after for file in read])):
        side.obtain(chunk.id for entry in entries for chunk in entry.chunks)


def _is_text(file: ModifiedFile) -> bool:
    """Tell whether a file may be text, whose content differs."""
    is_known = any(entry.format or entry.size_bytes > MAX_BYTES for entry in (file.before, file.after))
    return file.before.digest != file.after.digest and not is_known


def _by_path(side: Side) -> dict[str, FileEntry]:
    return {entry.path: entry for entry in side.manifest.files}


def _same(before: FileEntry, after: FileEntry) -> bool:
    return before.digest == after.digest and before.executable == after.executable


def _renamed(removed: Mapping[str, FileEntry], added: Mapping[str, FileEntry]) -> list[RenamedFile]:
    """Return pairs of equal files; of several equal ones, those with the same last name belong together."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, entry in added.items():
        if entry.size_bytes:  # all empty files are equal, and that says nothing
            places[entry.digest].append(path)
    found: dict[str, str] = {}
    for by_name in (True, False):
        for path, entry in removed.items():
            equal = places.get(entry.digest, [])
            fitting = (other for other in equal if not by_name or basename(other) == basename(path))
            if path not in found and (chosen := next(fitting, None)) is not None:
                equal.remove(chosen)
                found[path] = chosen
    return [RenamedFile(path, found[path]) for path in sorted(found)]


def _lone_tables(removed: Iterable[str], added: Iterable[str]) -> RenamedFile | None:
    """Return the one table that came and the one that went, if they are of one format.

    Predictions of two models mostly have two names, and are to be compared all the same.
    """
    gone, came = ([path for path in paths if is_table(path)] for paths in (removed, added))
    if len(gone) != 1 or len(came) != 1 or splitext(gone[0].lower())[1] != splitext(came[0].lower())[1]:
        return None
    return RenamedFile(gone[0], came[0])


def _content(before: Side, after: Side, file: ModifiedFile) -> TextChange | None:
    if not _is_text(file):
        return None
    old, new = (b"".join(_bytes(side, entry)) for side, entry in ((before, file.before), (after, file.after)))
    return compare_texts(file.after.path, old, new)


def _bytes(side: Side, entry: FileEntry) -> Iterable[bytes]:
    return (bytes(raw) for raw in side.chunks().read_many([(chunk.id, chunk.size_bytes) for chunk in entry.chunks]))
