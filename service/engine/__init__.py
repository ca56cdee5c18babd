"""Engines: one protocol, two implementations, the same answers at the same precision."""

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from contract.bundle import GOLDEN, INT8, Bundle, Precision
from contract.findings import FINDINGS
from contract.seal import BundleError
from service.settings import Settings, SettingsError

PROBABILITY_TOLERANCE: Final[dict[Precision, float]] = {"float32": 1e-4, "int8": 0.01}
"""Largest difference of a probability between engines and machines, by precision.

In float32 2e-6 is usual. In INT8 a last bit of a float32 part can move an activation to the next of
256 levels; tests/training/test_int8_replay.py measures how far that moves an answer, 0.001 for the
bundled model. What overflows differs by 0.4.
"""


class Outputs(NamedTuple):
    """What a network says about one radiograph.

    probabilities float32[14] (calibrated), activation_maps float32[h,w,14].
    """

    probabilities: NDArray[np.float32]
    activation_maps: NDArray[np.float32]


class Engine(Protocol):
    """Runs the network of a bundle; `infer` may be called from several threads at once."""

    name: str
    precision: Precision

    def infer(self, image: NDArray[np.uint8]) -> Outputs:
        """Answer one image, uint8[S,S,1]."""
        ...


def open_engine(settings: Settings, bundle: Bundle) -> Engine:
    """Load the network of a verified bundle into the engine and precision that the settings name.

    Replays the golden examples, which also warms it up. Raises BundleError where the bundle lacks
    the precision, the engine cannot run the network or answers something else than the exporter
    saw, SettingsError where the engine is not installed.
    """
    preferred = bundle.preferred_precision if settings.engine == "openvino" else "float32"
    precision = settings.precision or preferred
    if precision == "int8" and not bundle.int8:
        raise BundleError(
            f"XPRO_PRECISION is int8, but the bundle holds no {INT8}; unset it or say float32."
        )
    try:
        engine = _load(settings, bundle, precision)
        replay_golden(engine, bundle)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"XPRO_ENGINE={settings.engine} needs the module {error.name}, which is not installed; "
            "docs/service.md says what to install."
        ) from error
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        network = INT8 if precision == "int8" else "the SavedModel"
        reason = _tell_reason(error)
        raise BundleError(
            f"{bundle.path.name}: {settings.engine} cannot run {network}: {reason}"
        ) from error
    return engine


def _load(settings: Settings, bundle: Bundle, precision: Precision) -> Engine:
    # Imported here so that the service with OpenVINO never loads TensorFlow, nor the reverse.
    if settings.engine == "tensorflow":
        from service.engine.tensorflow import TensorFlowEngine

        return TensorFlowEngine(bundle)
    from service.engine.openvino import OpenVinoEngine

    return OpenVinoEngine(bundle, settings.streams, precision)


def _tell_reason(error: Exception) -> str:
    """Return the message in one line, without the places in OpenVINO's code that lead it."""
    lines = [line for line in str(error).splitlines() if not line.startswith("Exception from ")]
    return " ".join(lines) or repr(error)


def replay_golden(engine: Engine, bundle: Bundle) -> None:
    """Answer the bundle's golden inputs and compare with what the exporter saw in this precision.

    Raises BundleError that names the first finding that differs.
    """
    golden, allowed = bundle.golden(), PROBABILITY_TOLERANCE[engine.precision]
    seen = golden.int8_probabilities if engine.precision == "int8" else golden.probabilities
    if seen is None:
        raise BundleError(f"{GOLDEN} holds no outputs of the INT8 network.")
    for number, (image, expected) in enumerate(zip(golden.image, seen, strict=True), start=1):
        difference = np.abs(engine.infer(image).probabilities - expected)
        worst = int(difference.argmax())
        if not difference[worst] <= allowed:  # also true for NaN
            instead = " XPRO_PRECISION=float32 may do." if engine.precision == "int8" else ""
            raise BundleError(
                f"{bundle.path.name}: golden example {number}: {FINDINGS[worst]} differs by "
                f"{difference[worst]:.2g} from the output recorded at export in "
                f"{engine.precision}; at most {allowed:g} is allowed.{instead}"
            )
