"""PALETTE COLOR: every stored value takes its entry, however the entries are written."""

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from contract.radiograph import read
from tests.contract.asserting import pixels_of, refusal, refusal_text, warning_codes
from tests.contract.drawn import HEIGHT, WIDTH, dicom, draw_radiograph

GREY, DEEP = draw_radiograph(), draw_radiograph(12)
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
CURVE = np.rint(np.sqrt(np.arange(256) / 255) * 65535).astype(np.uint16)  # no byte twice in a word
BYTES = (CURVE // 257).astype(np.uint8)


def written(table, syntax):
    """Return the entries as a file holds them, bytes in pairs as words (PS3.5, 8.1.2)."""
    if table.dtype == np.uint8:
        table = np.frombuffer(table.tobytes() + b"\0" * (len(table) % 2), "<u2")
    return table.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()


def with_palette(pixels, data, descriptor, syntax=ExplicitVRLittleEndian, vr="US", **tags):
    palette = {}
    for colour in ("Red", "Green", "Blue"):
        for part, kind, value in (("Descriptor", vr, descriptor), ("Data", "OW", data)):
            keyword = f"{colour}PaletteColorLookupTable{part}"
            palette[keyword] = DataElement(keyword, kind, value)
    interpretation = {"PhotometricInterpretation": "PALETTE COLOR"}
    return dicom(pixels, syntax, **interpretation, **palette, **tags)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_16_bit_entries_are_read_in_the_byte_order_of_the_file(syntax):
    file = with_palette(GREY, written(CURVE, syntax), [256, 0, 16], syntax)
    assert np.array_equal(pixels_of(file), CURVE[GREY])
    assert warning_codes(file) == []


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_8_bit_entries_lie_in_pairs_in_words(syntax):
    file = with_palette(GREY, written(BYTES, syntax), [256, 0, 8], syntax)
    assert pixels_of(file).dtype == np.uint8
    assert np.array_equal(pixels_of(file), BYTES[GREY])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_8_bit_entries_may_lie_alone_in_words(syntax):
    # CP-522: the length tells them from entries in pairs.
    file = with_palette(GREY, written(BYTES.astype(np.uint16), syntax), [256, 0, 8], syntax)
    assert pixels_of(file).dtype == np.uint8
    assert np.array_equal(pixels_of(file), BYTES[GREY])


def test_words_beyond_255_are_16_bits_deep_even_where_8_are_declared():
    file = with_palette(GREY, CURVE.tobytes(), [256, 0, 8])
    assert np.array_equal(pixels_of(file), CURVE[GREY])


def test_odd_number_of_8_bit_entries_is_padded():
    pixels = np.minimum(GREY, 254)
    file = with_palette(pixels, BYTES[:255].tobytes() + b"\0", [255, 0, 8])
    assert np.array_equal(pixels_of(file), BYTES[pixels])


def test_palette_of_8_bits_serves_pixels_of_12():
    table = (np.arange(4096) // 16).astype(np.uint8)
    file = with_palette(DEEP, table.tobytes(), [4096, 0, 8], BitsStored=12)
    assert np.array_equal(pixels_of(file), DEEP // 16)


def test_dark_palette_of_16_bits_stays_dark():
    table = np.arange(256, dtype=np.uint16)
    found = pixels_of(with_palette(GREY, table.tobytes(), [256, 0, 16]))
    assert found.dtype == np.uint16
    assert np.array_equal(found, GREY)


def test_values_outside_of_the_palette_take_its_first_or_last_entry():
    file = with_palette(GREY, CURVE[:100].tobytes(), [100, 60, 16])
    assert np.array_equal(pixels_of(file), CURVE[np.clip(GREY.astype(int) - 60, 0, 99)])


@pytest.mark.parametrize(("vr", "first"), [("SS", -128), ("US", 65536 - 128)])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_signed_pixels_meet_a_palette_that_starts_below_zero(syntax, vr, first):
    signed = (GREY.astype(np.int16) - 128).astype(np.int8)
    file = with_palette(signed, written(CURVE, syntax), [256, first, 16], syntax, vr)
    assert np.array_equal(pixels_of(file), CURVE[GREY])


def test_palette_of_65536_entries_declares_zero_of_them():
    table = np.arange(65536, dtype=np.uint16)[::-1]
    deep = draw_radiograph(16)
    assert np.array_equal(pixels_of(with_palette(deep, table.tobytes(), [0, 0, 16])), 65535 - deep)


def test_bits_above_the_stored_ones_choose_no_entry():
    overlay = 0x1000 * (np.indices((HEIGHT, WIDTH))[0] % 2).astype(np.uint16)
    table = (np.arange(4096) * 16).astype(np.uint16)
    file = with_palette(DEEP | overlay, table.tobytes(), [4096, 0, 16], BitsStored=12)
    assert np.array_equal(pixels_of(file), table[DEEP])


def test_left_aligned_pixels_choose_by_their_stored_bits():
    left = GREY.astype(np.uint16) << 8
    file = with_palette(left, CURVE.tobytes(), [256, 0, 16], BitsStored=8, HighBit=15)
    assert np.array_equal(pixels_of(file), CURVE[GREY])


@pytest.mark.parametrize(
    ("data", "descriptor"),
    [(CURVE[:255].tobytes(), [256, 0, 16]), (b"", [256, 0, 16]), (CURVE.tobytes(), [256, 0, 12])],
)
def test_palette_that_is_cut_off_or_of_an_impossible_depth_is_refused_as_damaged(data, descriptor):
    assert refusal(with_palette(GREY, data, descriptor)) == "damaged_file"


def test_palette_in_segments_is_refused_and_explained():
    tags = {f"{colour}PaletteColorLookupTableData": None for colour in ("Red", "Green", "Blue")}
    whole = {"PhotometricInterpretation": "PALETTE COLOR", **tags}
    segments = {"SegmentedRedPaletteColorLookupTableData": CURVE.tobytes()}
    assert refusal(dicom(GREY, **whole, **segments)) == "unsupported_pixels"
    assert "segments" in refusal_text(dicom(GREY, **whole, **segments))
    assert refusal(dicom(GREY, **whole)) == "damaged_file"


def test_colours_of_a_palette_become_luma_with_a_warning():
    file = dicom(
        GREY,
        PhotometricInterpretation="PALETTE COLOR",
        **{
            f"{colour}PaletteColorLookupTable{part}": value
            for colour, data in (("Red", CURVE), ("Green", CURVE[::-1]), ("Blue", CURVE))
            for part, value in (("Descriptor", [256, 0, 16]), ("Data", data.tobytes()))
        },
    )
    expected = 0.413 * CURVE[GREY] + 0.587 * CURVE[::-1][GREY]
    assert np.abs(pixels_of(file) - expected).max() <= 2
    assert (read(file).bits, warning_codes(file)) == (8, ["colour_image"])
