"""`python -m benchmarks.recipes.choices --data FOLDER`: what single choices of a recipe are worth.

Each row changes one thing in the network of the profile `demo`, fitted by itself at 128 pixels to
findings from its first epoch and to labels as they are, on the same images and CPU time and with
several seeds. Only validation patients judge; the test list is
not shown. Finished fits stay in the folder `--out`.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from benchmarks.recipes import OURS, Way
from benchmarks.recipes.command import build_parser, fit_and_print
from benchmarks.recipes.job import Job
from training.config import TrainConfig
from training.metrics import macro_auroc
from training.table import stack_labels

_OURS: Final = replace(OURS, input_size=128)
CHOICES: Final = {
    "ours": _OURS,
    "three times the weights": replace(_OURS, widths=(32, 80, 160, 256)),
    "192 pixels": replace(_OURS, input_size=192),
    "no local contrast": replace(_OURS, local_contrast=False),
    "no augmentation": replace(_OURS, augment=False),
    "weights not averaged": replace(_OURS, ema_momentum=0.0),
    "no dropout": replace(_OURS, dropout=0.0),
    "label smoothing of 0.1": replace(_OURS, label_smoothing=0.1),
    "labels softened by neighbours": replace(_OURS, history_share=0.5),
    "weighted loss": replace(_OURS, loss="weighted"),
    "focal loss": replace(_OURS, loss="focal"),
    "distilled from all seeds": _OURS,
    "pretrained on view, sex and age": _OURS,
    "contrastive pretraining": _OURS,
}
WAYS: Final[dict[str, Way]] = {
    "distilled from all seeds": "distilled",
    "pretrained on view, sex and age": "facts",
    "contrastive pretraining": "contrastive",
}


def main() -> int:
    """Fit what is not fitted yet and print the table; returns 1 where the input is wrong."""
    parser = build_parser("benchmarks.recipes.choices", __doc__, minutes=3, seeds=(1, 2, 3))
    parser.add_argument(
        "--only", nargs="+", choices=list(CHOICES)[1:], help="these rows, beside the first"
    )
    arguments = parser.parse_args()
    return fit_and_print(arguments, choose(arguments.only or ()), format_choices, WAYS)


def choose(names: Sequence[str]) -> dict[str, TrainConfig]:
    """Return the first choice and those named; all of them for no name."""
    first, *others = CHOICES
    return {name: CHOICES[name] for name in (first, *(names or others))}


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
    labels = stack_labels(job.split.validation)
    return float(macro_auroc(labels, job.logits()[0]))


if __name__ == "__main__":
    sys.exit(main())
