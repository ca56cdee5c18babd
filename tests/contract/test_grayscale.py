"""The grey pipeline of DICOM against values computed by hand from PS3.3, C.11."""

import tracemalloc

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)

from contract.grayscale import to_p_values
from contract.radiograph import read
from tests.contract.asserting import pixels_of, refusal, warning_codes
from tests.contract.drawn import HEIGHT, WIDTH, dicom, draw_radiograph, jpeg_code_stream, lut_item

UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
WHITE = 65535


def image_of(*values, dtype=np.uint16):
    """Return an image whose first pixels are `values` and whose others repeat the last."""
    pixels = np.full(HEIGHT * WIDTH, values[-1], dtype)
    pixels[: len(values)] = values
    return pixels.reshape(HEIGHT, WIDTH)


def shown(values, dtype=np.uint16, **tags):
    """Return what becomes of stored values, 0 black to 1 white."""
    pixels = pixels_of(dicom(image_of(*values, dtype=dtype), **tags))
    return pixels.ravel()[: len(values)] / np.iinfo(pixels.dtype).max


def packed(table, syntax):
    """Return the entries of a LUT as the words of a file."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    return np.asarray(table).astype(f"{order}u2").tobytes()


def assert_shown(found, expected):
    assert found == pytest.approx(expected, abs=1 / WHITE)


def test_sixteen_bits_are_looked_up_and_no_float_image_is_ever_held():
    samples = np.random.default_rng(0).integers(0, 4096, (2048, 2048)).astype(np.uint16)
    dataset = Dataset()
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -5
    dataset.WindowCenter, dataset.WindowWidth = 2048, 3000
    tracemalloc.start()
    try:
        pixels = to_p_values(samples, dataset, [])
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes / samples.size < 4  # 2 of them are the result; one float64 takes 8
    by_float = np.clip((samples - 5.0 - 2047.5) / 2999 + 0.5, 0.0, 1.0)
    assert np.array_equal(pixels, np.rint((1 - by_float) * WHITE))


def test_linear_window_follows_the_formula():
    # C.11.2.1.2.1: below c - 0.5 - (w - 1) / 2 black, above c - 0.5 + (w - 1) / 2 white,
    # ((x - (c - 0.5)) / (w - 1) + 0.5) between. The standard's own example: c = 2048, w = 4096
    # maps 0 to black and 4095 to white.
    values = [0, 1, 2047, 2048, 4094, 4095]
    expected = [0, 1 / 4095, 2047 / 4095, 2048 / 4095, 4094 / 4095, 1]
    assert_shown(shown(values, WindowCenter=2048, WindowWidth=4096), expected)


def test_linear_window_clips_at_its_ends():
    # c = 100, w = 51: black up to 74.5, white above 124.5, 50 steps between.
    values = [0, 74, 75, 99, 100, 124, 125, 60000]
    expected = [0, 0, 0.01, 0.49, 0.51, 0.99, 1, 1]
    assert_shown(shown(values, WindowCenter=100, WindowWidth=51), expected)


def test_linear_window_of_width_one_is_a_threshold():
    # c = 100, w = 1: black up to 99.5, white above.
    assert_shown(shown([98, 99, 100, 101], WindowCenter=100, WindowWidth=1), [0, 0, 1, 1])
    assert_shown(shown([98, 99, 100, 101], WindowCenter=99.5, WindowWidth=1), [0, 0, 1, 1])


def test_exact_linear_window_follows_the_formula():
    # C.11.2.1.3.2: (x - c) / w + 0.5, black up to c - w / 2, white above c + w / 2.
    found = shown(
        [74, 75, 80, 100, 120, 125, 126],
        WindowCenter=100,
        WindowWidth=50,
        VOILUTFunction="LINEAR_EXACT",
    )
    assert_shown(found, [0, 0, 0.1, 0.5, 0.9, 1, 1])


def test_sigmoid_window_follows_the_formula():
    # C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w)).
    found = shown(
        [50, 75, 100, 125, 150], WindowCenter=100, WindowWidth=50, VOILUTFunction="SIGMOID"
    )
    assert_shown(found, [0.0179862, 0.1192029, 0.5, 0.8807971, 0.9820138])


def test_window_of_an_unknown_function_is_linear():
    linear = shown([80, 100, 120], WindowCenter=100, WindowWidth=51)
    unknown = shown([80, 100, 120], WindowCenter=100, WindowWidth=51, VOILUTFunction="CURVED")
    assert np.array_equal(linear, unknown)


def test_function_of_a_window_may_be_written_small():
    window = {"WindowCenter": 100, "WindowWidth": 51}
    small, large = (
        shown([80, 100, 120], VOILUTFunction=name, **window) for name in ("sigmoid", "SIGMOID")
    )
    assert np.array_equal(small, large)


def test_first_of_several_windows_is_applied():
    several = shown([80, 100, 120], WindowCenter=[100, 9000], WindowWidth=[51, 2])
    assert np.array_equal(several, shown([80, 100, 120], WindowCenter=100, WindowWidth=51))


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": 100, "WindowWidth": -5},
        {"WindowCenter": 1500, "WindowWidth": 0.5},
        {"WindowCenter": 60000, "WindowWidth": 10},
        {"WindowCenter": "nan", "WindowWidth": 10},
        {"WindowCenter": -50_000, "WindowWidth": 1e7},
        {"WindowCenter": 100, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 100, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"},
    ],
)
def test_window_that_shows_nothing_gives_way_to_the_value_range_with_a_warning(window):
    file = dicom(image_of(1000, 1500, 2000), **window)
    assert warning_codes(file) == ["unusable_window"]
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, [0, 0.5, 1])


@pytest.mark.parametrize("keyword", ["WindowCenter", "WindowWidth"])
@pytest.mark.parametrize("value", ["3000,5", "\\2000", "wide"])
def test_window_that_is_no_number_gives_way_to_the_value_range_with_a_warning(keyword, value):
    window = {"WindowCenter": "7000", "WindowWidth": "7000", keyword: "9876"}
    file = dicom(image_of(1000, 1500, 2000), **window)
    length, text = (len(value) + 1) // 2 * 2, value.encode()
    old = b"DS\x04\x009876"
    assert old in file
    file = file.replace(old, b"DS" + bytes([length, 0]) + text + b" " * (length - len(text)))
    assert warning_codes(file) == ["unusable_window"]
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, [0, 0.5, 1])


@pytest.mark.parametrize("incomplete", [{"WindowCenter": 100}, {"WindowWidth": 100}, {}])
def test_value_range_is_shown_where_there_is_no_window(incomplete):
    file = dicom(image_of(1000, 1500, 2000), **incomplete)
    assert warning_codes(file) == []
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, [0, 0.5, 1])


def test_8_bits_without_a_window_are_shown_as_they_are_and_not_stretched():
    pixels = image_of(10, 100, 200, dtype=np.uint8)
    assert np.array_equal(pixels_of(dicom(pixels)), pixels)


def test_8_bits_with_a_fractional_slope_are_shown_as_they_are():
    pixels = image_of(10, 100, 200, dtype=np.uint8)
    file = dicom(pixels, RescaleSlope="0.001", RescaleIntercept=3)
    assert np.array_equal(pixels_of(file), pixels)


def test_window_is_applied_to_rescaled_values():
    # 2 x 100 - 150 = 50 is the centre; 1 x 2 / 51 a step.
    tags = {"RescaleSlope": 2, "RescaleIntercept": -150}
    found = shown([90, 100, 110], WindowCenter=50.5, WindowWidth=51, **tags)
    assert_shown(found, [0.1, 0.5, 0.9])


def test_rescale_alone_changes_nothing_but_its_sign_does():
    values = [1000, 1500, 2000]
    assert_shown(shown(values, RescaleSlope=3, RescaleIntercept=-7), [0, 0.5, 1])
    assert_shown(shown(values, RescaleSlope=-3, RescaleIntercept=-7), [1, 0.5, 0])


@pytest.mark.parametrize("slope", ["nan", "inf", "1e308", "0"])
def test_rescale_that_is_no_finite_number_is_refused_as_damaged(slope):
    assert refusal(dicom(image_of(0, 1000, 2000), RescaleSlope=slope)) == "damaged_file"


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


@pytest.mark.filterwarnings("ignore")  # as it is outside of tests
def test_rescale_whose_range_overflows_is_refused_as_damaged():
    pixels = image_of(-32768, 0, 32767, dtype=np.int16)
    assert refusal(dicom(pixels, RescaleSlope="5e303")) == "damaged_file"


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_every_depth_fills_the_range_from_black_to_white(bits):
    pixels = draw_radiograph(bits)
    radiograph = read(dicom(pixels, BitsStored=bits, HighBit=bits - 1))
    assert radiograph.bits == bits
    assert radiograph.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    if bits > 8:
        low, high = int(pixels.min()), int(pixels.max())
        expected = np.rint((pixels.astype(float) - low) / (high - low) * WHITE)
        assert np.array_equal(radiograph.pixels, expected)


def test_signed_pixels_are_read_with_their_sign():
    signed = draw_radiograph(12).astype(np.int16) - 2048
    tags = {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 4096}
    unsigned_window = {**tags, "WindowCenter": 2048}
    unsigned = dicom(draw_radiograph(12), **unsigned_window)
    assert np.array_equal(pixels_of(dicom(signed, **tags)), pixels_of(unsigned))


def test_signed_8_bit_pixels_are_read_with_their_sign():
    assert_shown(shown([-100, 0, 100], dtype=np.int8), [0, 128 / 255, 1])


def test_bits_above_the_stored_ones_are_ignored():
    # Overlay planes used to live there (PS3.5, 8.1.1).
    pixels = draw_radiograph(12)
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    dirty = pixels | np.uint16(0xA000)
    assert np.array_equal(pixels_of(dicom(dirty, **window)), pixels_of(dicom(pixels, **window)))


def test_left_aligned_bits_are_shifted_down():
    pixels = draw_radiograph(12)
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    left = dicom(pixels << 4, **window, HighBit=15)
    assert np.array_equal(pixels_of(left), pixels_of(dicom(pixels, **window)))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_monochrome1_of_inverted_pixels_equals_monochrome2(bits):
    pixels = draw_radiograph(bits)
    inverted = (((1 << bits) - 1) - pixels).astype(pixels.dtype)
    tags = {"BitsStored": bits}
    one = dicom(inverted, PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.array_equal(pixels_of(one), pixels_of(dicom(pixels, **tags)))
    assert warning_codes(one) == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLosslessSV1])
def test_what_is_white_is_the_same_however_it_is_spelt_and_compressed(syntax):
    pixels = draw_radiograph(8)
    encoded = jpeg_code_stream(pixels, 8, lossless=True) if syntax.is_encapsulated else None

    def spelt(text):
        return dicom(pixels, syntax, encoded, PhotometricInterpretation=text)

    assert np.array_equal(pixels_of(spelt("monochrome1")), pixels_of(spelt("MONOCHROME1")))
    for unknown in ("MONOCHROME 1", "MONOCHROME", "FOO", "RGB", "YBR_FULL"):
        assert refusal(spelt(unknown)) == "unsupported_pixels"


def test_monochrome1_inverts_after_the_window():
    tags = {"WindowCenter": 100, "WindowWidth": 51, "PhotometricInterpretation": "MONOCHROME1"}
    assert_shown(shown([60, 75, 100, 125], **tags), [1, 0.99, 0.49, 0])


def test_monochrome1_with_an_inverse_presentation_is_inverted_once():
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    file = dicom(image_of(1000, 1500, 2000), **tags)
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, [1, 0.5, 0])
    assert warning_codes(file) == []


@pytest.mark.parametrize(
    ("photometric", "shape"), [("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")]
)
def test_contradicting_polarity_is_inverted_with_a_warning(photometric, shape):
    file = dicom(
        image_of(1000, 1500, 2000),
        PhotometricInterpretation=photometric,
        PresentationLUTShape=shape,
    )
    assert_shown(pixels_of(file).ravel()[:3] / WHITE, [1, 0.5, 0])
    assert warning_codes(file) == ["contradicting_polarity"]


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


def test_detail_below_one_step_of_8_bits_survives_a_narrow_window():
    ramp = image_of(*range(32768, 32768 + 256))
    found = pixels_of(dicom(ramp, WindowCenter=32768 + 128, WindowWidth=256))
    assert len(np.unique(found)) == 256
