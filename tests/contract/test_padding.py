"""Padding is black and takes no part in the value range, however it is written."""

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.dataset import Dataset

from tests.contract.asserting import WHITE, assert_shown, pixels_of, refusal
from tests.contract.drawn import UNCOMPRESSED, dicom, image_of


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_takes_no_part_in_the_value_range(syntax, photometric):
    file = dicom(
        image_of(0, 1000, 1500, 2000),
        syntax,
        PixelPaddingValue=0,
        PhotometricInterpretation=photometric,
    )
    expected = [0, 0, 0.5, 1] if photometric == "MONOCHROME2" else [0, 1, 0.5, 0]
    assert_shown(pixels_of(file).ravel()[:4] / WHITE, expected)


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_padding_range_is_black_in_either_order(syntax):
    for ends in ((0, 9), (9, 0)):
        tags = dict(zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), ends, strict=True))
        file = dicom(image_of(0, 5, 9, 1000, 1500, 2000), syntax, **tags)
        assert_shown(pixels_of(file).ravel()[:6] / WHITE, [0, 0, 0, 0, 0.5, 1])


def test_padding_value_may_be_written_with_the_other_sign():
    # -2000 as an unsigned number of 16 bits, as writers of signed pixels leave it.
    dataset = Dataset()
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    pixels = image_of(-2000, 1000, 1500, 2000, dtype=np.int16)
    found = pixels_of(dicom(pixels, PixelPaddingValue=dataset["PixelPaddingValue"]))
    assert_shown(found.ravel()[:4] / WHITE, [0, 0, 0.5, 1])


def test_padding_value_of_signed_pixels_may_have_16_bits():
    # -2000 in 16 bits, beside 12 stored ones that hold it.
    padding = DataElement("PixelPaddingValue", "US", 65536 - 2000)
    pixels = image_of(-2000, 1000, 1500, 2000, dtype=np.int16)
    file = dicom(pixels, BitsStored=12, PixelPaddingValue=padding)
    assert_shown(pixels_of(file).ravel()[:4] / WHITE, [0, 0, 0.5, 1])


def test_padding_may_be_the_lowest_value_that_is_stored():
    padding = DataElement("PixelPaddingValue", "SS", -2048)
    pixels = image_of(0x0800, 1000, 1500, 2000)
    file = dicom(pixels, BitsStored=12, PixelRepresentation=1, PixelPaddingValue=padding)
    assert_shown(pixels_of(file).ravel()[:4] / WHITE, [0, 0, 0.5, 1])


@pytest.mark.parametrize(
    ("bits", "vr", "value"),
    [(12, "US", 63536), (12, "SS", -2000), (12, "US", 65535), (12, "SS", -1), (8, "US", 65535)],
)
def test_padding_value_that_no_stored_value_can_have_masks_nothing(bits, vr, value):
    top = (1 << bits) - 1
    pixels = image_of(0, value % (top + 1), top, dtype=np.uint8 if bits == 8 else np.uint16)
    padding = DataElement("PixelPaddingValue", vr, value)
    file = dicom(pixels, BitsStored=bits, PixelPaddingValue=padding)
    assert np.array_equal(pixels_of(file), pixels_of(dicom(pixels, BitsStored=bits)))


def test_padding_value_beyond_the_stored_bits_masks_samples_that_have_just_those_bits():
    file = dicom(image_of(63536, 1000, 2096, 3192), BitsStored=12, PixelPaddingValue=63536)
    assert_shown(pixels_of(file).ravel()[:4] / WHITE, [0, 0, 0.5, 1])


@pytest.mark.parametrize(("vr", "value"), [("US", None), ("US", 65535), ("SS", -2000)])
def test_padding_range_limit_that_no_stored_value_can_have_is_left_out(vr, value):
    limit = DataElement("PixelPaddingRangeLimit", vr, value)
    tags = {"BitsStored": 12, "PixelPaddingValue": 0, "PixelPaddingRangeLimit": limit}
    found = pixels_of(dicom(image_of(0, 1000, 2096, 3192), **tags))
    assert_shown(found.ravel()[:4] / WHITE, [0, 0, 0.5, 1])


def test_image_of_nothing_but_padding_is_blank():
    assert refusal(dicom(image_of(5), PixelPaddingValue=5)) == "blank_image"
