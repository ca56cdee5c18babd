"""Radiograph -> network input and display image: the one resize and the one quantisation."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.radiograph import Radiograph

CONTRACT_VERSION: Final = 1
"""Raised with every change that alters a pixel of `to_model_input` for a file it reads correctly.

The fix of a misreading does not raise it; CHANGELOG.md names it."""


def to_model_input(radiograph: Radiograph, size: int) -> NDArray[np.uint8]:
    """Turn a radiograph into the network's input, uint8[size,size,1], 0 black to 255 white.

    The whole field of view is stretched to the square: nothing is cropped and nothing padded. The
    NIH made its square 1024 x 1024 images the same way from detectors of any aspect ratio (Wang et
    al., CVPR 2017), so a network trained on them meets a rectangular DICOM as it met its training
    images, and activation maps lie over the whole radiograph. The filter is Pillow's bilinear,
    whose support grows with the reduction (antialiased). 16-bit pixels are resized as 16-bit and
    quantised to 8 bits once, after the resize, by rounding.
    """
    return _resize(radiograph, size, size)[:, :, np.newaxis]


def to_display(radiograph: Radiograph, max_side: int) -> NDArray[np.uint8]:
    """Turn a radiograph into uint8[h,w] for people, at most `max_side` pixels a side.

    The aspect ratio stays, and nothing is ever enlarged; filter and quantisation are those of
    `to_model_input`.
    """
    height, width = radiograph.pixels.shape
    scale = min(1.0, max_side / max(height, width))
    return _resize(radiograph, max(1, round(width * scale)), max(1, round(height * scale)))


def _resize(radiograph: Radiograph, width: int, height: int) -> NDArray[np.uint8]:
    image = Image.fromarray(radiograph.pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    if resized.dtype == np.uint16:
        resized = ((resized.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.ascontiguousarray(resized)
