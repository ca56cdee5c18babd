"""A report as one HTML file without a single foreign request."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.curves import draw_all
from training.figures import style, to_bytes, to_uri
from training.overlays import Overlay
from training.sections import build_body
from training.table import Row, stack_labels

REPORT_PAGE: Final = "report.html"
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { margin-top: 2.4rem; font-size: 1.25rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { padding: .22rem .55rem; text-align: right; border-bottom: 1px solid #ddd;
  white-space: nowrap; }
th { vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.facts td:first-child { white-space: nowrap; }
.wide { overflow-x: auto; } .figures :is(th, td):first-child { position: sticky; left: 0;
  background: #fff; }
figure img { max-width: 100%; height: auto; } .note { color: #555; }
.calls { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .87rem; }
.warning { border-left: 4px solid #d55e00; padding-left: .8rem; }
"""


def write_page(
    folder: Path,
    reports: Mapping[str, Any],
    part: str,
    rows: Sequence[Row],
    probabilities: NDArray[np.floating[Any]],
    overlays: Sequence[Overlay] = (),
) -> None:
    """Write report.html about the entry `part` of `reports` into a folder that is there.

    `reports["about"]` tells name and value of what stands at the head of the page; `rows` and
    `probabilities` [N,14] are those that `part` was measured on.
    """
    labels = stack_labels(rows)
    with style():
        figures = {
            title: to_uri(to_bytes(figure, "svg"), "image/svg+xml")
            for title, figure in draw_all(
                labels, probabilities.astype(np.float64), reports[part]
            ).items()
        }
    page = _build_page(reports["about"], part, reports[part], figures, overlays)
    (folder / REPORT_PAGE).write_text(page, encoding="utf-8")


def _build_page(
    about: Mapping[str, str],
    part: str,
    report: Mapping[str, Any],
    figures: Mapping[str, str],
    overlays: Sequence[Overlay],
) -> str:
    title = escape(f"{about.get('model', 'Predictions')}: {part}")
    body = build_body(about, report, figures, overlays)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>{body}</body></html>\n"
    )
