"""PNG and JPEG -> grey pixels."""

import io
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from contract.codestream import (
    START_OF_SCAN,
    Frame,
    find_end,
    is_jpeg_ls,
    read_jpeg_frame,
)
from contract.errors import (
    DamagedFile,
    InputError,
    InputWarning,
    UnsupportedPixels,
)
from contract.limits import Pixels, check_size
from contract.png import read_png

Grey = tuple[Pixels, int, list[InputWarning]]

COLOUR_TOLERANCE: Final = 8
"""Grey levels of 256 by which lossy compression may part the channels of a grey image."""

# Weights of red, green and blue in luma (ITU-R BT.601); their sum is 1 << 16.
_LUMA: Final = (np.uint32(19595), np.uint32(38470), np.uint32(7471))
_HALF: Final = np.uint32(1 << 15)
_STRIP_ROWS: Final = 64
"""Of how many rows at a time there is a wider copy: 50 megapixels of colour would take 600 MB."""
_JPEG_BLOCK: Final = 8


def read_image(data: bytes, file_format: Literal["PNG", "JPEG"]) -> Grey:
    """Decode a PNG or JPEG to uint8[H,W] or uint16[H,W], its significant bits and warnings.

    16-bit grey fills the range to 65535 by its significant bits. Colour becomes luma (ITU-R
    BT.601), transparency lies over black, the EXIF orientation is applied.
    Raises a subclass of UnusableFile.
    """
    warnings: list[InputWarning] = []
    if file_format == "PNG":
        samples, bits = read_png(data)
    else:
        samples, bits = _decode_jpeg(data, warnings), 8
    pixels = to_grey(samples, warnings)
    if pixels.dtype == np.uint16:
        pixels, bits = _fill_range(pixels, warnings)
    return pixels, bits, warnings


def to_grey(samples: Pixels, warnings: list[InputWarning]) -> Pixels:
    """Turn uint8 or uint16 samples [H,W] or [H,W,1 to 4] into grey [H,W] of the same depth."""
    if samples.ndim == 2:
        return samples
    channels = samples.shape[2]
    if channels in (2, 4):
        samples = _over_black(samples, warnings)
    if channels in (1, 2):
        return np.ascontiguousarray(samples[:, :, 0])
    return _luma(samples, warnings)


def warn_of_lost_rows(samples: Pixels, bits: int, warnings: list[InputWarning]) -> None:
    """Warn where the last block of a JPEG is the plain grey that libjpeg puts for lost data.

    `samples`: [H,W] or [H,W,3] as coded, before orientation and windows. A flat border of that very
    grey looks the same, so that it is no error.
    """
    bottom, right = ((side - 1) % _JPEG_BLOCK + 1 for side in samples.shape[:2])
    if (samples[-bottom:, -right:] == 1 << (bits - 1)).all():
        detail = "The JPEG ends in plain grey, as where data is lost; see whether rows are missing."
        warnings.append(InputWarning("grey_end", detail))


def _decode_jpeg(data: bytes, warnings: list[InputWarning]) -> NDArray[np.uint8]:
    frame = read_jpeg_frame(data)
    check_size(frame.width, frame.height)
    if is_jpeg_ls(data):
        raise UnsupportedPixels("JPEG-LS is read within DICOM only; send PNG, JPEG or DICOM.")
    if frame.bits != 8:
        raise UnsupportedPixels(
            f"The JPEG has {frame.bits} bits per sample; send 8-bit JPEG, 16-bit PNG or DICOM."
        )
    if find_end(data, START_OF_SCAN) is None:
        raise DamagedFile("The JPEG is cut short; export it again.")
    try:
        return _upright_jpeg(data, frame, warnings)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise whatever damage leads to
        raise DamagedFile("The JPEG is cut short or is damaged; export it again.") from error


def _upright_jpeg(data: bytes, frame: Frame, warnings: list[InputWarning]) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=["JPEG", "MPO"]) as image:
        if image.size != (frame.width, frame.height):
            raise DamagedFile("The JPEG contradicts itself about its size.")
        warn_of_lost_rows(np.asarray(image), 8, warnings)
        # Pillow would take an orientation from XMP too, which no browser does.
        for place in ("xmp", "XML:com.adobe.xmp"):
            image.info.pop(place, None)
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("L", "RGB"):
            upright = upright.convert("RGB")
        return np.asarray(upright)


def _over_black(samples: Pixels, warnings: list[InputWarning]) -> Pixels:
    alpha = samples[:, :, -1:]
    colour = samples[:, :, :-1]
    opaque = np.iinfo(samples.dtype).max
    if alpha.min() == opaque:
        return colour
    warnings.append(
        InputWarning("transparent_image", "The image is partly transparent; black lies behind it.")
    )
    blended = np.empty(colour.shape, samples.dtype)
    for top in range(0, len(samples), _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        blended[rows] = colour[rows].astype(np.uint32) * alpha[rows] // opaque
    return blended


def _luma(samples: Pixels, warnings: list[InputWarning]) -> Pixels:
    """Weigh the channels in strips that stay in the processor's cache."""
    luma = np.empty(samples.shape[:2], samples.dtype)
    spread = 0
    for top in range(0, len(samples), _STRIP_ROWS):
        strip = samples[top : top + _STRIP_ROWS]
        red, green, blue = (np.ascontiguousarray(strip[:, :, channel]) for channel in range(3))
        if np.array_equal(red, green) and np.array_equal(green, blue):  # grey stored as colour
            luma[top : top + _STRIP_ROWS] = red
            continue
        brightest = np.maximum(np.maximum(red, green), blue)
        darkest = np.minimum(np.minimum(red, green), blue)
        spread = max(spread, int((brightest - darkest).max()))
        weighted = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
        luma[top : top + _STRIP_ROWS] = (weighted + _HALF) >> 16
    if spread > COLOUR_TOLERANCE * (int(np.iinfo(samples.dtype).max) // 255):
        warnings.append(
            InputWarning(
                "colour_image",
                "The image has colours; a radiograph is grey. The answer is about its luma.",
            )
        )
    return luma


def _fill_range(pixels: Pixels, warnings: list[InputWarning]) -> tuple[Pixels, int]:
    """Scale 16-bit grey so that its highest possible value is white.

    Exporters put 10 to 15 bits into 16-bit PNG without saying so; read as 16 bits the radiograph
    would be nearly black.
    """
    bits = max(int(pixels.max()).bit_length(), 8)
    if bits == 16:
        return pixels, bits
    warnings.append(
        InputWarning(
            "partial_range",
            f"The 16-bit image uses values of {bits} bits only and was scaled to that range.",
        )
    )
    most = (1 << bits) - 1
    table = (np.arange(most + 1, dtype=np.uint32) * 65535 // most).astype(np.uint16)
    return table[pixels], bits
