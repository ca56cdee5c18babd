"""Locks on folders, and space on disk: for the pixels of a cache, for a run."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.errors import RunError

PIXELS: Final = "images.npy"


@contextmanager
def lock_folder(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold `folder` against other processes; a killed process lets go.

    Raises RunError where another one holds it and `wait` is false.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"Another process is at work on {folder}.") from None
        except OSError:
            pass  # some file systems of a network know no locks
        yield
    finally:
        os.close(handle)


def require_free_space(folder: Path, size: int) -> None:
    """Raise RunError where fewer than `size` bytes are left; h5py can crash on a full disk."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise RunError(
            f"The disk of {folder} is nearly full: the next epoch needs {size / 1e6:,.1f} MB, "
            f"{free / 1e6:,.1f} are left. Make room, then: python -m training resume RUN"
        )


def open_pixels(
    folder: Path, kept: Sequence[int], shape: tuple[int, int, int, int], about: Path
) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Map PIXELS, uint8 of `shape`, for writing; the pixels at the places `kept` come first.

    Pixels of another order or number go to a new file, so that who has mapped the old one reads on
    in that; `about`, a file that describes the old ones, is removed first. Raises OSError where
    there is no room for all of them.
    """
    path, new = folder / PIXELS, folder / f"{PIXELS}.new"
    old = np.load(path, mmap_mode="r") if kept else np.empty(0, np.uint8)
    if old.shape == shape and list(kept) == list(range(len(kept))):
        return np.lib.format.open_memmap(path, mode="r+")
    try:
        pixels = np.lib.format.open_memmap(new, mode="w+", dtype=np.uint8, shape=shape)
        _allocate(new)
        for n, place in enumerate(kept):
            pixels[n] = old[place]
        pixels.flush()
    except OSError:
        new.unlink(missing_ok=True)
        raise
    about.unlink(missing_ok=True)
    new.replace(path)
    return pixels


def _allocate(path: Path) -> None:
    # The file is sparse, and a write to mapped memory that finds no room kills the process.
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
