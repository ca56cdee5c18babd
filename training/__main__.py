"""python -m training: from label tables and radiographs to a model bundle."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from contract.bundle import BundleError
from training import commands
from training.config import PROFILES
from training.errors import TrainingError

_EXAMPLES = """examples:
  python -m training train --data drawn --profile smoke --out build/smoke
      the whole chain on drawn images, in under a minute
  python -m training inspect --data ../shared/xrays
  python -m training train --data ../shared/xrays --profile demo --out models/xpro-demo
  python -m training evaluate models/xpro-demo/1 --data ../shared/xrays --split test

A data folder holds the images, anywhere below it, and either the NIH table Data_Entry*.csv (with
train_val_list.txt and test_list.txt for the official split) or one-hot train*.csv, valid*.csv and
test*.csv. KERAS_BACKEND=jax trains on JAX; export is always on TensorFlow."""


def main() -> int:
    """Run one subcommand; returns 1, with the reason on stderr, where its input is wrong."""
    arguments = _build_parser().parse_args()
    try:
        arguments.command(arguments)
    except (TrainingError, BundleError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _build_parser() -> ArgumentParser:
    parser = ArgumentParser(
        "python -m training",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_subparsers(required=True, metavar="command").add_parser
    data, profile = ArgumentParser(add_help=False), ArgumentParser(add_help=False)
    data.add_argument("--data", type=Path, required=True, help="a data folder, or 'drawn'")
    data.add_argument("--cache", type=Path, help="prepared images (default: below cache/)")
    data.add_argument("--allow-missing", action="store_true", help="leave out rows without image")
    profile.add_argument("--profile", choices=list(PROFILES), default="demo", help="see config.py")
    profile.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the profile"
    )
    out = ArgumentParser(add_help=False)
    out.add_argument("--out", type=Path, required=True, help="the model's folder: models/NAME")

    inspect = add("inspect", help="show the sets of a data folder", parents=[data, profile])
    inspect.set_defaults(command=commands.run_inspect)
    prepare = add("prepare", help="fill the cache of images", parents=[data, profile])
    prepare.set_defaults(command=commands.run_prepare)
    train = add("train", help="the whole chain to a bundle", parents=[data, profile, out])
    train.add_argument("--run", type=Path, help="new folder of the run (default: below runs/)")
    train.set_defaults(command=commands.run_train)
    export = add("export", help="export a finished run once more", parents=[out])
    export.add_argument("run", type=Path)
    export.set_defaults(command=commands.run_export)
    evaluate = add("evaluate", help="measure a bundle", parents=[data])
    evaluate.add_argument("bundle", type=Path)
    evaluate.add_argument("--split", choices=("train", "validation", "test"), default="test")
    evaluate.add_argument("--report", type=Path, help="also write the report as JSON")
    evaluate.set_defaults(command=commands.run_evaluate)
    return parser


if __name__ == "__main__":
    sys.exit(main())
