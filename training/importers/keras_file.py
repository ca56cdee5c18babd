"""Keras 2 `.h5` weights -> arrays by `layer/weight`; the `model_config` inside is never read."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from training.errors import WeightsError
from training.importers.expect import Shape, check_shapes, check_values


def read_keras(path: Path, expected: dict[str, Shape]) -> dict[str, NDArray[np.float32]]:
    """Return the weights `expected` of a file of `save_weights` or `save`.

    Raises WeightsError for a damaged file, for data that lie outside of it or are compressed, and,
    by name, for a weight that is missing, surplus, misshapen or not float32.
    """
    try:
        with h5py.File(path, "r") as file:
            datasets = _find_datasets(file)
            check_shapes(expected, {name: dataset.shape for name, dataset in datasets.items()})
            return {name: check_values(name, _read(name, datasets[name])) for name in expected}
    except WeightsError:
        raise
    except Exception as error:  # the HDF5 library raises whatever damage leads to
        raise WeightsError(f"This is no .h5 of Keras 2 weights ({error}).") from error


def _find_datasets(file: Any) -> dict[str, Any]:
    """Return the datasets that layers name as their weights, which must be all there are."""
    inside: dict[str, Any] = {"": file}
    # Follows no link, so nothing here lies in another file.
    file.visititems(lambda path, item: inside.update({path: item}))
    # `save` keeps the weights in a group of their own, beside the optimiser's.
    root = "model_weights/" if "model_weights" in inside else ""
    found = {}
    for layer in map(_decode, inside[root.removesuffix("/")].attrs["layer_names"]):
        for path in map(_decode, inside[root + layer].attrs["weight_names"]):
            # Keras 2 writes the layers of the stem as `conv1/conv`.
            name = f"{layer.replace('/', '_')}/{path.rpartition('/')[2].removesuffix(':0')}"
            found[name] = inside.pop(f"{root}{layer}/{path}")
    surplus = {
        path: item
        for path, item in inside.items()
        if isinstance(item, h5py.Dataset) and path.startswith(root)
    }
    return found | surplus


def _read(name: str, dataset: Any) -> NDArray[np.generic]:
    stored = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external or stored.get_nfilters():
        raise WeightsError(f"{name} is compressed or lies outside the file; Keras does neither.")
    values: NDArray[np.generic] = dataset[()]
    return values


def _decode(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
