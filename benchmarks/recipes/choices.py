"""`python -m benchmarks.recipes.choices --data FOLDER`: what single choices of a recipe are worth.

Each row changes one thing in the profile `demo`, fitted as one small network at 128 pixels, on the
same images and CPU time and with several seeds. Only validation patients judge; the test list is
not shown. Finished fits stay in the folder `--out`.
"""

import statistics
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.recipes.job import Job, plan, run_all
from training.config import PROFILES
from training.data import read_folder
from training.errors import DataError, TrainingError
from training.metrics import macro_auroc

_OURS: Final = replace(PROFILES["demo"], folds=0, input_size=128)
CHOICES: Final = {
    "ours": _OURS,
    "three times the weights": replace(_OURS, widths=(32, 80, 160, 256)),
    "192 pixels": replace(_OURS, input_size=192),
    "no augmentation": replace(_OURS, augment=False),
    "weights not averaged": replace(_OURS, ema_momentum=0.0),
    "no dropout": replace(_OURS, dropout=0.0),
    "label smoothing of 0.1": replace(_OURS, label_smoothing=0.1),
    "weighted loss": replace(_OURS, loss="weighted"),
    "focal loss": replace(_OURS, loss="focal"),
}


def main() -> int:
    """Fit what is not fitted yet and print the table; returns 1 where the input is wrong."""
    parser = ArgumentParser(
        "python -m benchmarks.recipes.choices",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="a data folder")
    parser.add_argument("--minutes", type=float, default=3.0, help="of two cores, for each fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("build/choices"))
    arguments = parser.parse_args()
    try:
        if not arguments.data.is_dir():
            raise DataError(f"There is no folder {arguments.data}.")
        data = read_folder(arguments.data, _OURS)
        budget_s = 2 * 60 * arguments.minutes
        jobs = plan(CHOICES, data, budget_s, arguments.seeds, arguments.out)
        run_all([job for job in jobs if not job.is_done()])
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(format_choices(jobs))
    return 0


def format_choices(jobs: Sequence[Job]) -> str:
    """Return a table in Markdown, one row for each recipe; the first is what differences are to."""
    reached = {(job.recipe, job.config.seed): judge(job) for job in jobs}
    seeds = list(dict.fromkeys(job.config.seed for job in jobs))
    names = list(dict.fromkeys(job.recipe for job in jobs))
    columns = ["one thing changed", *(f"seed {seed}" for seed in seeds), "mean", "difference"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    first = [reached[names[0], seed] for seed in seeds]
    for name in names:
        row = [reached[name, seed] for seed in seeds]
        gains = [ours - theirs for ours, theirs in zip(row, first, strict=True)]
        cells = [f"{figure:.3f}" for figure in (*row, statistics.mean(row))]
        spread = f"{statistics.mean(gains):+.3f} ({min(gains):+.3f} to {max(gains):+.3f})"
        lines.append(f"| {' | '.join([name, *cells, spread if name != names[0] else ''])} |")
    return "\n".join(lines)


def judge(job: Job) -> float:
    """Return the macro AUROC of a finished job on the validation images."""
    labels = np.array([row.labels for row in job.split.validation])
    return float(macro_auroc(labels, job.logits()[0]))


if __name__ == "__main__":
    sys.exit(main())
