"""The cells of one row of a label table, by their columns -> values.

`where` in each function names file and line, for the message of its DataError.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from training.errors import DataError

_AGE: Final = re.compile(r"(\d{1,6})(?:\.0+)?([YMWD]?)")
_NUMBER: Final = re.compile(r"0*([0-9]+)(?:\.0+)?")
_COUNT: Final = re.compile(r"(\d{1,6})(?:\.0+)?")
_OLDEST_YEARS: Final = 120
"""The 2017 table holds mistyped ages up to 414 years."""


def name_cells(where: str, columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return column -> text; raises DataError for more or fewer cells than columns."""
    if len(cells) != len(columns):  # labels may have shifted into each other's columns
        raise DataError(f"{where}: {len(cells)} cells, but the header has {len(columns)}.")
    return dict(zip(columns, cells, strict=True))


def parse_patient_id(where: str, values: Mapping[str, str], column: str) -> str:
    """Return a patient's id; a number without leading zeros and decimals.

    A program that takes ids for numbers makes 13 or 13.0 of 00000013, which is one patient.
    """
    text = read_cell(where, values, column)
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text


def parse_age(where: str, values: Mapping[str, str]) -> int | None:
    """Read `58`, or an age string of DICOM (PS3.5, section 6.2): `058Y`, `018M`, `003W`, `010D`.

    Returns whole years, None where they are not told or above 120. Raises DataError for other text.
    """
    text = read_optional(values, "Patient Age")
    if text is None:
        return None
    match = _AGE.fullmatch(text)
    if not match:
        raise DataError(
            f"{where}, column 'Patient Age': {text!r} is no age; write years, as 58 or 058Y."
        )
    years = int(int(match[1]) / {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}[match[2]])
    return years if years <= _OLDEST_YEARS else None


def read_count(values: Mapping[str, str], column: str) -> int | None:
    """Return a count from 0 on, None where a column tells none."""
    match = _COUNT.fullmatch(read_optional(values, column) or "")
    return int(match[1]) if match else None


def read_optional(values: Mapping[str, str], column: str) -> str | None:
    """Return what a column tells, None where it is empty or there is no such column."""
    return values.get(column, "").strip() or None


def parse_bit(where: str, values: Mapping[str, str], column: str) -> int:
    """Return the 0 or 1 of a column; raises DataError for anything else."""
    text = read_cell(where, values, column)
    if text not in ("0", "1", "0.0", "1.0"):
        raise DataError(f"{where}, column {column!r}: {text!r} is neither 0 nor 1.")
    return int(float(text))


def read_cell(where: str, values: Mapping[str, str], column: str) -> str:
    """Return the text of a column; raises DataError where it is empty."""
    text = values[column].strip()
    if not text:
        raise DataError(f"{where}, column {column!r}: empty.")
    return text
