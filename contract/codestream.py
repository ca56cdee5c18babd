"""What a compressed image declares about itself, read from its first bytes without decoding it.

A file may pass every limit on bytes and tags while its code stream declares far more pixels; the
decoders allocate by the code stream, so it is asked first.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from contract.errors import DamagedFile, TooComplex

MAX_JPEG_SCANS: Final = 100
"""Ten are usual in a progressive JPEG; 2,000 in 125 kB cost 36 CPU seconds."""

START_OF_SCAN: Final = b"\xff\xda"
_END: Final = b"\xff\xd9"
_SOS, _EOI, _APP0, _APP14 = 0xDA, 0xD9, 0xE0, 0xEE
_COD, _SOT = 0x52, 0x90  # of JPEG 2000
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
# SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, table B.1), and SOF55 of JPEG-LS (T.87).
_SOF_LS: Final = 0xF7
_SOF: Final = frozenset({*range(0xC0, 0xD0), _SOF_LS} - {0xC4, 0xC8, 0xCC})


class Frame(NamedTuple):
    """Size in pixels, number of components and bits of one sample."""

    width: int
    height: int
    components: int
    bits: int


def read_jpeg_frame(data: bytes) -> Frame:
    """Return the frame of a JPEG or JPEG-LS code stream from its SOF marker.

    Raises DamagedFile where there is none or more than one, TooComplex for more than
    MAX_JPEG_SCANS scans.
    """
    # Inside entropy-coded data 0xFF is always stuffed, so a false hit can only come from metadata.
    if data.count(START_OF_SCAN) > MAX_JPEG_SCANS:
        raise TooComplex(
            f"The JPEG has more than {MAX_JPEG_SCANS} scans; save it as baseline JPEG."
        )
    frames = [segment for marker, segment in _jpeg_segments(data) if marker in _SOF]
    if not frames or len(frames[0]) < 6:
        raise DamagedFile("The JPEG is cut short before its frame header.")
    if len(frames) > 1:
        raise DamagedFile("The JPEG has several frame headers.")  # decoders differ in which counts
    bits, height, width, components = struct.unpack(">BHHB", frames[0][:6])
    return Frame(width, height, components, bits)


def find_end(data: bytes, start_of_data: bytes) -> int | None:
    """Return where a code stream ends, behind its end marker; None where it was cut off.

    JPEG, JPEG-LS and JPEG 2000 share the marker, and compressed data never holds one, so one
    without an end after the last start of data is cut short.
    """
    end = data.rfind(_END)
    return end + len(_END) if end > data.rfind(start_of_data) else None


def declares_ycc(data: bytes) -> bool:
    """Return whether a JPEG says itself that its components are luma and chroma, not RGB.

    It does by JFIF, by Adobe's marker or by coding the first in more detail than the others.
    """
    return any(
        (marker == _APP0 and segment.startswith(b"JFIF"))
        or (marker == _APP14 and segment.startswith(b"Adobe") and segment[11:12] == b"\x01")
        or (marker in _SOF and segment[7:8] != segment[10:11] == segment[13:14] == b"\x11")
        for marker, segment in _jpeg_segments(data)
    )


def is_jpeg_ls(data: bytes) -> bool:
    """Return whether what begins like a JPEG is JPEG-LS (ITU-T T.87)."""
    return any(marker == _SOF_LS for marker, _ in _jpeg_segments(data))


def read_jpeg2000_frame(data: bytes) -> Frame:
    """Return the frame of a JPEG 2000 or HTJ2K code stream from its SIZ marker (T.800, A.5.1).

    DICOM stores bare code streams (PS3.5, A.4.4); some writers leave the JP2 boxes on. Raises
    DamagedFile where there is none.
    """
    start = _find_code_stream(data)
    siz = data[start + 6 : start + 6 + 37]
    if data[start : start + 4] != b"\xff\x4f\xff\x51" or len(siz) < 37:
        raise DamagedFile("The JPEG 2000 code stream is cut short before its header ends.")
    _, right, lower, left, upper, *_, components, depth = struct.unpack(">H8IHB", siz)
    return Frame(right - left, lower - upper, components, (depth & 0x7F) + 1)


def check_tiles(data: bytes) -> None:
    """Raise DamagedFile where a JPEG 2000 code stream lacks a part of a tile, or a whole tile.

    OpenJPEG leaves it black. T.800, A.4.2 and B.3.
    """
    at = _find_code_stream(data)
    right, lower, _, _, width, height, left, upper = struct.unpack(">8I", data[at + 8 : at + 40])
    if not (width and height and left < right and upper < lower):
        raise DamagedFile("The JPEG 2000 code stream contradicts itself about its tiles.")
    tiles = math.ceil((right - left) / width) * math.ceil((lower - upper) / height)
    at = _find_marker(data, at + 2, _SOT)
    found: Counter[int] = Counter()
    promised: dict[int, int] = {}
    while data[at : at + 2] == bytes((0xFF, _SOT)) and at + 12 <= len(data):
        tile, length, _, parts = struct.unpack(">HIBB", data[at + 4 : at + 12])
        found[tile] += 1
        promised[tile] = max(parts, promised.get(tile, 1))
        at = at + length if length else len(data)  # 0 is the last one, to the end
    whole = len(found) == tiles and max(found) < tiles
    if not whole or any(found[tile] < parts for tile, parts in promised.items()):
        raise DamagedFile("The JPEG 2000 code stream lacks a part of the image.")


def has_component_transform(data: bytes) -> bool:
    """Return whether a JPEG 2000 code stream mixes its first three components (T.800, A.6.1)."""
    at = _find_marker(data, _find_code_stream(data) + 2, _COD)
    return data[at + 8 : at + 9] == b"\x01"


def _find_marker(data: bytes, at: int, marker: int) -> int:
    """Return where a marker segment of the main header at `at` begins, the length if nowhere."""
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == marker:
            return at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


def _find_code_stream(data: bytes) -> int:
    """Return where the code stream of a JP2 file starts (T.800, I.4), its length if nowhere.

    The boxes are walked, since anything may stand inside those before the code stream.
    """
    if data[4:8] != b"jP  ":
        return 0
    at = 0
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        header = 16 if length == 1 else 8
        if kind == b"jp2c":
            return at + header
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length < header:  # 0 is the last box of the file; less is damage
            break
        at += length
    return len(data)


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
