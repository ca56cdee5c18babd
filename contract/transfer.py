"""Transfer syntaxes: encoded pixel data -> stored samples."""

from collections.abc import Callable
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from contract.codestream import Frame, read_jpeg2000_frame, read_jpeg_frame
from contract.errors import DamagedFile, UnsupportedPixels
from contract.limits import Pixels

# pydicom decodes these itself, RLE with pylibjpeg-rle where it accepts the data.
_PYDICOM: Final = frozenset(
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.RLELossless,
    }
)
_Codec = tuple[Callable[[bytes], Frame], Callable[[bytes], NDArray[np.generic]]]
_JPEG: Final[_Codec] = (read_jpeg_frame, imagecodecs.jpeg8_decode)
_JPEG_LS: Final[_Codec] = (read_jpeg_frame, imagecodecs.jpegls_decode)
_JPEG_2000: Final[_Codec] = (read_jpeg2000_frame, imagecodecs.jpeg2k_decode)
_CODECS: Final[dict[str, _Codec]] = {
    uid.JPEGBaseline8Bit: _JPEG,
    uid.JPEGExtended12Bit: _JPEG,
    uid.JPEGLossless: _JPEG,
    uid.JPEGLosslessSV1: _JPEG,
    uid.JPEGLSLossless: _JPEG_LS,
    uid.JPEGLSNearLossless: _JPEG_LS,
    uid.JPEG2000Lossless: _JPEG_2000,
    uid.JPEG2000: _JPEG_2000,
    uid.HTJ2KLossless: _JPEG_2000,
    uid.HTJ2KLosslessRPCL: _JPEG_2000,
    uid.HTJ2K: _JPEG_2000,
}


def check_transfer_syntax(syntax: str | None) -> None:
    """Refuse a transfer syntax that is not read (video, deflated, unknown, missing).

    Raises DamagedFile where it is missing, UnsupportedPixels where it is not read.
    """
    if syntax is None:
        raise DamagedFile("The DICOM file does not name its transfer syntax.")
    if syntax not in _PYDICOM and syntax not in _CODECS:
        # An unregistered value is not repeated: it may be anything.
        name = uid.UID(syntax).name if syntax in UID_dictionary else "of this file"
        raise UnsupportedPixels(
            f"The transfer syntax {name} is not read; send the image uncompressed or as JPEG, "
            "JPEG-LS, JPEG 2000, HTJ2K or RLE."
        )


def decode_samples(dataset: FileDataset) -> Pixels:
    """Decode the one frame of a data set to its stored samples, colour as RGB.

    Returns uint8 or uint16, [H,W] or [H,W,3]; signed samples keep their bit pattern. The size that
    a code stream declares is compared with the tags before it is decoded.
    Raises DamagedFile where they differ or the data does not decode.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _PYDICOM:
        samples, _ = get_decoder(syntax).as_array(dataset, raw=dataset.SamplesPerPixel == 1)
        return _unsigned(samples)
    encoded = get_frame(dataset.PixelData, 0, number_of_frames=1)
    read_frame, decode = _CODECS[syntax]
    frame = read_frame(encoded)
    tags = (int(dataset.Columns), int(dataset.Rows), int(dataset.SamplesPerPixel))
    if frame[:3] != tags or frame.bits > int(dataset.BitsAllocated):
        raise DamagedFile(
            f"The tags declare {tags[0]} x {tags[1]} pixels of {tags[2]} samples, the code stream "
            f"{frame.width} x {frame.height} of {frame.components} with {frame.bits} bits."
        )
    return _unsigned(decode(encoded))


def _unsigned(samples: NDArray[np.generic]) -> Pixels:
    """Return the same bits as uint8 or uint16 in this machine's byte order."""
    if samples.dtype.itemsize > 2:
        raise DamagedFile("The pixel data decodes to more than 16 bits per sample.")
    native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    return native.view(np.uint8 if samples.dtype.itemsize == 1 else np.uint16)
