"""The command line that both comparisons share: fit what is missing, then print a table."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks.recipes import Way
from benchmarks.recipes.job import Job, plan, run_all
from training.config import TrainConfig
from training.data import read_folder
from training.errors import DataError, TrainingError
from training.history import find_history


def fit_and_print(
    arguments: Namespace,
    recipes: Mapping[str, TrainConfig],
    show: Callable[[Sequence[Job]], str],
    ways: Mapping[str, Way] = MappingProxyType({}),
) -> int:
    """Fit what is not fitted yet and print what `show` says; returns 1 where the input is wrong.

    The first recipe says how patients are split. Fits lie in `--out`, by default below build/.
    `arguments`: of `build_parser`. `ways`: as for `plan`.
    """
    try:
        if not arguments.data.is_dir():
            raise DataError(f"There is no folder {arguments.data}.")
        data = read_folder(arguments.data, next(iter(recipes.values())))
        softest = max(recipes.values(), key=lambda recipe: recipe.history_share)
        data = find_history(softest, data)[1]
        out = arguments.out or Path("build") / f"{arguments.name}-{arguments.minutes:g}"
        jobs = plan(recipes, data, 2 * 60 * arguments.minutes, arguments.seeds, out, ways)
        missing = [job for job in jobs if not job.is_done()]
        run_all([job for job in missing if job.way != "distilled"])
        run_all([job for job in missing if job.way == "distilled"])  # by the others
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(show(jobs))
    return 0


def build_parser(
    module: str, description: str | None, minutes: float, seeds: Sequence[int]
) -> ArgumentParser:
    """Declare the options with their defaults; `minutes` are of two cores, for each fit."""
    parser = ArgumentParser(
        f"python -m {module}", description=description, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a data folder")
    parser.add_argument("--minutes", type=float, default=minutes, help="of two cores, for each fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    name = module.rsplit(".", maxsplit=1)[-1]
    parser.set_defaults(name=name)
    parser.add_argument("--out", type=Path, help=f"default: build/{name}-MINUTES")
    return parser
