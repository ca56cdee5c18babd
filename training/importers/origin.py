"""What a bundle says about weights that others trained."""

import hashlib
from pathlib import Path

from training.importers.published import Kind


def describe_origin(path: Path, name: str, kind: Kind) -> dict[str, str]:
    """Return kind, SHA-256 and training data of a file of weights; its name stays out."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"kind": name, "sha256": digest, "trained_on": kind.trained_on}
