"""Bytes -> Radiograph: formats are told apart by content, and every refusal says what to do."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from contract import errors
from contract.errors import InputError, UnsupportedFormat
from contract.radiograph import detect_format, read
from tests.contract.asserting import refusal, refusal_text
from tests.contract.drawn import dicom, draw_radiograph, jpeg, png

GREY = draw_radiograph()


def saved(file_format):
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, file_format)
    return file.getvalue()


OTHER_FORMATS = {
    "GIF": saved("GIF"),
    "TIFF": saved("TIFF"),
    "BMP": saved("BMP"),
    "PDF": b"%PDF-1.7\n1 0 obj\n",
    "ZIP": b"PK\x03\x04" + bytes(40),
    "gzip": b"\x1f\x8b" + bytes(40),
    "JPEG 2000": saved("JPEG2000"),
    "WebP": saved("WEBP"),
}


@pytest.mark.parametrize(
    ("file", "expected"), [(png(GREY), "PNG"), (jpeg(GREY), "JPEG"), (dicom(GREY), "DICOM")]
)
def test_format_is_told_by_content(file, expected):
    assert detect_format(file) == expected
    assert read(file).format == expected


@pytest.mark.parametrize(("name", "file"), OTHER_FORMATS.items(), ids=OTHER_FORMATS)
def test_other_image_format_is_refused_and_named(name, file):
    assert refusal(file) == "unsupported_format"
    assert name in refusal_text(file)


def test_jpeg_ls_outside_dicom_is_refused_as_what_it_is():
    file = imagecodecs.jpegls_encode(GREY)
    assert refusal(file) == "unsupported_pixels"
    assert "JPEG-LS is read within DICOM only" in refusal_text(file)


@pytest.mark.parametrize(
    "file", [b"Dear radiologist,\n", b"\x89PNG\r\n\x1a", b"\xff\xd8", b"\0", bytes(1000)]
)
def test_text_and_fragments_are_refused_as_no_image(file):
    assert refusal(file) == "unsupported_format"


def test_text_that_calls_itself_png_is_refused_without_repeating_it():
    text = b"PNG CANARY-Jane-Doe " * 20
    assert refusal(text) == "unsupported_format"
    assert "CANARY" not in refusal_text(text)


def test_nothing_at_all_is_refused_as_empty():
    assert refusal(b"") == "damaged_file"
    assert "empty" in refusal_text(b"")


def test_dicom_data_set_without_the_file_header_is_explained():
    bare = dicom(GREY)[132:]
    assert refusal(bare) == "unsupported_format"
    assert "PS3.10" in refusal_text(bare)


def test_dicom_behind_a_preamble_of_another_format_is_that_other_format():
    # Both parsers would accept such a file; the one that looks first has to be known.
    with pytest.raises(InputError):
        read(png(GREY)[:128] + dicom(GREY)[128:])
    assert read(b"II*\0".ljust(128, b"\0") + dicom(GREY)[128:]).format == "DICOM"


def every_error():
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, InputError)
    ]


def test_every_error_has_a_code_of_its_own():
    codes = [kind.code for kind in every_error()]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_every_error_but_the_wrong_format_is_an_unusable_file():
    kinds = set(every_error()) - {InputError, UnsupportedFormat}
    assert all(issubclass(kind, errors.UnusableFile) for kind in kinds)


def test_radiograph_cannot_be_changed():
    radiograph = read(png(GREY))
    with pytest.raises(AttributeError):
        radiograph.bits = 12


def test_reading_twice_gives_the_same():
    for file in (png(GREY), jpeg(GREY), dicom(GREY)):
        assert np.array_equal(read(file).pixels, read(file).pixels)
