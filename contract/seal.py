"""The seal of a bundle: a description in JSON with the SHA-256 of every other file and of itself.

What the description says is none of its business; `contract.bundle` looks at that.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

DESCRIPTION: Final = "assets.extra/bundle.json"
_COMPUTED: Final = ("files", "digest")


class BundleError(Exception):
    """A bundle that must not be served; the message names what differs."""


def seal(directory: Path, description: Mapping[str, Any]) -> None:
    """Write the description with `files` (path -> SHA-256) and `digest` of what lies there now."""
    sealed = {k: v for k, v in description.items() if k not in _COMPUTED}
    sealed["files"] = _hash_files(directory)
    sealed["digest"] = _digest(sealed)
    target = directory / DESCRIPTION
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(_serialise(sealed))


def read_description(directory: Path) -> dict[str, Any]:
    """Return the description, unchecked; raises BundleError where it is no JSON object."""
    try:
        description = json.loads((directory / DESCRIPTION).read_bytes())
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
    expected, found = description["files"], _hash_files(directory)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise BundleError(f"{name} is missing.")
        if name not in expected:
            raise BundleError(f"{name} is not part of the bundle; remove it.")
        if expected[name] != found[name]:
            raise BundleError(f"{name} is damaged: SHA-256 {found[name]}, not {expected[name]}.")


def _check_digest(directory: Path, description: Mapping[str, Any]) -> None:
    # Compared as bytes too, so that a changed bit in a blank or an escape does not pass.
    raw = (directory / DESCRIPTION).read_bytes()
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


def _hash_files(directory: Path) -> dict[str, str]:
    hashes = {}
    for path in _walk(directory):
        name = path.relative_to(directory).as_posix()
        try:
            if path.is_file() and name != DESCRIPTION:
                with path.open("rb") as file:
                    hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(f"{name} cannot be read: {error.strerror}.") from error
    return hashes


def _walk(directory: Path) -> Iterator[Path]:
    """Yield what lies below; unlike `rglob` it raises for a folder that it cannot enter."""

    def refuse(error: OSError) -> NoReturn:
        name = Path(error.filename).relative_to(directory).as_posix()
        raise BundleError(f"{name} cannot be read: {error.strerror}.") from error

    for folder, _, names in os.walk(directory, onerror=refuse):
        yield from (Path(folder, name) for name in names)
