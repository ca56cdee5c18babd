"""Colours in code streams: what the codec holds decides, and what it cannot hold is refused."""

import imagecodecs
import numpy as np
import pytest
from pydicom import uid

from tests.contract.asserting import pixels_of, refusal, refusal_text, warning_codes
from tests.contract.code_streams import RLE, htj2k, jpeg2000, jpeg_lossless
from tests.contract.drawn import dicom, draw_colours, draw_radiograph, jpeg, luma

COLOURS = draw_colours()
COLOUR_CASES = {
    "JPEG-YBR": (uid.JPEGBaseline8Bit, jpeg(COLOURS), "YBR_FULL_422"),
    "JPEG-YBR-labelled-RGB": (uid.JPEGBaseline8Bit, jpeg(COLOURS), "RGB"),
    "JPEG-LS-RGB": (uid.JPEGLSLossless, imagecodecs.jpegls_encode(COLOURS), "RGB"),
    "JPEG-2000-RCT": (uid.JPEG2000Lossless, jpeg2000(COLOURS, mct=True), "YBR_RCT"),
    "JPEG-2000-ICT": (
        uid.JPEG2000,
        jpeg2000(COLOURS, mct=True, reversible=False, level=50),
        "YBR_ICT",
    ),
    "JPEG-2000-RCT-in-boxes": (
        uid.JPEG2000Lossless,
        jpeg2000(COLOURS, mct=True, codecformat="jp2"),
        "YBR_RCT",
    ),
    "JPEG-2000-RGB": (uid.JPEG2000Lossless, jpeg2000(COLOURS, mct=False), "RGB"),
    "JPEG-lossless-RGB": (uid.JPEGLosslessSV1, jpeg_lossless(COLOURS, 8), "RGB"),
    "HTJ2K-RCT": (uid.HTJ2KLossless, htj2k(COLOURS), "YBR_RCT"),
}


@pytest.mark.parametrize(
    ("syntax", "stream", "photometric"), COLOUR_CASES.values(), ids=COLOUR_CASES
)
def test_compressed_colour_becomes_luma(syntax, stream, photometric):
    file = dicom(COLOURS, syntax, stream, PhotometricInterpretation=photometric)
    assert np.abs(pixels_of(file) - luma(COLOURS)).max() <= 4
    assert warning_codes(file) == ["colour_image"]


def test_rgb_in_rle_becomes_luma():
    assert np.array_equal(pixels_of(dicom(COLOURS, RLE)), pixels_of(dicom(COLOURS)))


def without_colour_markers(stream):
    """Drop the Adobe segment and give the components the numbers of luma and chroma."""
    at = stream.index(b"\xff\xee")
    stream = bytearray(stream[:at] + stream[at + 2 + int.from_bytes(stream[at + 2 : at + 4]) :])
    frame, scan = stream.index(b"\xff\xc0") + 10, stream.index(b"\xff\xda") + 5
    for number in range(3):
        stream[frame + 3 * number] = stream[scan + 2 * number] = number + 1
    return bytes(stream)


def test_jpeg_that_keeps_rgb_untransformed_shows_no_false_colours():
    # Archives hold such files; the code stream alone looks like luma and chroma.
    grey = np.dstack([draw_radiograph()] * 3)
    rgb = imagecodecs.jpeg8_encode(
        grey, level=95, colorspace="RGB", outcolorspace="RGB", subsampling="444"
    )
    file = dicom(grey, uid.JPEGBaseline8Bit, without_colour_markers(rgb))
    assert np.abs(pixels_of(file).astype(int) - draw_radiograph()).max() <= 4
    assert warning_codes(file) == []


@pytest.mark.parametrize("subsampling", ["420", "422"])
def test_jpeg_labelled_rgb_that_halves_two_components_is_luma_and_chroma(subsampling):
    grey = np.dstack([draw_radiograph()] * 3)
    ycc = imagecodecs.jpeg8_encode(grey, level=95, subsampling=subsampling)
    jfif = ycc.index(b"\xff\xe0")
    ycc = ycc[:jfif] + ycc[jfif + 2 + int.from_bytes(ycc[jfif + 2 : jfif + 4]) :]
    file = dicom(grey, uid.JPEGBaseline8Bit, ycc)
    assert np.abs(pixels_of(file).astype(int) - draw_radiograph()).max() <= 4
    assert warning_codes(file) == []


def as_they_are(pixels):
    """Lossless JPEG of colour, whose process knows no colour transform."""
    return jpeg_lossless(pixels, 8, colorspace="RGB", outcolorspace="RGB")


PLAIN_CODECS = {
    uid.JPEGLosslessSV1: as_they_are,
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda pixels: jpeg2000(pixels, mct=False),
}
PLAIN_IDS = [syntax.name for syntax in PLAIN_CODECS]
GREY = draw_radiograph()
YBR = np.dstack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)])


@pytest.mark.parametrize(("syntax", "encode"), PLAIN_CODECS.items(), ids=PLAIN_IDS)
def test_ybr_full_in_a_codec_without_a_colour_transform_shows_its_luma(syntax, encode):
    file = dicom(YBR, syntax, encode(YBR), PhotometricInterpretation="YBR_FULL")
    assert np.abs(pixels_of(file).astype(int) - GREY).max() <= 1
    assert warning_codes(file) == []


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1])
def test_rgb_in_lossless_jpeg_is_read_to_the_bit_whatever_its_markers_say(syntax):
    jfif = bytes.fromhex("ffe0 0010 4a464946 00 0101 00 0001 0001 0000")
    stream = as_they_are(COLOURS)
    for markers in (b"", jfif):
        file = dicom(COLOURS, syntax, stream[:2] + markers + stream[2:])
        assert np.array_equal(pixels_of(file), pixels_of(dicom(COLOURS)))


NOT_JPEG = ["YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"]


@pytest.mark.parametrize("photometric", NOT_JPEG)
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, RLE])
def test_colour_that_no_uncompressed_file_holds_is_refused_and_not_taken_for_rgb(
    syntax, photometric
):
    file = dicom(YBR, syntax, PhotometricInterpretation=photometric)
    assert refusal(file) == "unsupported_pixels"
    assert "RGB, YBR_FULL" in refusal_text(file)


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", *NOT_JPEG])
@pytest.mark.parametrize(("syntax", "encode"), PLAIN_CODECS.items(), ids=PLAIN_IDS)
def test_colour_that_a_codec_cannot_hold_is_refused_and_not_taken_for_rgb(
    syntax, encode, photometric
):
    # JPEG 2000 may hold YBR_ICT and YBR_RCT, but this code stream has no transform to undo.
    file = dicom(YBR, syntax, encode(YBR), PhotometricInterpretation=photometric)
    assert refusal(file) == "unsupported_pixels"


def test_ybr_full_422_in_rle_is_refused():
    assert refusal(dicom(YBR, RLE, PhotometricInterpretation="YBR_FULL_422")) == (
        "unsupported_pixels"
    )
