"""Plots of a data folder: what there is to learn from, and how unevenly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from contract.findings import FINDINGS
from contract.pixels import to_display
from contract.radiograph import read
from training.data import DataFolder
from training.figures import BLUE, GREEN, ORANGE, new_figure, readable, style, to_bytes
from training.losses import class_weights
from training.split import SplitName
from training.subgroups import GROUPINGS
from training.table import Row, stack_labels

_COLOURS: Final = (BLUE, ORANGE, GREEN)
_SAMPLES: Final = 12
_SAMPLE_SIDE: Final = 256

Parts = Mapping[SplitName, Sequence[Row]]


def write_plots(data: DataFolder, folder: Path) -> list[Path]:
    """Write the plots as PNG into `folder` and return their paths.

    Sample images are drawn only where the data folder has images.
    """
    parts = data.split.parts()
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        figures = {
            "frequencies": draw_frequencies(parts),
            "contributions": draw_contributions(parts["train"]),
            "patients": draw_patients(parts),
        }
        if data.files:
            figures["samples"] = draw_samples(parts["train"], data.files)
    paths = {folder / f"{name}.png": figure for name, figure in figures.items()}
    for path, figure in paths.items():
        path.write_bytes(to_bytes(figure, "png"))
    return list(paths)


def draw_frequencies(parts: Parts) -> Figure:
    """Draw the share of images with each finding, beside each other for the three sets."""
    figure = new_figure(8, 6)
    plot = figure.subplots()
    height = 0.8 / len(parts)
    for place, (name, rows) in enumerate(parts.items()):
        shares = 100 * stack_labels(rows).mean(axis=0)
        at = np.arange(len(FINDINGS)) + (place - 1) * height
        plot.barh(at, shares, height, color=_COLOURS[place], label=f"{name} ({len(rows)} images)")
    plot.set_yticks(range(len(FINDINGS)), readable(FINDINGS))
    plot.invert_yaxis()
    plot.set_xlabel("images with the finding in %")
    plot.legend(frameon=False)
    return figure


def draw_contributions(rows: Sequence[Row]) -> Figure:
    """Draw what positives and negatives contribute to the loss, before and after weighting."""
    share = stack_labels(rows).mean(axis=0)
    of_positives, of_negatives = class_weights(share)
    panels = {
        "plain loss": (share, 1.0 - share),
        "weighted loss": (share * of_positives, (1.0 - share) * of_negatives),
    }
    figure = new_figure(10, 5)
    plots = figure.subplots(1, 2, sharey=True)
    at = np.arange(len(FINDINGS))
    for plot, (title, (positives, negatives)) in zip(plots, panels.items(), strict=True):
        plot.barh(at - 0.2, positives, 0.4, color=BLUE, label="positives")
        plot.barh(at + 0.2, negatives, 0.4, color=ORANGE, label="negatives")
        plot.set_title(title)
        plot.set_xlabel("mean weight per image")
    plots[0].set_yticks(at, readable(FINDINGS))
    plots[0].invert_yaxis()
    plots[1].legend(frameon=False)
    return figure


def draw_patients(parts: Parts) -> Figure:
    """Draw age, sex and view of the images of the three sets."""
    figure = new_figure(10, 3.8)
    plots = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    for place, (name, rows) in enumerate(parts.items()):
        ages = [row.age for row in rows if row.age is not None]
        if ages:
            plots[0].hist(
                ages, range(0, 105, 5), density=True, histtype="step", label=name,
                color=_COLOURS[place], linewidth=1.8, linestyle=("-", "--", ":")[place],
            )  # fmt: skip
    plots[0].set(xlabel="age in years", ylabel="share of images per year")
    if plots[0].has_data():
        plots[0].legend(frameon=False)
    for plot, grouping in zip(plots[1:], ("sex", "view"), strict=True):
        told = [[GROUPINGS[grouping](row) or "not told" for row in rows] for rows in parts.values()]
        groups = sorted({value for values in told for value in values})
        for place, values in enumerate(told):
            shares = [100 * values.count(group) / len(values) for group in groups]
            at = np.arange(len(groups)) + (place - 1) * 0.27
            plot.bar(at, shares, 0.27, color=_COLOURS[place])
        plot.set_xticks(range(len(groups)), groups)
        plot.set(xlabel=grouping, ylabel="images in %")
    return figure


def draw_samples(rows: Sequence[Row], files: Mapping[str, Path]) -> Figure:
    """Draw radiographs spread over the set, with their findings; read as the network sees them."""
    chosen = rows[:: max(1, len(rows) // _SAMPLES)][:_SAMPLES]
    figure = new_figure(10, 8)
    for plot, row in zip(figure.subplots(3, 4).flat, chosen, strict=False):
        pixels = to_display(read(files[row.image].read_bytes()), _SAMPLE_SIDE)
        plot.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        names = [name for name, label in zip(FINDINGS, row.labels, strict=True) if label]
        more = [f"and {len(names) - 2} more"] if len(names) > 3 else []
        shown = readable(names[:2] + more if more else names)
        plot.set_title("\n".join(shown) or "No finding", fontsize=9)
    for plot in figure.axes:
        plot.set_axis_off()
    return figure
