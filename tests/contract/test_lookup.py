"""Modality and VOI LUTs against values computed by hand from PS3.3, C.11."""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.contract.asserting import WHITE, assert_shown, pixels_of, refusal, shown, warning_codes
from tests.contract.drawn import UNCOMPRESSED, dicom, image_of, lut_item


def packed(table, syntax):
    """Return the entries of a LUT as the words of a file."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    return np.asarray(table).astype(f"{order}u2").tobytes()


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_modality_lut_is_applied_before_the_window(syntax):
    table = np.array([0, 100, 200, 400], np.uint16)
    file = dicom(
        image_of(9, 10, 11, 12, 13, 14),
        syntax,
        ModalityLUTSequence=[lut_item(10, table, 16, ModalityLUTType="US")],
        WindowCenter=200.5,
        WindowWidth=401,
    )
    # First mapped value 10; what lies outside the table takes its first or last entry (C.11.1.1.1).
    assert_shown(pixels_of(file).ravel()[:6] / WHITE, [0, 0, 0.25, 0.5, 1, 1])


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_voi_lut_is_applied_and_takes_precedence_over_the_window(syntax):
    table = np.array([0, 1024, 2048, 4095], np.uint16)
    file = dicom(
        image_of(9, 10, 11, 12, 13, 14),
        syntax,
        VOILUTSequence=[lut_item(10, table, 12)],
        WindowCenter=3,
        WindowWidth=2,
    )
    expected = [0, 0, 1024 / 4095, 2048 / 4095, 1, 1]
    assert_shown(pixels_of(file).ravel()[:6] / WHITE, expected)


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_voi_lut_as_a_string_of_words_is_read_in_the_byte_order_of_the_file(syntax):
    table = np.array([0, 1024, 2048, 4095], np.uint16)
    item = lut_item(10, table, 12)
    item.add_new("LUTData", "OW", packed(table, syntax))
    file = dicom(image_of(10, 11, 12, 13), syntax, VOILUTSequence=[item])
    assert_shown(pixels_of(file).ravel()[:4] / WHITE, [0, 1024 / 4095, 2048 / 4095, 1])


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_voi_lut_starts_at_a_negative_value_of_signed_pixels(syntax):
    table = np.array([0, 2048, 4095], np.uint16)
    pixels = image_of(-6, -5, -4, -3, -2, dtype=np.int16)
    file = dicom(pixels, syntax, VOILUTSequence=[lut_item(-5, table, 12)])
    assert_shown(pixels_of(file).ravel()[:5] / WHITE, [0, 0, 2048 / 4095, 1, 1])


def test_voi_lut_of_65536_entries_declares_zero_of_them():
    table = np.arange(65536, dtype=np.uint16)[::-1]
    assert_shown(shown([0, WHITE], VOILUTSequence=[lut_item(0, table, 16)]), [1, 0])


def test_voi_lut_of_65536_entries_has_the_last_of_them_too():
    table = np.zeros(65536, np.uint16)
    table[-1] = WHITE
    assert_shown(shown([0, WHITE - 1, WHITE], VOILUTSequence=[lut_item(0, table, 16)]), [0, 0, 1])


def test_voi_lut_of_one_entry_more_than_65536_is_refused_as_too_complex():
    item = lut_item(0, np.arange(65_537) % 65_536, 16)
    assert refusal(dicom(image_of(0, 1), VOILUTSequence=[item])) == "too_complex"


def test_entries_of_a_lut_beyond_their_declared_number_are_left_out():
    item = lut_item(0, np.array([0, 1024, 2048, 4095, 4095]), 12)
    item.LUTDescriptor = [3, 0, 12]
    assert_shown(shown([0, 1, 2, 3], VOILUTSequence=[item]), np.array([0, 1024, 2048, 2048]) / 4095)


def test_rescaled_values_between_two_entries_of_a_lut_take_the_nearer_one():
    item = lut_item(0, np.array([0, 1024, 2048, 4095]), 12)
    found = shown([1, 2, 3, 5], RescaleSlope=0.6, RescaleIntercept=0, VOILUTSequence=[item])
    assert_shown(found, np.array([1024, 1024, 2048, 4095]) / 4095)  # 0.6, 1.2, 1.8 and 3


def test_voi_lut_of_bytes_is_read_with_the_one_that_makes_their_number_even():
    item = lut_item(0, np.array([0, 100, 200, 50, 255]), 8)
    item.add_new("LUTData", "OW", bytes([0, 100, 200, 50, 255, 0]))
    expected = np.array([0, 100, 200, 50, 255]) / 255
    assert_shown(shown([0, 1, 2, 3, 4], VOILUTSequence=[item]), expected)


@pytest.mark.parametrize("table", [[0, 100, 200, 50, 255], [0, 100, 200, 50, 150, 255]])
def test_voi_lut_of_two_bytes_in_a_word_begins_with_the_lower_one(table):
    item = lut_item(0, np.array(table), 8)
    words = np.frombuffer(bytes(table) + bytes(len(table) % 2), "<u2")
    item.add_new("LUTData", "US", words.tolist())
    file = dicom(image_of(*range(len(table))), VOILUTSequence=[item])
    assert warning_codes(file) == []
    assert_shown(pixels_of(file).ravel()[: len(table)] / WHITE, np.array(table) / 255)


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_lut_that_is_cut_off_behind_all_that_the_image_needs_is_read(sequence):
    table = np.arange(0, 65536, 16)
    whole, cut = lut_item(0, table, 16), lut_item(0, table, 16)
    cut.LUTData = table[:4001].tolist()
    files = [dicom(image_of(0, 1000, 4000), **{sequence: [item]}) for item in (whole, cut)]
    assert np.array_equal(*map(pixels_of, files))


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("kept", [1, 2047, 2048, 4095])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_lut_that_is_cut_off_is_refused_as_damaged(sequence, kept, vr):
    table = np.arange(4096, dtype=np.uint16)
    item = lut_item(0, table, 16)
    cut = table[:kept]
    item.add_new("LUTData", vr, cut.tolist() if vr == "US" else cut.astype("<u2").tobytes())
    assert refusal(dicom(image_of(0, 1000, 4095), **{sequence: [item]})) == "damaged_file"


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
@pytest.mark.parametrize("entries", [32768, 40000, 65535, 65536])
def test_voi_lut_of_many_entries_beside_signed_pixels_is_read_whole(syntax, entries):
    # The count is unsigned, whatever the VR that the signed first value asks for.
    item = lut_item(-32768, np.arange(65536 - entries, 65536), 16)
    item.add_new("LUTData", "OW", packed(item.LUTData, syntax))
    file = dicom(image_of(-32768, -100, -1, dtype=np.int16), syntax, VOILUTSequence=[item])
    assert warning_codes(file) == []
    first = 65536 - entries
    expected = np.minimum(np.array([first, first + 32668, first + 32767]), WHITE) / WHITE
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, expected)


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_negative_first_value_of_a_lut_may_be_written_unsigned(sequence):
    item = lut_item(65536 - 5, np.array([0, 2048, 4095], np.uint16), 12)
    found = shown([-6, -5, -4, -3, -2], dtype=np.int16, **{sequence: [item]})
    assert_shown(found, [0, 0, 2048 / 4095, 1, 1])


def test_negative_first_value_of_a_voi_lut_behind_a_rescale_may_be_written_unsigned():
    item = lut_item(65536 - 1024, np.arange(4096, dtype=np.uint16), 12)
    tags = {"BitsStored": 12, "RescaleIntercept": -1024, "RescaleSlope": 1}
    file = dicom(image_of(0, 1000, 4095), ImplicitVRLittleEndian, VOILUTSequence=[item], **tags)
    assert warning_codes(file) == []
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, [0, 1000 / 4095, 1])


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_large_first_value_of_a_voi_lut_behind_a_rescale_may_be_written_signed(syntax):
    # Implicit VR takes the VR from the signed pixels, though the LUT's input is unsigned.
    item = lut_item(32768, np.arange(0, 65536, 2), 16)
    tags = {"RescaleIntercept": 32768, "RescaleSlope": 1, "VOILUTSequence": [item]}
    file = dicom(image_of(-1, 0, 16384, 32767, dtype=np.int16), syntax, **tags)
    assert warning_codes(file) == []
    assert_shown(pixels_of(file).ravel()[:4] / WHITE, [0, 0, 32768 / WHITE, 65534 / WHITE])


def test_lut_that_starts_below_all_values_keeps_its_negative_first_value():
    item = lut_item(-2, np.array([0, 10, 1024, 2048, 4095]), 12)
    found = shown([0, 1, 2], VOILUTSequence=[item])
    assert_shown(found, [1024 / 4095, 2048 / 4095, 1])


def test_empty_lut_sequence_is_no_lut():
    found = shown([80, 100, 120], VOILUTSequence=[], WindowCenter=100, WindowWidth=51)
    assert np.array_equal(found, shown([80, 100, 120], WindowCenter=100, WindowWidth=51))


@pytest.mark.parametrize("descriptor", [[0, 0, 4], [0, 0, 17]])
def test_lut_of_an_impossible_depth_is_refused_as_damaged(descriptor):
    item = lut_item(0, np.arange(4, dtype=np.uint16), 16)
    item.LUTDescriptor = descriptor
    assert refusal(dicom(image_of(0, 1, 2), VOILUTSequence=[item])) == "damaged_file"


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10])
def test_voi_lut_beyond_its_declared_bits_is_scaled_to_its_largest_value_with_a_warning(
    bits, photometric
):
    ramp = np.arange(4096, dtype=np.uint16)
    file = dicom(
        image_of(*ramp),
        BitsStored=12,
        PhotometricInterpretation=photometric,
        VOILUTSequence=[lut_item(0, ramp, bits)],
    )
    assert warning_codes(file) == ["contradicting_lut"]
    found = pixels_of(file).ravel()[:4096] / WHITE
    assert_shown(found, ramp / 4095 if photometric == "MONOCHROME2" else 1 - ramp / 4095)


def test_voi_lut_values_beyond_its_bits_that_no_pixel_meets_change_nothing():
    table = np.arange(4096, dtype=np.uint16)
    file = dicom(image_of(0, 511, 1023), BitsStored=12, VOILUTSequence=[lut_item(0, table, 10)])
    assert warning_codes(file) == []
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, [0, 511 / 1023, 1])


def test_voi_lut_written_as_signed_words_is_unsigned():
    # PS3.3, C.11.2.1.1: the output is never signed; the VR SS was retired.
    item = lut_item(0, np.arange(4), 15)
    item.add_new("LUTData", "SS", [0, 16384, -32768, -1])
    assert_shown(shown([0, 1, 2, 3], VOILUTSequence=[item]), [0, 0.25, 0.5, 1])
