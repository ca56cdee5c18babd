"""RLE written by hand: paddings and long runs are read, what does not fit its tags is refused."""

import struct

import imagecodecs
import numpy as np
import pytest

from tests.contract.asserting import pixels_of, refusal, warning_codes
from tests.contract.code_streams import RLE, full_window
from tests.contract.drawn import dicom, draw_radiograph

SMALL = draw_radiograph(8)


def rle(pixels, edit=lambda segments: segments):
    """Return RLE data (PS3.5, annex G) whose segments were edited on the way."""
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    octets = big_endian.view(np.uint8).reshape(pixels.size, -1).T
    segments = edit([imagecodecs.packbits_encode(plane.tobytes()) for plane in octets])
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    header = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def test_rle_written_by_hand_is_read():
    pixels = draw_radiograph(16)
    file = dicom(pixels, RLE, rle(pixels), **full_window(16))
    assert np.array_equal(pixels_of(file), pixels_of(dicom(pixels, **full_window(16))))


@pytest.mark.parametrize("padding", [b"\0", b" ", b"\x80", b"\x81"])
def test_rle_segment_may_be_padded_with_any_byte(padding):
    padded = rle(SMALL, lambda segments: [segment + padding for segment in segments])
    assert np.array_equal(pixels_of(dicom(SMALL, RLE, padded)), SMALL)


def test_rle_whose_last_run_ends_beyond_the_image_is_read():
    longer = rle(SMALL, lambda segments: [segment + b"\x81\7" for segment in segments])
    assert np.array_equal(pixels_of(dicom(SMALL, RLE, longer)), SMALL)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda segments: segments[:1], id="segment missing"),
        pytest.param(lambda segments: [*segments, b"\0\0"], id="segment surplus"),
        pytest.param(lambda segments: [part[: len(part) // 2] for part in segments], id="cut"),
        pytest.param(lambda segments: [b"", segments[1]], id="segment empty"),
        pytest.param(lambda segments: [b"\x81\0" * 5_000_000, segments[1]], id="segment endless"),
    ],
)
def test_rle_that_does_not_fit_its_tags_is_refused_as_damaged(edit):
    pixels = draw_radiograph(16)
    assert refusal(dicom(pixels, RLE, rle(pixels, edit))) == "damaged_file"


def test_rle_with_offsets_beyond_its_end_is_refused_as_damaged():
    header = struct.pack("<16I", 1, 0xFFFFFFFF, *[0] * 14)
    assert refusal(dicom(SMALL, RLE, header + bytes(100))) == "damaged_file"


def test_ybr_full_in_rle_shows_its_luma():
    grey = draw_radiograph()
    ybr = np.dstack([grey, np.full_like(grey, 128), np.full_like(grey, 128)])
    file = dicom(ybr, RLE, PhotometricInterpretation="YBR_FULL")
    assert np.abs(pixels_of(file).astype(int) - grey).max() <= 1
    assert warning_codes(file) == []
