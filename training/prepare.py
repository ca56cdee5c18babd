"""Image files -> one memory-mapped array, through the contract's reading and resizing only.

Images are prepared in the order of their names, and the cache says how many of them it holds. So an
interrupted run, even one that was killed, goes on where it was.
"""

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from contract.errors import InputError
from contract.pixels import CONTRACT_VERSION, to_model_input
from contract.radiograph import read
from training.disk import PIXELS, lock_folder, open_pixels
from training.errors import CacheError, DataError
from training.record import replace_text
from training.sources import SOURCES, Source, read_source, read_sources
from training.workers import block_sigint, end_with_parent, start_workers

_META: Final = "meta.json"
_PREPARED: Final = "prepared"
_CHUNK: Final = 16
"""Images per message between processes; small enough that the progress bar moves."""
_KEEP_EVERY: Final = 64
"""Images after which the count on disk is raised; a kill costs no more, beside those at work."""

_Read = tuple[NDArray[np.uint8], Source, list[str]]
"""A prepared image, its file and the codes of what the service would warn of."""


@dataclass(frozen=True)
class Cache:
    """Prepared images in `folder`: the file of their pixels and `index`, image name to place."""

    folder: Path
    index: dict[str, int]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Map uint8[N,S,S,1] into memory anew, so that a cache is sent to a process cheaply."""
        try:
            pixels: NDArray[np.uint8] = np.load(self.folder / PIXELS, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(self.folder) from error
        return pixels


def prepare_images(files: dict[str, Path], size: int, folder: Path) -> Cache:
    """Open the cache in `folder`, or fill what it lacks first from `files` (image name -> file).

    A filled cache is never written again, since another process may have mapped it; it may hold
    more images than `files`. Raises CacheError where a filled one is of others or `folder` cannot
    be written, DataError for a file that is no radiograph. What was prepared before that file
    stays, also where it is left out the next time.
    """
    index, filled = _index_prepared(files, size, folder)
    if filled:
        return Cache(folder, index)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(folder):
            # Another process may have filled it while this one waited.
            index, filled = _index_prepared(files, size, folder)
            if not filled:
                _fill_cache(files, size, folder, index)
                index = {name: n for n, name in enumerate(sorted(files))}
    except OSError as error:
        raise CacheError(
            f"The cache {folder} cannot be written: {error.strerror or error}. "
            f"Its pixels need {math.ceil(len(files) * size * size / 1e6):,} MB."
        ) from None
    return Cache(folder, index)


def _index_prepared(files: dict[str, Path], size: int, folder: Path) -> tuple[dict[str, int], bool]:
    """Return the places of those of `files` that the cache holds, and whether it is filled.

    Raises CacheError where it is filled and something differs, or damaged.
    """
    if not (folder / _META).exists():
        return {}, False
    try:
        found = json.loads((folder / _META).read_text())
        sources = read_sources(folder, int(found[_PREPARED]))
        filled = found[_PREPARED] == found["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder) from error
    for key, expected in (("contract_version", CONTRACT_VERSION), ("input_size", size)):
        if found.get(key) != expected:
            if not filled:
                return {}, False  # begun for something else and never finished: nobody needs it
            raise CacheError(
                f"The cache {folder} has another {key} ({found.get(key)}, needed is {expected}); "
                "delete it or choose another with --cache."
            )
    index = {
        source.name: n
        for n, source in enumerate(sources)
        if source.name in files and source.is_still(files[source.name])
    }
    lacking = sorted(files.keys() - index.keys())
    if filled and lacking:
        raise CacheError(
            f"The cache {folder} lacks {len(lacking)} of {len(files)} images, or their files have "
            f"changed since, as {lacking[0]}; delete it or choose another with --cache."
        )
    return index, filled


def _damaged(folder: Path) -> CacheError:
    return CacheError(f"The cache {folder} is damaged; delete it or choose another with --cache.")


def _fill_cache(files: dict[str, Path], size: int, folder: Path, index: dict[str, int]) -> None:
    names = sorted(files)
    kept = [index[name] for name in itertools.takewhile(index.__contains__, names)]
    sources = read_sources(folder, max(kept, default=-1) + 1)
    pixels = open_pixels(folder, kept, (len(names), size, size, 1), folder / _META)
    prepared, warned = len(kept), dict[str, list[str]]()
    description = {
        "contract_version": CONTRACT_VERSION,
        "input_size": size,
        "images": len(names),
    }

    def keep() -> None:
        # Pixels before the count: the count never promises what is not there.
        pixels.flush()
        lines.flush()
        replace_text(folder / _META, json.dumps({**description, _PREPARED: prepared}, indent=1))

    with (folder / SOURCES).open("w") as lines:
        lines.writelines(sources[place].to_line() for place in kept)
        keep()
        try:
            for image, source, codes in _read_in_parallel(files, names[prepared:], size):
                pixels[prepared] = image
                lines.write(source.to_line())
                prepared += 1
                for code in codes:
                    warned.setdefault(code, []).append(source.name)
                if prepared % _KEEP_EVERY == 0:
                    keep()
        finally:
            keep()
    for code, warned_of in sorted(warned.items()):
        print(f"{len(warned_of):,} images with the warning {code}, as {warned_of[0]}")


def _read_in_parallel(files: dict[str, Path], names: Sequence[str], size: int) -> Iterator[_Read]:
    with (
        start_workers(None, end_with_parent) as executor,
        tqdm(None, "prepare", len(files), initial=len(files) - len(names), unit="image") as bar,
    ):
        paths = [files[name] for name in names]
        read_one = partial(_read_input, size=size)
        with block_sigint():
            done = executor.map(read_one, names, paths, chunksize=_CHUNK)
        for one in done:
            yield one
            bar.update()


def _read_input(name: str, path: Path, size: int) -> _Read:
    try:
        source, content = read_source(name, path)
        radiograph = read(content)
        codes = [warning.code for warning in radiograph.warnings]
        return to_model_input(radiograph, size), source, codes
    except InputError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
