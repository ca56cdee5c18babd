import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from contract.findings import FINDINGS
from training.calibrate import apply_scaling, calibrate
from training.metrics import interval, weigh_shares
from training.operating import OperatingPoint, choose_points, measure_points
from training.patients import resample_patients

LABELS = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0])
PROBABILITIES = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def chosen(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    return {point.rule: point.threshold for point in choose_points(labels, probabilities)}


def test_each_rule_takes_its_threshold_from_a_curve_that_can_be_followed_by_eye() -> None:
    # Below 0.6 all 4 positives and 1 of 6 negatives are called; above 0.7 three positives alone.
    assert chosen(LABELS, PROBABILITIES) == pytest.approx(
        {"Youden": 0.55, "F1": 0.55, "sensitivity 0.9": 0.55, "specificity 0.9": 0.75}
    )


def test_youden_gives_up_sensitivity_for_more_specificity() -> None:
    # Above 0.75 lie 3 of 4 positives and no negative: a gain of 0.75, and 1 - 4 / 6 below 0.3.
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 1, 0, 0])
    assert chosen(labels, PROBABILITIES)["Youden"] == pytest.approx(0.75)


def test_f1_gives_up_sensitivity_for_more_precision() -> None:
    # The first alone has 2 * 1 / (1 + 3), the first ten with all three positives 2 * 3 / (10 + 3).
    labels = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0])
    assert chosen(labels, np.linspace(0.95, 0.4, 12))["F1"] == pytest.approx(0.925)


def test_chosen_rates_hold_where_they_were_chosen(rng: np.random.Generator) -> None:
    labels = (rng.random(4_000) < 0.1).astype(int)
    probabilities = 1 / (1 + np.exp(-rng.normal(1.5 * labels - 3, 1)))
    thresholds = chosen(labels, probabilities)
    reached = recall_score(labels, probabilities >= thresholds["sensitivity 0.9"])
    spared = recall_score(1 - labels, probabilities < thresholds["specificity 0.9"])
    assert 0.9 <= reached < 0.905
    assert 0.9 <= spared < 0.905


def test_rate_of_exactly_nine_tenths_reaches_nine_tenths() -> None:
    labels = np.repeat([1, 0], 10)
    probabilities = np.concatenate([np.linspace(0.5, 0.6, 10), [0.99], np.linspace(0.1, 0.4, 9)])
    assert chosen(labels, probabilities)["specificity 0.9"] == pytest.approx(0.45)
    turned = chosen(1 - labels, 1 - probabilities)
    assert turned["sensitivity 0.9"] == pytest.approx(0.55)


def test_rate_that_no_threshold_reaches_says_so() -> None:
    labels = np.repeat([1, 0], 10)
    probabilities = np.concatenate([np.repeat([0.9, 0.0], 5), np.repeat([0.8, 0.0], [2, 8])])
    rules = [point.rule for point in choose_points(labels, probabilities)]
    assert rules[2] == "sensitivity 0.9: 0.5, as no threshold reaches it"
    assert rules[3] == "specificity 0.9"


def test_finding_of_one_class_gets_a_threshold_that_says_so() -> None:
    for labels in (np.zeros(10, int), np.ones(10, int)):
        points = choose_points(labels, PROBABILITIES)
        assert {point.threshold for point in points} == {0.5}
        assert points[0].rule == "Youden: 0.5, as there is only one class"


def measured(labels: np.ndarray, prevalence: float, threshold: float = 0.65) -> dict[str, float]:
    # All twice: four patients with the finding are too few for an interval.
    table, probabilities = (
        np.tile(a[:, None], (2, len(FINDINGS))) for a in (labels, PROBABILITIES)
    )
    resamples = resample_patients(np.arange(20), count=20, seed=1)
    points = [[OperatingPoint("by hand", threshold)]] * len(FINDINGS)
    shares = dict.fromkeys(FINDINGS, prevalence)
    return measure_points(table, probabilities, points, shares, resamples)[0][0]


def test_predictive_values_at_the_prevalence_of_the_set_are_those_counted_in_it() -> None:
    point, called = measured(LABELS, prevalence=0.4), PROBABILITIES >= 0.65
    assert point["sensitivity"] == pytest.approx(recall_score(LABELS, called))
    assert point["ppv"] == pytest.approx(precision_score(LABELS, called))
    assert point["npv"] == pytest.approx(precision_score(1 - LABELS, ~called))


def test_predictive_values_follow_the_stated_prevalence() -> None:
    # Bayes: 0.75 * 0.02 / (0.75 * 0.02 + (1 / 6) * 0.98) and 0.98 * 5 / 6 / (... + 0.02 * 0.25).
    point = measured(LABELS, prevalence=0.02)
    assert point["ppv"] == pytest.approx(0.015 / (0.015 + 0.98 / 6))
    assert point["npv"] == pytest.approx((0.98 * 5 / 6) / (0.98 * 5 / 6 + 0.005))
    low, high = point["ppv_ci"]
    assert low < point["ppv"] <= high


def test_what_just_reaches_its_threshold_is_called() -> None:
    assert measured(LABELS, 0.4, threshold=0.6) == {
        **measured(LABELS, 0.4, threshold=0.55),
        "threshold": 0.6,
    }


def test_youden_point_and_threshold_of_the_bundle_are_one_even_where_gains_are_equal() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        labels = (rng.random(60) < 0.3).astype(int)
        logits = np.round(rng.normal(labels * 0.5, 1), 1)
        table, columns = (np.tile(a[:, None], len(FINDINGS)) for a in (labels, logits))
        scaling = calibrate(columns, table)
        point = choose_points(labels, apply_scaling(scaling, columns)[:, 0])[0]
        assert point.threshold == scaling[0].threshold


def test_rates_of_four_patients_have_no_interval() -> None:
    resamples = resample_patients(np.arange(10), count=20, seed=1)
    rates, drawn = weigh_shares(resamples, PROBABILITIES[:, None] >= 0.65, LABELS[:, None])
    assert rates == pytest.approx(0.75)
    assert interval(drawn[:, 0]) is None
    _, drawn = weigh_shares(resamples, PROBABILITIES[:, None] < 0.65, 1 - LABELS[:, None])
    assert interval(drawn[:, 0]) is not None


def test_rates_without_a_positive_are_none() -> None:
    point = measured(np.zeros(10, int), prevalence=0.1)
    assert point["sensitivity"] is point["sensitivity_ci"] is point["ppv"] is None
    assert point["specificity"] == 0.6
