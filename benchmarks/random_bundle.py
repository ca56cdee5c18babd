"""`python -m benchmarks.random_bundle FOLDER`: a sealed DenseNet121 bundle with random weights.

It holds INT8 too, not judged: AUROC says nothing of random weights. So the service takes INT8 of
it only where XPRO_PRECISION asks.
"""

import sys
from pathlib import Path
from typing import Final

import keras
import numpy as np

from contract.bundle import FORMAT_VERSION, seal_bundle
from contract.findings import FINDINGS
from contract.pixels import CONTRACT_VERSION
from training.config import read_config
from training.export import write_golden, write_saved_model
from training.network import build_calibrated, build_network
from training.phantom import draw_phantom
from training.quantise import quantise, write_int8

IMAGES: Final = 20


def main() -> None:
    """Write version 1 of the bundle into the folder; it answers nothing, it only costs the same."""
    bundle = Path(sys.argv[1]) / "1"
    config = read_config("densenet121", ["pretrained="])
    keras.utils.set_random_seed(0)
    count = len(FINDINGS)
    network = build_calibrated(build_network(config), np.ones(count), np.zeros(count))
    write_saved_model(network, bundle)
    images = [draw_phantom(seed)[16:240, 16:240, np.newaxis] for seed in range(IMAGES)]
    write_int8(quantise(bundle, images), bundle)
    write_golden(bundle, config.input_size)
    description = {
        "format_version": FORMAT_VERSION,
        "contract_version": CONTRACT_VERSION,
        "name": "densenet121-random",
        "version": "1",
        "findings": [{"name": name, "threshold": 0.5} for name in FINDINGS],
        "input_size": config.input_size,
        "int8": {"kept": True, "macro_auroc_change": None, "calibration_images": IMAGES},
        "intended_use": "Random weights, for measurements of speed only.",
    }
    seal_bundle(bundle, description)


if __name__ == "__main__":
    main()
