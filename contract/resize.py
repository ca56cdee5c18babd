"""The resize to the network's input: Pillow's antialiased bilinear, the same on every processor.

Each axis is a product of matrices. Weights are whole multiples of a power of two so small that
float64 holds every sum of theirs exactly, so that it does not matter in which order they are added.
For 8 bits the result is that of Pillow 13 to the bit; for 16 bits, where Pillow's own sums are
inexact, what lies half-way between two of 65,536 levels may round otherwise.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.limits import Pixels

_PLACES: Final = {8: 22, 16: 36}
"""Binary places of weights, by the bits of a pixel: those of Pillow for 8; for 16 few enough that
the sums fit the 53 bits of float64."""
_BAND: Final = 8
"""Outputs in one product. With more of them most weights are zeros, with fewer there are many."""
_STRIP_BYTES: Final = 2 << 20
"""Of float64 at once; larger ones drive the network out of the caches that cores share."""
_LONGEST_KEPT: Final = 16_384
"""Side whose weights, 80 bytes for each pixel of it, are kept."""

Band = tuple[slice, slice, NDArray[np.float64]]
"""Outputs, the inputs that they see, and the weights [inputs,outputs]."""


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize uint8 or uint16 [H,W] to [height,width] of the same depth.

    The filter is a triangle that reaches one output pixel to either side, one input pixel where it
    enlarges. Rows are resized and rounded first, then columns; where the height loses more than
    twice as many pixels as the width, columns come first, as in Pillow. Returns `pixels` themselves
    where they have that size.
    """
    lost_rows, lost_columns = pixels.shape[0] - height, pixels.shape[1] - width
    if lost_rows > max(0, 2 * lost_columns):
        return _resize_rows(_resize_columns(pixels, height), width)
    return _resize_columns(_resize_rows(pixels, width), height)


def _resize_rows(pixels: Pixels, width: int) -> Pixels:
    """Resize [H,W] to [H,width]."""
    height, before = pixels.shape
    if width == before:
        return pixels
    bands = _find_bands(before, width, pixels.dtype)
    resized = np.empty((height, width), pixels.dtype)
    step = max(1, _STRIP_BYTES // (8 * before))
    for start in range(0, height, step):
        strip = pixels[start : start + step].astype(np.float64)
        sums = np.empty((len(strip), width))
        for outputs, inputs, weights in bands:
            np.matmul(strip[:, inputs], weights, out=sums[:, outputs])
        resized[start : start + step] = sums + 0.5  # which cuts fractions off
    return resized


def _resize_columns(pixels: Pixels, height: int) -> Pixels:
    """Resize [H,W] to [height,W]."""
    before, width = pixels.shape
    if height == before:
        return pixels
    resized = np.empty((height, width), pixels.dtype)
    for outputs, inputs, weights in _find_bands(before, height, pixels.dtype):
        resized[outputs] = weights.T @ pixels[inputs].astype(np.float64) + 0.5
    return resized


def _find_bands(before: int, after: int, depth: np.dtype[Any]) -> tuple[Band, ...]:
    """Return the weights between two sides, kept for the next image of that size but where long."""
    weigh = _weigh if before <= _LONGEST_KEPT else _weigh.__wrapped__
    return weigh(before, after, _PLACES[8 * depth.itemsize])


@lru_cache(maxsize=16)
def _weigh(before: int, after: int, places: int) -> tuple[Band, ...]:
    """Return the weights of the `before` pixels of a row in each of `after`."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    # Pillow rounds what a triangle touches to whole pixels.
    firsts = np.maximum(0, (centres - reach + 0.5).astype(np.int64))
    ends = np.minimum(before, (centres + reach + 0.5).astype(np.int64))
    bands = []
    for start in range(0, after, _BAND):
        outputs = slice(start, min(start + _BAND, after))
        inputs = slice(int(firsts[outputs].min()), int(ends[outputs].max()))
        at = np.arange(inputs.start, inputs.stop)[:, np.newaxis]
        touched = (at >= firsts[outputs]) & (at < ends[outputs])
        away = np.abs((at - centres[outputs] + 0.5) * (1.0 / reach))
        weights = np.where(touched, np.maximum(0.0, 1.0 - away), 0.0)
        weights /= np.cumsum(weights, axis=0)[-1]  # summed up in Pillow's order
        bands.append((outputs, inputs, _round(weights, places)))
    return tuple(bands)


def _round(weights: NDArray[np.float64], places: int) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = np.ldexp(np.floor(np.ldexp(weights, places) + 0.5), -places)
    return rounded
