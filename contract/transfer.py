"""Transfer syntaxes: encoded pixel data -> stored samples."""

import struct
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
from pydicom.pixels.processing import convert_color_space

from contract.codestream import Frame, declares_ycc, read_jpeg2000_frame, read_jpeg_frame
from contract.errors import DamagedFile, UnsupportedPixels
from contract.limits import Pixels

_UNCOMPRESSED: Final = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)


def _decode_jpeg(encoded: bytes, colour: str) -> NDArray[np.generic]:
    encoded = _complete(encoded)
    if colour == "RGB" and not declares_ycc(encoded):
        return imagecodecs.jpeg8_decode(encoded, colorspace="RGB", outcolorspace="RGB")
    return imagecodecs.jpeg8_decode(encoded)


def _decode_jpeg_ls(encoded: bytes, colour: str) -> NDArray[np.generic]:
    return _to_rgb(imagecodecs.jpegls_decode(_complete(encoded)), colour)


def _decode_jpeg2000(encoded: bytes, colour: str) -> NDArray[np.generic]:
    return _to_rgb(imagecodecs.jpeg2k_decode(encoded), colour)


def _complete(encoded: bytes) -> bytes:
    """Return a JPEG or JPEG-LS code stream up to its end marker; raise DamagedFile without one.

    Entropy-coded data holds no marker, so a stream without an end after its last scan was cut off.
    libjpeg would fill what is missing with grey, CharLS spends many seconds on some cuts.
    """
    end = encoded.rfind(b"\xff\xd9")
    if end < 0 or end < encoded.rfind(b"\xff\xda"):
        raise DamagedFile("The code stream of the DICOM file breaks off.")
    return encoded[: end + 2]


def _to_rgb(samples: NDArray[np.generic], colour: str) -> NDArray[np.generic]:
    """Undo the colour transform that DICOM knows of and the code stream does not."""
    if samples.ndim == 3 and colour == "YBR_FULL":
        samples = convert_color_space(samples, colour, "RGB")
    return samples


_Codec = tuple[Callable[[bytes], Frame], Callable[[bytes, str], NDArray[np.generic]]]
_JPEG: Final[_Codec] = (read_jpeg_frame, _decode_jpeg)
_JPEG_LS: Final[_Codec] = (read_jpeg_frame, _decode_jpeg_ls)
_JPEG_2000: Final[_Codec] = (read_jpeg2000_frame, _decode_jpeg2000)
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
    if syntax not in {*_UNCOMPRESSED, uid.RLELossless, *_CODECS}:
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
    if syntax in _UNCOMPRESSED:
        # Unused bits are left: pydicom takes the stored ones for the lowest whatever HighBit says.
        samples, _ = get_decoder(syntax).as_array(
            dataset,
            raw=dataset.SamplesPerPixel == 1,
            correct_unused_bits=False,  # type: ignore[arg-type]
        )
        return _unsigned(samples)
    encoded = get_frame(dataset.PixelData, 0, number_of_frames=1)
    colour = str(dataset.PhotometricInterpretation)
    if syntax == uid.RLELossless:
        return _unsigned(_to_rgb(_decode_rle(encoded, dataset), colour))
    read_frame, decode = _CODECS[syntax]
    frame = read_frame(encoded)
    tags = (int(dataset.Columns), int(dataset.Rows), int(dataset.SamplesPerPixel))
    if frame[:3] != tags or frame.bits > int(dataset.BitsAllocated):
        raise DamagedFile(
            f"The tags declare {tags[0]} x {tags[1]} pixels of {tags[2]} samples, the code stream "
            f"{frame.width} x {frame.height} of {frame.components} with {frame.bits} bits."
        )
    return _unsigned(decode(encoded, colour))


def _decode_rle(encoded: bytes, dataset: FileDataset) -> NDArray[np.generic]:
    """Decode RLE: for every byte of a sample, highest first, a PackBits segment (PS3.5, annex G).

    The decoders that pydicom knows of panic on damaged segments or take seconds.
    """
    height, width = int(dataset.Rows), int(dataset.Columns)
    samples, octets = int(dataset.SamplesPerPixel), int(dataset.BitsAllocated) // 8
    segments, *starts = struct.unpack("<16I", encoded[:64])
    if segments != samples * octets:
        raise DamagedFile(f"RLE data of {segments} segments; the tags need {samples * octets}.")
    ends = (*starts[1:segments], len(encoded))
    planes = [
        _unpack_segment(encoded[start:end], height * width)
        for start, end in zip(starts, ends, strict=False)
    ]
    stacked = np.stack(planes).reshape(samples, octets, height, width).transpose(2, 3, 0, 1)
    pixels = np.ascontiguousarray(stacked).view(f">u{octets}")[..., 0]
    return pixels if samples > 1 else pixels[..., 0]


def _unpack_segment(segment: bytes, length: int) -> NDArray[np.uint8]:
    room = length + 256  # encoders may let the last two runs end beyond the image
    try:
        octets = imagecodecs.packbits_decode(segment, out=room)
    except imagecodecs.PackbitsError:
        # Some writers pad to an even length with a byte that looks like the start of a run.
        octets = imagecodecs.packbits_decode(segment[:-1], out=room)
    if len(octets) < length:
        raise DamagedFile("The RLE data of the DICOM file breaks off.")
    return np.frombuffer(octets, np.uint8)[:length]


def _unsigned(samples: NDArray[np.generic]) -> Pixels:
    """Return the same bits as uint8 or uint16 in this machine's byte order."""
    if samples.dtype.itemsize > 2:
        raise DamagedFile("The pixel data decodes to more than 16 bits per sample.")
    native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    return native.view(np.uint8 if samples.dtype.itemsize == 1 else np.uint16)
