"""RLE of DICOM -> samples: for every byte of a sample, highest first, a PackBits segment.

The decoders that pydicom knows of panic on damaged segments or take seconds (PS3.5, annex G).
"""

import struct

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from contract.errors import DamagedFile


def decode_rle(encoded: bytes, dataset: Dataset) -> NDArray[np.generic]:
    """Decode the RLE data of one frame to big-endian samples, [H,W] or [H,W,3].

    Raises DamagedFile where the segments do not fit the tags.
    """
    height, width = int(dataset.Rows), int(dataset.Columns)
    samples, octets = int(dataset.SamplesPerPixel), int(dataset.BitsAllocated) // 8
    segments, *starts = struct.unpack("<16I", encoded[:64])
    if segments != samples * octets:
        raise DamagedFile(f"RLE data of {segments} segments; the tags need {samples * octets}.")
    ends = (*starts[1:segments], len(encoded))
    planes = [
        _unpack_segment(encoded[start:end], height * width)
        for start, end in zip(starts, ends, strict=False)
    ]
    stacked = np.stack(planes).reshape(samples, octets, height, width).transpose(2, 3, 0, 1)
    pixels = np.ascontiguousarray(stacked).view(f">u{octets}")[..., 0]
    return pixels if samples > 1 else pixels[..., 0]


def _unpack_segment(segment: bytes, length: int) -> NDArray[np.uint8]:
    room = length + 256  # encoders may let the last two runs end beyond the image
    try:
        octets = imagecodecs.packbits_decode(segment, out=room)
    except imagecodecs.PackbitsError:
        # Some writers pad to an even length with a byte that looks like the start of a run.
        octets = imagecodecs.packbits_decode(segment[:-1], out=room)
    if len(octets) < length:
        raise DamagedFile("The RLE data of the DICOM file is cut short.")
    return np.frombuffer(octets, np.uint8)[:length]
