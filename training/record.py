"""What a run folder says about the run: enough to repeat it."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from contract.findings import FINDINGS
from contract.pixels import CONTRACT_VERSION
from training.config import TrainConfig
from training.data import DataFolder
from training.errors import ConfigError, RunError
from training.history import hash_history

RECORD: Final = "run.json"
CALIBRATION: Final = "calibration.json"
REPORT: Final = "report.json"
CHANGES: Final = "changes.patch"
NEIGHBOURS: Final = "neighbours_sha256"
"""In what `describe_data` returns: a hash of what labels are softened by."""
_CODE: Final = Path(__file__).parent
_PACKAGES: Final = ("keras", "tensorflow", "jax", "numpy", "pillow", "pydicom", "imagecodecs")


def write_record(
    run: Path,
    config: TrainConfig,
    data: DataFolder,
    backend: str,
    hardware: Mapping[str, Any],
    command: Sequence[str],
) -> None:
    """Write RECORD into the run folder before training starts, and CHANGES where code was changed.

    `backend` is Keras' own name, `command` what followed `python -m training`.
    """
    changes = read_changes()
    if changes:
        (run / CHANGES).write_bytes(changes)
    write_json(
        run / RECORD,
        {
            "command": list(command),
            "config": asdict(config),
            "data": describe_data(data),
            "contract_version": CONTRACT_VERSION,
            "code_commit": read_commit(),
            "date": datetime.now(UTC).date().isoformat(),
            "backend": backend,
            "hardware": dict(hardware),
            "versions": {"python": platform.python_version(), **_read_versions()},
            "pretrained_sha256": _hash_file(config.pretrained),
        },
    )


def describe_data(data: DataFolder) -> dict[str, Any]:
    """Return dataset, label tables, split and its hash, and per set images, patients, positives."""
    return {
        "dataset": data.folder.resolve().name,
        "label_version": data.label_version,
        "split": data.split.rule,
        "split_sha256": data.split.sha256(),
        **_describe_neighbours(data),
        "sets": {
            name: {
                "images": len(rows),
                "patients": len({row.patient for row in rows}),
                "positives": {f: sum(r.labels[n] for r in rows) for n, f in enumerate(FINDINGS)},
            }
            for name, rows in data.split.parts().items()
        },
    }


def _describe_neighbours(data: DataFolder) -> dict[str, Any]:
    if not data.neighbours:
        return {}
    rows = (*data.split.train, *data.split.validation)
    return {"neighbours": data.neighbours, NEIGHBOURS: hash_history(rows)}


def _read_versions() -> dict[str, str]:
    installed = {one.name.lower(): one.version for one in distributions() if one.name}
    return {package: installed[package] for package in _PACKAGES if package in installed}


def _hash_file(path: str) -> str | None:
    if path in ("", "imagenet"):  # Keras holds its own files to a hash
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"pretrained: {path} cannot be read: {error.strerror}.") from None


def read_commit(code: Path = _CODE) -> str:
    """Return the git commit of the code, `-dirty` with local changes, "unknown" without git."""
    described = _ask_git(code, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    return described.decode().strip() or "unknown"


def read_changes(code: Path = _CODE) -> bytes:
    """Return what differs from the commit in files that git knows, as a patch.

    Bytes, since it holds lines of the files in whatever encoding they have.
    """
    return _ask_git(code, "diff", "HEAD", "--binary")


def _ask_git(code: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands
            ["git", *arguments],  # noqa: S607
            cwd=code,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return b""
    return done.stdout


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON; NaN is refused, what is undefined must be null."""
    replace_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a kill leaves either the old one or the new one, whole."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def read_json(path: Path) -> Any:
    """Read JSON; raises RunError where the file is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise RunError(f"{path} is damaged: it is no JSON ({error}).") from error
