"""Code streams deeper than the stored bits, or aligned and signed in their own way."""

import imagecodecs
import numpy as np
import pytest
from pydicom import DataElement, uid

from tests.contract.asserting import pixels_of, refusal
from tests.contract.drawn import HEIGHT, WIDTH, dicom, draw_radiograph, jpeg_code_stream

DEEP = draw_radiograph(12)
WINDOW_12 = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
SIGNED_12 = {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 4096}
PLAIN = pixels_of(dicom(DEEP, **WINDOW_12))


def jpeg2000(pixels, bits=16, **options):
    settings = {"level": 0, "reversible": True, **options}
    return imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=bits, **settings)


def jpeg_lossless(pixels, bits=16):
    return jpeg_code_stream(pixels, bits, lossless=True)


def hard_edges():
    """Draw black in white in grey, where every lossy codec overshoots, in 10 bits."""
    pixels = draw_radiograph(10)
    pixels[20:80, 20:80], pixels[40:60, 40:60] = 1023, 0
    return pixels


LOSSY = {
    uid.JPEGExtended12Bit: lambda pixels: jpeg_code_stream(pixels, 12),
    uid.JPEG2000: lambda pixels: jpeg2000(pixels, reversible=False, level=85),
    uid.HTJ2K: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=False, level=0.0005),
    uid.JPEGLSNearLossless: lambda pixels: imagecodecs.jpegls_encode(pixels, level=3),
}


@pytest.mark.parametrize(("syntax", "encode"), LOSSY.items(), ids=[s.name for s in LOSSY])
def test_lossy_values_beyond_the_stored_bits_stay_white(syntax, encode):
    pixels = hard_edges()
    tags = {"BitsStored": 10, "WindowCenter": 512, "WindowWidth": 1024}
    lossy = pixels_of(dicom(pixels, syntax, encode(pixels), **tags)).astype(float)
    assert np.abs(lossy - pixels_of(dicom(pixels, **tags))).max() < 0.1 * 65535


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_lossy_signed_values_beyond_the_stored_bits_stay_white(photometric):
    signed = hard_edges().astype(np.int16) - 512
    tags = {"BitsStored": 10, "WindowCenter": 0, "WindowWidth": 1024}
    tags["PhotometricInterpretation"] = photometric
    lossy = dicom(signed, uid.JPEG2000, jpeg2000(signed, reversible=False, level=85), **tags)
    error = np.abs(pixels_of(lossy).astype(float) - pixels_of(dicom(signed, **tags)))
    assert error.max() < 0.1 * 65535


def test_lossy_signed_values_whose_sign_goes_on_above_the_stored_bits_are_clipped():
    signed = hard_edges().astype(np.int16) - 512
    tags = {"BitsStored": 10, "WindowCenter": 0, "WindowWidth": 1024}
    stream = imagecodecs.jpegls_encode(signed.view(np.uint16), level=3)
    lossy = dicom(signed, uid.JPEGLSNearLossless, stream, **tags)
    error = np.abs(pixels_of(lossy).astype(float) - pixels_of(dicom(signed, **tags)))
    assert error.max() < 0.01 * 65535


def test_lossy_signed_stream_of_unsigned_pixels_keeps_black_black():
    pixels = hard_edges()
    tags = {"BitsStored": 10, "WindowCenter": 512, "WindowWidth": 1024}
    stream = jpeg2000(pixels.astype(np.int16), reversible=False, level=85)
    lossy = pixels_of(dicom(pixels, uid.JPEG2000, stream, **tags)).astype(float)
    assert np.abs(lossy - pixels_of(dicom(pixels, **tags))).max() < 0.1 * 65535


LOSSLESS = {
    uid.JPEGLosslessSV1: jpeg_lossless,
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: jpeg2000,
}
LOSSLESS_CASES = pytest.mark.parametrize(
    ("syntax", "encode"), LOSSLESS.items(), ids=[syntax.name for syntax in LOSSLESS]
)


@LOSSLESS_CASES
def test_lossless_values_beyond_the_stored_bits_are_refused_as_damaged(syntax, encode):
    assert refusal(dicom(DEEP, syntax, encode(DEEP), BitsStored=10)) == "damaged_file"


@pytest.mark.parametrize(("value", "signed"), [(1024, False), (65535, False), (65536 - 513, True)])
def test_lossless_value_just_beyond_the_stored_bits_is_refused_as_damaged(value, signed):
    pixels = draw_radiograph(9)
    pixels[0, 0] = value
    tags = {"BitsStored": 10, "PixelRepresentation": int(signed)}
    stream = imagecodecs.jpegls_encode(pixels)
    assert refusal(dicom(pixels, uid.JPEGLSLossless, stream, **tags)) == "damaged_file"


def overlay_at(bit):
    return {"OverlayBitPosition": DataElement(0x60000102, "US", bit)}


@LOSSLESS_CASES
def test_declared_overlay_above_the_stored_bits_is_ignored(syntax, encode):
    overlay = 0x1000 * (np.indices((HEIGHT, WIDTH))[0] % 2).astype(np.uint16)
    file = dicom(DEEP, syntax, encode(DEEP | overlay), **WINDOW_12, **overlay_at(12))
    assert np.array_equal(pixels_of(file), PLAIN)


def test_overlay_that_lies_elsewhere_explains_nothing():
    stream = jpeg2000(DEEP)
    file = dicom(DEEP, uid.JPEG2000Lossless, stream, BitsStored=10, **overlay_at(0))
    assert refusal(file) == "damaged_file"


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless])
@pytest.mark.parametrize("extended", [True, False])
def test_bits_above_the_stored_ones_may_continue_the_sign(syntax, extended):
    signed = DEEP.astype(np.int16) - 2048
    patterns = signed.view(np.uint16) & (0xFFFF if extended else 0x0FFF)
    file = dicom(signed, syntax, LOSSLESS[syntax](patterns), **SIGNED_12)
    assert np.array_equal(pixels_of(file), pixels_of(dicom(signed, **SIGNED_12)))


def test_deep_signed_jpeg_2000_keeps_its_sign():
    signed = DEEP.astype(np.int16) - 2048
    file = dicom(signed, uid.JPEG2000Lossless, jpeg2000(signed), **SIGNED_12)
    assert np.array_equal(pixels_of(file), pixels_of(dicom(signed, **SIGNED_12)))


def test_lossy_patterns_of_signed_pixels_are_not_clipped_at_a_sign_that_they_may_not_have():
    patterns = (DEEP.astype(np.int16) - 2048).view(np.uint16) & 0x0FFF
    stream = imagecodecs.jpegls_encode(patterns)
    signed = dicom(DEEP, uid.JPEGLSNearLossless, stream, PixelRepresentation=1, **SIGNED_12)
    assert np.array_equal(pixels_of(signed), PLAIN)


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        pytest.param(uid.JPEGLosslessSV1, jpeg_lossless(DEEP, 12), id="JPEG lossless"),
        pytest.param(uid.JPEG2000Lossless, jpeg2000(DEEP, 12), id="JPEG 2000"),
    ],
)
@pytest.mark.parametrize("high_bit", [13, 15])
def test_code_stream_as_deep_as_the_stored_bits_is_right_aligned_whatever_high_bit_says(
    syntax, stream, high_bit
):
    file = dicom(DEEP, syntax, stream, HighBit=high_bit, **WINDOW_12)
    assert np.array_equal(pixels_of(file), PLAIN)


@LOSSLESS_CASES
def test_deeper_code_stream_is_aligned_by_high_bit(syntax, encode):
    file = dicom(DEEP, syntax, encode(DEEP << 4), HighBit=15, **WINDOW_12)
    assert np.array_equal(pixels_of(file), PLAIN)


@pytest.mark.parametrize("stored", [8, 12, 16])
def test_signed_8_bit_jpeg_2000_in_16_allocated_bits_keeps_its_sign(stored):
    signed = (draw_radiograph().astype(np.int16) - 128).astype(np.int8)
    tags = {"BitsStored": stored, "WindowCenter": 0, "WindowWidth": 256}
    file = dicom(signed.astype(np.int16), uid.JPEG2000Lossless, jpeg2000(signed, 8), **tags)
    plain = pixels_of(dicom(signed.astype(np.int16), **tags))
    assert np.array_equal(pixels_of(file), plain)
