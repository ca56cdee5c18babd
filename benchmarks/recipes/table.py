"""What came out of it, as a table in Markdown."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.recipes.job import Job
from training.compare import compare
from training.metrics import interval, mean_defined, mean_resampled, rank_findings
from training.patients import resample_patients
from training.table import Row, stack_labels

_COLUMNS: Final = (
    "recipe, seed",
    "CPU minutes",
    "images seen",
    "epochs (kept after)",
    "AUROC on validation",
    "AUROC on test",
)
_RESAMPLES: Final = 1000
_SEED: Final = 20

Floats = NDArray[np.floating[Any]]


def format_table(pairs: Sequence[tuple[Job, Job]]) -> str:
    """Return one table about finished jobs: our recipe and the baseline for each seed.

    Differences are ours - baseline, paired: both on the same resamples of patients.
    """
    split = pairs[0][0].split
    minutes = pairs[0][0].budget_s / 60
    budget = f"{minutes:g} CPU minutes ({minutes / 2:g} minutes of two cores)"
    sets = ", ".join(f"{len(rows)} in {name}" for name, rows in split.parts().items())
    lines = [
        f"Budget of each fit: {budget}. Images: {sets}.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    for pair in pairs:
        lines += [_format_job(job) for job in pair]
        differences = [
            _subtract(rows, ours, baseline)
            for rows, ours, baseline in zip(
                (split.validation, split.test), *(job.logits() for job in pair), strict=True
            )
        ]
        seed = pair[0].config.seed
        cells = [f"**difference**, {seed}", "", "", "", *differences]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _format_job(job: Job) -> str:
    used = job.used()
    parts = zip((job.split.validation, job.split.test), job.logits(), strict=True)
    cells = [
        f"{job.recipe}, {job.config.seed}",
        f"{used['cpu_s'] / 60:.1f}",
        f"{used['images']:,.0f}",
        f"{used['epochs']:.2f} ({used['kept']:.2f})",
        *(_measure(rows, logits) for rows, logits in parts),
    ]
    return f"| {' | '.join(cells)} |"


def _measure(rows: Sequence[Row], logits: Floats) -> str:
    # Of logits, not of probabilities: AUROC is the same, and far ones stay apart.
    draws = resample_patients(np.array([row.patient for row in rows]), _RESAMPLES, _SEED)
    whole, drawn = (one[..., 0] for one in rank_findings(stack_labels(rows), logits, draws))
    return _format(mean_defined(whole), interval(mean_resampled(drawn, whole)), ".3f")


def _subtract(rows: Sequence[Row], ours: Floats, baseline: Floats) -> str:
    macro = compare(rows, baseline, ours, _RESAMPLES, _SEED)["findings"][0]["auroc"]
    return _format(macro["difference"], macro["difference_ci"], "+.3f")


def _format(value: float | None, bounds: list[float] | None, digits: str) -> str:
    if value is None:
        return "-"
    if bounds is None:
        return f"{value:{digits}}"
    return f"{value:{digits}} ({bounds[0]:{digits}} to {bounds[1]:{digits}})"
