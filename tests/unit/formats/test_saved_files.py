"""Files that the real libraries made (`make_saved`): the arrays are where our readers say."""

from __future__ import annotations

import numpy as np
import pytest

from mlver.formats import Layout, beside, diagnose, parse
from tests.support.weight_files import BytesSource, assert_promises
from tests.unit.formats.make_saved import BIAS, COUNTS, FOLDER, KERNEL, MANY

NUMPY = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "BOOL": "?"}
HEADS_OF_BF16 = (BIAS.view("<u4") >> 16).astype("<u2")


def read(name: str) -> tuple[bytes, Layout]:
    raw = (FOLDER / name).read_bytes()
    layout = parse(BytesSource(raw))
    assert layout is not None
    assert_promises(layout, len(raw))
    return raw, layout


def arrays(raw: bytes, layout: Layout) -> dict[str, np.ndarray]:
    """Return the arrays of the types that NumPy has."""
    found = {}
    for item in layout.arrays:
        offset = getattr(item, "owner", None)
        start = item.offset if offset is None else layout.tensors[offset].offset + item.offset
        if item.dtype in NUMPY:
            content = raw[start : start + item.size_bytes]
            found[item.name] = np.frombuffer(content, NUMPY[item.dtype]).reshape(item.shape)
    return found


def assert_arrays(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True, err_msg=name)


def test_gguf() -> None:
    raw, layout = read("model.gguf")
    expected = {"kernel": KERNEL, "bias": BIAS, "half": KERNEL.astype("<f2"), "counts": COUNTS}
    assert_arrays(arrays(raw, layout), expected)
    (blocks,) = (tensor for tensor in layout.tensors if tensor.name == "blocks")
    assert (layout.format, blocks.dtype, blocks.shape, blocks.size_bytes) == ("gguf", "Q8_0", (2, 64), 4 * 34)
    assert np.frombuffer(raw, "<f2", 1, blocks.offset)[0] == np.float16(31 / 127)  # the scale of the first block


def test_onnx() -> None:
    raw, layout = read("model.onnx")
    expected = {"steps.value": COUNTS, "kernel": KERNEL, "floats": BIAS}
    assert_arrays(arrays(raw, layout), {**expected, "y.then_branch.bias": BIAS, "y.else_branch.bias": BIAS})
    assert (layout.format, layout.is_complete) == ("onnx", True)
    assert [(t.dtype, t.size_bytes) for t in layout.tensors if t.name == "nibbles"] == [("I4", 2)]


def test_onnx_with_its_weights_in_another_file() -> None:
    model, data = ((FOLDER / name).read_bytes() for name in ("outside.onnx", "outside.onnx.data"))
    layout = parse(BytesSource(model))
    assert layout is not None
    assert (layout.tensors, layout.is_complete) == ((), False)
    told = beside({"a/outside.onnx": layout.external}, {"a/outside.onnx", "a/outside.onnx.data"})
    again, _ = diagnose(BytesSource(model), told["a/outside.onnx"])
    assert again is not None
    assert again.is_complete
    found, problem = diagnose(BytesSource(data), told["a/outside.onnx.data"])
    assert found is not None
    assert (found.format, problem) == ("onnx-data", None)
    assert_arrays(arrays(data, found), {"kernel": KERNEL, "second": KERNEL + 1})


def read_tensorflow(name: str) -> tuple[bytes, Layout]:
    """Return a checkpoint's data, and what is found in them."""
    index, data = ((FOLDER / f"{name}.{suffix}").read_bytes() for suffix in ("index", "data-00000-of-00001"))
    layout = parse(BytesSource(index))
    assert layout is not None
    assert layout.format == "tensorflow"
    told = beside({f"{name}.index": layout.external}, {f"{name}.index", f"{name}.data-00000-of-00001"})
    again, _ = diagnose(BytesSource(index), told[f"{name}.index"])
    assert again is not None
    assert again.is_complete
    found, problem = diagnose(BytesSource(data), told[f"{name}.data-00000-of-00001"])
    assert found is not None
    assert (found.format, found.is_complete, problem) == ("tensorflow-data", True, None)
    assert_promises(found, len(data))
    return data, found


def test_tensorflow() -> None:
    raw, layout = read_tensorflow("objects")
    name = "module/{}/.ATTRIBUTES/VARIABLE_VALUE".format
    assert_arrays(arrays(raw, layout), {name("kernel"): KERNEL, name("counts"): COUNTS})
    (bias,) = (tensor for tensor in layout.tensors if tensor.dtype == "BF16")
    assert (bias.name, bias.shape) == (name("bias"), (3,))
    np.testing.assert_array_equal(np.frombuffer(raw, "<u2", 3, bias.offset), HEADS_OF_BF16)


def test_the_parts_of_a_divided_variable_of_tensorflow_are_tensors() -> None:
    found = arrays(*read_tensorflow("divided"))
    rows = KERNEL.T
    parts = {"kernel": rows[:22], "kernel#2": rows[22:43], "kernel#3": rows[43:]}
    assert_arrays(found, {**parts, "scope/bias": BIAS})


def test_flax() -> None:
    raw, layout = read("state.msgpack")
    expected = {
        "params.dense.kernel": KERNEL,
        "opt_state.0.count": np.array(7, "<i4"),
        "opt_state.1": COUNTS,
    }
    assert_arrays(arrays(raw, layout), expected)
    (bias,) = (tensor for tensor in layout.tensors if tensor.dtype == "BF16")
    assert (bias.name, bias.shape, layout.is_complete) == ("params.dense.bias", (3,), True)
    np.testing.assert_array_equal(np.frombuffer(raw, "<u2", 3, bias.offset), HEADS_OF_BF16)


def test_the_pieces_of_a_large_array_of_flax_are_tensors() -> None:
    found = arrays(*read("pieces.msgpack"))
    assert_arrays(found, {"kernel.chunks.0": KERNEL[0], "kernel.chunks.1": KERNEL[1]})


@pytest.mark.parametrize(
    ("name", "format_name", "kernel", "bias"),
    [
        ("model.keras", "keras", "layers/dense/vars/0", "layers/dense/vars/1"),
        ("model.weights.h5", "hdf5", "layers/dense/vars/0", "layers/dense/vars/1"),
        (
            "legacy.h5",
            "hdf5",
            "model_weights/dense/sequential/dense/kernel",
            "model_weights/dense/sequential/dense/bias",
        ),
    ],
)
def test_keras(name: str, format_name: str, kernel: str, bias: str) -> None:
    raw, layout = read(name)
    assert (layout.format, layout.is_complete) == (format_name, True)
    assert_arrays(arrays(raw, layout), {kernel: KERNEL[:, :3], bias: BIAS})


def test_keras_says_bf16_in_its_own_way() -> None:
    raw, layout = read("bf16.keras")
    assert [tensor.dtype for tensor in layout.tensors] == ["BF16", "BF16"]
    np.testing.assert_array_equal(np.frombuffer(raw, "<u2", 3, layout.tensors[1].offset), HEADS_OF_BF16)


@pytest.mark.parametrize("name", ["earliest.h5", "latest.h5"])
def test_hdf5_of_either_kind(name: str) -> None:
    raw, layout = read(name)
    many = {f"many/w{number:02}": np.array(number, "<i2") for number in range(MANY) if number != 7}
    expected = {"group/kernel": KERNEL, "alias": KERNEL, "few/bias": BIAS, "flags": np.array([True, False])}
    assert_arrays(arrays(raw, layout), expected | many)
    assert (len(layout.views), layout.is_complete) == (1, True)


def test_what_is_packed_or_no_plain_array_is_left_out() -> None:
    raw, layout = read("partly.h5")
    assert_arrays(arrays(raw, layout), {"kernel": KERNEL})
    assert not layout.is_complete
