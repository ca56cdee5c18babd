"""PNG and JPEG that are damaged, too small, too large, too complex or blank: each is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.contract.asserting import pixels_of, refusal, refusal_text
from tests.contract.drawn import (
    HEIGHT,
    WIDTH,
    chunk,
    draw_radiograph,
    jpeg,
    jpeg_code_stream,
    png,
    png_header,
)

GREY = draw_radiograph()


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_whose_end_is_zeros_is_refused_as_damaged(options):
    file = jpeg(GREY, **options)
    assert refusal(file[: len(file) // 2].ljust(len(file), b"\0")) == "damaged_file"


def test_jpeg_of_12_bits_is_refused_as_unsupported():
    file = jpeg_code_stream(draw_radiograph(12), 12)
    assert refusal(file) == "unsupported_pixels"
    assert "12 bits" in refusal_text(file)


def test_animated_png_is_refused_for_its_frames():
    file = io.BytesIO()
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    assert refusal(file.getvalue()) == "several_frames"


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("encode", [png, jpeg])
def test_truncated_image_is_refused_as_damaged(encode, kept):
    file = encode(GREY)
    assert refusal(file[: int(len(file) * kept)]) == "damaged_file"


@pytest.mark.parametrize("kind", ["grey", "RGB", "RGBA", "16 bits"])
def test_png_without_its_last_chunk_is_refused_as_damaged(kind):
    kinds = {"grey": png(GREY), "16 bits": png(draw_radiograph(16))}
    file = kinds.get(kind) or png(GREY, kind)
    assert file.endswith(chunk(b"IEND", b""))
    assert refusal(file[:-12]) == "damaged_file"


@pytest.mark.parametrize("encode", [png, jpeg])
def test_image_that_ends_within_its_header_is_refused_as_damaged(encode):
    for length in (8, 12, 16, 20, 32):
        assert refusal(encode(GREY)[:length]) == "damaged_file"


def test_png_with_text_behind_its_signature_is_refused_as_damaged():
    assert refusal(png(GREY)[:8] + b"no chunk at all, but some text " * 4) == "damaged_file"


def test_png_with_a_wrong_checksum_is_refused_as_damaged():
    file = bytearray(png(GREY))
    file[-20] ^= 1
    assert refusal(bytes(file)) == "damaged_file"


def test_png_with_fewer_lines_than_it_declares_is_refused_as_damaged():
    lines = b"".join(b"\0" + line.tobytes() for line in GREY[:-1])
    data = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert refusal(png_header(WIDTH, HEIGHT, 8, 0) + data) == "damaged_file"


def test_png_with_an_unknown_colour_type_is_refused_as_damaged():
    assert refusal(png_header(WIDTH, HEIGHT, 8, 5)) == "damaged_file"


def test_png_of_no_width_is_refused_as_damaged():
    assert refusal(png_header(0, HEIGHT, 8, 0)) == "damaged_file"


@pytest.mark.parametrize(("height", "width"), [(127, 400), (400, 127)])
@pytest.mark.parametrize("encode", [png, jpeg])
def test_image_with_a_side_under_128_pixels_is_refused_as_too_small(encode, height, width):
    assert refusal(encode(draw_radiograph(8, height, width))) == "too_small"


def test_image_of_128_by_128_pixels_is_read():
    assert pixels_of(png(draw_radiograph(8, 128, 128))).shape == (128, 128)


def test_png_of_60_megapixels_in_a_few_kilobytes_is_refused_before_it_is_decoded():
    header = png_header(10_000, 6_000, 1, 0)
    lines = zlib.compress(bytes(6_000 * 1_251), 9)
    file = header + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    assert len(file) < 10_000
    assert refusal(file) == "too_many_pixels"


def test_50_megapixels_may_be_declared_and_not_one_pixel_more():
    assert refusal(png_header(50_000, 1_000, 8, 0)) == "damaged_file"
    assert refusal(png_header(16_666_667, 3, 8, 0)) == "too_many_pixels"


def with_declared_size(file, width, height):
    at = file.index(b"\xff\xc0") + 5
    return file[:at] + struct.pack(">HH", height, width) + file[at + 4 :]


def test_jpeg_that_declares_60_megapixels_is_refused_before_it_is_decoded():
    assert refusal(with_declared_size(jpeg(GREY), 10_000, 6_000)) == "too_many_pixels"


def test_jpeg_with_two_frame_headers_is_refused_as_damaged():
    file = jpeg(GREY)
    frame = file[file.index(b"\xff\xc0") :][:13]
    huge = with_declared_size(frame, 9_000, 9_000)
    assert refusal(file.replace(frame, frame + huge)) == "damaged_file"


def test_jpeg_whose_second_frame_header_hides_behind_junk_is_refused_as_damaged():
    file = jpeg(GREY)
    frame = file[file.index(b"\xff\xc0") :][:13]
    huge = with_declared_size(frame, 7_000, 7_000)
    assert refusal(file.replace(frame, frame + b"junk" + huge)) == "damaged_file"


def test_jpeg_with_more_than_100_scans_is_refused_as_too_complex():
    file = jpeg(GREY, progressive=True)
    scan = file[file.rindex(b"\xff\xda") : -2]
    assert refusal(file[:-2] + scan * 101 + b"\xff\xd9") == "too_complex"


@pytest.mark.parametrize("encode", [png, jpeg])
def test_blank_image_is_refused(encode):
    assert refusal(encode(np.full((HEIGHT, WIDTH), 77, np.uint8))) == "blank_image"
