"""Where results are written to and runs are read from: what is wrong is said before the work."""

from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import call
from training.config import read_config
from training.data import read_folder
from training.predictions import write_predictions
from training.record import write_record

UNWRITABLE = Path("/proc/here")


@pytest.fixture
def predictions(drawn_folder: Path, tmp_path: Path) -> Path:
    """Return a CSV that predicts the test images of the drawn folder."""
    rows = read_folder(drawn_folder, read_config("demo")).split.test
    write_predictions(tmp_path / "p.csv", rows, np.full((len(rows), len(FINDINGS)), 0.5))
    return tmp_path / "p.csv"


@pytest.mark.parametrize("name", ["report.html", "predictions.csv"])
def test_report_that_says_a_run_is_finished_is_written_after_all_else(
    predictions: Path, drawn_folder: Path, tmp_path: Path, name: str
) -> None:
    report = tmp_path / "report"
    (report / name).mkdir(parents=True)  # ends the writing there, as a kill would
    given = ["--predictions", predictions, "--data", drawn_folder, "--report", report]
    assert call("evaluate", *given) == 1
    assert not (report / "report.json").exists()


def test_place_of_a_comparison_is_tried_before_the_work(
    predictions: Path, drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["compare", predictions, predictions, "--data", drawn_folder, "--out"]
    (tmp_path / "folder").mkdir()
    for out, why in (
        (tmp_path / "folder", "is a folder already"),
        (predictions / "x.json", "cannot be written"),
        (UNWRITABLE / "x.json", "cannot be written"),
    ):
        assert call(*given, out) == 1
        told = capsys.readouterr()
        assert f"--out {out} {why}" in told.err
        assert not told.out
    assert not (tmp_path / "folder.new").exists()


def test_comparison_is_written_into_a_folder_that_was_not_there(
    predictions: Path, drawn_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "x.json"
    assert call("compare", predictions, predictions, "--data", drawn_folder, "--out", out) == 0
    assert out.is_file()


def test_place_of_a_report_is_tried_before_the_work(
    predictions: Path, drawn_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--predictions", predictions, "--data", drawn_folder]
    for report in (UNWRITABLE, predictions):
        assert call("evaluate", *given, "--report", report) == 1
        told = capsys.readouterr()
        assert f"--report {report} cannot be written" in told.err
        assert not told.out


def test_report_of_a_run_is_not_replaced_by_another(
    predictions: Path,
    unfinished: Path,
    drawn_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--predictions", predictions, "--data", drawn_folder, "--report", unfinished]
    assert call("evaluate", *given) == 1
    assert "is the folder of a run" in capsys.readouterr().err
    assert not (unfinished / "report.json").exists()


def test_damaged_record_of_a_run_is_said_so(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (unfinished / "run.json").write_text('{"config": ')
    assert call("export", unfinished, "--out", tmp_path / "out") == 1
    assert "run.json is damaged: it is no JSON" in capsys.readouterr().err


def test_place_of_a_run_is_tried_before_images_are_prepared(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--profile", "smoke", "--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    for run in (UNWRITABLE, UNWRITABLE / "run"):
        assert call("train", "--data", drawn_folder, *given, "--run", run) == 1
        assert f"--run {run} cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def unfinished(drawn_folder: Path, tmp_path: Path) -> Path:
    """Return a run that was ended before its first epoch."""
    config, run = read_config("smoke"), tmp_path / "run"
    run.mkdir()
    (tmp_path / "file").touch()
    places = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "file")]
    command = ["train", "--data", str(drawn_folder), "--profile", "smoke", *places]
    write_record(run, config, read_folder(drawn_folder, config), "tensorflow", {}, command)
    return run


def test_unfinished_run_is_not_exported(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("export", unfinished, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert f"{unfinished} is not finished; `python -m training resume {unfinished}`" in told
    assert not (tmp_path / "out").exists()


def test_folder_without_record_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("export", tmp_path, "--out", tmp_path / "out") == 1
    assert f"error: {tmp_path} is no run: it holds no run.json." in capsys.readouterr().err


def test_resumed_run_whose_bundle_cannot_be_written_says_so_before_the_work(
    unfinished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # `resume` sets it, and this takes it back
    assert call("resume", unfinished) == 1
    assert f"--out {tmp_path / 'file'} cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
