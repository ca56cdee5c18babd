import csv
import shutil
from pathlib import Path

import pytest

from contract.findings import FINDINGS
from training.config import read_config
from training.data import read_folder
from training.errors import DataError

CONFIG = read_config("smoke")


def test_missing_image_is_an_error_unless_allowed(drawn_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    (folder / "images" / "00000005_001.png").unlink()
    with pytest.raises(DataError, match=r"1 of 120 images .* no file: 00000005_001"):
        read_folder(folder, CONFIG)
    parts = read_folder(folder, CONFIG, allow_missing=True).split.parts()
    assert sum(map(len, parts.values())) == 119


def test_one_hot_tables_keep_the_sets_they_are_given(drawn_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn_folder / "images", tmp_path / "images")
    for patient, name in enumerate(("train-small", "valid-small", "test")):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["Image", *FINDINGS, "PatientId"])
            table.writerow([f"{patient:08}_000.png", *[0] * 14, patient])
    split = read_folder(tmp_path, CONFIG).split
    assert [part[0].patient for part in split.parts().values()] == ["0", "1", "2"]


def test_folder_without_tables_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected is one Data_Entry"):
        read_folder(tmp_path, CONFIG)
