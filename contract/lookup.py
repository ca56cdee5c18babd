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


def look_up(values: Values, used: NDArray[np.bool_], item: Dataset) -> tuple[Values, float]:
    """Map values through a LUT item (PS3.3, C.11.1.1.1); return them and the table's top value.

    Raises DamagedFile for an impossible depth and a table that is cut off before a `used` value.
    """
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries, first = read_descriptor(entries, first, values)
    table = _read_entries(item, entries, bits)
    index = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)
    if not 8 <= bits <= 16 or (index[used] >= len(table)).any() or len(table) == 0:
        raise DamagedFile("A lookup table of the file is cut off or has an impossible depth.")
    return table[np.minimum(index, len(table) - 1)], float((1 << bits) - 1)


def _read_entries(item: Dataset, entries: int, bits: int) -> Values:
    """Return the entries that are there; of 8 bits there may be two in a word, the lower first."""
    raw = item.LUTData
    in_words = (entries + 1) // 2
    if isinstance(raw, bytes):
        wide = ">u2" if item.original_encoding[1] is False else "<u2"
        packed = bits == 8 and len(raw) in (entries, 2 * in_words)
        return np.frombuffer(raw, np.uint8 if packed else wide).astype(np.float64)
    words = np.atleast_1d(np.asarray(raw))
    if bits == 8 and len(words) == in_words:
        words = words.astype("<u2").view(np.uint8)
    return words.astype(np.float64)


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
