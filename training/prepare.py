"""Image files -> one memory-mapped array, through the contract's reading and resizing only."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from contract.errors import InputError
from contract.pixels import CONTRACT_VERSION, to_model_input
from contract.radiograph import read
from training.errors import CacheError, DataError

_PIXELS: Final = "images.npy"
_META: Final = "meta.json"
_CHUNK: Final = 16
"""Images per message between processes; small enough that the progress bar moves."""


@dataclass(frozen=True)
class Cache:
    """Prepared images in `folder`.

    `pixels` are uint8[N,S,S,1], memory-mapped; `index` leads from image name to N.
    """

    folder: Path
    pixels: NDArray[np.uint8]
    index: dict[str, int]


def prepare_images(files: dict[str, Path], size: int, folder: Path) -> Cache:
    """Open the cache in `folder`, or fill it first from `files` (image name -> file).

    Raises CacheError where `folder` holds something else, DataError for a file that is no
    radiograph.
    """
    if not (folder / _META).exists():
        _fill_cache(files, size, folder)
    return open_cache(files, size, folder)


def open_cache(files: dict[str, Path], size: int, folder: Path) -> Cache:
    """Open a filled cache.

    Raises CacheError, naming what differs, for another contract version, size or set of files.
    """
    found = json.loads((folder / _META).read_text())
    for key, expected in _describe(files, size).items():
        if found.get(key) != expected:
            raise CacheError(
                f"The cache {folder} has another {key} ({found.get(key)}, needed is {expected}); "
                "delete it or choose another with --cache."
            )
    pixels = np.load(folder / _PIXELS, mmap_mode="r")
    return Cache(folder, pixels, {name: n for n, name in enumerate(sorted(files))})


def _describe(files: dict[str, Path], size: int) -> dict[str, Any]:
    listing = "".join(f"{name} {files[name].stat().st_size}\n" for name in sorted(files))
    return {
        "contract_version": CONTRACT_VERSION,
        "input_size": size,
        "images": len(files),
        "files_sha256": hashlib.sha256(listing.encode()).hexdigest(),
    }


def _fill_cache(files: dict[str, Path], size: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [files[name] for name in sorted(files)]
    pixels = np.lib.format.open_memmap(
        folder / _PIXELS, mode="w+", dtype=np.uint8, shape=(len(paths), size, size, 1)
    )
    for n, image in enumerate(_read_in_parallel(paths, size)):
        pixels[n] = image
    pixels.flush()
    # Written last: a cache without it is unfinished and is filled anew.
    (folder / _META).write_text(json.dumps(_describe(files, size), indent=1))


def _read_in_parallel(paths: Sequence[Path], size: int) -> Iterator[NDArray[np.uint8]]:
    # Spawned, because a fork of a process that has started TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as executor:
        images = executor.map(partial(_read_input, size=size), paths, chunksize=_CHUNK)
        yield from tqdm(images, "prepare", len(paths), unit="image")


def _read_input(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        return to_model_input(read(path.read_bytes()), size)
    except InputError as error:
        raise DataError(f"{path}: {error}") from None
