"""Labels softened by those of the patient's images shortly before and after.

A finding seldom comes and goes between two examinations, while the reports that labels are read out
of leave findings out and name doubtful ones. So neighbours tell something of an image. They need no
file: a table alone may tell of them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig
from training.data import DataFolder, name_tables, walk_files
from training.errors import DataError
from training.table import Row, read_table, stack_labels

REACH: Final = 3
"""Follow-ups before and after an image within which others of the patient are its neighbours."""


def soften(rows: Sequence[Row], share: float) -> NDArray[np.float32]:
    """Return labels to learn, float32[N,14], of which the `history` of the row makes up `share`.

    A row without one keeps its own.
    """
    labels = stack_labels(rows)
    history = np.array([row.history or row.labels for row in rows])
    softened: NDArray[np.float32] = ((1 - share) * labels + share * history).astype(np.float32)
    return softened


def find_history(config: TrainConfig, data: DataFolder) -> tuple[TrainConfig, DataFolder]:
    """Return the data with the `history` of the rows to learn from, where the config asks for it.

    Neighbours are looked for in the tables of the folder and in every NIH table below it. Where
    there are none, the config is returned without its share for them. Prints which it is.
    """
    if not config.history_share:
        return config, data
    told, used = _read_tables(data)
    train, validation = (
        add_history(rows, told) for rows in (data.split.train, data.split.validation)
    )
    learnt = (*train, *validation) if config.folds else train
    count = sum(row.history is not None for row in learnt)
    if not count:
        print("No image has a neighbour whose labels are told, so labels are learnt as they are.")
        return replace(config, history_share=0.0), data
    names = name_tables(used)
    print(
        f"Labels of {count} of {len(learnt)} images are softened by those of neighbours ({names})."
    )
    split = replace(data.split, train=train, validation=validation)
    return config, replace(data, split=split, neighbours=names)


def add_history(rows: Sequence[Row], told: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with the mean labels of their neighbours as `history`.

    Those are other images of the same patient in `told`, at most REACH follow-ups away. A row
    without any, or whose follow-up is not told, is returned as it is.
    """
    of_patient: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in told:
        of_patient[row.patient].setdefault(row.image, row)
    return tuple(_add_history(row, of_patient[row.patient].values()) for row in rows)


def _add_history(row: Row, of_patient: Iterable[Row]) -> Row:
    near = [other for other in of_patient if _is_neighbour(row, other)]
    if not near:
        return row
    return replace(row, history=tuple(stack_labels(near).mean(axis=0).tolist()))


def _is_neighbour(row: Row, other: Row) -> bool:
    if row.followup is None or other.followup is None or row.image == other.image:
        return False
    return abs(row.followup - other.followup) <= REACH


def hash_history(rows: Sequence[Row]) -> str:
    """Return a hash of which image has which history."""
    lines = sorted(f"{row.image} {row.history}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read_tables(data: DataFolder) -> tuple[list[Row], list[Path]]:
    """Return the rows of the patients to learn from, in all usable tables, and those tables.

    A table that cannot be read, or that gives an image of the folder another patient or follow-up,
    is passed over with a word.
    """
    parts = data.split.parts()
    places = {row.image: _place(row) for rows in parts.values() for row in rows}
    patients = {row.patient for row in (*data.split.train, *data.split.validation)}
    told: list[Row] = []
    used: list[Path] = []
    for table in (*data.tables, *_find_further(data)):
        try:
            rows = read_table(table)
        except DataError as error:
            print(f"{error} It softens no label.")
            continue
        if any(places.get(row.image, _place(row)) != _place(row) for row in rows):
            print(f"{table} numbers images of {data.folder} otherwise. It softens no label.")
            continue
        told += [row for row in rows if row.patient in patients]
        used.append(table)
    return told, used


def _place(row: Row) -> tuple[str, int | None]:
    return row.patient, row.followup


def _find_further(data: DataFolder) -> Iterator[Path]:
    for path in walk_files(data.folder):
        is_table = path.name.startswith("Data_Entry") and path.name.endswith((".csv", ".csv.gz"))
        if is_table and path not in data.tables:
            yield path
