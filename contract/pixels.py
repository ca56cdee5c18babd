"""Radiograph -> network input and display image, with the one quantisation."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.limits import Pixels
from contract.radiograph import Radiograph
from contract.resize import resize

CONTRACT_VERSION: Final = 2
"""Raised with every change that alters a pixel of `to_model_input` for a file it reads correctly.

The fix of a misreading does not raise it; CHANGELOG.md names it."""


def to_model_input(radiograph: Radiograph, size: int) -> NDArray[np.uint8]:
    """Turn a radiograph into the network's input, uint8[size,size,1], 0 black to 255 white.

    The whole field of view is stretched to the square: nothing is cropped and nothing padded. The
    NIH made its square 1024 x 1024 images the same way from detectors of any aspect ratio (Wang et
    al., CVPR 2017), so a network trained on them meets a rectangular DICOM as it met its training
    images, and activation maps lie over the whole radiograph. The filter is that of
    `contract.resize`. 16-bit pixels are resized as 16-bit and quantised to 8 bits once, after the
    resize, by rounding.
    """
    return _to_bytes(resize(radiograph.pixels, size, size))[:, :, np.newaxis]


def to_display(radiograph: Radiograph, max_side: int) -> NDArray[np.uint8]:
    """Turn a radiograph into uint8[h,w] for people, at most `max_side` pixels a side.

    The aspect ratio stays, and nothing is ever enlarged. Filter and quantisation are those of
    `to_model_input`, but the resize is Pillow's own, which is faster where little is reduced.
    """
    height, width = radiograph.pixels.shape
    scale = min(1.0, max_side / max(height, width))
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(radiograph.pixels)
    return _to_bytes(np.asarray(image.resize(sides, Image.Resampling.BILINEAR)))


def _to_bytes(pixels: Pixels) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.ascontiguousarray(pixels)
