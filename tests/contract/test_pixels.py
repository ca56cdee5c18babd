"""From radiograph to network input and display image."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from contract.pixels import CONTRACT_VERSION, to_display, to_model_input
from contract.radiograph import Radiograph, read
from tests.contract.drawn import dicom, draw_radiograph, png

# Of `to_model_input(drawn radiograph, 224)`. A change here is a change of every answer: raise
# CONTRACT_VERSION, train anew, and only then write the new values.
PINNED_VERSION = 2
PINNED = {
    8: "703ff386d744e91a52e873ea3c1095bdd8f44a13b6df16924e1dca98fc5ff977",
    16: "ff6e837883d53d7bd938ef95acfa7741ef8e04a108a01534b89d1f6c401697ef",
}


def model_input(file, size=224):
    return to_model_input(read(file), size)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_resize_is_the_one_that_models_were_trained_with(bits):
    digest = hashlib.sha256(model_input(png(draw_radiograph(bits, 1000, 800))).tobytes())
    assert (CONTRACT_VERSION, digest.hexdigest()) == (PINNED_VERSION, PINNED[bits])


@pytest.mark.parametrize("size", [64, 224, 320])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_model_input_is_a_square_of_bytes_with_one_channel(bits, size):
    found = model_input(dicom(draw_radiograph(bits), BitsStored=bits), size)
    assert (found.dtype, found.shape) == (np.uint8, (size, size, 1))
    assert found.flags.c_contiguous


@pytest.mark.parametrize("shape", [(1000, 800), (300, 500), (224, 224), (160, 160)])
@pytest.mark.parametrize("bits", [8, 16])
def test_model_input_equals_a_resize_in_floating_point(bits, shape):
    pixels = draw_radiograph(bits, *shape)
    exact = Image.fromarray(pixels.astype(np.float32) * (255 / ((1 << bits) - 1)))
    expected = np.asarray(exact.resize((224, 224), Image.Resampling.BILINEAR))
    found = model_input(png(pixels))[:, :, 0]
    assert np.abs(found - expected).max() <= 1


def test_the_resize_averages_what_it_reduces():
    # Without antialiasing, a checkerboard of single pixels would become black or white.
    board = np.indices((896, 896)).sum(axis=0) % 2 * 255
    found = model_input(png(board.astype(np.uint8)))
    assert np.abs(found.astype(int) - 127).max() <= 2


def test_the_whole_radiograph_is_stretched_and_nothing_cropped():
    pixels = np.full((400, 200), 10, np.uint8)
    pixels[:40], pixels[-40:], pixels[:, :20], pixels[:, -20:] = 250, 200, 150, 100
    found = model_input(png(pixels), 100)[:, :, 0]
    # A tenth of either side is a tenth of the square, whatever the aspect ratio.
    assert (found[2:8, 50] == 250).all()
    assert (found[-8:-2, 50] == 200).all()
    assert (found[50, 2:8] == 150).all()
    assert (found[50, -8:-2] == 100).all()
    assert (found[15:85, 15:85] == 10).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_black_stays_black_and_white_stays_white(bits):
    pixels = draw_radiograph(bits)
    pixels[:96], pixels[96:] = 0, (1 << bits) - 1
    found = model_input(png(pixels))
    assert set(np.unique(found[:100])) == {0}
    assert set(np.unique(found[-100:])) == {255}


def test_16_bits_are_rounded_to_8_once_and_after_the_resize():
    # Half-way between two levels of 8 bits: rounding first would give one level or the other.
    low, high = 100 * 257, 101 * 257
    columns = np.where(np.arange(400) % 4 == 0, high, low).astype(np.uint16)
    pixels = np.tile(columns, (400, 1))
    pixels[0, 0], pixels[0, 1] = 0, 65535
    found = to_model_input(Radiograph(pixels, "DICOM", 16), 100)[10:, 10:, 0]
    assert np.unique(found).tolist() == [100]
    quarter_higher = (pixels + np.uint16(100)).astype(np.uint16)
    quarter_higher[0, :2] = 0, 65535
    found = to_model_input(Radiograph(quarter_higher, "DICOM", 16), 100)[10:, 10:, 0]
    assert np.unique(found).tolist() == [101]


def test_the_same_pixels_as_png_and_as_dicom_give_the_same_model_input():
    pixels = draw_radiograph(8, 700, 600)
    assert np.array_equal(model_input(png(pixels)), model_input(dicom(pixels)))


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [
        (200, 300, (67, 100)),
        (300, 200, (100, 67)),
        (128, 40_000, (1, 100)),
        (40_000, 128, (100, 1)),
    ],
)
def test_sides_for_people_are_rounded_and_never_nothing(height, width, shape):
    pixels = np.zeros((height, width), np.uint8)
    assert to_display(Radiograph(pixels, "PNG", 8), 100).shape == shape


def test_the_radiograph_is_left_as_it_was():
    radiograph = read(png(draw_radiograph(16)))
    before = radiograph.pixels.copy()
    to_model_input(radiograph, 224)
    assert np.array_equal(radiograph.pixels, before)
