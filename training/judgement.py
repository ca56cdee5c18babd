"""Everything that is measured of one model on one set, and its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig
from training.data import DataFolder
from training.evaluate import evaluate
from training.localise import MapRows, find_and_read_boxes, localise, read_boxes
from training.operating import choose_all_points
from training.overlays import Overlay, draw_overlays
from training.predictions import PREDICTIONS, write_predictions
from training.prepare import Cache
from training.record import REPORT, write_json
from training.table import Row, stack_labels


@dataclass(frozen=True)
class Scored:
    """Rows and the calibrated probabilities [N,14] that a model gave them."""

    rows: Sequence[Row]
    probabilities: NDArray[np.floating[Any]]


def judge_set(
    scored: Scored,
    validation: Scored | None,
    thresholds: Sequence[float],
    config: TrainConfig,
    prevalence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Measure one set, its operating points chosen on validation, or on itself without one."""
    chosen_on = validation or scored
    points = choose_all_points(stack_labels(chosen_on.rows), chosen_on.probabilities)
    report = evaluate(
        scored.rows,
        scored.probabilities,
        thresholds,
        config.bootstrap_resamples,
        config.seed,
        points=points,
        prevalence=prevalence,
    )
    same = [row.image for row in chosen_on.rows] == [row.image for row in scored.rows]
    report["points_chosen_on"] = "these very images, so optimistic" if same else "validation"
    report["prevalence_source"] = (
        f"as given for {', '.join(prevalence)}, else that of this set"
        if prevalence
        else "that of this set"
    )
    return report


def look_at_maps(
    scored: Scored,
    thresholds: Sequence[float],
    config: TrainConfig,
    data: DataFolder,
    cache: Cache,
    map_rows: MapRows,
    box_list: Path | None = None,
) -> tuple[dict[str, Any] | None, list[Overlay]]:
    """Return localisation on the box list, that of the data folder if none is given, and overlays.

    Raises DataError for a box list that is wrong.
    """
    boxes = read_boxes(box_list) if box_list else find_and_read_boxes(data.folder)
    measured = localise(scored.rows, boxes, map_rows, config.bootstrap_resamples, config.seed)
    overlays = draw_overlays(scored.rows, scored.probabilities, thresholds, cache, map_rows, boxes)
    return measured, overlays


def write_folder(
    folder: Path,
    reports: Mapping[str, Any],
    part: str,
    scored: Mapping[str, Scored],
    overlays: Sequence[Overlay] = (),
) -> None:
    """Write report.html about `part`, predictions.csv of every set in `scored`, and report.json.

    A run with a report.json is finished, so that comes last, and whole.
    """
    # Drawing needs matplotlib, which takes a second to load.
    from training.report import write_page

    folder.mkdir(parents=True, exist_ok=True)
    write_page(folder, reports, part, scored[part].rows, scored[part].probabilities, overlays)
    rows = [row for one in scored.values() for row in one.rows]
    write_predictions(
        folder / PREDICTIONS, rows, np.concatenate([one.probabilities for one in scored.values()])
    )
    write_json(folder / REPORT, reports)
