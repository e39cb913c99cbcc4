"""Makes the files of `saved/` with the libraries whose formats they are: what our own readers have to understand.

Run it by hand with `gguf`, `onnx`, `flax`, `keras`, `h5py` and `tensorflow` installed:
`python -m tests.unit.formats.make_saved`. The tests need none of these.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "saved"
KERNEL = np.arange(128, dtype="<f4").reshape(2, 64)
BIAS = np.arange(3, dtype="<f4")
COUNTS = np.arange(5, dtype="<i8")
MANY = 60


def library(name: str) -> Any:
    """Import what mypy need not find."""
    return importlib.import_module(name)


def make_gguf() -> None:
    gguf = library("gguf")
    writer = gguf.GGUFWriter(FOLDER / "model.gguf", "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "ç"])
    writer.add_array("rope.sections", [1, 2, 3])
    writer.add_bool("flag", True)
    writer.add_tensor("kernel", KERNEL)
    writer.add_tensor("bias", BIAS)
    writer.add_tensor("half", KERNEL.astype("<f2"))
    writer.add_tensor("counts", COUNTS)
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("blocks", gguf.quants.quantize(KERNEL, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_onnx() -> None:
    onnx = library("onnx")
    helper, from_array = library("onnx.helper"), library("onnx.numpy_helper").from_array
    constant = helper.make_node("Constant", [], ["steps"], value=from_array(COUNTS, "value"))
    inner = helper.make_graph([], "body", [], [], [from_array(BIAS, "bias")])
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    tensors = [
        from_array(KERNEL, "kernel"),
        helper.make_tensor("floats", onnx.TensorProto.FLOAT, [3], BIAS),
        helper.make_tensor("nibbles", onnx.TensorProto.INT4, [4], bytes(2), raw=True),
    ]
    model = helper.make_model(helper.make_graph([constant, node], "graph", [], [], tensors))
    onnx.save_model(model, FOLDER / "model.onnx")
    tensors[1] = from_array(KERNEL + 1, "second")
    model = helper.make_model(helper.make_graph([], "graph", [], [], tensors[:2]))
    options: dict[str, object] = {"save_as_external_data": True, "location": "outside.onnx.data", "size_threshold": 0}
    onnx.save_model(model, FOLDER / "outside.onnx", **options)


def make_flax() -> None:
    serialization, jax = library("flax.serialization"), library("jax.numpy")
    tree = {
        "params": {"dense": {"kernel": KERNEL, "bias": jax.arange(3, dtype=jax.bfloat16)}},
        "opt_state": [{"count": np.int32(7)}, COUNTS],
        "step": 3,
        "nothing": None,
    }
    (FOLDER / "state.msgpack").write_bytes(serialization.to_bytes(tree))
    serialization.MAX_CHUNK_SIZE = 256
    (FOLDER / "pieces.msgpack").write_bytes(serialization.msgpack_serialize({"kernel": KERNEL}))


def make_keras() -> None:
    os.environ["KERAS_BACKEND"] = "jax"
    keras = library("keras")
    for name, policy in (("model", "float32"), ("bf16", "bfloat16")):
        keras.mixed_precision.set_dtype_policy(policy)
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
        model.set_weights([KERNEL[:, :3], BIAS])
        model.save(FOLDER / f"{name}.keras")
        if name == "model":
            model.save_weights(FOLDER / "model.weights.h5")
            model.save(FOLDER / "legacy.h5")


def make_hdf5() -> None:
    h5py = library("h5py")
    for version in ("earliest", "latest"):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=version) as file:
            file["group/kernel"] = KERNEL
            file["few/bias"] = BIAS
            file["alias"] = file["group/kernel"]
            file["soft"] = h5py.SoftLink("/group/kernel")
            file["flags"] = np.array([True, False])
            file["few/loop"] = file["/"]
            many = file.create_group("many")
            for number in range(MANY):
                many[f"w{number:02}"] = np.int16(number)
            del many["w07"]
        (FOLDER / f"{version}.h5").write_bytes(buffer.getvalue())
    with h5py.File(FOLDER / "partly.h5", "w") as file:
        file["kernel"] = KERNEL
        file["big"] = BIAS.astype(">f4")
        file.create_dataset("packed", data=KERNEL, compression="gzip")
        file["text"] = "hello"


def _rows_of_kernel(shape: Sequence[int], dtype: object, partition_info: Any) -> np.ndarray[Any, Any]:
    start = partition_info.var_offset[0]
    return KERNEL.T[start : start + shape[0]]


def make_tensorflow() -> None:
    tf = library("tensorflow")
    module = tf.Module()
    module.kernel, module.counts = tf.Variable(KERNEL), tf.Variable(COUNTS)
    module.bias = tf.Variable(tf.cast(BIAS, tf.bfloat16))
    module.text = tf.Variable("no weights")
    tf.train.Checkpoint(module=module).write(str(FOLDER / "objects"))
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        divide = v1.fixed_size_partitioner(3)
        v1.get_variable("kernel", KERNEL.T.shape, initializer=_rows_of_kernel, partitioner=divide)
        v1.get_variable("scope/bias", initializer=BIAS)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(FOLDER / "divided"), write_meta_graph=False, write_state=False)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    make_gguf()
    make_onnx()
    make_flax()
    make_keras()
    make_hdf5()
    make_tensorflow()
