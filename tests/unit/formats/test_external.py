"""Tensors that one file describes and another holds."""

from __future__ import annotations

from mlver.formats import Beside, ExternalTensor, Layout, Tensor, View, beside, diagnose
from tests.support.weight_files import BytesSource, assert_promises, entry, safetensors_file


def placed(name: str, offset: int, size: int, location: str = "m.data") -> ExternalTensor:
    return ExternalTensor(name, "U8", (size,), location, offset, size)


def read(data: bytes, *tensors: ExternalTensor) -> tuple[Layout, str | None]:
    layout, problem = diagnose(BytesSource(data), Beside(tensors))
    assert layout is not None
    assert_promises(layout, len(data))
    return layout, problem


A, B = placed("a", 0, 4), placed("b", 8, 4)


def test_a_file_is_told_what_others_place_in_it() -> None:
    told = beside({"m.onnx": [A, B]}, ["m.onnx", "m.data", "other"])
    assert told == {"m.onnx": Beside((), True), "m.data": Beside((A, B))}


def test_paths_are_relative_to_the_folder_of_the_model() -> None:
    deep = placed("a", 0, 4, "sub/m.data")
    told = beside({"x/m.onnx": [deep]}, ["x/m.onnx", "m.data", "sub/m.data", "x/sub/m.data"])
    assert told == {"x/m.onnx": Beside((), True), "x/sub/m.data": Beside((deep,))}


def test_a_model_whose_files_are_not_all_there_is_told_so() -> None:
    assert beside({"m.onnx": [A, placed("c", 0, 1, "more")]}, ["m.onnx", "m.data"])["m.onnx"] == Beside((), False)


def test_two_models_may_share_a_file_and_tensors() -> None:
    other = placed("c", 4, 4)
    told = beside({"1.onnx": [A, B], "0.onnx": [A, other]}, ["0.onnx", "1.onnx", "m.data"])
    assert told["m.data"].placed == (A, other, B)


def test_tensors_are_found_by_their_places() -> None:
    layout, problem = read(bytes(12), B, A)
    expected = (Tensor("a", "U8", (4,), 0, 4), Tensor("b", "U8", (4,), 8, 4))
    assert (layout, problem) == (Layout("onnx-data", expected), None)


def test_tensors_may_share_bytes_and_names() -> None:
    layout, _ = read(bytes(12), A, placed("tied", 0, 4), placed("a", 8, 4))
    assert [(tensor.name, tensor.offset) for tensor in layout.tensors] == [("a", 0), ("a#2", 8)]
    assert layout.views == (View("tied", "U8", (4,), 0, 0, 4),)


def test_a_file_that_is_too_short_counts_as_a_whole() -> None:
    layout, problem = read(bytes(11), A, B)
    assert layout == Layout("onnx-data", (), is_complete=False)
    assert problem is not None


def test_a_file_of_another_format_keeps_it_and_counts_as_a_whole() -> None:
    raw = safetensors_file({"w": entry("F32", [1], 0, 4)}, bytes(4))
    layout, problem = read(raw, A)
    assert (layout.format, layout.is_complete, problem) == ("safetensors", False, None)
