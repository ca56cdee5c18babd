"""Code streams that contradict their tags, end early or lack a part."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from tests.contract.asserting import pixels_of, refusal, refusal_text, warning_codes
from tests.contract.code_streams import RLE, htj2k, jp2, jpeg2000, jpeg_lossless
from tests.contract.drawn import (
    HEIGHT,
    WIDTH,
    dicom,
    draw_colours,
    draw_radiograph,
    jpeg,
    jpeg_code_stream,
)

COLOURS = draw_colours()
END = b"\xff\xd9"
SMALL, LARGE = draw_radiograph(8), draw_radiograph(8, 3 * HEIGHT, 3 * WIDTH)
STREAMS = {
    uid.JPEGBaseline8Bit: lambda pixels: jpeg_code_stream(pixels, 8),
    uid.JPEGLosslessSV1: lambda pixels: jpeg_lossless(pixels, 8),
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: jpeg2000,
    uid.JPEG2000: jp2,
    uid.HTJ2KLossless: htj2k,
}
STREAM_IDS = [syntax.name for syntax in STREAMS]


@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_code_stream_larger_than_its_tags_is_refused_and_both_are_named(syntax, encode):
    file = dicom(SMALL, syntax, encode(LARGE))
    assert refusal(file) == "damaged_file"
    assert "160 x 192" in refusal_text(file)
    assert "480 x 576" in refusal_text(file)


@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_code_stream_deeper_than_its_tags_is_refused(syntax, encode):
    if encode in (STREAMS[uid.JPEGBaseline8Bit], STREAMS[uid.JPEGLosslessSV1]):
        deep = jpeg_lossless(draw_radiograph(16), 16)
    else:
        deep = encode(draw_radiograph(16))
    assert refusal(dicom(SMALL, syntax, deep)) == "damaged_file"


@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_colour_code_stream_of_a_grey_image_is_refused(syntax, encode):
    assert refusal(dicom(SMALL, syntax, encode(COLOURS))) == "damaged_file"


@pytest.mark.parametrize("kept", [0.01, 0.02, 0.3, 0.9])
@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_truncated_code_stream_is_refused_as_damaged(syntax, encode, kept):
    stream = encode(SMALL)
    file = dicom(SMALL, syntax, stream[: int(len(stream) * kept)])
    assert refusal(file) == "damaged_file"


@pytest.mark.parametrize("kept", [0.5, 0.75, 0.9])
@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_code_stream_whose_end_is_zeros_is_refused_as_damaged(syntax, encode, kept):
    stream = encode(SMALL)
    whole = stream[: int(len(stream) * kept)].ljust(len(stream), b"\0")
    assert refusal(dicom(SMALL, syntax, whole)) == "damaged_file"


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        (uid.JPEGBaseline8Bit, 8),
        (uid.JPEGExtended12Bit, 12),
        (uid.JPEGLossless, 8),
        (uid.JPEGLosslessSV1, 12),
        (uid.JPEGLosslessSV1, 16),
    ],
)
def test_jpeg_that_ends_early_is_answered_with_a_warning(syntax, bits):
    pixels = draw_radiograph(bits)
    stream = jpeg_code_stream(pixels, bits, lossless="Lossless" in syntax.name)
    tags = {"WindowCenter": 1 << (bits - 1), "WindowWidth": 1 << bits, "BitsStored": bits}
    assert warning_codes(dicom(pixels, syntax, stream, **tags)) == []
    early = stream[: len(stream) // 2] + b"\xff\xd9"
    assert warning_codes(dicom(pixels, syntax, early, **tags)) == ["grey_end"]


def tiles(pixels):
    """Encode as JPEG 2000 in tiles of 64 x 64; returns the main header and the part of each."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", no_jp2=True, tile_size=(64, 64))
    header, *parts = file.getvalue().removesuffix(END).split(b"\xff\x90\0\x0a")
    return header, [b"\xff\x90\0\x0a" + part for part in parts]


@pytest.mark.parametrize("lost", [0, 2, -1])
def test_jpeg_2000_that_lacks_a_tile_is_refused_as_damaged(lost):
    header, parts = tiles(SMALL)
    assert len(parts) > 3
    whole = pixels_of(dicom(SMALL, uid.JPEG2000Lossless, header + b"".join(parts) + END))
    np.testing.assert_array_equal(whole, SMALL)
    del parts[lost]
    file = dicom(SMALL, uid.JPEG2000Lossless, header + b"".join(parts) + END)
    assert "lacks a part of the image" in refusal_text(file)


def test_jpeg_2000_that_lacks_one_of_the_parts_that_a_tile_promises_is_refused_as_damaged():
    header, parts = tiles(SMALL)
    parts[1] = parts[1][:11] + b"\2" + parts[1][12:]
    file = dicom(SMALL, uid.JPEG2000Lossless, header + b"".join(parts) + END)
    assert "lacks a part of the image" in refusal_text(file)


def test_jpeg_2000_of_tiles_without_a_size_is_refused_as_damaged():
    header, parts = tiles(SMALL)
    at = header.index(b"\xff\x51") + 22
    nothing = header[:at] + b"\0" * 4 + header[at + 4 :]
    file = dicom(SMALL, uid.JPEG2000Lossless, nothing + b"".join(parts) + END)
    assert "contradicts itself about its tiles" in refusal_text(file)


@pytest.mark.parametrize("syntax", [*STREAMS, RLE], ids=[*STREAM_IDS, "RLE"])
def test_code_stream_of_another_codec_is_refused_as_damaged(syntax):
    assert refusal(dicom(SMALL, syntax, b"neither this nor that " * 40)) == "damaged_file"


def test_jpeg_ls_that_was_cut_and_padded_is_refused_quickly(sandbox):
    # CharLS alone spends many seconds on it.
    stream = imagecodecs.jpegls_encode(SMALL)[:1551] + b"\0"
    outcome = sandbox.read(dicom(SMALL, uid.JPEGLSLossless, stream), timeout_s=2)
    assert outcome.code == "damaged_file"


def test_pixel_data_without_any_fragment_is_refused_as_damaged():
    empty = b"\xfe\xff\x00\xe0\0\0\0\0"
    file = dicom(SMALL, uid.JPEGBaseline8Bit, b"any", PixelData=empty)
    assert refusal(file) == "damaged_file"


def test_jp2_box_of_no_length_ends_the_search_and_does_not_hang(sandbox):
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\0free" + jpeg2000(SMALL)
    outcome = sandbox.read(dicom(SMALL, uid.JPEG2000, boxes), timeout_s=5)
    assert outcome.code == "damaged_file"


def test_false_code_stream_inside_a_jp2_box_does_not_hide_the_size_of_the_true_one():
    decoy = jpeg2000(SMALL)[:200]
    boxes = jp2(LARGE)
    signature, rest = boxes[:12], boxes[12:]
    hidden = signature + (8 + len(decoy)).to_bytes(4) + b"free" + decoy + rest
    assert refusal(dicom(SMALL, uid.JPEG2000, hidden)) == "damaged_file"


def test_jpeg_with_two_thousand_scans_is_refused_as_too_complex():
    stream = jpeg(SMALL, progressive=True)
    scan = stream[stream.rindex(b"\xff\xda") : -2]
    many = stream[:-2] + scan * 2000 + b"\xff\xd9"
    assert refusal(dicom(SMALL, uid.JPEGBaseline8Bit, many)) == "too_complex"
