"""`python -m service.keys`: make, list and revoke the keys of clients."""

import argparse
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from service.key_file import (
    MAX_PER_MINUTE,
    NAME_PATTERN,
    Key,
    KeyFileError,
    Scope,
    change_keys,
    digest,
    new_key,
    read_keys,
)


def main() -> int:
    """Run one command; returns 1 with a message where the key file does not allow it."""
    arguments = _parser().parse_args()
    if arguments.file is None:
        print("error: say which file: --file keys.json, or set XPRO_KEYS_FILE.", file=sys.stderr)
        return 2
    try:
        return int(arguments.run(arguments))
    except (KeyFileError, _UnprintableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


class _UnprintableError(Exception):
    pass


def _say(text: str) -> None:
    """Print at once, or raise _UnprintableError."""
    try:
        print(text, flush=True)
    except OSError as error:
        # What is left in the buffer would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise _UnprintableError(f"nothing can be printed: {error.strerror}.") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.keys", description=__doc__)
    default = os.environ.get("XPRO_KEYS_FILE") or None
    parser.add_argument(
        "--file", type=Path, default=default, help="the key file; default: XPRO_KEYS_FILE"
    )
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("make", help="make a key and print it, this once only")
    make.add_argument("client", type=_client, help="who gets it, as the log will name them")
    make.add_argument(
        "--scope",
        action="append",
        choices=get_args(Scope),
        help="what it is for, may be given several times; default: predict",
    )
    make.add_argument("--days", type=_positive, default=365, help="until it expires (365)")
    make.add_argument("--requests-per-minute", type=_positive, help="its own rate")
    make.set_defaults(run=_make)
    commands.add_parser("list", help="list clients, never keys").set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="take a client's keys away")
    revoke.add_argument("client", type=_client)
    revoke.add_argument("--id", help="only this one, as listed")
    revoke.set_defaults(run=_revoke)
    return parser


def _client(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError("a name has up to 64 of A-Z a-z 0-9 . _ -")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PER_MINUTE:
        raise argparse.ArgumentTypeError("give a whole number from 1 to 1000000")
    return int(text)


def _make(arguments: argparse.Namespace) -> int:
    key = new_key()
    entry = Key(
        client=arguments.client,
        sha256=digest(key.encode()),
        scopes=tuple(dict.fromkeys(arguments.scope or ["predict"])),
        expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=arguments.days),
        requests_per_minute=arguments.requests_per_minute,
    )
    with change_keys(arguments.file) as keys:
        keys.append(entry)
        # Before the file is written: a key that nobody saw is not to come into force.
        _say(key)
    print(f"Key {entry.id} of {entry.client}; it is kept nowhere, so note it now.", file=sys.stderr)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    keys = read_keys(arguments.file)
    _say(f"{'client':24} {'id':12} {'expires (UTC)':20} {'per minute':>10}  scopes")
    for key in keys:
        expires = f"{key.expires.astimezone(UTC):%Y-%m-%d %H:%M}{' gone' if key.expired() else ''}"
        rate = key.requests_per_minute or "default"
        _say(f"{key.client:24} {key.id:12} {expires:20} {rate:>10}  {' '.join(key.scopes)}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    with change_keys(arguments.file) as keys:
        gone = [
            key for key in keys if key.client == arguments.client and arguments.id in (None, key.id)
        ]
        keys[:] = [key for key in keys if key not in gone]
    if not gone:
        print("error: no such key; `list` shows those there are.", file=sys.stderr)
        return 1
    _say(f"revoked: {' '.join(key.id for key in gone)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
