"""PNG and JPEG: every form is read to the grey values that a viewer shows."""

import io
import math
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from contract.radiograph import read
from tests.contract.asserting import pixels_of, refusal_text, warning_codes
from tests.contract.drawn import (
    HEIGHT,
    WIDTH,
    chunk,
    draw_colours,
    draw_radiograph,
    interlaced_png,
    jpeg,
    luma,
    png,
    png_header,
    with_chunk,
)

GREY = draw_radiograph()
DEEP = draw_radiograph(16)
JPEG_TOLERANCE = 4
"""Grey levels that JPEG at quality 95 may move a drawn pixel."""


def assert_close(found, expected, tolerance=1):
    assert np.abs(found.astype(float) - expected).max() <= tolerance


def test_grey_png_of_8_bits_is_read_as_it_is():
    radiograph = read(png(GREY))
    assert (radiograph.format, radiograph.bits, radiograph.warnings) == ("PNG", 8, ())
    assert np.array_equal(radiograph.pixels, GREY)


def test_grey_png_of_16_bits_is_read_as_it_is():
    radiograph = read(png(DEEP))
    assert (radiograph.bits, radiograph.warnings) == (16, ())
    assert np.array_equal(radiograph.pixels, DEEP)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_16_bit_png_that_uses_fewer_bits_is_scaled_to_its_range_with_a_warning(bits):
    file = png(draw_radiograph(bits))
    radiograph = read(file)
    assert radiograph.bits == bits
    assert warning_codes(file) == ["partial_range"]
    assert_close(radiograph.pixels, draw_radiograph(bits) * (65535 / ((1 << bits) - 1)))


def test_16_bit_png_of_a_few_levels_is_taken_for_8_bits_and_not_for_fewer():
    levels = (GREY // 16).astype(np.uint16)
    assert np.array_equal(pixels_of(png(levels)), levels * 257)
    assert read(png(levels)).bits == 8


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_png_of_fewer_than_8_bits_fills_the_range_from_black_to_white(bits):
    levels = GREY >> (8 - bits)
    radiograph = read(packed_png(levels, bits))
    assert radiograph.bits == bits
    assert np.array_equal(radiograph.pixels, levels * (255 // ((1 << bits) - 1)))


def packed_png(levels, bits):
    per_byte = 8 // bits
    shifts = np.arange(8 - bits, -1, -bits)
    packed = (levels.reshape(HEIGHT, -1, per_byte) << shifts).sum(axis=2).astype(np.uint8)
    lines = b"".join(b"\0" + line.tobytes() for line in packed)
    data = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return png_header(WIDTH, HEIGHT, bits, 0) + data


def test_png_with_a_grey_palette_is_read_through_its_palette():
    image = Image.fromarray(GREY).convert("P")
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    file = io.BytesIO()
    image.save(file, "PNG")
    assert np.array_equal(pixels_of(file.getvalue()), 255 - GREY)


def test_rgb_png_of_a_grey_image_is_that_grey_image_without_a_warning():
    file = png(GREY, "RGB")
    assert np.array_equal(pixels_of(file), GREY)
    assert warning_codes(file) == []


def test_rgb_png_with_colours_becomes_luma_with_a_warning():
    file = png(draw_colours())
    assert_close(pixels_of(file), luma(draw_colours()))
    assert warning_codes(file) == ["colour_image"]


@pytest.mark.parametrize("row", [0, HEIGHT - 1])
@pytest.mark.parametrize(("spread", "codes"), [(8, []), (9, ["colour_image"])])
def test_colours_of_more_than_8_levels_in_any_row_are_warned_of(row, spread, codes):
    pixels = np.dstack([GREY] * 3)
    pixels[row] = 100
    pixels[row, 5, 0] = 100 + spread
    assert warning_codes(png(pixels)) == codes


def test_16_bit_rgb_png_keeps_its_depth():
    colours = draw_colours().astype(np.uint16) * 257
    file = imagecodecs.png_encode(colours)
    assert pixels_of(file).dtype == np.uint16
    assert_close(pixels_of(file), luma(colours), tolerance=2)


def test_opaque_alpha_changes_nothing():
    for mode in ("LA", "RGBA"):
        file = png(GREY, mode)
        assert np.array_equal(pixels_of(file), GREY)
        assert warning_codes(file) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_parts_of_a_png_lie_over_black_with_a_warning(channels):
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:40], alpha[40:80] = 0, 128
    file = png(np.dstack([GREY] * channels + [alpha]))
    assert warning_codes(file) == ["transparent_image"]
    assert not pixels_of(file)[:40].any()
    assert_close(pixels_of(file), GREY * (alpha / 255.0))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1500, 1400, 4), np.uint8), ((1500, 1400, 2), np.uint16), ((1500, 1400), np.uint16)],
)
def test_neither_transparency_nor_a_partial_range_takes_a_wider_copy(shape, dtype):
    drawn = np.full(shape, 8000 if dtype is np.uint16 else 100, dtype)
    drawn[0] //= 2
    file = imagecodecs.png_encode(drawn)
    read(file)  # what is made once only
    tracemalloc.start()
    try:
        pixels = read(file).pixels
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pixels.shape == shape[:2]
    samples = math.prod(shape) * np.dtype(dtype).itemsize
    assert most_bytes < 3 * samples  # those of the file, blended ones, grey; 32 bits would be 8


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_of_the_lines_of_a_grey_png_is_undone(kind):
    lines = b"".join(bytes([kind]) + line for line in filtered_lines(GREY, kind))
    data = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert np.array_equal(pixels_of(png_header(WIDTH, HEIGHT, 8, 0) + data), GREY)


def filtered_lines(pixels, kind):
    """The lines of a PNG less what filter `kind` predicts (ISO/IEC 15948, section 9.2)."""
    here = np.pad(pixels, ((1, 0), (1, 0))).astype(int)
    left, above, corner = here[1:, :-1], here[:-1, 1:], here[:-1, :-1]
    guess = left + above - corner
    # Of those at the same distance the first counts.
    distances = [abs(guess - left), abs(guess - above), abs(guess - corner)]
    nearest = np.choose(np.argmin(distances, axis=0), [left, above, corner])
    predicted = [0 * left, left, above, (left + above) // 2, nearest][kind]
    return [line.tobytes() for line in ((pixels - predicted) % 256).astype(np.uint8)]


def test_the_grey_that_a_png_declares_transparent_lies_over_black_with_a_warning():
    level = int(GREY[100, 80])
    file = with_chunk(png(GREY), b"tRNS", level.to_bytes(2, "big"))
    assert np.array_equal(pixels_of(file), np.where(level == GREY, 0, GREY))
    assert warning_codes(file) == ["transparent_image"]


@pytest.mark.parametrize(
    ("pixels", "colour_type"), [(GREY, 0), (DEEP, 0), (np.dstack([GREY] * 3), 2)]
)
def test_interlaced_png_is_read_like_a_plain_one(pixels, colour_type, capfd):
    file = interlaced_png(pixels, colour_type)
    assert np.array_equal(pixels_of(file), pixels if pixels.ndim == 2 else GREY)
    capfd.readouterr()  # libpng remarks on its caller


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_grey_jpeg_is_read_baseline_and_progressive(options):
    radiograph = read(jpeg(GREY, **options))
    assert (radiograph.format, radiograph.bits, radiograph.warnings) == ("JPEG", 8, ())
    assert_close(radiograph.pixels, GREY, JPEG_TOLERANCE)


def test_colour_jpeg_of_a_grey_image_is_grey_without_a_warning():
    file = jpeg(GREY, "RGB")
    assert_close(pixels_of(file), GREY, JPEG_TOLERANCE)
    assert warning_codes(file) == []


def test_colour_jpeg_becomes_luma_with_a_warning():
    file = jpeg(draw_colours())
    assert_close(pixels_of(file), luma(draw_colours()), JPEG_TOLERANCE)
    assert warning_codes(file) == ["colour_image"]


def test_cmyk_jpeg_is_read_with_the_brightness_that_a_viewer_shows():
    assert_close(pixels_of(jpeg(np.dstack([GREY] * 3), "CMYK")), GREY, JPEG_TOLERANCE)


# What Pillow's ImageOps documents, spelled out with arrays (EXIF 2.32, tag 0x0112).
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_of_a_jpeg_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = UPRIGHT[orientation](pixels_of(jpeg(GREY)))
    assert np.array_equal(pixels_of(jpeg(GREY, exif=exif)), upright)


@pytest.mark.parametrize("pixels", [GREY, GREY[:189, :157], draw_colours()], ids=str)
def test_jpeg_that_ends_early_is_answered_with_a_warning(pixels):
    file = jpeg(pixels)
    assert "grey_end" not in warning_codes(file)
    assert "grey_end" in warning_codes(file[: len(file) // 2] + b"\xff\xd9")


def test_jpeg_whose_last_block_holds_more_than_plain_grey_has_no_warning():
    pixels = GREY.copy()
    pixels[-8:, -8:] = np.where(np.arange(8) < 4, 128, 160)
    assert (pixels_of(jpeg(pixels))[-8:, -8:] == 128).any()
    assert warning_codes(jpeg(pixels)) == []


def test_text_of_a_png_is_repeated_nowhere():
    canary = "CANARY-Jane-Doe"
    text = with_chunk(png(GREY), b"tEXt", b"Author\0" + canary.encode())
    assert np.array_equal(pixels_of(text), GREY)
    damaged = text[: len(text) // 2]
    assert canary not in refusal_text(damaged)


def test_an_orientation_in_xmp_alone_is_left_as_browsers_leave_it():
    file = jpeg(GREY, xmp=b'<x tiff:Orientation="6"/>')
    assert b"tiff:Orientation" in file
    assert np.array_equal(pixels_of(file), pixels_of(jpeg(GREY)))


def test_damaged_exif_of_a_jpeg_costs_nothing_but_the_orientation():
    file = jpeg(GREY, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffCANARY")
    assert np.array_equal(pixels_of(file), pixels_of(jpeg(GREY)))


def test_large_text_of_a_png_is_no_obstacle():
    file = with_chunk(png(GREY), b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9))
    assert np.array_equal(pixels_of(file), GREY)
