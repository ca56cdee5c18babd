from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from contract.findings import FINDINGS
from training.config import read_config
from training.data import read_folder
from training.metrics import Ranker, interval, measure_resamples
from training.patients import resample_patients
from training.reliability import measure_calibration
from training.subgroups import measure_subgroups
from training.table import Row

COUNT = 300


def test_groups_are_measured_on_their_own_images(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 2, (COUNT, len(FINDINGS)))
    probabilities = rng.random((COUNT, len(FINDINGS)))
    sexes, ages = rng.choice(["F", "M"], COUNT), rng.integers(1, 100, COUNT)
    rows = [
        Row(str(n), str(n), tuple(labels[n]), int(ages[n]), str(sexes[n]), None)
        for n in range(COUNT)
    ]
    resamples = resample_patients(np.arange(COUNT), count=40, seed=1)
    groups = measure_subgroups(rows, probabilities, resamples)
    assert groups["view"] == []
    assert [group["group"] for group in groups["sex"]] == ["F", "M"]
    women = sexes == "F"
    assert groups["sex"][0]["images"] == women.sum()
    expected = roc_auc_score(labels[women], probabilities[women], average=None)
    measured = [finding["auroc"] for finding in groups["sex"][0]["findings"]]
    assert measured == pytest.approx(expected)
    low, high = groups["sex"][0]["macro_auroc_ci"]
    assert low < groups["sex"][0]["macro_auroc"] < high
    bands = [group["group"] for group in groups["age"]]
    assert bands == ["0 to 17", "18 to 39", "40 to 59", "60 to 79", "80 to 120"]
    assert groups["age"][0]["images"] == (ages <= 17).sum()


def test_mean_of_a_group_has_an_interval_where_all_its_findings_do_and_over_them_alone(
    xrays: Path, rng: np.random.Generator
) -> None:
    rows = read_folder(xrays, read_config("demo"), tables_only=True).split.test
    probabilities = rng.random((len(rows), len(FINDINGS)))
    resamples = resample_patients(np.array([row.patient for row in rows]), 200, seed=1)
    groups = measure_subgroups(rows, probabilities, resamples)
    given = {group["group"]: group for members in groups.values() for group in members}
    # One patient of 60 to 79 has a hernia: every third resample lacks it.
    assert given["60 to 79"]["findings_measured"] == 14
    for group in given.values():
        findings = [one for one in group["findings"] if one["auroc"] is not None]
        assert len(findings) == group["findings_measured"]
        complete = all(one["auroc_ci"] for one in findings)
        assert (group["macro_auroc_ci"] is not None) == complete
    assert [name for name, group in given.items() if group["macro_auroc_ci"]] == [
        "18 to 39",
        "AP",
        "PA",
    ]
    inside = np.array([row.view == "PA" for row in rows])
    labels = np.array([row.labels for row in rows])[inside]
    rankers = [Ranker(labels[:, f], probabilities[inside, f]) for f in range(14)]
    drawn = measure_resamples(rankers, resamples.of(np.flatnonzero(inside)))[:, :, 0]
    whole = drawn[~np.isnan(drawn).any(axis=1)]
    assert given["PA"]["macro_auroc_ci"] == pytest.approx(interval(whole.mean(axis=1)))


def test_reliability_bins_hold_equal_counts_and_their_frequencies(
    rng: np.random.Generator,
) -> None:
    probabilities = rng.random(COUNT)
    labels = (rng.random(COUNT) < probabilities).astype(float)
    resamples = resample_patients(np.arange(COUNT), count=200, seed=1)
    measured = measure_calibration(labels, probabilities, resamples)
    bins = measured["reliability"]
    assert [one["images"] for one in bins] == [30] * 10
    assert sum(one["frequency"] for one in bins) / 10 == pytest.approx(labels.mean())
    inside = [
        one["frequency_ci"][0] <= one["mean_probability"] <= one["frequency_ci"][1] for one in bins
    ]
    assert sum(inside) >= 8
    assert measured["brier"] == pytest.approx(np.mean((probabilities - labels) ** 2))
