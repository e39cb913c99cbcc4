"""What a torch file may name: the exact list that `torch.load(weights_only=True)` accepts, and what we read of it.

Source: PyTorch 2.13 `torch/_weights_only_unpickler.py` (`_get_allowed_globals`), `torch/storage.py`
(`_dtype_to_storage_type_map`), `torch/_utils.py` (`_rebuild_*`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mlver.formats.dtypes import BITS_BY_DTYPE
from mlver.formats.layout import FormatError, checked_name

MAX_GLOBAL_CHARACTERS = 512

DTYPES_BY_STORAGE = {
    "BoolStorage": "BOOL",
    "ByteStorage": "U8",
    "CharStorage": "I8",
    "ShortStorage": "I16",
    "IntStorage": "I32",
    "LongStorage": "I64",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}
"""Element types of the storage classes of `torch` and `torch.cuda`."""

_BYTES_OF_OTHER_STORAGES = {"UntypedStorage": 1, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4}
"""Bytes an element of those whose elements have no type of their own here."""

DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "complex128": "C128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
}
"""Names of `torch.dtype`s with a whole number of bytes an element."""

_TENSOR_KINDS = ("BFloat16", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
_ALLOWED_NAMES = {
    "builtins": "bytearray complex set",
    "collections": "Counter OrderedDict",
    "_codecs": "encode",
    "torch": (
        "BoolTensor QInt32Storage QInt8Storage QUInt2x4Storage QUInt4x2Storage QUInt8Storage Size Tensor device "
        "bits16 bits1x8 bits2x4 bits4x2 bits8 complex32 float4_e2m1fn_x2 qint32 qint8 quint2x4 quint4x2 quint8 "
        "int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7 "
        "per_channel_affine per_channel_affine_float_qparams per_channel_symmetric "
        "per_tensor_affine per_tensor_symmetric"
    ),
    "torch._tensor": "_rebuild_from_type_v2",
    "torch._utils": (
        "_rebuild_device_tensor_from_cpu_tensor _rebuild_device_tensor_from_numpy _rebuild_meta_tensor_no_storage "
        "_rebuild_nested_tensor _rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor "
        "_rebuild_sparse_tensor _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_wrapper_subclass"
    ),
    "torch.cuda": "BoolTensor",
    "torch.nn.parameter": "Parameter",
    "torch.serialization": "_get_layout",
    "torch.storage": "TypedStorage UntypedStorage",
}

ALLOWED_GLOBALS = frozenset(
    [
        *(f"{module}.{name}" for module, names in _ALLOWED_NAMES.items() for name in names.split()),
        *(f"{module}.{name}" for module in ("torch", "torch.cuda") for name in DTYPES_BY_STORAGE),
        *(f"torch{part}.{kind}Tensor" for part in ("", ".cuda", ".sparse", ".cuda.sparse") for kind in _TENSOR_KINDS),
        *(f"torch.{name}" for name in DTYPES),
    ]
)
"""Every global that makes no file unsafe, as `module.name`."""

LOSSY_GLOBALS = frozenset(
    [
        "torch._utils._rebuild_qtensor",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
    ]
)
"""Makers of arrays that keep a part of their values (scales, elements) in the pickle itself, where we do not look."""

_PYTHON_2_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle would import. Here it is only ever compared."""

    path: str


@dataclass(eq=False, slots=True)
class Record:
    """A dictionary or an object of a class that is unknown here.

    Attributes:
        items: Keys and values in the order in which they were set, equal keys included.
        states: What the object was made from: arguments and attributes. Never copied, because a pickle
            can set an object as its own state again and again.
    """

    items: list[tuple[object, object]] = field(default_factory=list)
    states: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Storage:
    """A persistent id of torch: bytes that lie outside the pickle.

    Attributes:
        key: What they are called.
        dtype: Element type; None when the storage has none (`UntypedStorage`, quantized ones).
        element_bytes: Size of an element; None for a class that is unknown here.
    """

    key: str
    dtype: str | None
    element_bytes: int | None


@dataclass(frozen=True, slots=True, eq=False)
class StridedTensor:
    """A tensor as a pickle describes it: nothing of it is checked against the file yet.

    Attributes:
        storage: The bytes it lies in.
        dtype: safetensors name of the element type.
        shape: Dimensions, outermost first.
        strides: Elements from one index to the next, for each dimension.
        start: Its first element, in elements from the start of the storage.
    """

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int


def make_global(module: object, name: object) -> Global:
    """Return the global that `module` and `name` stand for, in the spelling of Python 3.

    Raises:
        FormatError: They are no names.
    """
    if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > MAX_GLOBAL_CHARACTERS:
        raise FormatError("a pickle names no global")
    return Global(checked_name(f"{_PYTHON_2_MODULES.get(module, module)}.{name}"))


def make_storage(persistent_id: object) -> Storage | None:
    """Return the storage that a persistent id stands for, if it is one.

    It is `("storage", class, key, location, size)`, and in files before zip files with a sixth element: None, or what
    part of another storage it is, which torch has not written since 0.4.
    """
    match persistent_id:
        case ("storage", Global(path=path), str(key), _, int(), *rest) if rest in ([], [None]):
            module, _, name = path.rpartition(".")
            dtype = DTYPES_BY_STORAGE.get(name) if module in ("torch", "torch.cuda") else None
            return Storage(key, dtype, BITS_BY_DTYPE[dtype] // 8 if dtype else _BYTES_OF_OTHER_STORAGES.get(name))
    return None


def rebuild(function: object, arguments: object) -> object | None:
    """Return what a call of one of torch's own functions would make, or None if it is none that is known here."""
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        return None
    if function.path == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
        function, _, arguments, _ = arguments
    maker = _MAKERS.get(function.path) if isinstance(function, Global) else None
    return maker(arguments) if maker is not None and isinstance(arguments, tuple) else None


def _rebuild_parameter(arguments: tuple[object, ...]) -> object | None:
    return arguments[0] if arguments else None


def _rebuild_tensor(arguments: tuple[object, ...]) -> StridedTensor | None:
    match arguments:
        case (Storage(dtype=str(dtype)) as storage, int(start), tuple(shape), tuple(strides), *_):
            return _strided(storage, dtype, shape, strides, start)
    return None


def _rebuild_tensor_v3(arguments: tuple[object, ...]) -> StridedTensor | None:
    match arguments:
        case (Storage() as storage, int(start), tuple(shape), tuple(strides), _, _, Global(path=path), *_):
            dtype = DTYPES.get(path.removeprefix("torch."))
            return None if dtype is None else _strided(storage, dtype, shape, strides, start)
    return None


def _strided(
    storage: Storage, dtype: str, shape: tuple[object, ...], strides: tuple[object, ...], start: int
) -> StridedTensor | None:
    dimensions = tuple(item for item in shape if type(item) is int)
    steps = tuple(item for item in strides if type(item) is int)
    if not len(dimensions) == len(steps) == len(shape) == len(strides):
        return None
    return StridedTensor(storage, dtype, dimensions, steps, start)


def _make_size(arguments: tuple[object, ...]) -> object | None:
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple) else None


_MAKERS: dict[str, Callable[[tuple[object, ...]], object | None]] = {
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch.Size": _make_size,
}
