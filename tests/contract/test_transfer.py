"""Every transfer syntax: lossless ones to the bit, lossy ones within what the codec may do."""

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from contract.radiograph import read
from tests.contract.asserting import pixels_of
from tests.contract.code_streams import RLE, full_window, htj2k, jp2, jpeg2000, jpeg_lossless
from tests.contract.drawn import dicom, draw_radiograph, jpeg_code_stream

LOSSLESS = {
    uid.JPEGLossless: [
        (bits, lambda p, b: jpeg_lossless(p, b, predictor=4)) for bits in (8, 12, 16)
    ],
    uid.JPEGLosslessSV1: [(bits, jpeg_lossless) for bits in (8, 10, 12, 14, 16)],
    uid.JPEGLSLossless: [
        (bits, lambda p, _: imagecodecs.jpegls_encode(p)) for bits in (8, 10, 12, 14, 16)
    ],
    uid.JPEG2000Lossless: [(bits, jpeg2000) for bits in (8, 10, 12, 14, 16)],
    uid.HTJ2KLossless: [(bits, lambda p, _: htj2k(p)) for bits in (8, 12, 16)],
    uid.HTJ2KLosslessRPCL: [(bits, lambda p, _: htj2k(p, tlm=True)) for bits in (8, 12, 16)],
    uid.HTJ2K: [(bits, lambda p, _: htj2k(p)) for bits in (8, 12, 16)],
    uid.JPEG2000: [(bits, jpeg2000) for bits in (8, 12, 16)],
    uid.JPEGLSNearLossless: [
        (bits, lambda p, _: imagecodecs.jpegls_encode(p)) for bits in (8, 12, 16)
    ],
}
LOSSLESS_CASES = [
    pytest.param(syntax, bits, encode, id=f"{syntax.name}-{bits}")
    for syntax, depths in LOSSLESS.items()
    for bits, encode in depths
]


@pytest.mark.parametrize(("syntax", "bits", "encode"), LOSSLESS_CASES)
def test_lossless_code_stream_gives_the_very_pixels_of_the_uncompressed_file(syntax, bits, encode):
    pixels = draw_radiograph(bits)
    compressed = read(dicom(pixels, syntax, encode(pixels, bits), **full_window(bits)))
    plain = read(dicom(pixels, **full_window(bits)))
    assert np.array_equal(compressed.pixels, plain.pixels)
    assert (compressed.bits, compressed.warnings) == (bits, ())


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, RLE])
def test_every_uncompressed_syntax_and_rle_give_the_same_pixels(syntax, bits):
    pixels = draw_radiograph(bits)
    plain = dicom(pixels, **full_window(bits))
    assert np.array_equal(pixels_of(dicom(pixels, syntax, **full_window(bits))), pixels_of(plain))


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, RLE])
def test_signed_pixels_are_the_same_in_every_syntax(syntax):
    signed = draw_radiograph(12).astype(np.int16) - 2048
    tags = {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 4096}
    plain = dicom(signed, **tags)
    assert np.array_equal(pixels_of(dicom(signed, syntax, **tags)), pixels_of(plain))


def test_signed_pixels_are_the_same_in_jpeg_2000():
    signed = draw_radiograph(16).astype(np.int32) - 32768
    signed = signed.astype(np.int16)
    tags = {"WindowCenter": 0, "WindowWidth": 65536}
    compressed = dicom(signed, uid.JPEG2000Lossless, jpeg2000(signed), **tags)
    assert np.array_equal(pixels_of(compressed), pixels_of(dicom(signed, **tags)))


# Largest error of one stored value, relative to white. JPEG quantises, near-lossless JPEG-LS is
# bounded by its NEAR parameter, JPEG 2000 by the signal-to-noise ratio asked for.
LOSSY_CASES = [
    pytest.param(uid.JPEGBaseline8Bit, 8, jpeg_code_stream, 0.015, id="JPEG-baseline"),
    pytest.param(uid.JPEGExtended12Bit, 8, jpeg_code_stream, 0.015, id="JPEG-extended-8"),
    pytest.param(uid.JPEGExtended12Bit, 12, jpeg_code_stream, 0.015, id="JPEG-extended-12"),
    pytest.param(
        uid.JPEGLSNearLossless,
        8,
        lambda pixels, _: imagecodecs.jpegls_encode(pixels, level=2),
        2 / 255,
        id="JPEG-LS-near-2",
    ),
    pytest.param(
        uid.JPEG2000,
        12,
        lambda pixels, bits: jpeg2000(pixels, bits, level=60, reversible=False),
        0.01,
        id="JPEG-2000-60-dB",
    ),
    pytest.param(
        uid.HTJ2K,
        12,
        lambda pixels, _: imagecodecs.htj2k_encode(pixels, reversible=False, level=0.0001),
        0.01,
        id="HTJ2K-irreversible",
    ),
]


@pytest.mark.parametrize(("syntax", "bits", "encode", "tolerance"), LOSSY_CASES)
def test_lossy_code_stream_stays_within_its_tolerance(syntax, bits, encode, tolerance):
    pixels = draw_radiograph(bits)
    lossy = pixels_of(dicom(pixels, syntax, encode(pixels, bits), **full_window(bits)))
    plain = pixels_of(dicom(pixels, **full_window(bits)))
    error = np.abs(lossy.astype(float) - plain) / np.iinfo(plain.dtype).max
    assert 0 < error.max() <= tolerance


def test_jpeg_2000_in_jp2_boxes_is_read_all_the_same():
    pixels = draw_radiograph(12)
    file = dicom(pixels, uid.JPEG2000Lossless, jp2(pixels), **full_window(12))
    assert np.array_equal(pixels_of(file), pixels_of(dicom(pixels, **full_window(12))))


def test_code_stream_in_several_fragments_is_joined():
    pixels = draw_radiograph(8)
    stream = jpeg_code_stream(pixels, 8)
    several = encapsulate([stream], fragments_per_frame=7)
    file = dicom(pixels, uid.JPEGBaseline8Bit, stream, PixelData=several)
    whole = dicom(pixels, uid.JPEGBaseline8Bit, stream)
    assert np.array_equal(pixels_of(file), pixels_of(whole))
