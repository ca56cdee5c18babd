import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from contract.findings import FINDINGS
from training.metrics import (
    Ranker,
    calibration_bins,
    expected_calibration_error,
    interval,
    macro_auroc,
    mean_resampled,
    measure_resamples,
)
from training.patients import resample_patients
from training.table import read_table


@pytest.mark.parametrize("decimals", [1, 2, 9], ids=["many ties", "some ties", "no ties"])
def test_auroc_and_auprc_equal_those_of_scikit_learn(
    rng: np.random.Generator, decimals: int
) -> None:
    labels = rng.integers(0, 2, 500)
    scores = np.round(rng.normal(labels * 0.5, 1), decimals)
    auroc, auprc = Ranker(labels, scores).measure()
    assert auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert auprc == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_weights_count_as_repeated_images(rng: np.random.Generator) -> None:
    labels, scores = rng.integers(0, 2, 80), np.round(rng.normal(size=80), 1)
    weights = rng.integers(0, 4, 80)
    repeated = Ranker(np.repeat(labels, weights), np.repeat(scores, weights)).measure()
    assert Ranker(labels, scores).measure(weights) == pytest.approx(repeated)


def test_all_resamples_at_once_equal_each_one_weighed_by_scikit_learn(
    rng: np.random.Generator,
) -> None:
    labels = rng.integers(0, 2, (90, 3))
    scores = np.round(rng.normal(size=(90, 3)), 1)
    resamples = resample_patients(rng.integers(0, 30, 90), count=70, seed=2)
    rankers = [Ranker(labels[:, f], scores[:, f]) for f in range(3)]
    measured = measure_resamples(rankers, resamples)
    for r, f in [(0, 0), (33, 1), (69, 2)]:
        given = {"sample_weight": resamples.weights[:, r]}
        expected = [
            measure(labels[:, f], scores[:, f], **given)
            for measure in (roc_auc_score, average_precision_score)
        ]
        assert measured[r, f] == pytest.approx(expected, abs=1e-6)


def test_constant_scores_are_chance() -> None:
    assert Ranker(np.array([0, 1, 1, 0]), np.zeros(4)).measure().auroc == 0.5


def test_finding_without_positives_has_no_auroc_and_no_part_in_the_mean() -> None:
    labels = np.array([[0, 0], [1, 0], [0, 0], [1, 0]])
    scores = np.array([[0.1, 0.3], [0.8, 0.1], [0.2, 0.2], [0.9, 0.5]])
    assert np.isnan(Ranker(labels[:, 1], scores[:, 1]).measure().auroc)
    assert macro_auroc(labels, scores) == 1.0


def test_scores_that_are_no_numbers_rank_nothing() -> None:
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.1, np.nan, 0.2, 0.9])
    assert np.isnan(Ranker(labels, scores).measure()).all()
    assert np.isnan(macro_auroc(labels[:, np.newaxis], np.full((4, 1), np.nan)))


def test_bootstrap_draws_all_images_of_a_patient_together() -> None:
    patients = np.array(["a", "b", "a", "c", "b"])
    weights = resample_patients(patients, count=50, seed=1).weights
    assert np.array_equal(weights[0], weights[2])
    assert np.array_equal(weights[1], weights[4])
    assert set(weights[[0, 1, 3]].sum(axis=0)) == {3}


def test_bootstrap_draws_every_patient_as_often_on_average() -> None:
    weights = resample_patients(np.arange(10), count=2_000, seed=1).weights
    np.testing.assert_allclose(weights.mean(axis=1), 1.0, atol=0.1)


def test_resamples_of_some_images_weigh_just_those_as_before() -> None:
    whole = resample_patients(np.array([7, 8, 7, 9]), count=20, seed=1)
    some = whole.of(np.array([1, 2]))
    assert np.array_equal(some.owner, whole.owner[[1, 2]])
    assert np.array_equal(some.weights, whole.weights[[1, 2]])


def test_interval_covers_95_percent_and_passes_over_undefined() -> None:
    values = np.append(np.arange(1001.0), np.nan)
    assert interval(values) == pytest.approx([25.0, 975.0])
    assert interval(np.array([np.nan])) is None


@pytest.mark.parametrize("patients", [1, 4, 5])
@pytest.mark.parametrize("rare", [0, 1], ids=["negative", "positive"])
def test_interval_needs_five_patients_with_the_finding_and_five_without_it(
    rng: np.random.Generator, patients: int, rare: int
) -> None:
    """Several images of one patient are no more patients."""
    owner = np.concatenate([np.repeat(np.arange(patients), 3), np.arange(100, 400)])
    labels = np.where(np.arange(len(owner)) < 3 * patients, rare, 1 - rare)
    resamples = resample_patients(owner, count=40, seed=1)
    drawn = measure_resamples([Ranker(labels, rng.normal(size=len(owner)))], resamples)
    for measure in range(2):
        assert (interval(drawn[:, 0, measure]) is None) == (patients < 5)


def test_mean_over_fewer_findings_than_stated_does_not_count(rng: np.random.Generator) -> None:
    drawn, whole = rng.random((50, 3)), np.array([0.6, 0.7, np.nan])
    drawn[:, 2] = np.nan
    drawn[7, 1] = np.nan
    means = mean_resampled(drawn, whole)
    assert np.flatnonzero(np.isnan(means)).tolist() == [7]
    assert means[8] == pytest.approx(drawn[8, :2].mean())
    assert np.isnan(mean_resampled(drawn, np.full(3, np.nan))).all()


def test_calibration_error_is_zero_for_frequencies_and_large_for_overconfidence() -> None:
    labels = np.tile([1.0, 0.0, 0.0, 0.0], 100)
    assert expected_calibration_error(labels, np.full(400, 0.25)) == pytest.approx(0.0)
    assert expected_calibration_error(labels, np.full(400, 0.95)) == pytest.approx(0.7)


def test_order_of_images_with_equal_probabilities_does_not_change_the_calibration_error(
    rng: np.random.Generator,
) -> None:
    probabilities = np.round(rng.random(2_000) ** 3, 1)
    labels = (rng.random(2_000) < probabilities).astype(float)
    order = np.lexsort((labels, probabilities))
    assert expected_calibration_error(labels[order], probabilities[order]) == pytest.approx(
        expected_calibration_error(labels, probabilities), abs=1e-12
    )
    constant = np.full(2_000, labels.mean())
    assert expected_calibration_error(np.sort(labels), constant) == pytest.approx(0.0)


def test_calibration_bins_hold_a_tenth_each_of_probabilities_that_differ(
    rng: np.random.Generator,
) -> None:
    bins = calibration_bins(rng.random(1_004))
    assert [len(one) for one in bins] == [101] * 4 + [100] * 6
    assert sorted(np.concatenate(bins)) == list(range(1_004))


def test_published_predictions_have_their_published_auroc(xrays: Path) -> None:
    # Reproductions of CheXNet on a random split by patient lie between 0.838 and 0.851.
    table = read_table(xrays / "official" / "Data_Entry_2017_v2020.csv.gz")
    labels = {row.image: row.labels for row in table}
    with gzip.open(xrays / "official" / "reference_predictions.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    truth = np.array([labels[row["Image Index"].removesuffix(".png")] for row in rows])
    scores = np.array([[float(row[f"prob_{finding}"]) for finding in FINDINGS] for row in rows])
    assert macro_auroc(truth, scores) == pytest.approx(0.838, abs=0.001)
