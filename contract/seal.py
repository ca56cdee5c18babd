"""The seal of a bundle: a description in JSON with the SHA-256 of every other file and of itself.

What the description says is none of its business; `contract.bundle` looks at that.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

DESCRIPTION: Final = "assets.extra/bundle.json"
_LARGEST_DESCRIPTION: Final = 16 << 20
_COMPUTED: Final = ("files", "digest")


class BundleError(Exception):
    """A bundle that must not be served; the message names what differs."""


def seal(directory: Path, description: Mapping[str, Any]) -> None:
    """Write the description with `files` (path -> SHA-256) and `digest` of what lies there now."""
    sealed = {k: v for k, v in description.items() if k not in _COMPUTED}
    sealed["files"] = {name: _hash(name, path) for name, path in _list_files(directory).items()}
    sealed["digest"] = _digest(sealed)
    target = directory / DESCRIPTION
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(_serialise(sealed))


def read_description(directory: Path) -> dict[str, Any]:
    """Return the description, unchecked; raises BundleError where it is no JSON object."""
    try:
        description = json.loads(_read_raw(directory))
    except OSError as error:
        raise BundleError(f"{DESCRIPTION} is missing or unreadable: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{DESCRIPTION} is damaged: it is not JSON ({error}).") from error
    if not isinstance(description, dict):
        raise BundleError(f"{DESCRIPTION} is damaged: it is not a JSON object.")
    return description


def check_seal(directory: Path, description: Mapping[str, Any]) -> None:
    """Raise BundleError that names the file that is missing, surplus or changed."""
    _check_digest(directory, description)
    expected, found = description["files"], _list_files(directory)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise BundleError(f"{name} is missing.")
        if name not in expected:
            raise BundleError(f"{name} is not part of the bundle; remove it.")
    for name, path in found.items():
        if expected[name] != (ours := _hash(name, path)):
            raise BundleError(f"{name} is damaged: SHA-256 {ours}, not {expected[name]}.")


def _check_digest(directory: Path, description: Mapping[str, Any]) -> None:
    # Compared as bytes too, so that a changed bit in a blank or an escape does not pass.
    raw = _read_raw(directory)
    try:
        unchanged = description.get("digest") == _digest(description)
        unchanged = unchanged and raw == _serialise(description)
    except (ValueError, RecursionError):  # NaN and deep nesting can be read but not written
        unchanged = False
    if not unchanged:
        raise BundleError(f"{DESCRIPTION} was changed after export: its digest does not match.")
    if not isinstance(description.get("files"), dict):
        raise BundleError(f"{DESCRIPTION} lists no files.")


def _serialise(description: Mapping[str, Any]) -> bytes:
    text = json.dumps(description, indent=1, sort_keys=True, allow_nan=False)
    return text.encode() + b"\n"


def _digest(description: Mapping[str, Any]) -> str:
    undigested = {k: v for k, v in description.items() if k != "digest"}
    return "sha256:" + hashlib.sha256(_serialise(undigested)).hexdigest()


def _read_raw(directory: Path) -> bytes:
    path = directory / DESCRIPTION
    facts = path.stat()
    # A pipe or a device would be read without end.
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_DESCRIPTION:
        raise BundleError(f"{DESCRIPTION} is no file of at most {_LARGEST_DESCRIPTION >> 20} MiB.")
    return path.read_bytes()


def _list_files(directory: Path) -> dict[str, Path]:
    files = {}
    for path in _walk(directory):
        name = path.relative_to(directory).as_posix()
        try:
            if name != DESCRIPTION and path.is_file():
                files[name] = path
        except OSError as error:
            raise BundleError(f"{name} cannot be read: {error.strerror}.") from error
    return files


def _hash(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}.") from error


def _walk(directory: Path) -> Iterator[Path]:
    """Yield what lies below; unlike `rglob` it raises for a folder that it cannot enter."""

    def refuse(error: OSError) -> NoReturn:
        name = Path(error.filename).relative_to(directory).as_posix()
        raise BundleError(f"{name} cannot be read: {error.strerror}.") from error

    for folder, _, names in os.walk(directory, onerror=refuse):
        yield from (Path(folder, name) for name in names)
