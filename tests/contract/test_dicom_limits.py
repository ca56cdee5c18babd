"""Headers of far too many parts, values or entries: refused quickly, and rich ones are read."""

import struct

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from tests.contract.asserting import pixels_of, refusal
from tests.contract.drawn import dicom, dicom_start, draw_radiograph, element

GREY = draw_radiograph()
UNDEFINED = 0xFFFFFFFF
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


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
