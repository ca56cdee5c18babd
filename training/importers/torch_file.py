"""The two file formats of `torch.save` -> arrays by name, without PyTorch.

Since PyTorch 1.6 a file is a zip archive with a pickle and one entry for each storage; before, it
was a stream of pickles followed by the storages (PyTorch, torch/serialization.py). Numbers are in
little-endian order.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from training.errors import WeightsError
from training.importers.expect import Shape, check_shapes, check_values
from training.importers.pickles import Named, read_pickle
from training.importers.state import Storage, Tensor, find_tensors

_PICKLE_START: Final = b"\x80"
_LEGACY_HEAD: Final = [0x1950A86A20F9469CFC6C, 1001]
"""Magic number and version of the stream."""

_COUNT: Final = struct.Struct("<q")
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.LongStorage": np.dtype("<i8"),
}

Rename = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def read_torch(
    path: Path, rename: Rename, expected: dict[str, Shape]
) -> dict[str, NDArray[np.float32]]:
    """Return the tensors `expected` of a file in either format.

    `rename` gives the tensors of the file the names that are expected. Raises WeightsError for a
    file that is dangerous or damaged, and, by name, for a tensor that is missing, surplus,
    misshapen or not float32.
    """
    with path.open("rb") as file:
        archive = _ZipFormat(file) if zipfile.is_zipfile(file) else _StreamFormat(file)
        tensors = rename(find_tensors(archive.content))
        check_shapes(expected, {name: tensor.shape for name, tensor in tensors.items()})
        return {
            name: check_values(name, _view(tensor, archive.read_storage(tensor.storage)))
            for name, tensor in tensors.items()
        }


def _view(tensor: Tensor, data: bytes) -> NDArray[np.generic]:
    storage, offset, shape, strides = tensor
    numbers = np.frombuffer(data, storage.dtype)[offset:]
    steps = [stride * storage.dtype.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers, shape, steps, writeable=False)


class _Storages(dict[str, Storage]):
    """The storages that a pickle refers to, by key."""

    def load_persistent(self, reference: Any) -> Any:
        match reference:
            case ("storage", Named(name), str(key), str(), int(length), *view) if (
                name in _DTYPES and length >= 0 and view in ([], [None])
            ):
                storage = Storage(key, _DTYPES[name], length)
                if self.setdefault(key, storage) != storage:
                    raise WeightsError(f"Storage {key!r} is described in two ways.")
                return storage
            case ("module", Named() as named, str(), str()):
                return named  # with its source code, which nobody runs
        raise WeightsError("The pickle refers to something that is neither storage nor module.")


class _ZipFormat:
    """A zip archive whose entries are all stored as they are."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._archive = zipfile.ZipFile(file)
        except Exception as error:  # the zip reader raises whatever damage leads to
            raise WeightsError(f"The zip archive is damaged ({error}).") from error
        entries = self._archive.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        pickles = [name for name in self._entries if name.endswith("/data.pkl")]
        if len(pickles) != 1 or len(self._entries) != len(entries):
            raise WeightsError("The zip archive is not one that PyTorch wrote.")
        self._root = pickles[0].removesuffix("data.pkl")
        if f"{self._root}byteorder" in self._entries and self._read("byteorder") != b"little":
            raise WeightsError("The file was written in big-endian order.")
        self.content = read_pickle(io.BytesIO(self._read("data.pkl")), _Storages().load_persistent)

    def read_storage(self, storage: Storage) -> bytes:
        data = self._read(f"data/{storage.key}")
        if len(data) != storage.length * storage.dtype.itemsize:
            raise WeightsError(f"Storage {storage.key!r} is not as long as the pickle says.")
        return data

    def _read(self, name: str) -> bytes:
        entry = self._entries.get(self._root + name)
        if entry is None:
            raise WeightsError(f"The archive has no entry {name!r}.")
        # Compressed, a few bytes could unfold to any size; PyTorch never compresses.
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise WeightsError(f"Entry {name!r} is compressed, which PyTorch does not do.")
        try:
            return self._archive.read(entry)
        except Exception as error:  # the zip reader raises whatever damage leads to
            raise WeightsError(f"Entry {name!r} is damaged ({error}).") from error


class _StreamFormat:
    """Pickles of magic number, version, machine and content, then keys, then the storages."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)
        is_pickle = file.read(1) == _PICKLE_START
        file.seek(0)
        if not is_pickle or [self._read_pickle(_Storages()) for _ in _LEGACY_HEAD] != _LEGACY_HEAD:
            raise WeightsError("This is no file that torch.save wrote.")
        storages = _Storages()
        self._read_pickle(_Storages())
        self.content = self._read_pickle(storages)
        self._places = dict(self._locate(storages, self._read_pickle(_Storages())))

    def read_storage(self, storage: Storage) -> bytes:
        if storage.key not in self._places:
            raise WeightsError(f"The file has no storage {storage.key!r}.")
        self._file.seek(self._places[storage.key])
        return self._file.read(storage.length * storage.dtype.itemsize)

    def _read_pickle(self, storages: _Storages) -> Any:
        return read_pickle(self._file, storages.load_persistent)

    def _locate(self, storages: _Storages, keys: Any) -> Iterator[tuple[str, int]]:
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise WeightsError("The file lists no storages.")
        for key in keys:
            counted = self._file.read(_COUNT.size)
            storage = storages.get(key)
            if storage is None or counted != _COUNT.pack(storage.length):
                raise WeightsError(f"Storage {key!r} is not as long as the pickle says.")
            place = self._file.tell()
            yield key, place
            if self._file.seek(place + storage.length * storage.dtype.itemsize) > self._size:
                raise WeightsError(f"The file ends within storage {key!r}.")
