"""Transfer syntaxes: encoded pixel data -> stored samples."""

from collections.abc import Callable
from typing import Final, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space

from contract.codestream import (
    START_OF_SCAN,
    Frame,
    check_tiles,
    declares_ycc,
    find_end,
    has_component_transform,
    read_jpeg2000_frame,
    read_jpeg_frame,
)
from contract.errors import DamagedFile, UnsupportedPixels
from contract.limits import Pixels
from contract.rle import decode_rle
from contract.stored import fit_stored

_UNCOMPRESSED: Final = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)
_GREY: Final = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_PLAIN: Final = ("RGB", "YBR_FULL")


def _decode_jpeg(encoded: bytes, colour: str) -> NDArray[np.generic]:
    encoded = _complete(encoded)
    if colour == "RGB" and not declares_ycc(encoded):
        return imagecodecs.jpeg8_decode(encoded, colorspace="RGB", outcolorspace="RGB")
    return imagecodecs.jpeg8_decode(encoded)


def _decode_jpeg_lossless(encoded: bytes, colour: str) -> NDArray[np.generic]:
    # It never transforms colours, so the tags alone say what they are, whatever JFIF implies.
    space = None if colour in _GREY else "RGB"
    samples = imagecodecs.jpeg8_decode(_complete(encoded), colorspace=space, outcolorspace=space)
    return _to_rgb(samples, colour)


def _decode_jpeg_ls(encoded: bytes, colour: str) -> NDArray[np.generic]:
    return _to_rgb(imagecodecs.jpegls_decode(_complete(encoded)), colour)


def _decode_jpeg2000(encoded: bytes, colour: str) -> NDArray[np.generic]:
    if colour in ("YBR_ICT", "YBR_RCT") and not has_component_transform(encoded):
        raise UnsupportedPixels(f"The JPEG 2000 code stream lacks the transform that {colour} is.")
    _complete(encoded, start_of_data=b"\xff\x93")
    check_tiles(encoded)
    return _to_rgb(imagecodecs.jpeg2k_decode(encoded), colour)


def _complete(encoded: bytes, start_of_data: bytes = START_OF_SCAN) -> bytes:
    """Return a code stream up to its end marker; raise DamagedFile without one.

    libjpeg would fill what is missing with grey, OpenJPEG with what it has of the coarser levels;
    CharLS spends many seconds on some cuts.
    """
    end = find_end(encoded, start_of_data)
    if end is None:
        raise DamagedFile("The code stream of the DICOM file is cut short.")
    return encoded[:end]


def _to_rgb(samples: NDArray[np.generic], colour: str) -> NDArray[np.generic]:
    """Undo the colour transform that DICOM knows of and the code stream does not."""
    if samples.ndim == 3 and colour == "YBR_FULL":
        samples = convert_color_space(samples, colour, "RGB")
    return samples


class _Codec(NamedTuple):
    """How a code stream is asked for its frame and decoded, and the colours that it may hold."""

    read_frame: Callable[[bytes], Frame]
    decode: Callable[[bytes, str], NDArray[np.generic]]
    colours: tuple[str, ...]


_JPEG: Final = _Codec(
    read_jpeg_frame,
    _decode_jpeg,
    (*_PLAIN, "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"),
)
_JPEG_LOSSLESS: Final = _Codec(read_jpeg_frame, _decode_jpeg_lossless, _PLAIN)
_JPEG_LS: Final = _Codec(read_jpeg_frame, _decode_jpeg_ls, _PLAIN)
_JPEG_2000: Final = _Codec(read_jpeg2000_frame, _decode_jpeg2000, (*_PLAIN, "YBR_ICT", "YBR_RCT"))
_CODECS: Final[dict[str, _Codec]] = {
    uid.JPEGBaseline8Bit: _JPEG,
    uid.JPEGExtended12Bit: _JPEG,
    uid.JPEGLossless: _JPEG_LOSSLESS,
    uid.JPEGLosslessSV1: _JPEG_LOSSLESS,
    uid.JPEGLSLossless: _JPEG_LS,
    uid.JPEGLSNearLossless: _JPEG_LS,
    uid.JPEG2000Lossless: _JPEG_2000,
    uid.JPEG2000: _JPEG_2000,
    uid.HTJ2KLossless: _JPEG_2000,
    uid.HTJ2KLosslessRPCL: _JPEG_2000,
    uid.HTJ2K: _JPEG_2000,
}
_LOSSY: Final = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}
)


def check_transfer_syntax(syntax: str | None) -> None:
    """Refuse a transfer syntax that is not read (video, deflated, unknown, missing).

    Raises DamagedFile where it is missing, UnsupportedPixels where it is not read.
    """
    if syntax is None:
        raise DamagedFile("The DICOM file does not name its transfer syntax.")
    if syntax not in {*_UNCOMPRESSED, uid.RLELossless, *_CODECS}:
        # An unregistered value is not repeated: it may be anything.
        name = uid.UID(syntax).name if syntax in UID_dictionary else "of this file"
        raise UnsupportedPixels(
            f"The transfer syntax {name} is not read; send the image uncompressed or as JPEG, "
            "JPEG-LS, JPEG 2000, HTJ2K or RLE."
        )


def photometric_interpretations(syntax: str, samples: int) -> tuple[str, ...]:
    """Return those that one or three samples per pixel may have (PS3.3, C.7.6.3.1.2; PS3.5, 8.2).

    Taken for RGB, what a codec cannot hold would come out in false colours.
    """
    if samples == 1:
        return _GREY
    if syntax in _UNCOMPRESSED:
        return (*_PLAIN, "YBR_FULL_422")
    return _PLAIN if syntax == uid.RLELossless else _CODECS[syntax].colours


def decode_samples(dataset: FileDataset) -> Pixels:
    """Decode the one frame of a data set to its stored samples, colour as RGB.

    Returns uint8 or uint16, [H,W] or [H,W,3]; signed samples keep their bit pattern. The size that
    a code stream declares is compared with the tags before it is decoded.
    Raises DamagedFile where they differ, the data does not decode or is not of that size.
    Raises UnsupportedPixels where the tags name a transform that the code stream does not have.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    size = (int(dataset.Rows), int(dataset.Columns))
    grey = int(dataset.SamplesPerPixel) == 1
    if syntax in _UNCOMPRESSED:
        # Unused bits are left: pydicom takes the stored ones for the lowest whatever HighBit says.
        samples, _ = get_decoder(syntax).as_array(
            dataset,
            raw=grey,
            correct_unused_bits=False,  # type: ignore[arg-type]
        )
    elif syntax == uid.RLELossless:
        encoded = get_frame(dataset.PixelData, 0, number_of_frames=1)
        samples = _to_rgb(decode_rle(encoded, dataset), str(dataset.PhotometricInterpretation))
    else:
        samples = _decode_code_stream(dataset, syntax)
    if samples.shape != (size if grey else (*size, 3)):
        # Twice the declared data is taken for two frames by pydicom.
        raise DamagedFile(f"The pixel data does not hold {size[1]} x {size[0]} pixels.")
    return _unsigned(samples)


def _decode_code_stream(dataset: FileDataset, syntax: str) -> NDArray[np.generic]:
    encoded = get_frame(dataset.PixelData, 0, number_of_frames=1)
    codec = _CODECS[syntax]
    frame = codec.read_frame(encoded)
    tags = (int(dataset.Columns), int(dataset.Rows), int(dataset.SamplesPerPixel))
    if frame[:3] != tags or frame.bits > int(dataset.BitsAllocated):
        raise DamagedFile(
            f"The tags declare {tags[0]} x {tags[1]} pixels of {tags[2]} samples, the code stream "
            f"{frame.width} x {frame.height} of {frame.components} with {frame.bits} bits."
        )
    samples = codec.decode(encoded, str(dataset.PhotometricInterpretation))
    if samples.dtype == np.int8:  # the sign goes to where the tags look for it
        samples = samples.astype(f"i{int(dataset.BitsAllocated) // 8}")
    if frame.bits <= int(dataset.BitsStored):
        dataset.HighBit = int(dataset.BitsStored) - 1  # nothing is left to align
    elif frame.components == 1:
        samples = fit_stored(samples, dataset, frame.bits, lossy=syntax in _LOSSY)
    return samples


def _unsigned(samples: NDArray[np.generic]) -> Pixels:
    """Return the same bits as uint8 or uint16 in this machine's byte order."""
    if samples.dtype.itemsize > 2:
        raise DamagedFile("The pixel data decodes to more than 16 bits per sample.")
    native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    return native.view(np.uint8 if samples.dtype.itemsize == 1 else np.uint16)
