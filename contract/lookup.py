"""Lookup tables of DICOM: modality and VOI LUT, and what palettes share with them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from contract.errors import DamagedFile, TooComplex

Values = NDArray[np.float64]

MAX_TABLE_BYTES: Final = 1 << 17
"""Longest lookup table: 65,536 entries of 16 bits; 16 MiB cost 10 s."""


def lut_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a LUT sequence, None where it is absent or empty."""
    items = dataset.get(keyword)
    if not items:
        return None
    for part, most in (("LUTDescriptor", 6), ("LUTData", MAX_TABLE_BYTES)):
        raw = items[0].get_item(part)
        if raw is not None and len(raw.value or b"") > most:
            raise TooComplex("The DICOM file has a lookup table of more than 65,536 entries.")
    return items[0] if items[0].get("LUTDescriptor") else None


def look_up(values: Values, item: Dataset) -> tuple[Values, float]:
    """Map values through a LUT item (PS3.3, C.11.1.1.1); return them and the table's top value."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries, first = read_descriptor(entries, first, values)
    raw = item.LUTData
    if isinstance(raw, bytes):
        wide = ">u2" if item.original_encoding[1] is False else "<u2"
        raw = np.frombuffer(raw, np.uint8 if len(raw) <= entries + entries % 2 else wide)
    table = np.atleast_1d(np.asarray(raw, np.float64))[:entries]
    if len(table) == 0 or not 8 <= bits <= 16:
        raise DamagedFile("A lookup table of the file is empty or has an impossible depth.")
    index = np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)
    return table[index], float((1 << bits) - 1)


def read_descriptor(entries: int, first: int, values: NDArray[Any]) -> tuple[int, int]:
    """Return count and first mapped value of a lookup table (PS3.3, C.7.6.3.1.5 and C.11.1.1).

    They share one VR: SS makes a count and a first value above 32767 negative, US a negative first
    value large. The first value is read the other way where all `values` would get one entry.
    """
    entries = entries % 65536 or 65536
    if values.min() < 0 and first > values.max():
        first -= 65536
    elif first < 0 and first + entries - 1 <= values.min():
        first += 65536
    return entries, first
