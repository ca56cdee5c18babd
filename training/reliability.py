"""Whether a probability means what it says: per finding, in bins of equal count."""

from typing import Any

import numpy as np

from training.metrics import (
    Floats,
    calibration_bins,
    expected_calibration_error,
    interval,
    weigh_shares,
)
from training.patients import Resamples


def measure_calibration(
    labels: Floats, probabilities: Floats, resamples: Resamples
) -> dict[str, Any]:
    """Return ECE, Brier score and reliability bins of one finding, labels and probabilities [N].

    A bin holds a tenth of the images: mean probability beside the frequency of the finding, with
    its interval over resamples of patients.
    """
    bins = calibration_bins(probabilities)
    members = np.zeros((len(labels), len(bins)), np.float32)
    for n, part in enumerate(bins):
        members[part, n] = 1.0
    frequencies, drawn = weigh_shares(resamples, labels[:, np.newaxis], members)
    return {
        "ece": expected_calibration_error(labels, probabilities),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "reliability": [
            {
                "images": len(part),
                "mean_probability": float(probabilities[part].mean()),
                "frequency": float(frequencies[n]),
                "frequency_ci": interval(drawn[:, n]),
            }
            for n, part in enumerate(bins)
        ],
    }
