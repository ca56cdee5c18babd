"""Exact ranking and calibration measures in numpy; Keras' own AUC approximates with thresholds."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.patients import Resamples, are_few

Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any] | np.integer[Any]]
CALIBRATION_BINS: Final = 10
_BOUNDS: Final = (2.5, 97.5)  # percentiles of a 95 % interval
_COLUMNS: Final = 32  # resamples measured at once: of 25,596 images they fill 3 MB


class Ranking(NamedTuple):
    """Both undefined measures are NaN: AUROC needs both classes, AUPRC a positive."""

    auroc: float
    auprc: float


class Ranker:
    """One finding's scores, sorted once, measured under any weights of its images.

    `labels`, `scores` and `positive`, which images have the finding, are [N]; a weight says how
    often an image counts, as in a bootstrap.
    Scores of which one is NaN rank nothing: both measures are undefined.
    """

    def __init__(self, labels: Numbers, scores: Numbers) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self.positive = (labels == 1) & ~np.isnan(scores).any()
        truth = self.positive[self._order]
        # Tied scores form one step of the curve. Both measures change at steps that hold a positive
        # alone, so everything between two of those is summed at once.
        steps = np.cumsum(np.append(False, ranked[1:] != ranked[:-1]))
        held, self._firsts = np.unique(steps[truth], return_index=True)
        starts = np.searchsorted(steps, held)
        ends = np.searchsorted(steps, held, side="right")
        self._edges = np.unique(np.concatenate([[0], starts, ends]))
        self._edges = self._edges[self._edges < len(steps)]
        self._starts = np.searchsorted(self._edges, starts)
        self._ends = np.searchsorted(self._edges, ends)
        self._positives = self._order[truth]

    def measure(self, weights: Numbers | None = None) -> Ranking:
        """Return AUROC (Mann-Whitney statistic, ties count half) and AUPRC (average precision)."""
        weights = np.ones(len(self._order), np.float32) if weights is None else weights
        return Ranking(*map(float, self.measure_each(weights[:, np.newaxis])[0]))

    def measure_each(self, weights: Numbers) -> Floats:
        """Return AUROC and AUPRC under every column of weights [N,R], as [R,2]."""
        columns = weights.shape[1]
        if not len(self._positives):
            return np.full((columns, 2), np.nan)
        sums = np.add.reduceat(weights[self._order], self._edges, axis=0)
        seen = np.concatenate([np.zeros((1, columns)), np.cumsum(sums, axis=0, dtype=np.float64)])
        drawn = np.add.reduceat(weights[self._positives], self._firsts, axis=0)
        true = np.cumsum(drawn, axis=0, dtype=np.float64)
        false_before, false = seen[self._starts] - (true - drawn), seen[self._ends] - true
        negatives = seen[-1] - true[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            outranked = negatives - (false_before + false) / 2
            auroc = np.sum(drawn * outranked, axis=0) / (true[-1] * negatives)
            precision = np.where(drawn > 0, true / seen[self._ends], 0.0)
            auprc = np.sum(drawn * precision, axis=0) / true[-1]
        return np.stack([auroc, auprc], axis=1)


def macro_auroc(labels: Numbers, scores: Numbers) -> float:
    """Return the mean AUROC over the findings where it is defined, of labels and scores [N,F].

    NaN where it is defined for none.
    """
    columns = zip(labels.T, scores.T, strict=True)
    return mean_defined(np.array([Ranker(*column).measure().auroc for column in columns]))


def mean_defined(values: Floats) -> float:
    """Return the mean of what is not NaN, NaN where nothing is left."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def or_none(value: float) -> float | None:
    """Return None for NaN, which JSON does not know."""
    return None if np.isnan(value) else float(value)


def measure_resamples(rankers: Sequence[Ranker], resamples: Resamples) -> Floats:
    """Return AUROC and AUPRC of every ranker in every resample, as [R,len(rankers),2].

    NaN where fewer than MIN_PATIENTS are positive, or negative.
    """
    owner, weights = resamples
    parts = []
    for start in range(0, weights.shape[1], _COLUMNS):
        # A copy of its own stays in the processor's cache while all findings are measured.
        chunk = np.ascontiguousarray(weights[:, start : start + _COLUMNS])
        parts.append(np.stack([ranker.measure_each(chunk) for ranker in rankers], axis=1))
    measured = np.concatenate(parts)
    positive = np.stack([ranker.positive for ranker in rankers], axis=1)
    measured[:, are_few(owner, positive) | are_few(owner, ~positive)] = np.nan
    return measured


def rank_findings(labels: Numbers, scores: Numbers, resamples: Resamples) -> tuple[Floats, Floats]:
    """Return AUROC and AUPRC of every finding, [F,2], and resampled, [R,F,2]; both given [N,F]."""
    rankers = [Ranker(*column) for column in zip(labels.T, scores.T, strict=True)]
    whole = np.array([ranker.measure() for ranker in rankers])
    return whole, measure_resamples(rankers, resamples)


def mean_resampled(drawn: Floats, whole: Floats) -> Floats:
    """Return the mean [R] of a resampled measure [R,F] where `whole` [F] is not NaN.

    NaN where a resample lacks one of them: a mean over others is another measure, so that a mean
    has no interval where one of its findings has none.
    """
    stated = drawn[:, ~np.isnan(whole)]
    return np.asarray(stated.sum(axis=1) / (stated.shape[1] or np.nan), np.float64)


def weigh_shares(
    resamples: Resamples, hits: NDArray[np.generic], members: NDArray[np.generic]
) -> tuple[Floats, Floats]:
    """Return the share of members [N,K] that are hits [N,K], in truth [K] and resampled [R,K].

    NaN where there is no member, and resampled where members are of fewer than MIN_PATIENTS.
    `hits` may hold any number; it counts where `members` is 1 only.
    """
    owner, weights = resamples
    inside = members.astype(np.float32)
    struck = inside * hits.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = struck.sum(axis=0, dtype=np.float64) / inside.sum(axis=0, dtype=np.float64)
        drawn = np.asarray((weights.T @ struck) / (weights.T @ inside), np.float64)
    drawn[:, are_few(owner, members == 1)] = np.nan
    return whole, drawn


def interval(values: Floats) -> list[float] | None:
    """Return the percentile interval [low, high] of what is not NaN, None where nothing is left."""
    defined = values[~np.isnan(values)]
    return [float(at) for at in np.percentile(defined, _BOUNDS)] if len(defined) else None


def expected_calibration_error(labels: Floats, probabilities: Floats) -> float:
    """Return the mean gap between probability and frequency over bins of equal count, [N] each.

    The bins are those of `calibration_bins`. It is never 0 on a finite sample: see
    `calibration_error_by_chance`.
    """
    gaps = [
        abs(float(np.sum(probabilities[part] - labels[part])))
        for part in calibration_bins(probabilities)
    ]
    return sum(gaps) / len(labels)


def calibration_bins(probabilities: Floats) -> list[NDArray[np.intp]]:
    """Part images by rising probability [N]; returns the places of each bin's images.

    Ten bins (Naeini et al., 2015), of nearly equal count because a rare finding leaves bins of
    equal width empty. Equal probabilities share a bin, so that the order of images decides nothing.
    """
    order = np.argsort(probabilities, kind="stable")
    sizes = [len(part) for part in np.array_split(order, CALIBRATION_BINS)]
    ranked = probabilities[order]
    cuts = [cut for cut in np.cumsum(sizes) if cut < len(ranked)]
    moved = np.unique(np.searchsorted(ranked, ranked[cuts]))
    return [part for part in np.split(order, moved) if len(part)]


def mean_calibration_error(labels: Numbers, probabilities: Numbers) -> float:
    """Return the expected calibration error averaged over findings, for [N,F]."""
    pairs = zip(labels.T.astype(np.float64), probabilities.T.astype(np.float64), strict=True)
    return float(np.mean([expected_calibration_error(*pair) for pair in pairs]))


def calibration_error_by_chance(probabilities: Numbers, draws: int, seed: int) -> float:
    """Return what `mean_calibration_error` shows for labels drawn from the probabilities, [N,F].

    So much is sampling noise: the mean over `draws` samples of perfectly calibrated labels.
    """
    rng = np.random.default_rng(seed)
    samples = (rng.random(probabilities.shape) < probabilities for _ in range(draws))
    return float(np.mean([mean_calibration_error(one * 1.0, probabilities) for one in samples]))
