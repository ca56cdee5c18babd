"""Small files that cost a careless reader minutes or gigabytes, and how each must be answered."""

import struct
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

import imagecodecs
import numpy as np
from pydicom import uid

from tests.contract.drawn import (
    chunk,
    dicom,
    dicom_start,
    draw_radiograph,
    element,
    jpeg,
    png,
    png_header,
    with_chunk,
)

GREY: Final = draw_radiograph()
_END: Final = chunk(b"IEND", b"")
_EMPTY_ITEM: Final = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
_OPEN_ITEM: Final = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)


class Bomb(NamedTuple):
    """How to make the file, and the code of its refusal; None for an answer."""

    make: Callable[[], bytes]
    code: str | None


def _jpeg_of_scans(count: int) -> bytes:
    stream = jpeg(GREY, progressive=True)
    scan = stream[stream.rindex(b"\xff\xda") : -2]
    return stream[:-2] + scan * count + b"\xff\xd9"


def slow_jpeg(side: int = 7000, scans: int = 99) -> bytes:
    """Return a JPEG of 100 kB within every declared limit that takes seconds to decode.

    Progressive (ITU-T T.81, annex G): one DC scan, then AC scans of nothing but runs of 32,767
    empty blocks, each of which makes the decoder walk through every coefficient of the image.
    """
    blocks = (-(-side // 8)) ** 2
    bits = "0" + "1" * 14  # the code of EOB14, then the rest of the run's length
    run = bits * -(-blocks // 32767)
    run += "1" * (-len(run) % 8)
    empty = int(run, 2).to_bytes(len(run) // 8).replace(b"\xff", b"\xff\0")
    file = b"\xff\xd8" + _segment(0xDB, b"\0" + b"\1" * 64)
    file += _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    file += _segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")
    file += _segment(0xC4, b"\x10" + bytes([1, 1] + [0] * 14) + b"\xe0\0")
    file += _segment(0xDA, b"\1\1\0" + bytes(3)) + bytes(-(-blocks // 8))
    for scan in range(scans - 1):
        high = max(14 - scan, 1) if scan else 0
        approximation = high << 4 | max(13 - scan, 0)
        file += _segment(0xDA, b"\1\1\0" + bytes([1, 63, approximation])) + empty
    return file + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def zeros(mebibytes: int) -> bytes:
    """Return zero bytes, deflated a thousandfold (RFC 1950) without deflating each of them."""
    deflate = zlib.compressobj(9)
    blocks = [deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH) for _ in "12"]
    checksum = (mebibytes << 20) % 65521 << 16 | 1
    return blocks[0] + blocks[1] * (mebibytes - 1) + b"\3\0" + checksum.to_bytes(4)


def endless_png() -> bytes:
    """Return a PNG of 200 x 200 pixels whose image data goes on for 4 GiB behind its last line.

    Of 16-bit colour, which libpng reads; kornia-rs, which reads the rest, stops at that line.
    """
    return png_header(200, 200, 16, 2) + chunk(b"IDAT", zeros(4096)) + _END


def large_colour_png() -> bytes:
    """Return 48 megapixels of 16-bit colour and transparency in 400 kB."""
    return png_header(8000, 6000, 16, 6) + chunk(b"IDAT", zeros(367)) + _END


def _text_of_one_gigabyte() -> bytes:
    return with_chunk(png(GREY), b"zTXt", b"Comment\0\0" + zeros(1024))


def _deflated() -> bytes:
    return dicom_start(b"1.2.840.10008.1.2.1.99") + zeros(1024)[2:]


def _lying_jpeg2000() -> bytes:
    huge = imagecodecs.jpeg2k_encode(np.zeros((4000, 4000), np.uint8), codecformat="j2k", level=0)
    return dicom(GREY, uid.JPEG2000, huge)


def _endless_box() -> bytes:
    signature = b"\0\0\0\x0cjP  \r\n\x87\n"
    stream = imagecodecs.jpeg2k_encode(GREY, codecformat="j2k")
    return dicom(GREY, uid.JPEG2000, signature + b"\0\0\0\0free" + stream)


def _elements(count: int) -> bytes:
    block = b"".join(element(9, number, b"LO", b"") for number in range(0x1000, 0x2000))
    return block * (count // 0x1000)


def _sequence(content: bytes) -> bytes:
    return struct.pack("<HH2sHI", 9, 0x1001, b"SQ", 0, 0xFFFFFFFF) + content


def _fragments() -> bytes:
    pixel_data = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    return dicom_start(b"1.2.840.10008.1.2.4.50") + pixel_data + _EMPTY_ITEM * 2_000_000


def _values() -> bytes:
    values = b"1\\" * 4_000_000
    long = struct.pack("<HHI", 0x0028, 0x1050, len(values)) + values
    return dicom_start(b"1.2.840.10008.1.2\0") + long


def _declared_jpeg() -> bytes:
    file = jpeg(GREY)
    at = file.index(b"\xff\xc0") + 5
    return file[:at] + b"\xff\xff\xff\xff" + file[at + 4 :]


BOMBS: Final = {
    "jpeg-of-2000-scans": Bomb(lambda: _jpeg_of_scans(2000), "too_complex"),
    "jpeg-of-2000-scans-in-dicom": Bomb(
        lambda: dicom(GREY, uid.JPEGBaseline8Bit, _jpeg_of_scans(2000)), "too_complex"
    ),
    "jpeg-declares-4-gigapixels": Bomb(_declared_jpeg, "too_many_pixels"),
    "png-declares-4-exapixels": Bomb(
        lambda: png_header(0x7FFFFFFF, 0x7FFFFFFF, 16, 6) + _END, "too_many_pixels"
    ),
    "png-text-of-1-gigabyte": Bomb(_text_of_one_gigabyte, None),
    "dicom-deflated-1-gigabyte": Bomb(_deflated, "unsupported_pixels"),
    "dicom-jpeg-2000-larger-than-its-tags": Bomb(_lying_jpeg2000, "damaged_file"),
    "dicom-jp2-box-of-no-length": Bomb(_endless_box, "damaged_file"),
    "dicom-of-two-million-elements": Bomb(
        lambda: dicom_start() + _elements(2_000_000), "too_complex"
    ),
    "dicom-of-two-million-items": Bomb(
        lambda: dicom_start() + _sequence(_EMPTY_ITEM * 2_000_000), "too_complex"
    ),
    "dicom-of-100-000-nested-sequences": Bomb(
        lambda: dicom_start() + _sequence(_OPEN_ITEM) * 100_000, "too_complex"
    ),
    "dicom-of-two-million-fragments": Bomb(_fragments, "too_complex"),
    "dicom-of-four-million-values": Bomb(_values, "too_complex"),
    "dicom-declares-4-gigapixels": Bomb(
        lambda: dicom(GREY, Rows=65535, Columns=65535), "too_many_pixels"
    ),
    "dicom-declares-two-billion-frames": Bomb(
        lambda: dicom(GREY, NumberOfFrames=2_000_000_000), "several_frames"
    ),
}
