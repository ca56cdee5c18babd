"""What the card of a bundle says, from the description of the bundled model."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.bundle import find_bundle
from contract.findings import FINDINGS
from contract.seal import read_description
from training.card import write_card
from training.config import read_config
from training.curves import draw_aurocs
from training.data import read_folder
from training.evaluate import evaluate, format_report
from training.sections import build_body

BUNDLED = Path(__file__).parents[2] / "models" / "xpro-demo"


@pytest.fixture
def description() -> dict[str, Any]:
    """Return what the bundled model, a mean of four networks fitted in folds, says of itself."""
    return read_description(find_bundle(BUNDLED))


@pytest.fixture(scope="module")
def report(xrays: Path) -> dict[str, Any]:
    """Return a report of guesses at the real test images."""
    rows = read_folder(xrays, read_config("demo"), tables_only=True).split.test
    guesses = np.random.default_rng(3).random((len(rows), len(FINDINGS)))
    return evaluate(rows, guesses, [0.5] * len(FINDINGS), resamples=30, seed=1)


@pytest.fixture
def card(description: dict[str, Any], report: dict[str, Any]) -> str:
    return write_card(description, {"test": report})


def test_card_says_over_how_many_findings_each_mean_of_a_group_is(
    card: str, report: dict[str, Any]
) -> None:
    assert "| group | images | mean AUROC | over findings |" in card
    young, women = report["subgroups"]["age"][0], report["subgroups"]["sex"][0]
    assert f"| age: 0 to 17 | 26 | {young['macro_auroc']:.3f} | 11 |" in card
    assert f"| sex: F | 340 | {women['macro_auroc']:.3f} | 14 |" in card
    assert "Means over different findings do not compare." in card


def test_card_of_a_table_without_age_sex_and_view_has_no_subgroups(
    description: dict[str, Any], report: dict[str, Any]
) -> None:
    test = {**report, "subgroups": {"sex": [], "age": [], "view": []}}
    assert "## Subgroups" not in write_card(description, {"test": test})


def test_card_of_a_model_in_folds_tells_of_all_its_networks(card: str) -> None:
    assert "Averages 4 networks `small`, each fitted without one of 4 folds of the" in card
    fit = "from scratch, 20 epochs to tell view, sex and age, 40 epochs on findings"
    softened = "labels softened by those of the patient's images before and after"
    onward = "then 15 epochs on all patients"
    assert f"patients, {fit}, {softened}, {onward}, seeds 20 to 23;" in card
    assert "Thresholds were chosen on answers out of 4 folds (Youden)" in card
    assert "on validation (which all 4 networks learnt from)" in card
    assert "All but the error on test is of networks before they learnt from all" in card


def test_card_of_networks_that_did_not_go_on_says_nothing_of_it(
    description: dict[str, Any], report: dict[str, Any]
) -> None:
    description["recipe"]["refit_epochs"] = 0
    card = write_card(description, {"test": report})
    assert "on validation (which 3 of 4 networks learnt from)" in card
    assert "all patients" not in card


def test_card_of_a_single_network_tells_of_its_one_fit(
    description: dict[str, Any], report: dict[str, Any]
) -> None:
    single = copy.deepcopy(description)
    single["recipe"] |= {"folds": 0, "fact_epochs": 0, "history_share": 0.0}
    single["calibration"]["split"] = "validation"
    card = write_card(single, {"test": report})
    assert "Network `small`, from scratch, at most 40 epochs, seed 20" in card
    assert "Thresholds were chosen on validation (Youden)" in card
    assert "folds (" not in card
    assert "learnt from" not in card


def test_change_by_int8_without_an_interval_is_told_all_the_same(
    description: dict[str, Any], report: dict[str, Any]
) -> None:
    measured = description["int8"]["measured"]["validation"]
    measured |= {"macro_auroc_change": -0.00003, "macro_auroc_change_ci": None}
    said = "changes by +0.0000 (too few patients of some finding for an interval)"
    assert said in write_card(description, {"test": report})


def test_finding_of_too_few_patients_is_shown_without_an_interval_wherever_it_is_shown(
    description: dict[str, Any], report: dict[str, Any]
) -> None:
    few = copy.deepcopy(report)
    for measured in (few["findings"][0], description["findings"][0]):
        measured |= {"auroc": 0.612, "auroc_ci": None, "auprc_ci": None}
    few["macro_auroc_ci"] = None
    assert f"Mean AUROC {few['macro_auroc']:.3f}.\n" in write_card(description, {"test": few})
    assert "| Cardiomegaly | 0.612 |" in write_card(description, {"test": few})
    assert "<td>Cardiomegaly</td><td>144</td><td>0.612</td>" in build_body({}, few, {}, ())
    auprc = f"{few['findings'][0]['auprc']:.3f}"
    assert format_report(few).splitlines()[1].split() == ["Cardiomegaly", "0.612", auprc, "144"]
    drawn = draw_aurocs(few).axes[0]
    assert len(drawn.get_lines()) == 2 * (1 + len(FINDINGS)) + 1
