"""The figures of a report: AUROC with intervals, ROC, PR and reliability curves."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    finding_grid,
    legend_place,
    new_figure,
    readable,
)
from training.metrics import Floats

_POINTS: Final = 200
"""Points drawn of a curve; more cannot be seen at this size."""

_MARKS: Final = (("o", ORANGE), ("s", GREEN), ("^", PURPLE), ("D", GREY))


def draw_aurocs(report: Mapping[str, Any]) -> Figure:
    """Draw AUROC and its interval of every finding, and their mean."""
    findings = [one for one in report["findings"] if one["auroc"] is not None]
    if not findings:
        figure = new_figure(7, 1)
        _say_undefined(figure)
        return figure
    names = ["mean", *[one["name"] for one in findings]]
    values = [report["macro_auroc"], *[one["auroc"] for one in findings]]
    bounds = [report["macro_auroc_ci"], *[one["auroc_ci"] for one in findings]]
    figure = new_figure(7, 0.28 * len(names) + 0.9)
    plot = figure.subplots()
    for place, (value, ci) in enumerate(zip(values, bounds, strict=True)):
        colour = ORANGE if place == 0 else BLUE
        plot.plot(ci or [value, value], [place, place], color=colour, linewidth=2)
        plot.plot([value], [place], "o", color=colour, markersize=6)
    plot.set_yticks(range(len(names)), readable(names))
    plot.invert_yaxis()
    plot.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    plot.set_xlabel("AUROC with 95 % interval over patients; dashed: chance")
    plot.grid(axis="x", alpha=0.3)
    return figure


def draw_roc(labels: NDArray[np.int_], probabilities: Floats, report: Mapping[str, Any]) -> Figure:
    """Draw ROC curves of labels and probabilities [N,14], with the operating points."""
    figure, plots = finding_grid("1 - specificity", "sensitivity")
    for f, (plot, finding) in enumerate(zip(plots, report["findings"], strict=True)):
        plot.plot([0, 1], [0, 1], "--", color=GREY, linewidth=0.8)
        if finding["auroc"] is None:
            _say_undefined(plot)
            continue
        true, false = _count_calls(labels[:, f], probabilities[:, f])
        plot.plot(*_thin(false / false[-1], true / true[-1]), color=BLUE, linewidth=1.5)
        plot.text(0.98, 0.04, f"{finding['auroc']:.3f}", ha="right", fontweight="bold")
        for (mark, colour), point in zip(_MARKS, finding["operating_points"], strict=False):
            x, y = 1 - point["specificity"], point["sensitivity"]
            rule = point["rule"].partition(":")[0]  # behind it, why it could not be met here
            plot.plot([x], [y], mark, color=colour, markersize=5, label=rule)
    _add_legend(figure, plots)
    return figure


def draw_precision_recall(
    labels: NDArray[np.int_], probabilities: Floats, report: Mapping[str, Any]
) -> Figure:
    """Draw precision over recall of labels and probabilities [N,14]; dashed: without knowledge."""
    figure, plots = finding_grid("recall (sensitivity)", "precision (PPV in this set)")
    for f, (plot, finding) in enumerate(zip(plots, report["findings"], strict=True)):
        if finding["auprc"] is None:
            _say_undefined(plot)
            continue
        share = labels[:, f].mean()
        plot.axhline(share, linestyle="--", color=GREY, linewidth=0.8)
        true, false = _count_calls(labels[:, f], probabilities[:, f])
        true, false = true[1:], false[1:]
        plot.plot(*_thin(true / true[-1], true / (true + false)), color=BLUE, linewidth=1.5)
        plot.text(0.98, 0.9, f"{finding['auprc']:.3f}", ha="right", fontweight="bold")
    return figure


def draw_reliability(report: Mapping[str, Any]) -> Figure:
    """Draw frequency over probability in bins of equal count, each plot scaled to its finding."""
    figure, plots = finding_grid(
        "mean probability of a bin", "frequency of the finding in it", unit=False
    )
    for plot, finding in zip(plots, report["findings"], strict=True):
        bins = finding["reliability"]
        x = [one["mean_probability"] for one in bins]
        y = [one["frequency"] for one in bins]
        spans = [one["frequency_ci"] or [one["frequency"]] * 2 for one in bins]
        for at, (low, high) in zip(x, spans, strict=True):
            plot.plot([at, at], [low, high], color=BLUE, linewidth=1)
        top = 1.08 * max(*x, *[high for _, high in spans], 0.01)
        plot.plot([0, 1], [0, 1], "--", color=GREY, linewidth=0.8)
        plot.plot(x, y, "o-", color=BLUE, markersize=3, linewidth=1)
        plot.text(0.97 * top, 0.04 * top, f"ECE {finding['ece']:.3f}", ha="right")
        plot.set(xlim=(0, top), ylim=(0, top))
        plot.locator_params(nbins=3)
    return figure


def draw_all(
    labels: NDArray[np.int_], probabilities: Floats, report: Mapping[str, Any]
) -> dict[str, Figure]:
    """Draw every figure of a report, by title."""
    return {
        "AUROC": draw_aurocs(report),
        "ROC curves": draw_roc(labels, probabilities, report),
        "Precision and recall": draw_precision_recall(labels, probabilities, report),
        "Reliability": draw_reliability(report),
    }


def _count_calls(labels: NDArray[np.int_], scores: Floats) -> tuple[Floats, Floats]:
    """Return true and false positives at every threshold, both from 0 to all, rising."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    true = np.append(0.0, np.cumsum(labels[order])[ends])
    false = np.append(0.0, np.cumsum(1 - labels[order])[ends])
    return true, false


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Keep the points of a curve that lie about a pixel apart, both ends included."""
    way = np.append(0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
    chosen = np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], _POINTS)))
    chosen = np.minimum(chosen, len(x) - 1)
    return x[chosen], y[chosen]


def _say_undefined(plot: Any) -> None:
    plot.text(0.5, 0.5, "one class only", ha="center", va="center", color=GREY)


def _add_legend(figure: Figure, plots: Sequence[Any]) -> None:
    handles, names = max(
        (plot.get_legend_handles_labels() for plot in plots), key=lambda h: len(h[0])
    )
    if handles:
        legend_place(figure).legend(handles, names, loc="center", frameon=False, fontsize=9)
