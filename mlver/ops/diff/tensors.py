"""Which tensors of two sides belong together: by name, by content, by a prefix that all of a module got or lost.

Only manifests are looked at, so that the answer costs nothing, however large the weights.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from mlver.history.manifest import Manifest, TensorEntry
from mlver.ops.diff.result import TensorChanges, TensorPair

_MAX_PREFIX = 4
"""Components of a name that may have been put before it: `base_model.model.…`, `module._orig_mod.…`."""
_MAX_EQUAL = 16
"""Of more tensors with the same content (zeros, ones) nobody can tell which is which."""
_DIGITS = re.compile(r"(\d+)")

_Named = dict[str, TensorEntry]


def pair_tensors(before: Manifest, after: Manifest) -> TensorChanges:
    """Return the tensors that both have and those that only one has."""
    old, new = _by_name(before), _by_name(after)
    pairs = {name: name for name in new if name in old}
    removed = {name: old[name] for name in old if name not in new}
    added = {name: new[name] for name in new if name not in old}
    for match in (_same_content, _same_prefix):
        if removed and added:
            for name, from_name in match(removed, added).items():
                pairs[name] = from_name
                del removed[from_name], added[name]
    ordered = sorted(pairs.items(), key=lambda pair: natural_order(pair[0]))
    found = [TensorPair(name, from_name, old[from_name], new[name]) for name, from_name in ordered]
    return TensorChanges(
        added=_ordered(added),
        removed=_ordered(removed),
        changed=tuple(pair for pair in found if pair.is_changed),
        moved=tuple(pair for pair in found if not pair.is_changed and pair.is_renamed),
        unchanged=tuple(pair.name for pair in found if not pair.is_changed and not pair.is_renamed),
    )


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which `layer.2` comes before `layer.10`."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(name) if part)


def similar_glob(glob: str, names: Iterable[str]) -> str | None:
    """Return as a hint the tensor or the module most like a pattern that matches nothing."""
    from difflib import get_close_matches

    globs = {name: name for name in names}
    for name in list(globs):
        parts = name.split(".")
        modules = (".".join(parts[:depth]) for depth in range(1, len(parts)))
        globs.update((module, f"{module}.*") for module in modules)
    close = get_close_matches(glob.rstrip("*."), sorted(globs), n=1)
    return f"Did you mean {globs[close[0]]!r}?" if close else None


def _ordered(tensors: Mapping[str, TensorEntry]) -> _Named:
    return {name: tensors[name] for name in sorted(tensors, key=natural_order)}


def _by_name(manifest: Manifest) -> _Named:
    """Return a version's tensors by the names that people see.

    That is the tensor's own name. Where several files have one of that name, the folder (relative to the deepest that
    all weights are in) tells them apart, so that neither sharding nor the file format matters; else the file does.
    """
    tensors = [tensor for tensor in manifest.tensors if not tensor.anonymous]
    names = Counter(tensor.name for tensor in tensors)
    if len(names) == len(tensors):
        return {tensor.name: tensor for tensor in tensors}
    paths = [manifest.files[tensor.file].path for tensor in tensors]
    homes = [posixpath.dirname(path) for path in paths]
    common = posixpath.commonpath(set(homes)) if all(homes) else ""
    in_home = Counter((home, tensor.name) for home, tensor in zip(homes, tensors, strict=True))
    found: _Named = {}
    for tensor, path, home in zip(tensors, paths, homes, strict=True):
        place = home if in_home[home, tensor.name] == 1 else path
        inner = posixpath.relpath(place, common) if common else place
        alone = names[tensor.name] == 1 or inner in ("", ".")
        found[tensor.name if alone else f"{inner}:{tensor.name}"] = tensor
    return found


def _same_content(removed: _Named, added: _Named) -> dict[str, str]:
    """Return new name → old name of tensors with equal content; of several, the one with the longest common end."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, tensor in removed.items():
        places[tensor.digest].append(name)
    found = {}
    for name, tensor in added.items():
        old = places.get(tensor.digest, [])
        if 0 < len(old) <= _MAX_EQUAL:
            chosen = max(old, key=lambda other: len(posixpath.commonprefix([name[::-1], other[::-1]])))
            old.remove(chosen)
            found[name] = chosen
    return found


def _same_prefix(removed: _Named, added: _Named) -> dict[str, str]:
    """Return new name → old name of tensors with another prefix, if others of theirs changed theirs in the same way."""
    old, new = _unique_ends(removed), _unique_ends(added)
    candidates = [
        (new[end].removesuffix(end), old[end].removesuffix(end), new[end], old[end])
        for end in new.keys() & old.keys()
        if removed[old[end]].shape == added[new[end]].shape
    ]
    frequency = Counter(candidate[:2] for candidate in candidates)
    found: dict[str, str] = {}
    taken: set[str] = set()
    # The most frequent change first; of equally frequent ones, the shortest.
    for after, before, name, other in sorted(
        candidates, key=lambda each: (-frequency[each[:2]], len(each[0] + each[1]))
    ):
        if frequency[after, before] > 1 and name not in found and other not in taken:
            found[name] = other
            taken.add(other)
    return found


def _unique_ends(names: Iterable[str]) -> dict[str, str]:
    """Return each end of a name (all but its first components) that no other has, with the name."""
    ends: dict[str, str | None] = {}
    for name in names:
        parts = name.split(".")
        for start in range(min(len(parts), _MAX_PREFIX + 1)):
            end = ".".join(parts[start:])
            ends[end] = None if end in ends else name
    return {end: name for end, name in ends.items() if name is not None}
