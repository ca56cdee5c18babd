"""A small copy of the NIH download, in the very folders and files that it consists of."""

import csv
import gzip
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from contract.bundle import open_bundle
from tests.training.conftest import call

ARCHIVES = 12
LEARNT, TESTED = 36, 12
"""Images of the copy on the official lists; those on the test list have boxes."""


@pytest.fixture(scope="module")
def download(xrays: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What README.md's commands leave: twelve unpacked archives beside table and lists."""
    folder = tmp_path_factory.mktemp("download") / "nih"
    folder.mkdir()
    official = xrays / "official"
    shutil.copy(official / "BBox_List_2017.csv", folder)
    for name in ("train_val_list.txt", "test_list.txt"):
        (folder / name).write_bytes(gzip.decompress((official / f"{name}.gz").read_bytes()))
    images = choose_images(xrays)
    for place, name in enumerate(images):
        archive = folder / f"images_{place % ARCHIVES + 1:03}" / "images"
        archive.mkdir(parents=True, exist_ok=True)
        with Image.open(xrays / "images" / f"{name}.jpg") as image:
            # Some of the originals are RGBA.
            mode = "RGBA" if place == 0 else "L"
            image.convert(mode).resize((1024, 1024)).save(archive / f"{name}.png")
    table = gzip.decompress((official / "Data_Entry_2017_v2020.csv.gz").read_bytes()).decode()
    lines = table.splitlines(keepends=True)
    kept = [line for line in lines[1:] if line.partition(".png")[0] in images]
    (folder / "Data_Entry_2017_v2020.csv").write_text("".join([lines[0], *kept]))
    return folder


def choose_images(xrays: Path) -> list[str]:
    def read(name: str) -> list[str]:
        return [line.removesuffix(".jpg") for line in (xrays / name).read_text().split()]

    with (xrays / "official" / "BBox_List_2017.csv").open() as file:
        boxed = {line[0].removesuffix(".png") for line in csv.reader(file)}
    tested = [image for image in read("test_list.txt") if image in boxed]
    return read("train_val_list.txt")[:LEARNT] + tested[:TESTED]


def test_download_is_inspected_as_it_was_unpacked(
    download: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("inspect", "--data", download) == 0
    printed = capsys.readouterr().out
    assert "Data_Entry_2017_v2020.csv" in printed
    assert "official lists, validation by patient" in printed
    assert "0 rows without an image file" in printed
    counts = next(line for line in printed.splitlines() if line.startswith("images  "))
    train, validation, test = map(int, counts.split()[1:])
    assert (train + validation, test) == (LEARNT, TESTED)


def test_download_is_trained_on_as_it_was_unpacked(download: Path, tmp_path: Path) -> None:
    options = ["--cache", tmp_path / "cache", "--run", tmp_path / "run", "--set", "epochs=1"]
    out = tmp_path / "models" / "chexnet"
    assert call("train", "--data", download, "--profile", "smoke", "--out", out, *options) == 0
    data = open_bundle(out / "1").description["training_data"]
    assert (data["dataset"], data["split"]) == ("nih", "official lists, validation by patient")
    report = json.loads((tmp_path / "run" / "report.json").read_text())["test"]
    assert report["images"] == TESTED
    assert report["localisation"]["findings"][0]["maps"] >= TESTED
