"""The resize to the network's input, beside Pillow's."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.resize import _weigh, resize

SIDES = st.integers(1, 700)


def resize_with_pillow(pixels, width, height):
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def noise(height, width, bits):
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 1 << bits, (height, width)).astype(f"uint{bits}")


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
@example(1024, 1024, 224, 224)
@example(2500, 2048, 192, 192)
@example(1, 1, 224, 224)
@example(224, 224, 224, 224)
@example(224, 700, 224, 224)
# Just as much higher than wide as is resized row by row, and a pixel more.
@example(408, 300, 192, 192)
@example(409, 300, 192, 192)
@example(191, 100, 192, 192)
@example(193, 100, 192, 192)
@example(20_000, 150, 192, 192)
@example(150, 20_000, 192, 192)
def test_eight_bits_become_what_pillow_makes_of_them(height, width, new_height, new_width):
    pixels = noise(height, width, 8)
    expected = resize_with_pillow(pixels, new_width, new_height)
    assert np.array_equal(resize(pixels, new_width, new_height), expected)


@settings(max_examples=50, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_sixteen_bits_differ_from_pillows_by_one_level_at_most(
    height, width, new_height, new_width
):
    pixels = noise(height, width, 16)
    expected = resize_with_pillow(pixels, new_width, new_height).astype(int)
    assert np.abs(resize(pixels, new_width, new_height) - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_sums_are_those_of_whole_numbers(bits):
    pixels, places = noise(700, 500, bits), {8: 22, 16: 36}[bits]
    expected = pixels.astype(np.int64)
    for before in (500, 700):  # rows, then columns
        whole = np.zeros((before, 224), np.int64)
        for outputs, inputs, weights in _weigh(before, 224, places):
            whole[inputs, outputs] = np.ldexp(weights, places)
        expected = ((expected @ whole + (1 << (places - 1))) >> places).T
    assert np.array_equal(resize(pixels, 224, 224), expected)


def test_weights_of_long_sides_are_not_kept():
    _weigh.cache_clear()
    resize(np.zeros((128, 100_000), np.uint8), 224, 224)
    assert _weigh.cache_info().currsize == 1, "those of 128 rows"


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(900, 700), (3000, 500), (10, 5000)])
def test_one_grey_stays_that_grey(bits, shape):
    for grey in (0, 1, 127, (1 << bits) - 1):
        pixels = np.full(shape, grey, f"uint{bits}")
        assert (resize(pixels, 224, 224) == grey).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_rows_in_strips_become_what_they_become_at_once(bits, monkeypatch):
    pixels = noise(1000, 600, bits)
    whole = resize(pixels, 224, 224)
    monkeypatch.setattr("contract.resize._STRIP_BYTES", 100_000)
    assert np.array_equal(resize(pixels, 224, 224), whole)


@pytest.mark.parametrize("bits", [8, 16])
def test_order_of_memory_changes_nothing(bits):
    pixels = noise(500, 300, bits)
    turned = np.asfortranarray(pixels)
    assert np.array_equal(resize(turned, 64, 64), resize(pixels, 64, 64))
    assert np.array_equal(resize(pixels[:, ::-1], 64, 64), resize(pixels[:, ::-1].copy(), 64, 64))
