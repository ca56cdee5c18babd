"""Predictions as CSV: written with every report, and read from whoever made them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from training.cells import name_cells
from training.errors import DataError
from training.table import Row, image_name, open_text

PREDICTIONS: Final = "predictions.csv"
_IMAGE_COLUMNS: Final = ("Image Index", "Image")
_PREFIXES: Final = ("", "prob_")


def write_predictions(
    path: Path, rows: Sequence[Row], probabilities: NDArray[np.floating[Any]]
) -> None:
    """Write one line per row: `Image Index` and the probability [N,14] of every finding."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow((_IMAGE_COLUMNS[0], *FINDINGS))
        for row, values in zip(rows, probabilities.astype(np.float64), strict=True):
            # Nine digits keep a float32 as it is, and with it every rank.
            table.writerow((row.image, *[f"{value:.9g}" for value in values]))


def read_predictions(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read image name -> probabilities float64[14] from a CSV, gzipped or not.

    The columns are `Image Index` or `Image`, and one per finding in any order, plain or with the
    prefix `prob_`. Raises DataError, naming file and line, for a missing column or one that
    stands there twice, a row of more or fewer cells, a value that is no probability or an image
    that occurs twice.
    """
    with open_text(path) as file:
        reader = csv.reader(file)
        columns = next(reader, [])
        image = _find_column(path, columns, _IMAGE_COLUMNS)
        findings = [
            _find_column(path, columns, [f"{prefix}{finding}" for prefix in _PREFIXES])
            for finding in FINDINGS
        ]
        predictions: dict[str, NDArray[np.float64]] = {}
        for line in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            cells = name_cells(where, columns, line)
            name = image_name(cells[image].strip())
            if not name or name in predictions:
                raise DataError(f"{where}: image {name!r} is empty or occurs twice.")
            predictions[name] = _parse_values(where, [cells[finding] for finding in findings])
    if not predictions:
        raise DataError(f"{path} holds no prediction.")
    return predictions


def arrange(
    predictions: Mapping[str, NDArray[np.float64]], rows: Sequence[Row], source: Path
) -> NDArray[np.float64]:
    """Return the predictions of rows in their order, float64[N,14].

    Raises DataError where a row has no prediction.
    """
    lacking = [row.image for row in rows if row.image not in predictions]
    if lacking:
        raise DataError(
            f"{source} lacks {len(lacking)} of {len(rows)} images, as {lacking[0]!r}. Predict them "
            "too, or measure what there is: evaluate --predictions with --split all."
        )
    return np.array([predictions[row.image] for row in rows])


def predicted_rows(
    predictions: Mapping[str, NDArray[np.float64]], rows: Sequence[Row], source: Path
) -> tuple[Row, ...]:
    """Return the rows that have a prediction; DataError where one has no row, so no labels."""
    known = {row.image for row in rows}
    unknown = next((image for image in predictions if image not in known), None)
    if unknown:
        raise DataError(
            f"{source}: image {unknown!r} has no row in the tables of the data folder; "
            "--allow-missing leaves out the rows whose image file is missing."
        )
    return tuple(row for row in rows if row.image in predictions)


def _find_column(path: Path, columns: Sequence[str], names: Sequence[str]) -> str:
    found = [column for column in columns if column in names]
    if not found:
        raise DataError(f"{path}, line 1: no column {' or '.join(map(repr, names))}.")
    if len(found) > 1:
        raise DataError(
            f"{path}, line 1: columns {' and '.join(map(repr, found))}; one may hold labels, so "
            "keep the one with predictions."
        )
    return found[0]


def _parse_values(where: str, texts: Sequence[str]) -> NDArray[np.float64]:
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        raise DataError(f"{where}: a probability is empty or no number.") from None
    if not np.all((values >= 0) & (values <= 1)):
        raise DataError(f"{where}: a probability lies outside 0 to 1.")
    return values
