"""The grey pipeline of DICOM against values computed by hand from PS3.3, C.11."""

import tracemalloc

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1

from contract.grayscale import to_p_values
from contract.radiograph import read
from tests.contract.asserting import WHITE, assert_shown, pixels_of, refusal, shown, warning_codes
from tests.contract.drawn import dicom, draw_radiograph, image_of, jpeg_code_stream


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


def test_detail_below_one_step_of_8_bits_survives_a_narrow_window():
    ramp = image_of(*range(32768, 32768 + 256))
    found = pixels_of(dicom(ramp, WindowCenter=32768 + 128, WindowWidth=256))
    assert len(np.unique(found)) == 256
