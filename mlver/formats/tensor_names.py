"""Nested values of a checkpoint → tensors with dotted names.

A dictionary's keys and a list's positions become the parts of a name: `optimizer.state.0.exp_avg`. A module that
was pickled whole gets the names that its `state_dict()` would have given.
"""

from __future__ import annotations

from collections.abc import Iterator

from mlver.formats.layout import FormatError
from mlver.formats.torch_globals import Global, Record, StridedTensor
from mlver.formats.unique_names import LONE_TENSOR_NAME, UniqueNames, joined

MAX_VISITS = 1 << 22
MAX_DEPTH = 500

_MODULE_TABLES = frozenset(["_parameters", "_buffers", "_modules"])
_Child = tuple[object, object]
_NOTHING: _Child = (None, None)
_END: _Child = (object(), None)


def named_tensors(root: object) -> Iterator[tuple[str, StridedTensor]]:
    """Yield the tensors in `root` with their names, in the order of the file; no two names are equal.

    A tensor that is mentioned under several names comes once for each; an object within itself is entered once.

    Raises:
        FormatError: The values are larger or deeper than the limits.
    """
    names = UniqueNames()
    for path, tensor in _walk(root):
        yield names.add(path or LONE_TENSOR_NAME), tensor


def _walk(root: object) -> Iterator[tuple[str, StridedTensor]]:
    # An explicit stack of iterators: depth comes from the file, and names are only made when they are needed.
    open_values: list[tuple[str, int, Iterator[_Child]]] = [("", 0, iter([(None, root)]))]
    entered: set[int] = set()
    for _ in range(MAX_VISITS):
        prefix, identity, children = open_values[-1]
        key, value = next(children, _END)
        if key is _END[0]:
            open_values.pop()
            entered.discard(identity)
            if not open_values:
                return
        elif isinstance(value, StridedTensor):
            yield _join(prefix, key), value
        elif isinstance(value, (Record, list, tuple)) and id(value) not in entered:
            if len(open_values) > MAX_DEPTH:
                raise FormatError("the checkpoint is nested too deeply")
            entered.add(id(value))
            open_values.append((_join(prefix, key), id(value), _children(value)))
    raise FormatError("the checkpoint mentions its parts too often")


# Each step of these must yield, if only a `_NOTHING`, or a small file could keep `_walk` busy without being counted.
def _children(value: Record | list[object] | tuple[object, ...]) -> Iterator[_Child]:
    if isinstance(value, Record):
        yield from value.items
        for state in value.states:
            yield from _state_children(state)
    else:
        yield from enumerate(value)


def _state_children(state: object) -> Iterator[_Child]:
    # A state is a dictionary of attributes, or a tuple of two of them; arguments are a tuple of anything.
    yield _NOTHING
    for position, part in enumerate(state if isinstance(state, tuple) else (state,)):
        if isinstance(part, Record) and not part.states:
            yield _NOTHING
            yield from ((None if _is_module_table(key) else key, value) for key, value in part.items)
        else:
            yield position, part


def _is_module_table(key: object) -> bool:
    return isinstance(key, str) and key in _MODULE_TABLES


def _join(prefix: str, key: object) -> str:
    return prefix if key is None else joined(prefix, _key_text(key))


def _key_text(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, Global):
        return key.path
    # Python refuses to write out integers of thousands of digits.
    return str(key) if isinstance(key, int) and key.bit_length() <= 64 else "?"
