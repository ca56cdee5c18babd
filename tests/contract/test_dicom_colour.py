"""Colours of uncompressed and RLE DICOM: grey ones stay as they are, others become luma."""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from contract.radiograph import read
from tests.contract.asserting import pixels_of, refusal, warning_codes
from tests.contract.drawn import HEIGHT, WIDTH, dicom, draw_colours, draw_radiograph, jpeg, luma

GREY = draw_radiograph()


def test_rgb_becomes_luma_with_a_warning():
    file = dicom(draw_colours())
    assert np.abs(pixels_of(file) - luma(draw_colours())).max() <= 1
    assert warning_codes(file) == ["colour_image"]


def test_rgb_of_a_grey_image_is_that_grey_image():
    file = dicom(np.dstack([GREY] * 3))
    assert np.array_equal(pixels_of(file), GREY)
    assert warning_codes(file) == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("bits", [9, 10, 12, 15])
def test_rgb_of_fewer_stored_than_allocated_bits_fills_the_range(bits, syntax):
    grey = draw_radiograph(bits)
    grey[0, 0] = (1 << bits) - 1
    file = dicom(np.dstack([grey] * 3), syntax, BitsStored=bits)
    expected = np.rint(grey.astype(float) * 65535 / ((1 << bits) - 1))
    assert np.array_equal(pixels_of(file), expected)
    assert (read(file).bits, warning_codes(file)) == (bits, [])


def test_rgb_of_8_stored_and_16_allocated_bits_is_that_of_8_bits():
    colours = draw_colours()
    found = pixels_of(dicom(colours.astype(np.uint16), BitsStored=8))
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels_of(dicom(colours)))


@pytest.mark.parametrize("tags", [{"BitsStored": 12}, {"BitsStored": 12, "HighBit": 15}])
def test_rgb_that_uses_bits_beyond_the_lowest_stored_ones_is_left_as_it_is(tags):
    deep = np.dstack([draw_radiograph(16)] * 3)
    assert np.array_equal(pixels_of(dicom(deep, **tags)), pixels_of(dicom(deep)))


def test_colour_jpeg_of_8_bits_is_left_as_it_is_whatever_depth_the_tags_declare():
    stream, tags = jpeg(draw_colours()), {"BitsAllocated": 16, "BitsStored": 12}
    deep = dicom(draw_colours(), JPEGBaseline8Bit, stream, **tags)
    assert np.array_equal(pixels_of(deep), pixels_of(jpeg(draw_colours())))


def test_rgb_by_plane_is_read_like_rgb_by_pixel():
    planes = np.ascontiguousarray(np.moveaxis(draw_colours(), -1, 0))
    by_plane = dicom(draw_colours(), PlanarConfiguration=1, PixelData=planes.tobytes())
    assert np.array_equal(pixels_of(by_plane), pixels_of(dicom(draw_colours())))


def test_ybr_full_shows_its_luma():
    ybr = np.dstack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)])
    file = dicom(ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(pixels_of(file).astype(int) - GREY).max() <= 1
    assert warning_codes(file) == []


def test_ybr_full_of_more_than_8_bits_is_refused():
    ybr = np.dstack([draw_radiograph(16)] * 3)
    assert refusal(dicom(ybr, PhotometricInterpretation="YBR_FULL")) == "unsupported_pixels"


def test_ybr_full_422_shows_its_luma():
    # Two lumas share one pair of chromas (PS3.3, C.7.6.3.1.2).
    pairs = np.full((HEIGHT, WIDTH // 2, 4), 128, np.uint8)
    pairs[:, :, 0], pairs[:, :, 1] = GREY[:, ::2], GREY[:, 1::2]
    file = dicom(
        np.dstack([GREY] * 3), PhotometricInterpretation="YBR_FULL_422", PixelData=pairs.tobytes()
    )
    assert np.abs(pixels_of(file).astype(int) - GREY).max() <= 1


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_colour_needs_no_word_on_its_sign(syntax):
    colours = draw_colours()
    file = dicom(colours, syntax, PixelRepresentation=None)
    assert np.array_equal(pixels_of(file), pixels_of(dicom(colours, syntax)))
