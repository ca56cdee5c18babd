import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import SmokeRun, call
from training.curves import draw_aurocs
from training.predictions import write_predictions


def test_published_predictions_are_evaluated_as_is_known_of_them(
    xrays: Path, tmp_path: Path
) -> None:
    official, report = xrays / "official", tmp_path / "report"
    predictions = official / "reference_predictions.csv.gz"
    assert (
        call("evaluate", "--predictions", predictions, "--data", official, "--report", report) == 0
    )
    measured = json.loads((report / "report.json").read_text())["all"]
    findings = {finding["name"]: finding for finding in measured["findings"]}
    assert measured["images"] == 22_433
    assert measured["macro_auroc"] == pytest.approx(0.838, abs=5e-4)
    assert measured["macro_auroc_ci"] == pytest.approx([0.831, 0.844], abs=1e-3)
    assert findings["Hernia"]["positives"] == 42
    for name, auroc in (("Hernia", 0.918), ("Infiltration", 0.716), ("Emphysema", 0.932)):
        assert findings[name]["auroc"] == pytest.approx(auroc, abs=5e-4)
    sexes = measured["subgroups"]["sex"]
    assert sum(group["images"] for group in sexes) == 22_433
    assert (report / "report.html").is_file()


def test_run_folder_holds_a_page_that_asks_no_other_place_for_anything(smoke: SmokeRun) -> None:
    page = (smoke.run / "report.html").read_text()
    assert set(re.findall(r'(?:src|href)="([a-z]+:[a-z/+]+)', page)) == {
        "data:image/svg+xml",
        "data:image/png",
    }
    assert not re.search(r"<script|<link|@import|url\(", page)
    for finding in FINDINGS:
        assert finding in page


def test_run_folder_holds_the_predictions_its_report_was_made_from(smoke: SmokeRun) -> None:
    from training.metrics import macro_auroc
    from training.predictions import arrange, read_predictions

    path, rows = smoke.run / "predictions.csv", smoke.data.split.test
    probabilities = arrange(read_predictions(path), rows, path)
    report = json.loads((smoke.run / "report.json").read_text())["test"]
    labels = np.array([row.labels for row in rows])
    assert macro_auroc(labels, probabilities) == report["macro_auroc"]


def test_values_of_a_table_cannot_break_the_page() -> None:
    from training.sections import _table

    assert "<script" not in _table(["<script>"], [["<script>"]])


def test_set_on_which_no_finding_has_both_classes_is_drawn_as_such() -> None:
    nothing = {"auroc": None, "auroc_ci": None}
    figure = draw_aurocs({"macro_auroc": None, "findings": [nothing] * len(FINDINGS)})
    assert [text.get_text() for text in figure.texts] == ["one class only"]


def test_examples_are_called_by_threshold_and_spread_over_patients_and_findings() -> None:
    from training.overlays import SHOWN, choose_examples
    from training.table import Row

    rng = np.random.default_rng(4)
    probabilities = rng.random((200, len(FINDINGS)))
    rows = [Row(str(n), str(n // 3), tuple(rng.integers(0, 2, len(FINDINGS)))) for n in range(200)]
    chosen = choose_examples(rows, probabilities, [0.9] * len(FINDINGS))
    for wanted in (0, 1):
        kind = [(n, f) for n, f in chosen if rows[n].labels[f] == wanted]
        assert len(kind) == len({rows[n].patient for n, _ in kind}) == SHOWN
        assert max(np.bincount([f for _, f in kind])) <= 2
        assert all(probabilities[n, f] == probabilities[n].max() >= 0.9 for n, f in kind)
    assert choose_examples(rows, probabilities, [1.1] * len(FINDINGS)) == []


def test_bundle_and_run_of_one_training_compare_as_equal(
    smoke: SmokeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = tmp_path / "difference.json", smoke.cache_folder
    sides = [smoke.run, smoke.bundle]
    assert call("compare", *sides, "--data", smoke.data.folder, "--cache", cache, "--out", out) == 0
    macro = json.loads(out.read_text())["findings"][0]["auroc"]
    assert macro["difference"] == pytest.approx(0.0, abs=1e-3)
    assert "paired resamples of patients" in capsys.readouterr().out


def test_bundle_is_reported_with_operating_points_chosen_on_validation(
    smoke: SmokeRun, tmp_path: Path
) -> None:
    given = ["--data", smoke.data.folder, "--cache", smoke.cache_folder]
    given += ["--report", tmp_path / "r", "--prevalence", "Effusion=0.03"]
    assert call("evaluate", smoke.bundle, *given) == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())["test"]
    effusion = report["findings"][FINDINGS.index("Effusion")]
    assert report["points_chosen_on"] == "validation"
    assert [point["prevalence"] for point in effusion["operating_points"]] == [0.03] * 4
    # The bundle's own threshold is the first of the rules, from the same rows.
    chosen = effusion["operating_points"][0]["threshold"]
    assert chosen == pytest.approx(effusion["threshold"], abs=1e-5)


def test_report_on_images_that_a_bundle_has_learnt_says_so(smoke: SmokeRun, tmp_path: Path) -> None:
    given = ["--data", smoke.data.folder, "--cache", smoke.cache_folder]
    assert call("evaluate", smoke.bundle, *given, "--split", "train", "--report", tmp_path) == 0
    for name in ("report.html", "report.json"):
        assert "smoke 1 was trained on these images" in (tmp_path / name).read_text()


@pytest.fixture(scope="module")
def without_one(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Arguments that name the data of the smoke run without one patient's images."""
    folder = tmp_path_factory.mktemp("without") / "drawn"
    shutil.copytree(smoke.data.folder, folder)
    for path in folder.rglob("00000000_*.png"):
        path.unlink()
    return ["--data", folder, "--allow-missing", "--cache", folder.parent / "cache"]


def test_split_drawn_anew_may_hold_what_a_bundle_or_run_has_learnt_and_that_is_said(
    smoke: SmokeRun,
    without_one: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "was trained on another split. Where its patients are among these, it may have been"
    assert call("evaluate", smoke.bundle, *without_one, "--report", tmp_path) == 0
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "report.html").read_text()
    assert call("compare", smoke.bundle, smoke.bundle, *without_one) == 0
    assert capsys.readouterr().out.count(said) == 2


def test_run_of_another_split_is_cautioned_about_too(
    smoke: SmokeRun, without_one: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its predictions of all images are there, so that nothing else stops the comparison."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(smoke.run / "run.json", run)
    rows = [row for part in smoke.data.split.parts().values() for row in part]
    write_predictions(run / "predictions.csv", rows, np.full((len(rows), len(FINDINGS)), 0.5))
    assert call("compare", run, run, *without_one) == 0
    assert capsys.readouterr().out.count(f"{run} was trained on another split") == 2


def test_predictions_of_a_run_are_measured_by_its_own_split(
    smoke: SmokeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = smoke.data.split.parts()
    given = ["--predictions", smoke.run / "predictions.csv", "--data", smoke.data.folder]
    assert call("evaluate", *given) == 0
    told = f"{len(parts['validation'])} of validation, {len(parts['test'])} of test"
    assert f"Images predicted: {told}." in capsys.readouterr().out
    assert call("evaluate", *given, "--split", "validation") == 0
    assert f"{len(parts['validation'])} images" in capsys.readouterr().out


def test_place_that_cannot_be_written_is_told_before_the_fit(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/here")):
        given = ["--profile", "smoke", "--run", tmp_path / "run", "--out", out]
        assert call("train", "--data", drawn_folder, *given) == 1
        assert f"--out {out} cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_more_folds_than_patients_are_told_before_there_is_a_run(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--profile", "smoke", "--set", "folds=200", "--data", drawn_folder]
    places = [f"--{name}={tmp_path / name}" for name in ("run", "out", "cache")]
    assert call("train", *given, *places) == 1
    assert "200 folds of" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_run_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("export", tmp_path / "none", "--out", tmp_path / "out") == 1
    assert "none is no run: it holds no run.json" in capsys.readouterr().err


def test_boxes_that_cannot_be_used_are_refused_before_the_work(
    smoke: SmokeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (smoke.bundle, "--data", smoke.data.folder, "--cache", smoke.cache_folder)
    nowhere = ("--boxes", tmp_path / "none.csv")
    assert call("evaluate", *given, *nowhere) == 1
    assert "--boxes is for the --report of a bundle" in capsys.readouterr().err
    assert call("evaluate", *given, *nowhere, "--report", tmp_path / "report") == 1
    told = capsys.readouterr()
    assert "none.csv cannot be read" in told.err
    assert "AUROC" not in told.out


def test_predictions_that_no_report_wrote_are_not_written_over(
    smoke: SmokeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copy(smoke.run / "predictions.csv", tmp_path)
    given = ("--data", smoke.data.folder, "--predictions", mine, "--split", "test")
    assert call("evaluate", *given, "--report", tmp_path) == 1
    assert "predictions.csv that no report wrote" in capsys.readouterr().err
    assert Path(mine).read_bytes() == (smoke.run / "predictions.csv").read_bytes()
    for _ in range(2):
        assert call("evaluate", *given, "--report", tmp_path / "report") == 0


def test_legend_of_the_roc_curves_names_rules_and_not_why_one_finding_missed_them(
    smoke: SmokeRun,
) -> None:
    from training.curves import draw_roc

    report = json.loads((smoke.run / "report.json").read_text())["test"]
    labels = np.arange(40).reshape(-1, 1).repeat(len(FINDINGS), axis=1) % 2
    for finding in report["findings"]:
        finding["auroc"] = 0.5
        point = {"specificity": 0.5, "sensitivity": 0.5}
        finding["operating_points"] = [{"rule": "Youden: 0.5, one class only", **point}]
    figure = draw_roc(labels, labels * 0.5, report)
    legends = [legend for plot in figure.axes if (legend := plot.get_legend())] + figure.legends
    assert [text.get_text() for legend in legends for text in legend.get_texts()] == ["Youden"]


def test_neither_or_both_of_bundle_and_predictions_is_refused(
    drawn_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", "--data", drawn_folder) == 1
    assert "Name either a bundle or --predictions CSV." in capsys.readouterr().err
