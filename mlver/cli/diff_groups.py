"""Many names in few lines: tensors that came, went or got another name, by the modules they are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlver.cli.text import count
from mlver.history.manifest import TensorEntry
from mlver.ops.diff.result import TensorPair


def shape_text(tensor: TensorEntry) -> str:
    """Return a shape such as `768×3072`."""
    return "×".join(map(str, tensor.shape)) or "scalar"


def grouped_tensors(tensors: Mapping[str, TensorEntry], limit: int) -> Iterator[str]:
    """Yield at most about so many lines: tensors with type and shape, or modules with their number of tensors."""
    if len(tensors) <= limit:
        yield from (f"{name}  {tensor.dtype} {shape_text(tensor)}" for name, tensor in tensors.items())
        return
    for group in _groups(list(tensors), limit):
        yield group[0] if len(group) == 1 else f"{_common(group)}*  {count(len(group), 'tensor')}"


def _groups(names: Sequence[str], limit: int) -> list[list[str]]:
    """Return names by as many of their first components as fit into so many groups."""
    found = [list(names)]
    for depth in range(1, max(name.count(".") for name in names) + 2):
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(".".join(name.split(".")[:depth]), []).append(name)
        if len(groups) > limit:
            break
        found = list(groups.values())
    return found


def _common(names: Sequence[str]) -> str:
    """Return the components that all names begin with, each with its dot."""
    split = [name.split(".") for name in names]
    shared = 0
    while len({tuple(parts[: shared + 1]) for parts in split}) == 1 and shared + 1 < min(map(len, split)):
        shared += 1
    return "".join(f"{part}." for part in split[0][:shared])


def grouped_names(pairs: Sequence[TensorPair], limit: int) -> Iterator[str]:
    """Yield renamings; if there are more than so many, those with the same change of their first part in one line.

    Where each has a change of its own, the first lines are followed by one that counts the others.
    """
    if len(pairs) <= limit:
        yield from (f"{pair.from_name} → {pair.name}" for pair in pairs)
        return
    groups: dict[tuple[str, str], list[TensorPair]] = {}
    for pair in pairs:
        groups.setdefault(_prefixes(pair), []).append(pair)
    lines = list(_grouped(groups))
    yield from lines[:limit]
    if len(lines) > limit:
        yield f"… and {count(sum(map(len, list(groups.values())[limit:])), 'more tensor')} (--all)"


def _grouped(groups: Mapping[tuple[str, str], Sequence[TensorPair]]) -> Iterator[str]:
    for (before, after), group in groups.items():
        if len(group) == 1:
            yield f"{group[0].from_name} → {group[0].name}"
        else:
            yield f"{before}* → {after}*  {count(len(group), 'tensor')}"


def _prefixes(pair: TensorPair) -> tuple[str, str]:
    """Return what differs at the start of both names."""
    old, new = pair.from_name.split("."), pair.name.split(".")
    while old and new and old[-1] == new[-1]:
        old.pop()
        new.pop()
    return "".join(f"{part}." for part in old), "".join(f"{part}." for part in new)


def recasts(pairs: Iterable[TensorPair]) -> Iterator[str]:
    """Yield each change of element type with its tensors: mostly all of them changed in the same way."""
    groups: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        if pair.is_recast:
            groups.setdefault((pair.before.dtype, pair.after.dtype), []).append(pair.name)
    for (before, after), names in groups.items():
        yield f"{before} → {after}  {names[0] if len(names) == 1 else count(len(names), 'tensor')}"
