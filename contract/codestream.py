"""What a compressed image declares about itself, read from its first bytes without decoding it.

A file may pass every limit on bytes and tags while its code stream declares far more pixels; the
decoders allocate by the code stream, so it is asked first.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from contract.errors import DamagedFile, TooComplex

MAX_JPEG_SCANS: Final = 100
"""Ten are usual in a progressive JPEG; 2,000 in 125 kB cost 36 CPU seconds."""

_SOI, _SOS, _EOI = 0xD8, 0xDA, 0xD9
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
# SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, table B.1), and SOF55 of JPEG-LS (T.87).
_SOF: Final = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


class Frame(NamedTuple):
    """Size in pixels, number of components and bits of one sample."""

    width: int
    height: int
    components: int
    bits: int


def read_png_header(data: bytes) -> tuple[Frame, int]:
    """Return the frame of a PNG and its colour type (ISO/IEC 15948, section 11.2.2).

    Raises DamagedFile where IHDR is not the first chunk.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise DamagedFile("The PNG file breaks off before its header ends.")
    width, height, bits, colour_type = struct.unpack(">IIBB", data[16:26])
    components = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour_type)
    if components is None:
        raise DamagedFile(f"The PNG header declares the unknown colour type {colour_type}.")
    return Frame(width, height, components, bits), colour_type


def read_jpeg_frame(data: bytes) -> Frame:
    """Return the frame of a JPEG or JPEG-LS code stream from its SOF marker.

    Raises DamagedFile where there is none, TooComplex for more than MAX_JPEG_SCANS scans.
    """
    # Inside entropy-coded data 0xFF is always stuffed, so a false hit can only come from metadata.
    if data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise TooComplex(
            f"The JPEG has more than {MAX_JPEG_SCANS} scans; save it as baseline JPEG."
        )
    for marker, segment in _jpeg_segments(data):
        if marker in _SOF:
            if len(segment) < 6:
                break
            bits, height, width, components = struct.unpack(">BHHB", segment[:6])
            return Frame(width, height, components, bits)
    raise DamagedFile("The JPEG breaks off before its frame header.")


def read_jpeg2000_frame(data: bytes) -> Frame:
    """Return the frame of a JPEG 2000 or HTJ2K code stream from its SIZ marker (T.800, A.5.1).

    DICOM stores bare code streams (PS3.5, A.4.4); some writers leave the JP2 boxes on, so the start
    of the code stream is searched. Raises DamagedFile where there is none.
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    siz = data[start + 6 : start + 6 + 37]
    if start < 0 or len(siz) < 37:
        raise DamagedFile("The JPEG 2000 code stream breaks off before its header ends.")
    _, right, lower, left, upper, *_, components, depth = struct.unpack(">H8IHB", siz)
    return Frame(right - left, lower - upper, components, (depth & 0x7F) + 1)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) of every segment before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        if marker in (_SOS, _EOI):
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2:
            return
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length
