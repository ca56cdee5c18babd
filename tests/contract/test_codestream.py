"""What code streams declare about themselves, byte by byte."""

import struct

import imagecodecs
import numpy as np
import pytest

from contract.codestream import (
    START_OF_SCAN,
    Frame,
    declares_ycc,
    find_end,
    has_component_transform,
    read_jpeg2000_frame,
    read_jpeg_frame,
)
from contract.errors import DamagedFile, TooComplex
from contract.png import read_png_frame
from tests.contract.drawn import (
    HEIGHT,
    WIDTH,
    draw_colours,
    draw_radiograph,
    jpeg,
    jpeg_code_stream,
    png,
    png_header,
)

GREY, COLOURS = draw_radiograph(), draw_colours()
GREY_FRAME = Frame(WIDTH, HEIGHT, 1, 8)
COLOUR_FRAME = Frame(WIDTH, HEIGHT, 3, 8)


def segment(marker, content=b""):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def frame_header(width=WIDTH, height=HEIGHT, marker=0xC0):
    return segment(marker, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")


def test_png_header_tells_size_components_and_bits():
    assert read_png_frame(png(GREY)) == GREY_FRAME
    assert read_png_frame(png(COLOURS)) == COLOUR_FRAME
    assert read_png_frame(png(GREY, "RGBA")) == Frame(WIDTH, HEIGHT, 4, 8)
    assert read_png_frame(png_header(7, 9, 16, 4)) == Frame(7, 9, 2, 16)


def test_jpeg_frame_is_read_from_every_process():
    assert read_jpeg_frame(jpeg(GREY)) == GREY_FRAME
    assert read_jpeg_frame(jpeg(COLOURS, progressive=True)) == COLOUR_FRAME
    twelve = jpeg_code_stream(draw_radiograph(12), 12)
    assert read_jpeg_frame(twelve) == Frame(WIDTH, HEIGHT, 1, 12)
    lossless = jpeg_code_stream(draw_radiograph(14), 14, lossless=True)
    assert read_jpeg_frame(lossless) == Frame(WIDTH, HEIGHT, 1, 14)
    assert read_jpeg_frame(imagecodecs.jpegls_encode(COLOURS)) == COLOUR_FRAME


def test_jpeg_frame_is_found_behind_fill_bytes_and_large_metadata():
    metadata = segment(0xE1, bytes(60_000)) + b"\xff\xff\xff" + segment(0xFE, b"comment")
    assert read_jpeg_frame(b"\xff\xd8" + metadata + frame_header()) == GREY_FRAME


def test_frame_header_of_an_embedded_thumbnail_is_not_taken_for_that_of_the_image():
    thumbnail = segment(0xE1, b"\xff\xd8" + frame_header(32, 32))
    assert read_jpeg_frame(b"\xff\xd8" + thumbnail + frame_header()) == GREY_FRAME


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC])
def test_tables_are_no_frame_headers(marker):
    file = b"\xff\xd8" + frame_header(1, 1, marker) + frame_header()
    assert read_jpeg_frame(file) == GREY_FRAME


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xd8", id="start only"),
        pytest.param(b"\xff\xd8\xff\xd9", id="start and end"),
        pytest.param(b"\xff\xd8" + segment(0xDA, b"\0") + frame_header(), id="scan first"),
        pytest.param(b"\xff\xd8" + segment(0xC0, b"\x08\0\1"), id="short frame header"),
        pytest.param(b"\xff\xd8" + segment(0xC0, b"\x08\0\1\0\1"), id="without components"),
        pytest.param(b"\xff\xd8\xff\xe0\0\0" + frame_header(), id="segment without length"),
        pytest.param(b"\xff\xd8\xff\xe0\xff\xff", id="segment beyond the end"),
        pytest.param(b"\xff\xd8junk" + frame_header(), id="junk"),
        pytest.param(b"\xff\xd8" + frame_header() * 2, id="two frame headers"),
    ],
)
def test_jpeg_without_one_frame_header_is_damaged(stream):
    with pytest.raises(DamagedFile):
        read_jpeg_frame(stream)


def test_100_scans_are_read_and_101_are_not():
    start = b"\xff\xd8" + frame_header()
    assert read_jpeg_frame(start + segment(0xDA) * 100) == GREY_FRAME
    with pytest.raises(TooComplex):
        read_jpeg_frame(start + segment(0xDA) * 101)


def test_end_of_an_embedded_thumbnail_is_not_taken_for_that_of_the_image():
    whole = jpeg(GREY)
    with_thumbnail = whole[:2] + segment(0xE1, jpeg(GREY)) + whole[2:]
    assert find_end(with_thumbnail + b"\0\0", START_OF_SCAN) == len(with_thumbnail)
    assert find_end(with_thumbnail[:-2], START_OF_SCAN) is None


def test_jpeg_declares_luma_and_chroma_by_jfif_or_adobe():
    adobe = b"Adobe\0\x64\0\0\0\0"
    assert declares_ycc(jpeg(COLOURS))
    assert declares_ycc(b"\xff\xd8" + segment(0xEE, adobe + b"\1"))
    assert not declares_ycc(b"\xff\xd8" + segment(0xEE, adobe + b"\0"))
    assert not declares_ycc(b"\xff\xd8" + segment(0xEE, adobe))
    assert not declares_ycc(b"\xff\xd8" + frame_header())


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_2000_frame_is_read_bare_and_in_boxes(bits):
    pixels = draw_radiograph(bits)
    for codecformat in ("j2k", "jp2"):
        stream = imagecodecs.jpeg2k_encode(pixels, codecformat=codecformat, bitspersample=bits)
        assert read_jpeg2000_frame(stream) == Frame(WIDTH, HEIGHT, 1, bits)


def test_htj2k_frame_is_read():
    assert read_jpeg2000_frame(imagecodecs.htj2k_encode(COLOURS)) == COLOUR_FRAME


def test_jpeg_2000_frame_of_signed_samples_tells_their_bits():
    stream = imagecodecs.jpeg2k_encode(GREY.astype(np.int16), codecformat="j2k")
    assert read_jpeg2000_frame(stream).bits == 16


def test_jpeg_2000_frame_is_what_lies_right_of_and_below_its_offset():
    stream = imagecodecs.jpeg2k_encode(GREY, codecformat="j2k", level=0)
    moved = struct.pack(">4I", WIDTH + 8, HEIGHT + 5, 8, 5)
    assert read_jpeg2000_frame(stream[:8] + moved + stream[24:]) == GREY_FRAME


@pytest.mark.parametrize("codecformat", ["j2k", "jp2"])
@pytest.mark.parametrize("mixed", [True, False])
def test_jpeg_2000_tells_whether_its_components_are_mixed(mixed, codecformat):
    stream = imagecodecs.jpeg2k_encode(COLOURS, mct=mixed, codecformat=codecformat)
    assert has_component_transform(stream) == mixed


def test_htj2k_tells_that_its_components_are_mixed():
    assert has_component_transform(imagecodecs.htj2k_encode(COLOURS))


def test_every_cut_of_a_jpeg_2000_header_has_no_component_transform():
    stream = imagecodecs.jpeg2k_encode(COLOURS, mct=True, codecformat="j2k")
    end = stream.index(b"\xff\x52") + 9
    assert has_component_transform(stream[:end])
    for at in range(end):
        assert not has_component_transform(stream[:at])


SIGNATURE_BOX = b"\0\0\0\x0cjP  \r\n\x87\n"


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\x4f\xff\x51\0\x29", id="short header"),
        pytest.param(SIGNATURE_BOX, id="signature only"),
        pytest.param(SIGNATURE_BOX + b"\0\0\0\0free", id="box of no length"),
        pytest.param(SIGNATURE_BOX + b"\0\0\0\4free", id="box shorter than its header"),
        pytest.param(SIGNATURE_BOX + b"\0\0\0\1free" + bytes(8), id="long box of no length"),
        pytest.param(SIGNATURE_BOX + b"\xff\xff\xff\xfffree", id="box beyond the end"),
        pytest.param(SIGNATURE_BOX + b"\0\0\0\x08jp2c", id="empty code stream box"),
    ],
)
def test_jpeg_2000_without_a_code_stream_is_damaged(stream):
    with pytest.raises(DamagedFile):
        read_jpeg2000_frame(stream)


def test_code_stream_box_with_a_long_length_is_found():
    bare = imagecodecs.jpeg2k_encode(GREY, codecformat="j2k")
    boxes = SIGNATURE_BOX + b"\0\0\0\1jp2c" + (16 + len(bare)).to_bytes(8) + bare
    assert read_jpeg2000_frame(boxes) == GREY_FRAME
