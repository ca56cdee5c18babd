"""Drawn radiographs and the bytes of files that hold them; nothing here shows a patient."""

import io
import struct
import warnings
import zlib
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import DataElement, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

HEIGHT, WIDTH = 192, 160
UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# First row, first column, row step and column step of Adam7's passes (ISO/IEC 15948, section 8.2).
_ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def draw_radiograph(bits: int = 8, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Draw two dark lungs in a bright chest, in integers only, as uint8 or uint16[H,W]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    chest = 150 + 60 * y // height + 30 * x // width
    for centre in (width // 4, 3 * width // 4):
        distance = ((x - centre) * 5) ** 2 + ((y - height // 2) * 3) ** 2
        chest -= np.clip(130 - distance * 130 // (height * height), 0, 130)
    top = (1 << bits) - 1
    fine = (x * 7 + y * 13) % max(1, 1 << (bits - 8))  # detail below one step of 8 bits
    values = np.clip(chest * top // 255 + fine, 0, top)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def image_of(*values, dtype=np.uint16):
    """Return an image whose first pixels are `values` and whose others repeat the last."""
    pixels = np.full(HEIGHT * WIDTH, values[-1], dtype)
    pixels[: len(values)] = values
    return pixels.reshape(HEIGHT, WIDTH)


def draw_colours() -> np.ndarray:
    """Draw three smooth channels that differ, uint8[H,W,3]."""
    grey = draw_radiograph()
    return np.ascontiguousarray(np.stack([grey, 255 - grey, grey[:, ::-1]], axis=-1))


def luma(colours: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 in floating point."""
    return colours.astype(float) @ [0.299, 0.587, 0.114]


def png(pixels: np.ndarray, mode: str | None = None, **options: Any) -> bytes:
    """Return a PNG, written by Pillow."""
    image = Image.fromarray(pixels)
    return _save(image.convert(mode) if mode else image, "PNG", **options)


def jpeg(pixels: np.ndarray, mode: str | None = None, **options: Any) -> bytes:
    """Return a JPEG of high quality, written by Pillow."""
    image = Image.fromarray(pixels)
    settings = {"quality": 95, "subsampling": 0, **options}
    return _save(image.convert(mode) if mode else image, "JPEG", **settings)


def _save(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_header(width: int, height: int, bits: int, colour_type: int, interlace: int = 0) -> bytes:
    """Return the signature and IHDR of a PNG."""
    fields = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace)
    return PNG_SIGNATURE + chunk(b"IHDR", fields)


def interlaced_png(pixels: np.ndarray, colour_type: int) -> bytes:
    """Return an Adam7 interlaced PNG, which Pillow cannot write."""
    passes = [pixels[row::rows, column::columns] for row, column, rows, columns in _ADAM7]
    big_endian = pixels.dtype.newbyteorder(">")
    lines = b"".join(b"\0" + line.astype(big_endian).tobytes() for part in passes for line in part)
    header = png_header(
        pixels.shape[1], pixels.shape[0], pixels.dtype.itemsize * 8, colour_type, interlace=1
    )
    return header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def with_chunk(file: bytes, kind: bytes, content: bytes) -> bytes:
    """Insert a chunk behind the IHDR of a PNG."""
    return file[:33] + chunk(kind, content) + file[33:]


def dicom(
    pixels: np.ndarray,
    syntax: UID = ExplicitVRLittleEndian,
    encoded: bytes | None = None,
    **tags: Any,
) -> bytes:
    """Return a DICOM file of a DX image; a tag that is None is left out.

    `encoded` is the code stream of a compressed transfer syntax; without it the pixels are written
    as they are, or by pydicom's encoder for RLE.
    """
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["drawn"])
    dataset.Modality = "DX"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.PatientName = "Drawn^Nobody"
    colour = pixels.ndim == 3
    bits = pixels.dtype.itemsize * 8
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = max(tags.get("BitsStored", bits), 1) - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if encoded is not None:
        dataset.PixelData = encapsulate([encoded])
    elif syntax.is_encapsulated:
        frame = RLELosslessEncoder.encode(pixels, **_encoding_options(dataset))
        dataset.PixelData = encapsulate([frame])
    else:
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    return write_dicom(dataset, syntax, **tags)


def write_dicom(dataset: Dataset, syntax: UID, **tags: Any) -> bytes:
    """Set or remove tags of a data set and write it as a file, impossible values included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in tags.items():
            if isinstance(value, DataElement):
                dataset.add(value)  # with a VR of its own
            elif value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                del dataset[keyword]
        if "PixelData" in dataset:
            wide = dataset.get("BitsAllocated", 8) > 8 and not syntax.is_encapsulated
            dataset["PixelData"].VR = "OW" if wide else "OB"
            dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _encoding_options(dataset: Dataset) -> dict[str, Any]:
    return {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "samples_per_pixel": dataset.SamplesPerPixel,
        "photometric_interpretation": dataset.PhotometricInterpretation,
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored,
        "pixel_representation": dataset.PixelRepresentation,
        "number_of_frames": 1,
        "planar_configuration": 0,
        "transfer_syntax_uid": str(RLELosslessEncoder.UID),
    }


def lut_item(first: int, table: np.ndarray, bits: int, **tags: Any) -> Dataset:
    """Return an item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(table) % 65536, first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = table.tolist()
    item["LUTData"].VR = "US"
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def jpeg_code_stream(
    pixels: np.ndarray, bits: int, *, lossless: bool = False, **options: Any
) -> bytes:
    """Return a JPEG code stream of 8 to 16 bits."""
    predictor = {"predictor": 1} if lossless else {"level": 95}
    settings = {**predictor, **options}
    stream: bytes = imagecodecs.jpeg8_encode(
        pixels, lossless=lossless, bitspersample=bits, **settings
    )
    return stream


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an element in explicit little endian; `length` may lie."""
    length = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHI", group, number, vr, 0, length) + value
    return struct.pack("<HH2sH", group, number, vr, length) + value


def dicom_start(syntax: bytes = b"1.2.840.10008.1.2.1\0") -> bytes:
    """Return preamble, prefix and file meta information of a DICOM file."""
    meta = element(2, 0x10, b"UI", syntax) if syntax else b""
    length = element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return b"\0" * 128 + b"DICM" + length + meta
