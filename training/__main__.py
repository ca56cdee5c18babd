"""python -m training: from label tables and radiographs to a model bundle."""

import errno
import os
import select
import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from contract.seal import BundleError
from training.commands import (
    compare,
    evaluate,
    export,
    import_,
    inspect,
    prepare,
    resume,
    train,
)
from training.errors import TrainingError

_COMMANDS = (inspect, prepare, train, resume, evaluate, compare, export, import_)
_OF_PATHS = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_EXAMPLES = """examples:
  python -m training train --data drawn --profile smoke --out build/smoke
      the whole chain on drawn images, in under a minute
  python -m training inspect --data ../shared/xrays
  python -m training train --data ../shared/xrays --profile demo --out models/trained
  python -m training evaluate models/xpro-demo --data ../shared/xrays --report build/report
  python -m training compare models/xpro-demo runs/NAME --data ../shared/xrays

A data folder holds the images, anywhere below it, and either the NIH table Data_Entry*.csv (with
train_val_list.txt and test_list.txt for the official split) or one-hot train*.csv, valid*.csv and
test*.csv. KERAS_BACKEND=jax trains on JAX; export is always on TensorFlow."""


def main() -> int:
    """Run one subcommand; returns 1, with the reason on stderr, where its input is wrong.

    Where the reader of stdout has gone, as `head` does, it ends with 1 too and says nothing; with
    130, as shells say it, where ctrl-C ended it.
    """
    try:
        status = _run_command()
        print(end="", flush=True)  # at exit it would be too late to catch the error
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        # As Python's documentation of SIGPIPE says: what is left would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _run_command() -> int:
    arguments = _build_parser().parse_args()
    # What a worker still had buffered when the reader went would fail at the worker's exit.
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        arguments.run_command(arguments)
    except (TrainingError, BundleError, *_OF_PATHS) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in _OF_DISKS:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)  # below a bar of progress
        return 128 + signal.SIGINT
    return 0


def _reader_has_gone() -> bool:
    # A pipe to a process of our own can break too, and that is an error to show.
    stdout = select.poll()
    stdout.register(sys.stdout, 0)
    return bool(stdout.poll(0))


def _build_parser() -> ArgumentParser:
    parser = ArgumentParser(
        "python -m training",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(required=True, metavar="command")
    for command in _COMMANDS:
        name = command.__name__.rpartition(".")[2].removesuffix("_")
        subparser = subparsers.add_parser(name, help=command.HELP, description=command.__doc__)
        command.add(subparser)
        subparser.set_defaults(run_command=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
