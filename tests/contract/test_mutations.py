"""Files with bytes flipped, dropped and inserted: read or refused, never anything else."""

import contextlib

import imagecodecs
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid

from contract import errors
from contract.errors import InputError
from contract.radiograph import read
from tests.contract.drawn import (
    dicom,
    draw_colours,
    draw_radiograph,
    jpeg,
    jpeg_code_stream,
    lut_item,
    png,
)

GREY, DEEP = draw_radiograph(8, 128, 128), draw_radiograph(12, 128, 128)
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
LUT = lut_item(0, np.arange(4096, dtype=np.uint16), 12)
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
FILES = IMAGES | DICOMS
CODES = {
    kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, InputError)
}
# The same examples on every run.
SETTINGS = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}

# Half of the places lie in the first kilobyte, where the headers are.
places = st.integers(0, 1023) | st.integers(0, 60_000)
changes = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("drop"), places, st.integers(1, 64)),
    st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("fill"), places, st.sampled_from([b"\0" * 4, b"\x7f\xff", b"\xff" * 4])),
    st.tuples(st.just("cut"), places, st.none()),
)


def mutations_of(files):
    return st.tuples(st.sampled_from(sorted(files)), st.lists(changes, min_size=1, max_size=4))


def mutate(name, changed):
    file = bytearray(FILES[name])
    for change, place, what in changed:
        at = place % max(len(file), 1)
        if change == "flip" and file:
            file[at] ^= 1 << what
        elif change == "drop":
            del file[at : at + what]
        elif change == "insert":
            file[at:at] = what
        elif change == "fill":
            file[at : at + len(what)] = what
        elif change == "cut":
            del file[at:]
    return bytes(file)


@settings(max_examples=600, **SETTINGS)
@given(mutations_of(IMAGES))
def test_mutated_png_and_jpeg_are_read_or_refused(mutation):
    with contextlib.suppress(InputError):
        read(mutate(*mutation))


@settings(max_examples=1500, **SETTINGS)
@given(mutations_of(DICOMS))
def test_mutated_dicom_is_read_or_refused(sandbox, mutation):
    outcome = sandbox.read(mutate(*mutation))
    assert outcome.code in CODES | {"read"}, outcome
    assert outcome.seconds < 5
