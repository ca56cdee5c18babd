"""Writes what `torch.save` writes, and what it never would, without PyTorch."""

import io
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"f4": "FloatStorage", "i8": "LongStorage", "f2": "HalfStorage"}


class Global(NamedTuple):
    name: str


class Call(NamedTuple):
    name: str
    args: tuple[Any, ...]
    state: Any = None


class Persistent(NamedTuple):
    reference: tuple[Any, ...]


def to_pickle(value: Any) -> bytes:
    return b"\x80\x02" + _dump(value) + b"."


def _dump(value: Any) -> bytes:  # noqa: PLR0911 - one for each case
    match value:
        case Global(name):
            module, _, attribute = name.rpartition(".")
            return f"c{module}\n{attribute}\n".encode()
        case Call(name, args, state):
            made = _dump(Global(name)) + _dump(args) + b"R"
            return made + (b"" if state is None else _dump(state) + b"b")
        case Persistent(reference):
            return _dump(reference) + b"Q"
        case dict():
            return b"}(" + b"".join(_dump(k) + _dump(v) for k, v in value.items()) + b"u"
        case list():
            return b"](" + b"".join(map(_dump, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(_dump, value)) + b"t"
        case _:
            return pickle.dumps(value, 2)[2:-1]  # without head and stop; it writes numbers and text


class Arrays:
    """Numbers storages as they come and describes tensors that view them."""

    def __init__(self) -> None:
        self.storages: dict[str, np.ndarray] = {}

    def storage(self, array: np.ndarray, *view: None) -> Persistent:
        key = str(len(self.storages))
        self.storages[key] = array
        kind = Global(f"torch.{_STORAGES[array.dtype.str[1:]]}")
        return Persistent(("storage", kind, key, "cpu", array.size, *view))

    def tensor(self, array: np.ndarray, *view: None) -> Call:
        strides = tuple(step // array.itemsize for step in array.strides)
        args = (self.storage(array, *view), 0, array.shape, strides)
        return Call("torch._utils._rebuild_tensor_v2", (*args, False, None))


def state_dict(arrays: Arrays, values: dict[str, np.ndarray], *view: None) -> dict[str, Call]:
    return {name: arrays.tensor(value, *view) for name, value in values.items()}


def zip_file(content: bytes, arrays: Arrays, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        for key, array in arrays.storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def stream_file(content: bytes, arrays: Arrays) -> bytes:
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    head = b"".join(map(to_pickle, (MAGIC, 1001, machine)))
    tail = to_pickle([*arrays.storages]) + b"".join(
        struct.pack("<q", array.size) + array.tobytes() for array in arrays.storages.values()
    )
    return head + content + tail


FORMATS = {"zip": zip_file, "stream": stream_file}
