"""What pickles of `torch.save` say of tensors, as plain descriptions."""

import io
from typing import Any, NamedTuple

from sparsejax import _pickles as pickles

_STATES = ("state_dict", "model_state_dict", "model", "net")  # where parameters may be
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_DTYPES = (  # of tensors whose storages are bytes
    "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
    "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip


class _Dtype(NamedTuple):
    name: str


class Storage(NamedTuple):
    """Numbers in the file under a key, of which those from start to stop are meant."""

    dtype: str
    key: str
    count: int
    start: int
    stop: int


class Tensor(NamedTuple):
    """Numbers of a storage: steps and the offset count those of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def unpickle(stream: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """The next value, and the storages that it has."""
    storages: dict[str, Storage] = {}
    value = pickles.read(stream, _NAMES, lambda pid: _stored(pid, storages))
    return value, storages


def _ordered_dict(items: Any = ()) -> dict:
    """From pairs, as Python 2 wrote it; these are used up, so that time is bounded."""
    pairs = list(items)
    if pairs:
        items.clear()
    return pickles.dict_of(pairs)


def _stored(pid: Any, storages: dict[str, Storage]) -> Storage:
    kind, dtype, key, _, count, *view = pid
    _, start, length = (view and view[0]) or ("", 0, count)  # views: before 0.4
    whole = isinstance(key, str) and _whole((count, start, length))
    if kind != "storage" or type(dtype) is not _Dtype or not whole:
        raise ValueError("it refers to something that is not a storage")
    found = Storage(dtype.name, key, count, start, start + length)
    first = storages.setdefault(key, found)
    if first[:3] != found[:3] or found.stop > count:
        raise ValueError("it has a storage that is two, or a view beyond one")
    return found


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, dtype: Any = None
) -> Tensor:
    whole = type(storage) is Storage and len(size) == len(stride) <= 64
    if not whole or not _whole((offset, *size, *stride)):
        raise ValueError("it has a tensor that is none")
    name = storage.dtype if dtype is None else dtype.name
    return Tensor(storage, name, offset, tuple(size), tuple(stride))


def _whole(values: tuple) -> bool:
    """Whether all are numbers of things; their product is had in no time."""
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def state(root: Any) -> dict[str, Tensor]:
    if isinstance(root, dict) and not _tensors(root):
        inner = {id(v): k for k, v in root.items() if isinstance(v, dict)}
        usual = [k for k in _STATES if isinstance(root.get(k), dict)]
        named = [k for k in usual if _tensors(root[k])]
        others = [k for k in inner.values() if _tensors(root[k])]
        if not named and len(others) > 1:
            raise ValueError(
                f"it has tensors under {', '.join(repr(k)[:40] for k in others[:5])}; "
                f"expected them under one name, or under one of {', '.join(_STATES)}"
            )
        root = next((root[key] for key in (*named, *others, *usual)), root)
    if not isinstance(root, dict) or not root:
        raise ValueError(f"it holds {type(root).__name__}, not tensors by name")
    for name, value in root.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            # Not their values: a small pickle can have one that takes years to print.
            what = f"{name!r}" if isinstance(name, str) else f"a {type(name).__name__}"
            raise ValueError(
                f"{what} is {type(value).__name__}, no tensor; expected tensors by "
                f"name, or a dictionary of them under {', '.join(_STATES)}"
            )
    return root


def _tensors(values: dict) -> bool:
    """Whether these are tensors by name."""
    named = all(isinstance(name, str) for name in values)
    return (
        named and all(isinstance(v, Tensor) for v in values.values()) and bool(values)
    )


_TYPES = "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"
_FUNCTIONS = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": lambda size: size,
    "torch.device": lambda *_: None,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": lambda *args: _tensor(*args[:4]),
    "torch._utils._rebuild_tensor_v3": lambda *args: _tensor(*args[:4], dtype=args[6]),
    "torch._tensor._rebuild_from_type_v2": lambda of, _, args, *__: of.make(
        *pickles.few(args)
    ),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
}
# What stands for the functions and classes of tensors.
_NAMES = {name: pickles.Function(make) for name, make in _FUNCTIONS.items()}
_NAMES |= {f"torch.{name}": _Dtype(dtype) for name, dtype in _STORAGES.items()}
_NAMES |= {f"torch.{dtype}": _Dtype(dtype) for dtype in (*_STORAGES.values(), *_DTYPES)}
_NAMES |= dict.fromkeys(_TYPES)
_NAMES["torch.storage.UntypedStorage"] = _Dtype("uint8")
