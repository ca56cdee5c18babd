"""Grey images and activation maps -> PNG, from arrays of our own; nothing is parsed here."""

import functools
import io
import json
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from service.page import FOLDER

OPACITY: Final = 0.55
"""Of the map where it is strongest; the page starts with the same."""

_FADE: Final = (0.45, 0.95)
"""Shares of the map's range between which it fades in; below, the radiograph stays untouched."""

_SPREAD: Final = 0.55
"""Of the smoothing between the cells of a map, in cells."""

# The usual 6 saves a tenth of the bytes of a 1024 x 1024 radiograph and takes eight times as long.
_PNG_LEVEL: Final = 1

_Values = NDArray[np.float64]


def render_png(image: NDArray[np.uint8], disclaimer: str = "") -> bytes:
    """Encode uint8[h,w] as grey or uint8[h,w,3] as RGB PNG.

    `disclaimer` becomes a text of that keyword in the file (PNG, third edition, section 11.3.3.1).
    """
    texts, file = PngInfo(), io.BytesIO()
    if disclaimer:
        texts.add_itxt("Disclaimer", disclaimer)
    Image.fromarray(image).save(file, "PNG", compress_level=_PNG_LEVEL, pnginfo=texts)
    return file.getvalue()


def render_overlay(
    image: NDArray[np.uint8], activation_map: NDArray[np.float32], disclaimer: str
) -> bytes:
    """Lay an activation map, float32[m,n], over a radiograph, uint8[h,w], and encode it as PNG.

    `disclaimer`: text in the file, see render_png. The colours run over the range of this one map
    and fade out below it, so the strongest place of a map is always bright: it says where, never
    how much.
    """
    height, width = image.shape
    rows = _smoothing(activation_map.shape[0], height)
    columns = _smoothing(activation_map.shape[1], width)
    values = _normalise(rows @ activation_map.astype(np.float64) @ columns.T)
    level = np.rint(values * 255).astype(np.uint8)
    keep, add = _blending()
    blended = image[:, :, np.newaxis] * keep[level] + add[level]
    return render_png(np.rint(blended).astype(np.uint8), disclaimer)


def _normalise(values: _Values) -> _Values:
    low, high = values.min(), values.max()
    normalised: _Values = (values - low) / max(high - low, np.finfo(float).tiny)
    return normalised


def _smoothing(cells: int, pixels: int) -> _Values:
    """Weight of every cell for every pixel, float64[pixels,cells]: Gaussian, rows summing to 1.

    Linear interpolation would leave creases along the centres of the cells.
    """
    centres = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    distance = centres[:, np.newaxis] - np.arange(cells)[np.newaxis, :]
    weights = np.exp(-0.5 * (distance / _SPREAD) ** 2)
    normalised: _Values = weights / weights.sum(axis=1, keepdims=True)
    return normalised


@functools.cache
def _blending() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For 256 levels of a map: the share of grey that stays, and the colour added to it.

    Both float32, [256,1] and [256,3]. The lightness of the colours rises evenly, so that their
    order is seen without colour vision.
    """
    anchors = np.array(json.loads((FOLDER / "colours.json").read_bytes()), np.float64)
    values = np.linspace(0.0, 1.0, 256)
    places = np.linspace(0.0, 1.0, len(anchors))
    channels = [np.interp(values, places, anchors[:, channel]) for channel in range(3)]
    low, high = _FADE
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    opacity = (OPACITY * share * share * (3.0 - 2.0 * share))[:, np.newaxis]
    add = np.stack(channels, axis=-1) * opacity
    return (1.0 - opacity).astype(np.float32), add.astype(np.float32)
