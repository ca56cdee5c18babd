"""PNG -> samples: what radiographs usually are by kornia-rs, the rest by libpng."""

import struct
from collections.abc import Callable
from typing import Final

import imagecodecs
from kornia_rs.io import decode_image_png_u8, decode_image_png_u16

from contract.codestream import Frame
from contract.errors import DamagedFile, SeveralFrames
from contract.limits import Pixels, check_size

# By components and bits. Of 16 bits kornia-rs holds two copies at once, which for colour of
# MAX_PIXELS would be 764 MiB.
_QUICK: Final[dict[tuple[int, int], tuple[Callable[..., Pixels], str]]] = {
    (1, 8): (decode_image_png_u8, "mono"),
    (3, 8): (decode_image_png_u8, "rgb"),
    (4, 8): (decode_image_png_u8, "rgba"),
    (1, 16): (decode_image_png_u16, "mono"),
}


def read_png(data: bytes) -> tuple[Pixels, int]:
    """Decode a PNG to uint8 or uint16 samples [H,W] or [H,W,1 to 4], and their bits in the file.

    Raises DamagedFile, SeveralFrames and what `check_size` raises.
    """
    frame = read_png_frame(data)
    check_size(frame.width, frame.height)
    chunks = _chunks_before_image(data)
    if b"acTL" in chunks:
        raise SeveralFrames("The PNG is animated; send one still image.")
    # Left to libpng: palettes, and one colour that means transparent.
    quick = None if chunks & {b"PLTE", b"tRNS"} else _QUICK.get((frame.components, frame.bits))
    try:
        samples = _decode_quickly(data, frame, *quick) if quick else imagecodecs.png_decode(data)
    except (imagecodecs.PngError, ValueError) as error:
        raise DamagedFile("The PNG is cut short or is damaged; export it again.") from error
    return samples, frame.bits


def _decode_quickly(data: bytes, frame: Frame, decode: Callable[..., Pixels], mode: str) -> Pixels:
    """Decode by kornia-rs, in less time than libpng takes; raises ValueError for damage."""
    try:
        return decode(data, (frame.height, frame.width), mode)
    except MemoryError:
        raise
    except Exception as error:  # it has no kind of its own
        raise ValueError from error


def read_png_frame(data: bytes) -> Frame:
    """Return the frame of a PNG (ISO/IEC 15948, section 11.2.2).

    Raises DamagedFile where IHDR is not the first chunk.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise DamagedFile("The PNG file is cut short before its header ends.")
    width, height, bits, colour_type = struct.unpack(">IIBB", data[16:26])
    components = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour_type)
    if components is None:
        raise DamagedFile(f"The PNG header declares the unknown colour type {colour_type}.")
    return Frame(width, height, components, bits)


def _chunks_before_image(data: bytes) -> frozenset[bytes]:
    """Return the kinds of the chunks before the image data, such as b"tRNS" (section 5.6)."""
    kinds: set[bytes] = set()
    at = 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IDAT":
            break
        kinds.add(kind)
        at += length + 12
    return frozenset(kinds)
