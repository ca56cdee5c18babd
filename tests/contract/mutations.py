"""Files with bits flipped and bytes dropped, inserted, overwritten and cut: one for every seed."""

import random

import imagecodecs
import numpy as np
from pydicom import uid

from tests.contract.drawn import (
    PNG_SIGNATURE,
    chunk,
    dicom,
    draw_colours,
    draw_radiograph,
    jpeg,
    jpeg_code_stream,
    lut_item,
    png,
)

GREY, DEEP = draw_radiograph(8, 128, 128), draw_radiograph(12, 128, 128)
LUT = lut_item(0, np.arange(4096, dtype=np.uint16), 12)
IMAGES = {
    "png-8": png(GREY),
    "png-16": png(draw_radiograph(16, 128, 128)),
    "png-palette": png(GREY, "P"),
    "png-alpha": png(GREY, "LA"),
    "png-colour": png(draw_colours()),
    "jpeg": jpeg(GREY),
    "jpeg-progressive": jpeg(GREY, progressive=True),
    "jpeg-exif": jpeg(
        draw_colours(), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    ),
}
DICOMS = {
    "dicom-implicit": dicom(DEEP, uid.ImplicitVRLittleEndian, BitsStored=12, PixelPaddingValue=0),
    "dicom-window": dicom(DEEP, BitsStored=12, WindowCenter=[2048, 1], WindowWidth=[4096, 1]),
    "dicom-voi-lut": dicom(DEEP, uid.ExplicitVRBigEndian, BitsStored=12, VOILUTSequence=[LUT]),
    "dicom-rle": dicom(
        DEEP, uid.RLELossless, BitsStored=12, RescaleSlope=2, RescaleIntercept=-1024
    ),
    "dicom-rle-colour": dicom(draw_colours(), uid.RLELossless),
    "dicom-jpeg": dicom(GREY, uid.JPEGBaseline8Bit, jpeg_code_stream(GREY, 8)),
    "dicom-jpeg-12": dicom(DEEP, uid.JPEGExtended12Bit, jpeg_code_stream(DEEP, 12), BitsStored=12),
    "dicom-jpeg-lossless": dicom(
        DEEP, uid.JPEGLosslessSV1, jpeg_code_stream(DEEP, 12, lossless=True), BitsStored=12
    ),
    "dicom-jpeg-ls": dicom(
        DEEP, uid.JPEGLSLossless, imagecodecs.jpegls_encode(DEEP), BitsStored=12
    ),
    "dicom-jpeg-2000": dicom(
        DEEP, uid.JPEG2000Lossless, imagecodecs.jpeg2k_encode(DEEP, codecformat="j2k")
    ),
    "dicom-htj2k": dicom(DEEP, uid.HTJ2KLossless, imagecodecs.htj2k_encode(DEEP)),
}

_HEADER_BYTES = 1024
_DAMAGE = {"flip": 8, "fill": 6, "insert": 3, "copy": 3, "drop": 2, "cut": 1}
_FILLS = (b"\0" * 4, b"\x7f\xff", b"\xff" * 4)


def mutate(files: dict[str, bytes], seed: int) -> bytes:
    """Take one of the files and damage it in one to four places; the same for the same seed.

    Half of the PNG get checksums that fit the damage, so that it gets past the first check.
    """
    chance = random.Random(seed)
    file = bytearray(files[chance.choice(sorted(files))])
    for _ in range(chance.randint(1, 4)):
        _damage(file, chance)
    return mend_checksums(bytes(file)) if chance.random() < 0.5 else bytes(file)


def _damage(file: bytearray, chance: random.Random) -> None:
    # Half of the places lie in the first kilobyte, where the headers are.
    end = max(len(file), 1)
    at = chance.randrange(min(end, _HEADER_BYTES) if chance.random() < 0.5 else end)
    (kind,) = chance.choices(list(_DAMAGE), list(_DAMAGE.values()))
    if kind == "flip" and file:
        file[at] ^= 1 << chance.randrange(8)
    elif kind == "fill":
        fill = chance.choice(_FILLS)
        file[at : at + len(fill)] = fill
    elif kind == "insert":
        file[at:at] = chance.randbytes(chance.randint(1, 16))
    elif kind == "copy":
        start = chance.randrange(end)
        file[at:at] = file[start : start + chance.randint(1, 256)]
    elif kind == "drop":
        del file[at : at + chance.randint(1, 64)]
    elif kind == "cut":
        del file[at:]


def mend_checksums(file: bytes) -> bytes:
    """Give every chunk of a PNG the checksum of its content; other files stay as they are."""
    if not file.startswith(PNG_SIGNATURE):
        return file
    mended, at = PNG_SIGNATURE, len(PNG_SIGNATURE)
    while at + 12 <= len(file):
        length = int.from_bytes(file[at : at + 4], "big")
        if at + 12 + length > len(file):
            break
        mended += chunk(file[at + 4 : at + 8], file[at + 8 : at + 8 + length])
        at += 12 + length
    return mended + file[at:]
