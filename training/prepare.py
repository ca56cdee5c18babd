"""Image files -> one memory-mapped array, through the contract's reading and resizing only.

Images are prepared in the order of their names, and the cache says how many of them it holds. So an
interrupted run, even one that was killed, goes on where it was.
"""

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
from training.record import replace_text
from training.workers import end_with_parent

_PIXELS: Final = "images.npy"
_META: Final = "meta.json"
_PREPARED: Final = "prepared"
_CHUNK: Final = 16
"""Images per message between processes; small enough that the progress bar moves."""
_KEEP_EVERY: Final = 64
"""Images after which the count on disk is raised; a kill costs no more, beside those at work."""


@dataclass(frozen=True)
class Cache:
    """Prepared images in `folder`: the file of their pixels and `index`, image name to place."""

    folder: Path
    index: dict[str, int]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Map uint8[N,S,S,1] into memory anew, so that a cache is sent to a process cheaply."""
        pixels: NDArray[np.uint8] = np.load(self.folder / _PIXELS, mmap_mode="r")
        return pixels


def prepare_images(files: dict[str, Path], size: int, folder: Path) -> Cache:
    """Open the cache in `folder`, or fill what it lacks first from `files` (image name -> file).

    Raises CacheError where `folder` holds something else, DataError for a file that is no
    radiograph; images prepared before that stay.
    """
    prepared = _count_prepared(files, size, folder)
    if prepared < len(files):
        _fill_cache(files, size, folder, prepared)
    return open_cache(files, size, folder)


def open_cache(files: dict[str, Path], size: int, folder: Path) -> Cache:
    """Open a filled cache.

    Raises CacheError, naming what differs, for another contract version, size or set of files, and
    for one that is not filled.
    """
    prepared = _count_prepared(files, size, folder)
    if prepared < len(files):
        raise CacheError(
            f"The cache {folder} holds {prepared} of {len(files)} images; "
            "fill it with `python -m training prepare`."
        )
    return Cache(folder, {name: n for n, name in enumerate(sorted(files))})


def _count_prepared(files: dict[str, Path], size: int, folder: Path) -> int:
    if not (folder / _META).exists():
        return 0
    found = json.loads((folder / _META).read_text())
    # Without a count it is of a time when the description was written last.
    prepared = int(found.get(_PREPARED, found["images"]))
    for key, expected in _describe(files, size).items():
        if found.get(key) != expected:
            if prepared < found["images"]:
                return 0  # begun for something else and never finished: nobody needs it
            raise CacheError(
                f"The cache {folder} has another {key} ({found.get(key)}, needed is {expected}); "
                "delete it or choose another with --cache."
            )
    return prepared


def _describe(files: dict[str, Path], size: int) -> dict[str, Any]:
    listing = "".join(f"{name} {files[name].stat().st_size}\n" for name in sorted(files))
    return {
        "contract_version": CONTRACT_VERSION,
        "input_size": size,
        "images": len(files),
        "files_sha256": hashlib.sha256(listing.encode()).hexdigest(),
    }


def _fill_cache(files: dict[str, Path], size: int, folder: Path, prepared: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    description = _describe(files, size)
    paths = [files[name] for name in sorted(files)]
    if prepared:
        pixels = np.lib.format.open_memmap(folder / _PIXELS, mode="r+")
    else:
        shape = (len(paths), size, size, 1)
        pixels = np.lib.format.open_memmap(folder / _PIXELS, mode="w+", dtype=np.uint8, shape=shape)
    kept = prepared

    def keep() -> None:
        # Pixels before the count: the count never promises what is not there.
        pixels.flush()
        replace_text(folder / _META, json.dumps({**description, _PREPARED: prepared}, indent=1))

    try:
        for image in _read_in_parallel(paths, size, prepared):
            pixels[prepared] = image
            prepared += 1
            if prepared - kept == _KEEP_EVERY:
                keep()
                kept = prepared
    finally:
        keep()


def _read_in_parallel(
    paths: Sequence[Path], size: int, prepared: int
) -> Iterator[NDArray[np.uint8]]:
    # Spawned, because a fork of a process that has started TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(os.cpu_count(), context, end_with_parent) as executor,
        tqdm(None, "prepare", len(paths), initial=prepared, unit="image") as bar,
    ):
        read_one = partial(_read_input, size=size)
        for image in executor.map(read_one, paths[prepared:], chunksize=_CHUNK):
            yield image
            bar.update()


def _read_input(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        return to_model_input(read(path.read_bytes()), size)
    except InputError as error:
        raise DataError(f"{path}: {error}") from None
