"""The resize to the network's input: Pillow's antialiased bilinear, the same on every processor.

Each axis is a product of matrices. Weights are whole multiples of a power of two so small that
float64 holds every sum of theirs exactly, so that it does not matter in which order they are added.
For 8 bits the result is that of Pillow 13 to the bit, in half of its time; for 16 bits, where
Pillow's own sums are inexact, what lies half-way between two of 65,536 levels may round otherwise.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contract.limits import Pixels

_PLACES: Final = {8: 22, 16: 36}
"""Binary places of weights, by the bits of a pixel: those of Pillow for 8; for 16 as many as leave
the sums within the 53 bits of float64."""
_BAND: Final = 8
"""Outputs in one product. With more of them most weights are zeros, with fewer there are many."""
_STRIP_BYTES: Final = 4 << 20
"""Of float64 at once."""

Band = tuple[slice, slice, NDArray[np.float64]]
"""Outputs, the inputs that they see, and the weights [inputs,outputs]."""


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize uint8 or uint16 [H,W] to [height,width] of the same depth.

    The filter is a triangle that reaches one output pixel to either side, one input pixel where it
    enlarges. Rows are resized and rounded first, then columns; where the height loses more than
    twice as many pixels as the width, columns come first, as in Pillow.
    """
    lost_rows, lost_columns = pixels.shape[0] - height, pixels.shape[1] - width
    if lost_rows > max(0, 2 * lost_columns):
        return _resize_rows(_resize_rows(pixels.T, height).T, width)
    return _resize_rows(_resize_rows(pixels, width).T, height).T


def _resize_rows(pixels: Pixels, width: int) -> Pixels:
    """Resize [H,W] to [H,width]."""
    height, before = pixels.shape
    if width == before:
        return pixels
    bands = _weigh(before, width, _PLACES[8 * pixels.itemsize])
    resized = np.empty((height, width), pixels.dtype)
    for rows in _strips(height, before):
        strip = pixels[rows].astype(np.float64)
        sums = np.empty((len(strip), width))
        for outputs, inputs, weights in bands:
            np.matmul(strip[:, inputs], weights, out=sums[:, outputs])
        sums += 0.5
        resized[rows] = sums  # which cuts fractions off
    return resized


def _strips(height: int, width: int) -> Iterator[slice]:
    rows = max(1, _STRIP_BYTES // (8 * width))
    return (slice(start, start + rows) for start in range(0, height, rows))


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
