from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from training.errors import DataError
from training.predictions import arrange, predicted_rows, read_predictions, write_predictions
from training.table import Row

ROWS = [Row(f"{n:08}_000", str(n), (0,) * len(FINDINGS)) for n in range(5)]
HEADER = ",".join(["Image", *FINDINGS])


def test_written_probabilities_are_read_as_the_same_float32(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    path, probabilities = tmp_path / "p.csv", rng.random((5, 14)).astype(np.float32)
    write_predictions(path, ROWS, probabilities)
    read = arrange(read_predictions(path), ROWS[::-1], path)
    assert np.array_equal(read.astype(np.float32), probabilities[::-1])


def test_written_names_with_dots_are_read_back(tmp_path: Path) -> None:
    rows = [Row(f"1.2.840.1.{n}", str(n), (0,) * len(FINDINGS)) for n in range(3)]
    path = tmp_path / "p.csv"
    write_predictions(path, rows, np.full((3, 14), 0.5))
    assert list(read_predictions(path)) == [row.image for row in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("Hernia", "Rupture") + "\n", "line 1: no column 'Hernia' or 'prob_Hernia'"),
        (f"{HEADER}\na.png{',0.5' * 13},1.5\n", "line 2: a probability lies outside 0 to 1"),
        (f"{HEADER}\na.png{',0.5' * 13},nan\n", "line 2: a probability lies outside 0 to 1"),
        (f"{HEADER}\na.png{',0.5' * 13},\n", "line 2: a probability is empty or no number"),
        (f"{HEADER}\na.png{',0.5' * 13}\n", "line 2: 14 cells, but the header has 15"),
        (f"{HEADER}\na.png{',0.5' * 15}\n", "line 2: 16 cells, but the header has 15"),
        (f"{HEADER}\na.png{',0.5' * 14}\na.jpg{',0.5' * 14}\n", "line 3: image 'a' .* twice"),
        (f"{HEADER}\n", "holds no prediction"),
        (f"{HEADER},prob_Mass\na.png{',0.5' * 15}\n", "columns 'Mass' and 'prob_Mass'; one may"),
        (f"{HEADER},Mass\na.png{',0.5' * 15}\n", "columns 'Mass' and 'Mass'"),
    ],
)
def test_file_that_cannot_be_used_says_where_and_why(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_predictions(path)


def test_image_without_prediction_and_prediction_without_labels_are_named() -> None:
    predictions = {"00000001_000": np.zeros(14), "stranger": np.zeros(14)}
    with pytest.raises(DataError, match="lacks 4 of 5 images, as '00000000_000'"):
        arrange(predictions, ROWS, Path("p.csv"))
    with pytest.raises(DataError, match="image 'stranger' has no row"):
        predicted_rows(predictions, ROWS, Path("p.csv"))
