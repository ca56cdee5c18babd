"""Label files -> validated rows.

Two forms are read, told apart by their header: the NIH table (`Data_Entry_2017.csv` and its v2020
successor: `Image Index`, `Finding Labels` with names joined by `|`, `Patient ID`) and one-hot
tables (`Image`, one column of 0 and 1 per finding in any order, `PatientId`). Either may be
gzipped, and may tell age, sex and view. Columns are found by name, never by position.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.cells import (
    name_cells,
    parse_age,
    parse_bit,
    parse_patient_id,
    read_cell,
    read_count,
    read_optional,
)
from training.errors import DataError

NO_FINDING: Final = "No Finding"
_NIH_COLUMNS: Final = ("Image Index", "Finding Labels", "Patient ID")
_ONE_HOT_COLUMNS: Final = ("Image", *FINDINGS, "PatientId")
_FOLLOWUP: Final = "Follow-up #"
_READ: Final = {
    *(*_NIH_COLUMNS, *_ONE_HOT_COLUMNS),
    *("Patient Age", "Patient Sex", "Patient Gender", "View Position", _FOLLOWUP),
}
_IMAGE: Final = re.compile(r"(.+?)(?:\.(?:png|jpe?g|dcm|dicom))*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One labelled radiograph.

    `image` is the file name without its ending, since copies of the data set differ in it; `labels`
    are 0 or 1 in the order of FINDINGS, all zero where nothing was found. `age` is in whole years;
    `sex` is M or F, `view` PA or AP, `followup` a count from 0 in the NIH table; all four are None
    where not told. `history` is what `training.history` makes of other rows.
    """

    image: str
    patient: str
    labels: tuple[int, ...]
    age: int | None = None
    sex: str | None = None
    view: str | None = None
    followup: int | None = None
    history: tuple[float, ...] | None = None


def read_table(path: Path) -> tuple[Row, ...]:
    """Read a label table in either form.

    Raises DataError, naming file, line and column, for a missing or repeated column, a row of more
    or fewer cells than the header, an unknown label, a value other than 0 or 1, an age that is
    none, an empty name or an image that occurs twice.
    """
    with open_text(path) as file:
        reader = csv.reader(file, skipinitialspace=True)
        columns = [column.strip() for column in next(reader, [])]
        _refuse_repeats(path, columns)
        if set(_NIH_COLUMNS) <= set(columns):
            parse = _parse_nih
        elif set(_ONE_HOT_COLUMNS) <= set(columns):
            parse = _parse_one_hot
        else:
            raise DataError(_describe_missing(path, columns))
        lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    rows = []
    for line, cells in lines:
        where = f"{path}, line {line}"
        rows.append(parse(where, name_cells(where, columns, cells)))
    _refuse_duplicates(path, rows, [line for line, _ in lines])
    return tuple(rows)


def stack_labels(rows: Sequence[Row]) -> NDArray[np.int_]:
    """Return the labels of rows in their order, [N,14]."""
    return np.array([row.labels for row in rows])


def read_list(path: Path) -> frozenset[str]:
    """Read a list of image file names, one per line, as names without endings.

    Raises DataError where the list is empty.
    """
    with open_text(path) as file:
        names = frozenset(image_name(line.strip()) for line in file if line.strip())
    if not names:
        raise DataError(f"{path}: the list is empty.")
    return names


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not, with or without a byte order mark.

    Raises DataError, also from within the context, for what cannot be read or is no UTF-8.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(
            path, "rt", encoding="utf-8-sig", newline=""
        ) as file:
            yield file
    except UnicodeDecodeError:
        raise DataError(f"{path} is not in UTF-8; save it as UTF-8.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path} is damaged or no gzip file; fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except csv.Error as error:
        raise DataError(f"{path} is no CSV: {error}.") from None


def image_name(file_name: str) -> str:
    """Return the name that images are known by: `00000001_000` for `00000001_000.png`.

    Only endings of images are taken off, so `1.2.840.1` stays whole, and so does a name once made.
    """
    name = PurePosixPath(file_name).name
    match = _IMAGE.fullmatch(name)
    return match[1] if match else name


def _parse_nih(where: str, values: Mapping[str, str]) -> Row:
    names = [name.strip() for name in read_cell(where, values, "Finding Labels").split("|")]
    unknown = [name for name in names if name != NO_FINDING and name not in FINDINGS]
    if unknown:
        raise DataError(f"{where}, column 'Finding Labels': unknown finding {unknown[0]!r}.")
    if NO_FINDING in names and len(names) > 1:
        raise DataError(f"{where}, column 'Finding Labels': {NO_FINDING!r} beside a finding.")
    return Row(
        image_name(read_cell(where, values, "Image Index")),
        parse_patient_id(where, values, "Patient ID"),
        tuple(int(finding in names) for finding in FINDINGS),
        *_parse_patient(where, values),
    )


def _parse_one_hot(where: str, values: Mapping[str, str]) -> Row:
    return Row(
        image_name(read_cell(where, values, "Image")),
        parse_patient_id(where, values, "PatientId"),
        tuple(parse_bit(where, values, finding) for finding in FINDINGS),
        *_parse_patient(where, values),
    )


def _parse_patient(
    where: str, values: Mapping[str, str]
) -> tuple[int | None, str | None, str | None, int | None]:
    # "Patient Gender" until 2020, "Patient Sex" since.
    sex = read_optional(values, "Patient Sex") or read_optional(values, "Patient Gender")
    view = read_optional(values, "View Position")
    return parse_age(where, values), sex, view, read_count(values, _FOLLOWUP)


def _describe_missing(path: Path, columns: Sequence[str]) -> str:
    header = set(columns)
    for name, sign in (("semicolons", ";"), ("tabs", "\t")):
        if any(sign in column for column in columns):
            raise DataError(f"{path} separates its cells by {name}; separate them by commas.")
    expected = _NIH_COLUMNS if "Image Index" in header else _ONE_HOT_COLUMNS
    missing = [column for column in expected if column not in header]
    return f"{path}, line 1: missing column {', '.join(map(repr, missing))}."


def _refuse_repeats(path: Path, columns: Sequence[str]) -> None:
    repeated = next((name for name in columns if name in _READ and columns.count(name) > 1), None)
    if repeated:
        raise DataError(f"{path}, line 1: column {repeated!r} is there more than once; keep one.")


def _refuse_duplicates(path: Path, rows: Sequence[Row], lines: list[int]) -> None:
    first_lines: dict[str, int] = {}
    for row, line in zip(rows, lines, strict=True):
        first = first_lines.setdefault(row.image, line)
        if first != line:
            raise DataError(f"{path}, line {line}: image {row.image!r} is already on line {first}.")
