"""`inspect`: what a data folder holds."""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from training.commands import options
from training.record import describe_data
from training.subgroups import GROUPINGS
from training.table import Row

HELP = "show the sets of a data folder"
_UNTOLD = "not told"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    options.add_profile(parser)
    parser.add_argument("--tables-only", action="store_true", help="do not look for images")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write plots as PNG")


def run(arguments: Namespace) -> None:
    """Print images, patients, positives, sex, age and view of every set of a data folder.

    A missing image is an error unless allowed, and so is a patient in two sets.
    """
    config = options.chosen_config(arguments)
    with options.open_data(arguments, config, tables_only=arguments.tables_only) as data:
        described = describe_data(data)
        print(f"{described['label_version']}; {described['split']}; no patient in two sets")
        if arguments.tables_only:
            print("images were not looked for")
        else:
            print(f"{data.missing} rows without an image file, left out")
        sets, parts = described["sets"], list(data.split.parts().values())
        _print_line("", list(sets))
        for what in ("images", "patients"):
            _print_line(what, [one[what] for one in sets.values()])
        for finding in sets["train"]["positives"]:
            _print_line(finding, [one["positives"][finding] for one in sets.values()])
        _print_groups(parts)
        if arguments.plots:
            from training.plots import write_plots

            for path in write_plots(data, arguments.plots):
                print(f"wrote {path}")


def _print_groups(parts: Sequence[Sequence[Row]]) -> None:
    for name, choose in GROUPINGS.items():
        counts = [Counter(choose(row) or _UNTOLD for row in rows) for rows in parts]
        groups = sorted(
            set().union(*counts), key=lambda group: (group == _UNTOLD, len(group), group)
        )
        for group in groups:
            _print_line(f"{name} {group}", [count[group] for count in counts])


def _print_line(name: str, values: Sequence[object]) -> None:
    print(f"{name:20}" + "".join(f"{value:>12}" for value in values))
