"""Limits that hold for every format, checked on declared sizes before a pixel is decoded."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from contract.errors import DamagedFile, TooManyPixels, TooSmall

Pixels = NDArray[np.unsignedinteger]
"""uint8 or uint16; black is 0 and white the highest value of the type."""

MIN_SIDE: Final = 128
"""Smallest side of a usable radiograph in pixels; thumbnails show too little."""

MAX_PIXELS: Final = 50_000_000
"""Most pixels that are decoded; large detectors of chest radiography give about 18 million."""


def check_size(width: int, height: int) -> None:
    """Refuse an image by the size it declares, in pixels.

    Raises DamagedFile, TooSmall or TooManyPixels.
    """
    if width < 1 or height < 1:
        raise DamagedFile(f"The file declares {width} x {height} pixels.")
    if width * height > MAX_PIXELS:
        raise TooManyPixels(
            f"The file declares {width} x {height} pixels; at most {MAX_PIXELS:,} are decoded."
        )
    if min(width, height) < MIN_SIDE:
        raise TooSmall(
            f"The image is {width} x {height} pixels; a radiograph needs at least {MIN_SIDE} "
            "on each side."
        )
