"""`python -m benchmarks.recipes --data FOLDER`: two recipes on the same images and CPU time.

Ours is the profile `demo`, one network of it instead of four. The baseline is that of the student
project before this one, with random weights to begin with. Fits go side by side, one on each core:
ours 1, baseline 1, ours 2 and so on. Each finished one stays in the folder `--out`, so that the
same command goes on after a kill, and one that was killed goes on after its last whole epoch.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.recipes.job import ENDLESS, plan, run_all
from benchmarks.recipes.table import format_table
from training.config import PROFILES, TrainConfig
from training.data import read_folder
from training.errors import DataError, TrainingError

RECIPES: Final = {
    "ours": replace(PROFILES["demo"], folds=0),
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
    parser = ArgumentParser(
        "python -m benchmarks.recipes",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="a data folder")
    parser.add_argument("--minutes", type=float, default=45.0, help="of two cores, for each fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, help="default: build/recipes-MINUTES")
    arguments = parser.parse_args()
    out = arguments.out or Path("build") / f"recipes-{arguments.minutes:g}"
    try:
        if not arguments.data.is_dir():
            raise DataError(f"There is no folder {arguments.data}.")
        data = read_folder(arguments.data, PROFILES["demo"])
        jobs = plan(RECIPES, data, 2 * 60 * arguments.minutes, arguments.seeds, out)
        run_all([job for job in jobs if not job.is_done()])
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(format_table(list(zip(jobs[::2], jobs[1::2], strict=True))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
