"""What a bundle says about weights that others trained."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.importers.published import Kind


def describe_origin(path: Path, name: str, kind: Kind) -> dict[str, str]:
    """Return kind, SHA-256 and training data of a file of weights; its name stays out."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"kind": name, "sha256": digest, "trained_on": kind.trained_on}


def describe_imported(origin: Mapping[str, str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of bundle.json that differ where the weights are imported.

    `data` is that of the run's record: what the weights were calibrated and tested on here.
    """
    judged = data["sets"]
    return {
        "weights": dict(origin),
        "training_data": {
            "dataset": origin["trained_on"],
            "label_version": None,
            "images": None,
            "patients": None,
            "split": f"of {data['dataset']}, for calibration and test only: {data['split']}",
            "split_sha256": data["split_sha256"],
        },
        "judged_on": {
            "dataset": data["dataset"],
            "label_version": data["label_version"],
            **{
                part: {"images": judged[part]["images"], "patients": judged[part]["patients"]}
                for part in ("validation", "test")
            },
        },
        "intended_use": (
            "Research and demonstration. Not a medical device, not for diagnosis or for any "
            f"decision about a patient. Weights of others ({origin['kind']}), trained on "
            f"{origin['trained_on']}; calibrated on {judged['validation']['images']} images of "
            f"{data['dataset']} and tested on {judged['test']['images']}. Images that the weights "
            "were trained on may be among them; then the test flatters."
        ),
    }
