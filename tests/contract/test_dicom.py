"""DICOM objects: which are taken, which are refused by what their header says, and what is kept."""

import struct
import warnings

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from contract.errors import InputError
from contract.radiograph import read
from tests.contract.asserting import pixels_of, refusal, refusal_text, warning_codes
from tests.contract.drawn import (
    HEIGHT,
    WIDTH,
    dicom,
    dicom_start,
    draw_colours,
    draw_radiograph,
    element,
    jpeg,
    luma,
    png,
    write_dicom,
)

GREY = draw_radiograph()
UNDEFINED = 0xFFFFFFFF
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
OTHER_THAN_CHEST = ["HAND", "SKULL", "ABDOMEN", "LSPINE", "T-SPINE", "Knee", "BREAST", "PELVIS"]
CANARY = "CANARY-Jane-Doe"


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "OT", "SC", "", None])
def test_projection_radiography_and_secondary_capture_are_read(modality):
    radiograph = read(dicom(GREY, Modality=modality))
    assert (radiograph.format, radiograph.bits, radiograph.warnings) == ("DICOM", 8, ())
    assert np.array_equal(radiograph.pixels, GREY)


SOP_CLASSES = [
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
]


@pytest.mark.parametrize("sop_class", SOP_CLASSES)
def test_every_object_that_holds_radiographs_is_read(sop_class):
    assert np.array_equal(pixels_of(dicom(GREY, SOPClassUID=sop_class)), GREY)


@pytest.mark.parametrize("modality", ["CT", "MR", "MG", "US", "NM", "PT", "SEG"])
def test_other_modality_is_refused_and_named(modality):
    file = dicom(GREY, Modality=modality)
    assert refusal(file) == "not_frontal_chest"
    assert modality in refusal_text(file)


def test_unknown_modality_is_refused_and_not_repeated():
    assert refusal(dicom(GREY, Modality=CANARY)) == "not_frontal_chest"
    assert CANARY not in refusal_text(dicom(GREY, Modality=CANARY))


CHEST_NAMES = ["CHEST", "chest", "THORAX", "LUNG", "PORT CHEST", "RIBS", "", None]


@pytest.mark.parametrize("part", CHEST_NAMES)
def test_chest_is_read_by_its_many_names(part):
    assert warning_codes(dicom(GREY, BodyPartExamined=part)) == []


@pytest.mark.parametrize("part", OTHER_THAN_CHEST)
def test_other_body_part_is_refused(part):
    assert refusal(dicom(GREY, BodyPartExamined=part)) == "not_frontal_chest"


def test_unknown_body_part_is_read_with_a_warning():
    assert warning_codes(dicom(GREY, BodyPartExamined="XYZZY")) == ["unknown_body_part"]


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LAT", "lateral"])
def test_lateral_view_is_refused(view):
    assert refusal(dicom(GREY, ViewPosition=view)) == "not_frontal_chest"


@pytest.mark.parametrize("view", ["PA", "AP", "", None])
def test_frontal_and_unnamed_views_are_read(view):
    assert warning_codes(dicom(GREY, ViewPosition=view)) == []


def test_8_bit_dicom_holds_the_same_pixels_as_the_png():
    assert np.array_equal(pixels_of(dicom(GREY)), pixels_of(png(GREY)))


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


def empty_elements(count):
    """Return two-byte-numbered private elements without a value, as often as wanted."""
    block = b"".join(element(9, number, b"LO", b"") for number in range(0x1000, 0x2000))
    return block * (count // 0x1000)


def sequence(content, tag=(0x0009, 0x1001)):
    header = struct.pack("<HH2sHI", *tag, b"SQ", 0, UNDEFINED)
    return header + content + SEQUENCE_END


VOI_LUT_SEQUENCE = (0x0028, 0x3010)
EMPTY_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(empty_elements(2_000_000), id="elements"),
        pytest.param(sequence(ITEM + empty_elements(2_000_000) + ITEM_END), id="in-a-sequence"),
        pytest.param(sequence(EMPTY_ITEM * 2_000_000), id="items"),
        pytest.param(sequence(EMPTY_ITEM * 2_000_000, VOI_LUT_SEQUENCE), id="lookup-tables"),
        pytest.param((sequence(b"")[:12] + ITEM) * 100_000, id="deep-sequences"),
    ],
)
def test_header_of_far_too_many_parts_is_refused_quickly_as_too_complex(content, sandbox):
    outcome = sandbox.read(dicom_start() + content, timeout_s=5)
    assert outcome.code == "too_complex"


@pytest.mark.parametrize("tag", [(0x0028, 0x1050), (0x0008, 0x0060), (0x0008, 0x0005)])
def test_element_of_millions_of_values_is_refused_quickly_as_too_complex(tag, sandbox):
    values = b"1\\" * 4_000_000
    implicit = struct.pack("<HHI", *tag, len(values)) + values
    outcome = sandbox.read(dicom_start(b"1.2.840.10008.1.2\0") + implicit, timeout_s=5)
    assert outcome.code == "too_complex"


def implicit(group, number, value):
    """Return an element in implicit little endian."""
    return struct.pack("<HHI", group, number, len(value)) + value


@pytest.mark.parametrize(
    ("group", "number"),
    [(0x28, 0x1050), (0x28, 0x1051), (0x28, 0x1052), (0x28, 0x1053), (0x28, 0x120), (8, 0x60)],
)
def test_value_of_more_than_a_kilobyte_is_refused_as_too_complex(group, number):
    value = implicit(group, number, b"1\\" * 513)
    assert refusal(dicom_start(b"1.2.840.10008.1.2\0") + value) == "too_complex"


def test_window_of_many_values_is_read():
    # 1,022 bytes: far more windows than any file offers.
    values = ["96"] * 341
    assert np.array_equal(
        pixels_of(dicom(GREY, WindowCenter=values, WindowWidth=values)),
        pixels_of(dicom(GREY, WindowCenter=96, WindowWidth=96)),
    )


@pytest.mark.parametrize(
    "item",
    [
        implicit(0x28, 0x3002, b"\1\0\0\0\x10\0") + implicit(0x28, 0x3006, b"\1\0" * 8_000_000),
        implicit(0x28, 0x3002, b"\1\0\0\0\x10\0" * 2_000_000) + implicit(0x28, 0x3006, b"\1\0"),
    ],
    ids=["data", "descriptor"],
)
def test_lookup_table_of_millions_of_entries_is_refused_quickly_as_too_complex(item, sandbox):
    plain = dicom(GREY, ImplicitVRLittleEndian)
    end = plain.index(struct.pack("<HHI", 0x7FE0, 0x10, GREY.size))
    header = struct.pack("<HHI", *VOI_LUT_SEQUENCE, UNDEFINED)
    tables = header + ITEM + item + ITEM_END + SEQUENCE_END
    outcome = sandbox.read(plain[:end] + tables + plain[end:], timeout_s=3)
    assert outcome.code == "too_complex"


@pytest.mark.parametrize("tags", [((0x54, 0x220), (8, 0x100)), ((8, 0x2218), (8, 0x104))])
def test_code_of_millions_of_values_is_not_taken_apart(tags, sandbox):
    sequence_tag, tag = tags
    values = b"1\\" * 14_000_000
    item = ITEM + struct.pack("<HHI", *tag, len(values)) + values + ITEM_END
    open_ended = struct.pack("<HHI", *sequence_tag, UNDEFINED) + item + SEQUENCE_END
    outcome = sandbox.read(dicom_start(b"1.2.840.10008.1.2\0") + open_ended, timeout_s=5)
    assert outcome.code == "no_pixel_data"


def test_pixel_data_of_two_million_fragments_is_refused_quickly_as_too_complex(sandbox):
    header = dicom_start(b"1.2.840.10008.1.2.4.50")
    pixel_data = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, UNDEFINED)
    outcome = sandbox.read(header + pixel_data + EMPTY_ITEM * 2_000_000, timeout_s=5)
    assert outcome.code == "too_complex"


def test_radiograph_with_a_rich_header_is_read():
    with_history = [Dataset() for _ in range(500)]
    for number, item in enumerate(with_history):
        item.ReferencedSOPInstanceUID = f"1.2.3.{number}"
    assert np.array_equal(pixels_of(dicom(GREY, ReferencedImageSequence=with_history)), GREY)


IDENTIFYING = {
    "PatientName": CANARY,
    "PatientID": CANARY,
    "InstitutionName": CANARY,
    "StudyDescription": CANARY,
    "ImageComments": CANARY,
}
CANARY_CODE = Dataset()
CANARY_CODE.CodeValue = CANARY_CODE.CodeMeaning = CANARY
CANARY_FILES = {
    "read": {},
    "body part": {"BodyPartExamined": CANARY},
    "modality": {"Modality": CANARY},
    "view": {"ViewPosition": CANARY},
    "codes": {"ViewCodeSequence": [CANARY_CODE], "AnatomicRegionSequence": [CANARY_CODE]},
    "photometric interpretation": {"PhotometricInterpretation": CANARY},
    "window": {"WindowCenter": "1", "WindowWidth": "0", "VOILUTFunction": CANARY},
    "polarity": {"PresentationLUTShape": CANARY},
    "character set": {"SpecificCharacterSet": CANARY},
    "truncated": {"PixelData": b"CANARY"},
    "modality and part": {"Modality": "CT", "BodyPartExamined": CANARY},
}


@pytest.mark.parametrize("tags", CANARY_FILES.values(), ids=CANARY_FILES)
def test_no_text_of_the_header_is_repeated(tags, sandbox, capfd):
    file = dicom(GREY, **{**IDENTIFYING, **tags})
    assert CANARY.encode() in file or b"CANARY" in file
    assert "CANARY" not in sandbox.read(file).text
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # to standard error, were there any
        try:
            said = repr(read(file).warnings)
        except InputError as error:
            said = str(error)
    assert "CANARY" not in said + "".join(capfd.readouterr())
