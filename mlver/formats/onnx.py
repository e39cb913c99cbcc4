"""ONNX models → `Layout`.

A model is a protobuf message. Its tensors are the initializers of its graph, of the graphs inside and of its training
information, and those that are attributes of nodes (constants). Their bytes lie in the message, or in other files that
it names (`Layout.external`).

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and `docs/ExternalData.md`.
"""

from __future__ import annotations

from mlver.formats.cursor import Cursor
from mlver.formats.layout import (
    ByteSource,
    ExternalTensor,
    FormatError,
    Layout,
    Tensor,
    checked_layout,
    checked_name,
    sorted_tensors,
)
from mlver.formats.onnx_tensor import TensorMessage, contiguous_bytes, placed_outside, read_tensor_message
from mlver.formats.protobuf import BYTES, read_fields, read_text
from mlver.formats.unique_names import UniqueNames, joined

MAX_STEPS = 1 << 21
"""Fields of the message; the largest models have less than a million."""
MAX_DEPTH = 100
"""Messages in messages: a graph in a node's attribute takes three."""

_TENSOR, _SPARSE = "tensor", "sparse"
_CHILDREN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: _TENSOR, 15: _SPARSE},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: _SPARSE, 23: _SPARSE},
}
"""Which fields of which message hold what else."""
_LABELS = {"function": 1, "node": 2, "attribute": 1}
"""Which field of a message is its part of the names inside: of a node that is its first output."""
_GRAPH = 7


def parse_onnx(source: ByteSource) -> Layout:
    """Return the layout of an ONNX model.

    Raises:
        FormatError: It is malformed, has no graph, or is larger than the limits.
        OSError: The file cannot be read.
    """
    walk = _Walk(source)
    walk.enter("model", 0, source.size_bytes, "", 0)
    if not walk.has_graph:
        raise FormatError("the model has no graph")
    tensors = sorted_tensors(walk.tensors)
    layout = Layout("onnx", tensors, is_complete=walk.is_complete, external=tuple(walk.external))
    return checked_layout(layout, source.size_bytes)


class _Walk:
    def __init__(self, source: ByteSource) -> None:
        self.tensors: list[Tensor] = []
        self.external: list[ExternalTensor] = []
        self.is_complete = True
        self.has_graph = False
        self._cursor = Cursor(source, MAX_STEPS)
        self._names = UniqueNames()
        self._locations: dict[str, str] = {}

    def enter(self, kind: str, begin: int, end: int, prefix: str, depth: int) -> None:
        """Find the tensors of a message of some `kind` that lies at the bytes `begin` to `end`."""
        if depth > MAX_DEPTH:
            raise FormatError("the model is nested too deeply")
        children = _CHILDREN[kind]
        if kind in _LABELS:
            prefix = self._label(kind, begin, end, prefix)
        for field in read_fields(self._cursor, begin, end):
            child = children.get(field.number)
            if child is None:
                continue
            if field.kind != BYTES:
                raise FormatError("a field is of another kind")
            self.has_graph = self.has_graph or (kind, field.number) == ("model", _GRAPH)
            if child == _TENSOR:
                message = read_tensor_message(self._cursor, field.offset, field.end)
                # A tensor in an attribute has a name as well, but the one that is known outside is the attribute's.
                self._tensor(message, joined(prefix, message.name) if kind == "graph" else prefix)
            elif child == _SPARSE:
                self.is_complete = False
            else:
                self.enter(child, field.offset, field.end, prefix, depth + 1)

    def _label(self, kind: str, begin: int, end: int, prefix: str) -> str:
        """Return what the names of the tensors in a message begin with."""
        for field in read_fields(self._cursor, begin, end):
            if field.number == _LABELS[kind]:
                return joined(prefix, read_text(self._cursor, field))
        return prefix

    def _tensor(self, message: TensorMessage, name: str) -> None:
        name = checked_name(self._names.add(name))
        dtype, data = message.dtype, message.data
        size_bytes = None if dtype is None else contiguous_bytes(dtype, message.shape)
        if dtype is None or size_bytes is None:
            self.is_complete = False
        elif message.external is not None:
            location, offset = placed_outside(message.external, size_bytes)
            kept = self._locations.get(location) or self._cursor.keep(location)  # one text for all that are there
            self._locations[kept] = kept
            self.external.append(ExternalTensor(name, dtype, message.shape, kept, offset, size_bytes))
        elif size_bytes == 0:
            self.tensors.append(Tensor(name, dtype, message.shape, message.end, 0))
        elif data is None:
            self.is_complete = False
        elif data.size_bytes != size_bytes:
            raise FormatError("a tensor's size does not fit its type and shape")
        else:
            self.tensors.append(Tensor(name, dtype, message.shape, data.offset, size_bytes))
