"""PALETTE COLOR of DICOM: stored values -> colours (PS3.3, C.7.6.3.1.5 and C.7.6.3.1.6)."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from contract.errors import DamagedFile, UnsupportedPixels
from contract.limits import Pixels
from contract.lookup import read_descriptor
from contract.stored import stored_values


def apply_palette(samples: Pixels, dataset: Dataset) -> Pixels:
    """Turn stored samples [H,W] into colours, uint8[H,W,3] or uint16[H,W,3] by the palette's depth.

    Raises DamagedFile for a palette that is cut off, UnsupportedPixels for one in segments.
    """
    segmented = "SegmentedRedPaletteColorLookupTableData" in dataset
    if segmented and "RedPaletteColorLookupTableData" not in dataset:
        raise UnsupportedPixels("Palettes in segments are not read; send the radiograph in grey.")
    stored = stored_values(samples, dataset)
    channels = [_read_channel(colour, stored, dataset) for colour in ("Red", "Green", "Blue")]
    colours: Pixels = np.stack(channels, axis=-1)
    if colours.max() < 256 and dataset.RedPaletteColorLookupTableDescriptor[2] == 8:
        colours = colours.astype(np.uint8)  # bytes in words, which CP-522 tolerates
    shown: Pixels = colours[samples]
    return shown


def _read_channel(colour: str, stored: NDArray[np.int64], dataset: Dataset) -> Pixels:
    """Return the entry of every possible sample."""
    name = f"{colour}PaletteColorLookupTable"
    entries, first, bits = (int(number) for number in dataset[f"{name}Descriptor"].value)
    entries, first = read_descriptor(entries, first, stored)
    raw = dataset[f"{name}Data"].value
    raw += b"\0" * (len(raw) % 2)
    order = ">u2" if dataset.original_encoding[1] is False else "<u2"
    table = np.frombuffer(raw, order).astype("<u2")
    if len(raw) <= entries + 1:
        table = table.view(np.uint8)  # the first of two bytes is the lower one of their word
    if len(table) < entries or bits not in (8, 16):
        raise DamagedFile("A palette of the file is cut off or has an impossible depth.")
    channel: Pixels = table[np.clip(stored - first, 0, entries - 1)]
    return channel
