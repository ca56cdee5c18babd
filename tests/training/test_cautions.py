"""What `evaluate` and `compare` say of a model that may have learnt what it is measured on."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import SmokeRun, call
from training.commands.options import find_redraw
from training.config import read_config
from training.data import read_folder
from training.phantom import write_drawn_folder
from training.predictions import write_predictions
from training.record import describe_data, read_json, write_json, write_record
from training.split import Split
from training.table import Row

MAY = "was trained on another split. Where its patients are among these, it may have been"


def lay_out_lists(folder: Path, table: Path, split: Split) -> None:
    """Write an NIH table with official lists that give the sets of `split`."""
    shutil.copy(table, folder)
    listed = {
        "train_val_list.txt": (*split.train, *split.validation),
        "test_list.txt": split.test,
    }
    for name, rows in listed.items():
        (folder / name).write_text("".join(f"{row.image}.png\n" for row in rows))


def lay_out_tables(folder: Path, _: Path, split: Split) -> None:
    """Write the one-hot tables of the sets of `split`."""
    tables = {"train": split.train, "valid": split.validation, "test": split.test}
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["Image", *FINDINGS, "PatientId"])
            table.writerows([row.image, *row.labels, row.patient] for row in rows)


def write_halves(path: Path, rows: tuple[Row, ...]) -> None:
    write_predictions(path, rows, np.full((len(rows), len(FINDINGS)), 0.5))


@pytest.mark.parametrize("lay_out", [lay_out_lists, lay_out_tables])
def test_test_set_that_a_model_of_a_random_split_has_learnt_is_cautioned_about(
    smoke: SmokeRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lay_out: Callable[[Path, Path, Split], None],
) -> None:
    folder, run, report = tmp_path / "drawn", tmp_path / "run", tmp_path / "report"
    folder.mkdir()
    run.mkdir()
    split = smoke.data.split
    turned = replace(split, train=split.test, test=split.train)
    lay_out(folder, smoke.data.folder / "Data_Entry_drawn.csv", turned)
    (folder / "images").symlink_to(smoke.data.folder / "images")
    given = ["--data", folder, "--cache", smoke.cache_folder]
    assert call("evaluate", smoke.bundle, *given, "--report", report) == 0
    assert f"smoke 1 {MAY}" in capsys.readouterr().out
    assert MAY in read_json(report / "report.json")["about"]["caution"]
    shutil.copy(smoke.run / "run.json", run)
    write_halves(run / "predictions.csv", turned.test)
    assert call("compare", smoke.bundle, run, *given) == 0
    out = capsys.readouterr().out
    assert f"smoke 1 {MAY}" in out
    assert f"{run} {MAY}" in out


def test_official_test_list_stays_when_other_patients_come_or_go(
    drawn_folder: Path, tmp_path: Path
) -> None:
    table, config = drawn_folder / "Data_Entry_drawn.csv", read_config("demo")
    lay_out_lists(tmp_path, table, read_folder(drawn_folder, config).split)
    whole = read_folder(tmp_path, config, tables_only=True)
    lines = table.read_text().splitlines(keepends=True)
    gone = whole.split.train[0].patient
    kept = [line for line in lines if line.rstrip().rpartition(",")[2] != gone]
    (tmp_path / "Data_Entry_drawn.csv").write_text("".join(kept))
    fewer = read_folder(tmp_path, config, tables_only=True)
    assert fewer.split.test == whole.split.test
    assert find_redraw("m", describe_data(whole), fewer.split, "test") is None
    assert MAY in str(find_redraw("m", describe_data(whole), fewer.split, "validation"))


@pytest.mark.parametrize("part", ["train", "all"])
def test_model_is_not_said_to_have_learnt_from_images_of_another_split(
    smoke: SmokeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    write_drawn_folder(tmp_path / "other", patients=20, seed=7)
    given = ["--data", tmp_path / "other", "--cache", tmp_path / "cache", "--split", part]
    assert call("evaluate", smoke.bundle, *given) == 0
    out = capsys.readouterr().out
    assert "was trained on these" not in out
    assert MAY in out


@pytest.fixture
def partial(drawn_folder: Path, tmp_path: Path) -> tuple[Path, Path, Split]:
    """Return a folder that lacks images, a run that left those out, and the run's split."""
    folder, run, config = tmp_path / "drawn", tmp_path / "run", read_config("demo")
    shutil.copytree(drawn_folder, folder)
    for path in folder.rglob("0000000*_*.png"):
        path.unlink()
    run.mkdir()
    data = read_folder(folder, config, allow_missing=True)
    write_record(run, config, data, "tensorflow", {}, [])
    write_halves(run / "predictions.csv", (*data.split.validation, *data.split.test))
    return folder, run, data.split


def test_predictions_of_a_run_that_left_out_images_are_of_its_own_sets(
    partial: tuple[Path, Path, Split], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run, split = partial
    given = ["--predictions", run / "predictions.csv", "--data", folder]
    assert call("evaluate", *given, "--allow-missing") == 0
    out = capsys.readouterr().out
    told = f"{len(split.validation)} of validation, {len(split.test)} of test"
    assert f"Images predicted: {told}." in out
    assert "another" not in out


def test_predictions_of_a_run_on_other_rows_are_said_to_be_of_another_split(
    partial: tuple[Path, Path, Split], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run, _ = partial
    report = run.parent / "report"
    given = ["--predictions", run / "predictions.csv", "--data", folder, "--report", report]
    assert call("evaluate", *given) == 0
    out = capsys.readouterr().out
    assert f"This is not the data {run} was trained on: the split hash differs." in out
    assert f"{run} {MAY}" in out
    assert MAY in read_json(report / "report.json")["about"]["caution"]


def test_two_files_of_runs_that_left_out_images_are_compared_on_their_own_sets(
    partial: tuple[Path, Path, Split], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run, split = partial
    file = run / "predictions.csv"
    given = ["compare", file, file, "--data", folder, "--allow-missing", "--split", "test"]
    assert call(*given) == 0
    out = capsys.readouterr().out
    assert f"{len(split.test)} images of" in out
    assert MAY not in out
    record = read_json(run / "run.json")
    record["data"]["split_sha256"] = "another"
    write_json(run / "run.json", record)
    assert call(*given) == 0
    assert capsys.readouterr().out.count(f"{run} {MAY}") == 2
