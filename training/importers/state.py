"""What a pickle of PyTorch says -> tensors by the names of a state dict."""

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from training.errors import WeightsError
from training.importers.expect import Shape
from training.importers.pickles import Made

_MAX_DEPTH: Final = 10
"""Modules within modules; a DenseNet has 5."""


_MAX_AXES: Final = 8


class Storage(NamedTuple):
    """A run of `length` numbers that lies under `key` outside the pickle."""

    key: str
    dtype: np.dtype[Any]
    length: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: Shape
    strides: tuple[int, ...]


def find_tensors(content: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dict, of a checkpoint with `state_dict`, or of a whole module.

    Raises WeightsError for anything else, and for a tensor that reaches outside its storage.
    """
    if isinstance(content, dict):
        state = content.get("state_dict", content)
        if isinstance(state, dict):
            return {str(name): _read_tensor(str(name), value) for name, value in state.items()}
    if isinstance(content, Made):
        return {name: _read_tensor(name, value) for name, value in _walk(content, "", set())}
    raise WeightsError("The file holds neither a state dict nor a module.")


def _walk(module: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    # Each module once, or modules within each other could be walked for ever.
    if not (isinstance(module, Made) and isinstance(module.state, dict)) or id(module) in seen:
        raise WeightsError(f"{prefix or 'The module'} is not a module with a state of its own.")
    if prefix.count(".") > _MAX_DEPTH:
        raise WeightsError(f"{prefix} lies deeper than any module of a DenseNet.")
    seen.add(id(module))
    for kind in ("_parameters", "_buffers", "_modules"):
        members = module.state.get(kind)
        if not isinstance(members, dict):
            raise WeightsError(f"{prefix or 'The module'} has no {kind}.")
        for name, member in members.items():
            if kind == "_modules":
                yield from _walk(member, f"{prefix}{name}.", seen)
            elif member is not None:
                yield f"{prefix}{name}", member


def _read_tensor(name: str, value: Any) -> Tensor:
    match value:
        case Made(name="torch._utils._rebuild_parameter", args=(inner, *_)):
            value = inner
    match value:
        case Made(
            name="torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
            args=(Storage() as storage, offset, tuple(shape), tuple(strides), *_),
        ):
            tensor = Tensor(storage, offset, shape, strides)
        case _:
            raise WeightsError(f"{name} is not a tensor.")
    numbers = (offset, *shape, *strides)
    sound = all(type(n) is int and 0 <= n <= storage.length for n in numbers)
    if len(shape) != len(strides) or len(shape) > _MAX_AXES or not sound:
        raise WeightsError(f"{name} has no sound offset, shape and strides.")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # No larger than its storage, or strides of zero would make much of little.
    if 0 in shape or last >= storage.length or math.prod(shape) > storage.length:
        raise WeightsError(f"{name} reaches outside its storage of {storage.length} numbers.")
    return tensor
