"""Samples -> stored values: the bits that DICOM means, with their sign (PS3.5, 8.1.1)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from contract.errors import DamagedFile
from contract.limits import Pixels

OVERLAY_POSITIONS: Final[list[BaseTag]] = [Tag(group, 0x0102) for group in range(0x6000, 0x6020, 2)]
"""OverlayBitPosition of the sixteen overlays (PS3.3, C.9.2); retired ones lie in unused bits."""


def stored_values(samples: Pixels, dataset: Dataset) -> NDArray[np.int64]:
    """Value of every possible sample: the stored bits, right-aligned, with their sign."""
    bits = int(dataset.BitsStored)
    patterns = np.arange(np.iinfo(samples.dtype).max + 1, dtype=np.int64)
    values = (patterns >> (int(dataset.HighBit) + 1 - bits)) & ((1 << bits) - 1)
    if dataset.PixelRepresentation == 1:
        values -= (values >> (bits - 1)) << bits
    return values


def fit_stored(
    samples: NDArray[np.generic], dataset: Dataset, depth: int, *, lossy: bool
) -> NDArray[np.generic]:
    """Treat the values of a code stream of `depth` bits, more than are stored; [H,W] as it came.

    A lossy codec overshoots: its values are clipped, since white would wrap to black. Raises
    DamagedFile where a lossless one has such values. A declared overlay explains them.
    """
    bits = int(dataset.HighBit) + 1
    if bits >= 8 * samples.dtype.itemsize or _has_overlay(dataset):
        return samples
    if lossy:
        return _clip(samples, bits, depth, signed=dataset.PixelRepresentation == 1)
    patterns: Pixels = samples.view(np.uint8 if samples.dtype.itemsize == 1 else np.uint16)
    used = np.zeros(np.iinfo(patterns.dtype).max + 1, bool)
    used[patterns.ravel()] = True
    used[: 1 << bits] = False
    if dataset.PixelRepresentation == 1:
        used[-(1 << (bits - 1)) :] = False  # the bits above continue the sign
    if used.any():
        raise DamagedFile(f"The code stream holds values of more than {bits} bits.")
    return samples


def _clip(
    samples: NDArray[np.generic], bits: int, depth: int, *, signed: bool
) -> NDArray[np.generic]:
    if signed and samples.dtype == np.uint16:
        shift = 16 - depth
        extended = (samples.astype(np.uint16) << shift).view(np.int16) >> shift
        if extended.min() >= 0:
            return samples  # patterns of the stored bits, or none is negative
        samples = extended
    elif not signed and samples.dtype.kind == "i" and samples.max() < 1 << (bits - 1):
        return samples  # whether it counts from the middle is not known
    low = -(1 << (bits - 1)) if signed else 0
    clipped: NDArray[np.generic] = np.clip(samples, low, low + (1 << bits) - 1)
    return clipped


def _has_overlay(dataset: Dataset) -> bool:
    """Return whether bits above the stored ones are declared to hold an overlay."""
    positions = (dataset[tag].value for tag in OVERLAY_POSITIONS if tag in dataset)
    return any(position and int(position) > int(dataset.HighBit) for position in positions)
