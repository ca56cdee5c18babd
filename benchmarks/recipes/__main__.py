"""`python -m benchmarks.recipes --data FOLDER`: two recipes on the same images and CPU time.

Ours is the profile `demo`, one network of it instead of four, fitted to findings from its first
epoch and to labels as they are. The baseline is that of the student project before this one, with
random weights to begin with. Fits go side by side, one on each core: ours 1, baseline 1, ours 2 and
so on. Each finished one stays in the folder `--out`, so that the same command goes on after a kill,
and one that was killed goes on after its last whole epoch.
"""

import sys
from typing import Final

from benchmarks.recipes import ENDLESS, OURS
from benchmarks.recipes.command import build_parser, fit_and_print
from benchmarks.recipes.table import format_table
from training.config import TrainConfig

RECIPES: Final = {
    "ours": OURS,
    # Size, batches of 8 and plain Adam at 0.001 as the project had them; the rest switches off what
    # it did not have. `fit` selects the epoch on validation, which it did not do either.
    "baseline": TrainConfig(
        input_size=320,
        backbone="densenet121",
        epochs=ENDLESS,
        batch_size=8,
        loss="weighted",
        augment=False,
        learning_rate=1e-3,
        warmup_epochs=0.0,
        weight_decay=0.0,
        clip_norm=0.0,
        ema_momentum=0.0,
        dropout=0.0,
    ),
}


def main() -> int:
    """Fit what is not fitted yet and print the table; returns 1 where the input is wrong."""
    parser = build_parser("benchmarks.recipes", __doc__, minutes=45, seeds=(1, 2))
    return fit_and_print(
        parser.parse_args(),
        RECIPES,
        lambda jobs: format_table(list(zip(jobs[::2], jobs[1::2], strict=True))),
    )


if __name__ == "__main__":
    sys.exit(main())
