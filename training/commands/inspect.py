"""`inspect`: what a data folder holds."""

from argparse import ArgumentParser, Namespace

from training.commands import options
from training.record import describe_data

HELP = "show the sets of a data folder"


def add(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_data(parser)
    options.add_profile(parser)


def run(arguments: Namespace) -> None:
    """Print the sets of a data folder with their images, patients and positives."""
    with options.open_data(arguments, options.chosen_config(arguments)) as data:
        described = describe_data(data)
    print(f"{described['label_version']}; {described['split']}; no patient on two sides")
    sets = described["sets"]
    print(f"{'':20}" + "".join(f"{name:>12}" for name in sets))
    for what in ("images", "patients"):
        print(f"{what:20}" + "".join(f"{one[what]:>12}" for one in sets.values()))
    for finding in sets["train"]["positives"]:
        print(
            f"{finding:20}" + "".join(f"{one['positives'][finding]:>12}" for one in sets.values())
        )
