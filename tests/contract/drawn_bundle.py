"""What a bundle consists of, without a model in it."""

import numpy as np

from contract.bundle import FORMAT_VERSION, GOLDEN
from contract.findings import FINDINGS
from contract.pixels import CONTRACT_VERSION

SIZE = 8


def description_of(**changes):
    findings = [{"name": name, "threshold": 0.25} for name in FINDINGS]
    return {
        "format_version": FORMAT_VERSION,
        "contract_version": CONTRACT_VERSION,
        "name": "drawn",
        "version": "7",
        "input_size": SIZE,
        "findings": findings,
        "intended_use": "tests, and nothing else: ä",
        **changes,
    }


def golden_arrays(**changes):
    images = np.arange(2 * SIZE * SIZE).reshape(2, SIZE, SIZE, 1).astype(np.uint8)
    outputs = np.linspace(0, 1, 2 * 14, dtype=np.float32).reshape(2, 14)
    return {"image": images, "probabilities": outputs, "logits": outputs - 0.5, **changes}


def write_model(directory, **arrays):
    """Write what a SavedModel directory looks like, without a model."""
    (directory / "variables").mkdir(parents=True)
    (directory / "assets.extra").mkdir()
    (directory / "saved_model.pb").write_bytes(bytes(range(256)))
    (directory / "variables/variables.index").write_bytes(b"index" * 20)
    np.savez_compressed(directory / GOLDEN, **golden_arrays(**arrays))
    return directory
