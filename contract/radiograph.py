"""Bytes -> Radiograph: grey pixels and the facts of the file they came from."""

from dataclasses import dataclass
from typing import Final, Literal
from warnings import catch_warnings, simplefilter

from contract.dicom import read_dicom
from contract.errors import BlankImage, DamagedFile, InputWarning, UnsupportedFormat
from contract.image import read_image
from contract.limits import Pixels

Format = Literal["PNG", "JPEG", "DICOM"]

_OTHER_FORMATS: Final = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)


@dataclass(frozen=True)
class Radiograph:
    """A radiograph as it would be displayed: larger values are brighter.

    `pixels`: uint8[H,W], or uint16[H,W] with 65535 as white where the file is deeper than 8 bits.
    `bits`: significant bits of a grey value in the file. `warnings`: what the sender should know.
    """

    pixels: Pixels
    format: Format
    bits: int
    warnings: tuple[InputWarning, ...] = ()


def detect_format(data: bytes) -> Format:
    """Tell PNG, JPEG and DICOM apart by content; file names and media types are never asked.

    Raises DamagedFile for no bytes at all, UnsupportedFormat for anything else.
    """
    if not data:
        raise DamagedFile("The file is empty; send the bytes of a PNG, JPEG or DICOM file.")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[128:132] == b"DICM":  # PS3.10, section 7.1
        return "DICOM"
    if data[:2] in (b"\x02\x00", b"\x08\x00") and data[3:4] == b"\x00":
        raise UnsupportedFormat(
            "This looks like a DICOM data set without the file header of PS3.10 (128 bytes and "
            "'DICM'); save it as a DICOM file and send that."
        )
    known = next((name for start, name in _OTHER_FORMATS if data.startswith(start)), None)
    if data[:4] + data[8:12] == b"RIFFWEBP":
        known = "WebP"
    what = f"a {known} file" if known else "of no known image format"
    raise UnsupportedFormat(f"The content is {what}; send PNG, JPEG or DICOM.")


def read(data: bytes) -> Radiograph:
    """Read one radiograph from the bytes of a PNG, JPEG or DICOM file.

    Raises a subclass of `contract.errors.InputError` that says what is wrong with the file.
    """
    file_format = detect_format(data)
    with catch_warnings():
        simplefilter("ignore", UserWarning)  # pydicom and Pillow quote values of the file in them
        if file_format == "DICOM":
            pixels, bits, warnings = read_dicom(data)
        else:
            pixels, bits, warnings = read_image(data, file_format)
    step = 1 if pixels.itemsize == 1 else 257  # the network sees 8 bits
    if round(int(pixels.min()) / step) == round(int(pixels.max()) / step):
        raise BlankImage("Every pixel has the same grey; send an image with content.")
    return Radiograph(pixels, file_format, bits, tuple(warnings))
