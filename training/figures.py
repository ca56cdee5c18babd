"""What all plots share: colours that a colour-blind reader can tell apart, sizes and files."""

import base64
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contract.findings import FINDINGS

BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
PURPLE: Final = "#cc79a7"
GREY: Final = "#767676"
"""The first four are of the palette of Okabe and Ito (2008); grey has 4.5:1 contrast on white."""

_COLUMNS: Final = 5
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "figure",
}


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of width x height inches whose labels are never cut."""
    return Figure(figsize=(width, height), layout="constrained")


def finding_grid(x_label: str, y_label: str, *, unit: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure with a small titled plot per finding, from 0 to 1 on both axes if `unit`."""
    figure = new_figure(10, 6.6)
    rows = -(-len(FINDINGS) // _COLUMNS)
    grid = figure.subplots(rows, _COLUMNS, sharex=unit, sharey=unit).flat
    plots = list(grid)
    for plot in plots[len(FINDINGS) :]:
        plot.set_axis_off()
    for plot, finding in zip(plots, FINDINGS, strict=False):
        plot.set_title(finding.replace("_", " "))
        plot.set_aspect("equal")
        if unit:
            ticks = (0.0, 0.5, 1.0)
            plot.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks)
    # The plots above a gap in the last row have no neighbour below to carry their numbers.
    for plot in plots[len(FINDINGS) - _COLUMNS : len(FINDINGS)]:
        plot.tick_params(labelbottom=True)
    figure.supxlabel(x_label, fontsize=10)
    figure.supylabel(y_label, fontsize=10)
    return figure, plots[: len(FINDINGS)]


def legend_place(figure: Figure) -> Axes:
    """Return the first empty cell of a grid, where its legend fits."""
    return figure.axes[len(FINDINGS)]


def readable(names: Sequence[str]) -> list[str]:
    """Return names without underscores."""
    return [name.replace("_", " ") for name in names]


def to_bytes(figure: Figure, kind: str) -> bytes:
    """Return the figure as a file, `kind` "svg" or "png", the same bytes for the same content."""
    buffer = io.BytesIO()
    with rc_context(_STYLE):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, dpi=110, facecolor="white", metadata=metadata)
    return buffer.getvalue()


def to_uri(content: bytes, media_type: str) -> str:
    """Return bytes as a data URI, so that a page needs no second file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def style() -> AbstractContextManager[None]:
    """Return the context in which figures are drawn."""
    return rc_context(_STYLE)
