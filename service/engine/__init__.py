"""Engines: one protocol, two implementations, the same answers."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from contract.bundle import Bundle, BundleError
from contract.findings import FINDINGS
from service.settings import Settings

PROBABILITY_TOLERANCE = 1e-4
"""Largest difference of a probability between engines and machines in float32; 2e-6 is usual."""


class Outputs(NamedTuple):
    """What a network says about one radiograph.

    probabilities float32[14] (calibrated), activation_maps float32[h,w,14].
    """

    probabilities: NDArray[np.float32]
    activation_maps: NDArray[np.float32]


class Engine(Protocol):
    """Runs the network of a bundle; `infer` may be called from several threads at once."""

    name: str
    precision: str

    def infer(self, image: NDArray[np.uint8]) -> Outputs:
        """Answer one image, uint8[S,S,1]."""
        ...


def open_engine(settings: Settings, bundle: Bundle) -> Engine:
    """Load the network of a verified bundle into the engine that the settings name.

    Raises BundleError where the engine cannot read it.
    """
    try:
        # Imported here so that the service with OpenVINO never loads TensorFlow, nor the reverse.
        if settings.engine == "tensorflow":
            from service.engine.tensorflow import TensorFlowEngine

            return TensorFlowEngine(bundle)
        from service.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, settings.streams)
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{settings.engine} cannot read the SavedModel: {reason}") from error


def replay_golden(engine: Engine, bundle: Bundle) -> None:
    """Answer the bundle's golden inputs and compare with what the exporter saw.

    Raises BundleError that names the first finding that differs.
    """
    golden = bundle.golden()
    for number, (image, expected) in enumerate(
        zip(golden.image, golden.probabilities, strict=True), start=1
    ):
        difference = np.abs(engine.infer(image).probabilities - expected)
        worst = int(difference.argmax())
        if not difference[worst] <= PROBABILITY_TOLERANCE:  # also true for NaN
            raise BundleError(
                f"golden example {number}: {FINDINGS[worst]} differs by {difference[worst]:.2g} "
                f"from what the exporter saw; at most {PROBABILITY_TOLERANCE:g} is allowed."
            )
