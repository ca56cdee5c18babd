"""DICOM objects: which are read, and which are refused by what their header says."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from tests.contract.asserting import pixels_of, refusal, refusal_text
from tests.contract.drawn import (
    HEIGHT,
    WIDTH,
    dicom,
    dicom_start,
    draw_colours,
    draw_radiograph,
    jpeg,
    png,
    write_dicom,
)

GREY = draw_radiograph()


def test_8_bit_dicom_holds_the_same_pixels_as_the_png():
    assert np.array_equal(pixels_of(dicom(GREY)), pixels_of(png(GREY)))


def test_several_frames_are_refused_with_their_number():
    file = dicom(GREY, NumberOfFrames=3)
    assert refusal(file) == "several_frames"
    assert "3 frames" in refusal_text(file)


@pytest.mark.parametrize("declared", [1, ""])
def test_one_frame_may_be_declared_or_not(declared):
    assert np.array_equal(pixels_of(dicom(GREY, NumberOfFrames=declared)), GREY)


def test_object_without_pixel_data_is_refused():
    assert refusal(dicom(GREY, PixelData=None)) == "no_pixel_data"


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_floating_point_pixels_are_refused_as_unsupported(keyword):
    values = GREY.astype(np.float32 if keyword == "FloatPixelData" else np.float64).tobytes()
    assert refusal(dicom(GREY, PixelData=None, **{keyword: values})) == "unsupported_pixels"


@pytest.mark.parametrize(
    "tags",
    [
        {"BitsAllocated": 32, "BitsStored": 32},
        {"BitsAllocated": 1, "BitsStored": 1},
        {"SamplesPerPixel": 4},
    ],
)
def test_pixel_form_that_no_radiograph_uses_is_refused_as_unsupported(tags):
    assert refusal(dicom(GREY, **tags)) == "unsupported_pixels"


@pytest.mark.parametrize(
    "tags", [{"BitsStored": 9}, {"BitsStored": 0}, {"HighBit": 8}, {"HighBit": 3}]
)
def test_impossible_bits_are_refused_as_damaged(tags):
    assert refusal(dicom(GREY, **tags)) == "damaged_file"


def test_where_the_highest_bit_is_not_told_the_stored_ones_are_the_lowest():
    pixels = draw_radiograph(12)
    with_it, without = (dicom(pixels, BitsStored=12, HighBit=bit) for bit in (11, None))
    assert np.array_equal(pixels_of(without), pixels_of(with_it))


@pytest.mark.parametrize(
    "keyword",
    [
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "BitsAllocated",
        "PixelRepresentation",
    ],
)
def test_missing_pixel_description_is_refused_as_damaged_and_named(keyword):
    file = dicom(GREY, **{keyword: None})
    assert refusal(file) == "damaged_file"
    assert f"does not tell {keyword};" in refusal_text(file)


def test_thumbnail_is_refused_as_too_small():
    assert refusal(dicom(draw_radiograph(8, 64, 64))) == "too_small"


def test_declared_60_megapixels_are_refused_before_they_are_decoded():
    assert refusal(dicom(GREY, Rows=10_000, Columns=6_000)) == "too_many_pixels"


def test_blank_image_is_refused():
    for dtype in (np.uint8, np.uint16, np.int16):
        assert refusal(dicom(np.full((HEIGHT, WIDTH), 77, dtype))) == "blank_image"


def test_image_that_is_blank_in_the_8_bits_of_the_network_is_refused():
    faint = np.full((HEIGHT, WIDTH), 177 * 257, np.uint16)
    faint[0, 0] += 100
    assert refusal(png(faint)) == "blank_image"
    faint[0, 0] += 100
    assert np.array_equal(pixels_of(png(faint)), faint)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_file_is_refused_as_damaged(kept):
    file = dicom(GREY)
    assert refusal(file[: int(len(file) * kept)]) == "damaged_file"


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, RLELossless])
def test_compressed_file_that_ends_within_its_pixel_data_is_refused_as_damaged(syntax, kept):
    file = dicom(GREY, syntax, jpeg(GREY) if syntax == JPEGBaseline8Bit else None)
    start = file.index(b"\xe0\x7f\x10\x00OB") + 12
    assert refusal(file[: start + int((len(file) - start) * kept)]) == "damaged_file"


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("pixels", [GREY, draw_colours(), draw_radiograph(12)])
def test_pixel_data_of_several_times_the_declared_size_is_refused_as_damaged(pixels, times):
    # pydicom takes it for as many frames, and three grey ones for colour (PS3.3, C.7.6.3.1.4).
    assert refusal(dicom(pixels, PixelData=pixels.tobytes() * times)) == "damaged_file"


def test_file_that_ends_before_its_pixel_data_is_refused():
    file = dicom(GREY)
    meta_end = file.index(b"\x08\x00\x16\x00")
    for at in range(meta_end, len(file) - GREY.size, 7):
        assert refusal(file[:at]) in {"damaged_file", "no_pixel_data"}


def test_file_that_ends_within_its_meta_information_is_refused():
    file = dicom(GREY)
    for at in range(132, file.index(b"\x08\x00\x16\x00")):
        # A transfer syntax cut short is an unknown one.
        assert refusal(file[:at]) in {"damaged_file", "no_pixel_data", "unsupported_pixels"}


def test_dicomdir_is_refused_and_explained():
    dataset = Dataset()
    dataset.SOPClassUID = MediaStorageDirectoryStorage
    dataset.SOPInstanceUID = "1.2.3"
    file = write_dicom(dataset, ExplicitVRLittleEndian)
    assert refusal(file) == "no_pixel_data"
    assert "DICOMDIR" in refusal_text(file)


VIDEO = UID("1.2.840.10008.1.2.4.102")
JPIP = UID("1.2.840.10008.1.2.4.94")


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, VIDEO, JPIP])
def test_transfer_syntax_that_is_not_read_is_refused_by_its_name(syntax):
    file = dicom_start(str(syntax).encode().ljust(24, b"\0"))
    assert refusal(file) == "unsupported_pixels"
    assert syntax.name in refusal_text(file)


def test_unknown_transfer_syntax_is_refused_and_not_repeated():
    file = dicom_start(b"1.2.3.CANARY".ljust(24, b"\0"))
    assert refusal(file) == "unsupported_pixels"
    assert "CANARY" not in refusal_text(file)


def test_missing_transfer_syntax_is_refused_as_damaged():
    assert refusal(dicom_start(b"")) == "damaged_file"
    assert refusal(b"\0" * 128 + b"DICM") == "damaged_file"
