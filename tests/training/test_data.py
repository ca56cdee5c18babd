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


def test_files_that_no_row_names_are_passed_over(drawn_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    for stray in ("plots/samples.png", "images/._00000000_000.png", "images/stray.dcm"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).write_bytes(b"no radiograph")
    assert read_folder(folder, CONFIG).files == {
        path.stem: path for path in (folder / "images").glob("0*.png")
    }


def test_images_behind_links_are_found_and_a_link_that_leads_back_up_ends(
    drawn_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_folder / "images", tmp_path / "big" / "deep")
    (tmp_path / "big" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data").mkdir()
    shutil.copy(drawn_folder / "Data_Entry_drawn.csv", tmp_path / "data")
    (tmp_path / "data" / "images").symlink_to(tmp_path / "big")
    (tmp_path / "data" / "images too").symlink_to(tmp_path / "big")
    assert len(read_folder(tmp_path / "data", CONFIG).files) == 120


def test_images_are_found_whatever_their_ending_and_without_one(
    drawn_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    images = sorted((folder / "images").iterdir())
    for path, ending in zip(images, ("", ".dicom", ".DCM", ".JPG"), strict=False):
        path.rename(path.with_suffix(ending))
    files = read_folder(folder, CONFIG).files
    assert files["00000000_000"].name == "00000000_000"
    assert files["00000000_001"].suffix == ".dicom"
    assert len(files) == 120


def test_link_to_nothing_is_a_missing_image(drawn_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    (folder / "images" / "00000005_001.png").unlink()
    (folder / "images" / "00000005_001.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match="no file: 00000005_001"):
        read_folder(folder, CONFIG)


def test_two_files_of_one_image_are_named(drawn_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    shutil.copy(folder / "images" / "00000005_001.png", folder / "00000005_001.jpg")
    with pytest.raises(DataError, match=r"00000005_001.*are two files of one image"):
        read_folder(folder, CONFIG)


def test_sample_of_kaggle_is_read_as_it_is_shipped(drawn_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    (table,) = folder.glob("Data_Entry*.csv")
    table.rename(folder / "sample_labels.csv")
    assert len(read_folder(folder, read_config("smoke")).files) == 120


@pytest.mark.parametrize(
    ("there", "missing"),
    [("train_val_list.txt", "test_list.txt"), ("test_list.txt.gz", "train_val_list.txt")],
)
def test_one_official_list_without_the_other_is_refused(
    drawn_folder: Path, tmp_path: Path, there: str, missing: str
) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "data")
    (folder / there).touch()
    with pytest.raises(DataError, match=f"add {missing}, or take the other away"):
        read_folder(folder, CONFIG)


def test_folder_without_tables_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected is one Data_Entry"):
        read_folder(tmp_path, CONFIG)
