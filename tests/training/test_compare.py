import csv
from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import call
from training.compare import compare, format_comparison
from training.config import read_config
from training.data import read_folder
from training.table import Row


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    rng = np.random.default_rng(5)
    return [
        Row(f"{n:08}_000", str(n // 2), tuple((rng.random(len(FINDINGS)) < 0.2).astype(int)))
        for n in range(300)
    ]


def guesses(rows: list[Row], skill: float, seed: int) -> np.ndarray:
    labels = np.array([row.labels for row in rows])
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(skill * labels, 1.0)))


def test_same_predictions_do_not_differ_in_any_resample(rows: list[Row]) -> None:
    same = guesses(rows, 1.0, seed=1)
    macro = compare(rows, same, same, resamples=30, seed=1)["findings"][0]["auroc"]
    assert macro["difference"] == 0.0
    assert macro["difference_ci"] == [0.0, 0.0]
    assert macro["share_above_zero"] == 0.5


def test_better_predictions_are_better_in_every_resample_and_swapping_turns_the_sign(
    rows: list[Row],
) -> None:
    worse, better = guesses(rows, 0.5, seed=1), guesses(rows, 2.0, seed=2)
    there = compare(rows, worse, better, resamples=50, seed=1)["findings"][0]["auroc"]
    back = compare(rows, better, worse, resamples=50, seed=1)["findings"][0]["auroc"]
    assert there["share_above_zero"] == 1.0
    assert there["difference_ci"][0] > 0
    assert back["difference"] == -there["difference"]
    assert back["share_above_zero"] == 0.0


def test_pairing_narrows_the_interval_of_nearly_equal_predictions(rows: list[Row]) -> None:
    first = guesses(rows, 1.0, seed=1)
    second = first + np.random.default_rng(9).normal(0, 0.01, first.shape)
    macro = compare(rows, first, second, resamples=100, seed=1)["findings"][0]["auroc"]
    low, high = macro["difference_ci"]
    assert high - low < 0.02


def test_difference_in_the_last_bit_is_shown_as_none(rows: list[Row]) -> None:
    same = guesses(rows, 1.0, seed=1)
    comparison = compare(rows, same, same, resamples=5, seed=1)
    comparison["findings"][0]["auroc"] |= {"difference": -1e-16, "difference_ci": [-1e-16, 0.0]}
    macro = format_comparison(comparison, "a", "b").splitlines()[3]
    assert "+0.000  +0.000 to +0.000" in macro
    assert "-" not in macro


def test_finding_of_one_class_has_no_difference(rows: list[Row]) -> None:
    blank = [Row(row.image, row.patient, (0, *row.labels[1:])) for row in rows]
    first = guesses(blank, 1.0, seed=1)
    finding = compare(blank, first, first, resamples=5, seed=1)["findings"][1]
    assert (finding["name"], finding["auroc"]["difference"]) == (FINDINGS[0], None)


def test_difference_on_a_finding_of_four_patients_is_told_without_an_interval(
    rows: list[Row],
) -> None:
    few = [
        Row(row.image, row.patient, (int(n % 2 == 0 and n < 8), *row.labels[1:]))
        for n, row in enumerate(rows)
    ]
    comparison = compare(few, guesses(few, 1.0, seed=1), guesses(few, 2.0, seed=2), 30, seed=1)
    for finding in comparison["findings"][:2]:
        assert finding["auroc"]["difference"] is not None
        assert finding["auroc"]["difference_ci"] is finding["auroc"]["share_above_zero"] is None
    macro, rare, usual = format_comparison(comparison, "a", "b").splitlines()[3:6]
    assert macro.endswith(f"{comparison['findings'][0]['auroc']['difference']:+.3f}")
    assert [" to " in line for line in (macro, rare, usual)] == [False, False, True]


def test_two_prediction_files_are_compared_on_the_images_both_hold(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = read_folder(drawn_folder, read_config("demo")).split.parts()
    every = [row for part in parts.values() for row in part]
    for name, held in (("a", every[:100]), ("b", every[5:])):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["Image", *[f"prob_{finding}" for finding in FINDINGS]])
            for row, values in zip(held, guesses(held, 1.0, seed=len(held)), strict=True):
                table.writerow([f"{row.image}.png", *values])
    code = call("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--data", drawn_folder)
    out = capsys.readouterr().out
    assert code == 0
    assert "Left out: 25 predictions" in out
    assert "95 images of" in out
