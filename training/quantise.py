"""The SavedModel of a bundle -> the same network in INT8 for OpenVINO."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13
from openvino._offline_transformations import apply_moc_transformations

from contract.bundle import INT8

_FIXED: Final = ("Parameter", "Constant", "Result")
_SCALING: Final = ("Convert", "Reshape", "Transpose", "Multiply", "Add", "Subtract")

Sources = dict[str, list[str]]
"""Operation -> those whose results it takes, constants and parameters left out."""


def quantise(bundle: Path, images: Sequence[NDArray[np.uint8]]) -> openvino.Model:
    """Quantise the SavedModel in `bundle` after training, with ranges from images uint8[S,S,1].

    These stay in float32: everything before the first convolution; that convolution, unless its
    input is the 256 grey levels in one fixed scale, of which INT8 keeps 231 or more apart (what is
    normed by the image, or set against its surroundings, has no such range); the head, its maps and
    the calibration; spatial means.
    Inputs and outputs are those of the SavedModel.
    """
    network = openvino.Core().read_model(bundle)
    # Folds normalisation into the convolutions before it; without, bias correction finds no bias.
    apply_moc_transformations(network, cf=True)
    average_first(network)
    with _silence():
        import nncf
        from nncf.quantization.advanced_parameters import OverflowFix
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        quantised = nncf.quantize(
            network,
            nncf.Dataset(images, lambda image: image[np.newaxis]),
            subset_size=len(images),
            target_device=nncf.TargetDevice.CPU,
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(_name_float32(network), types=["ReduceMean"]),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Half the range for weights: processors without VNNI add products of 8 bits in 16,
                # which the whole range overflows; with half of it all give the same bits.
                overflow_fix=OverflowFix.ENABLE,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    return quantised


def write_int8(network: openvino.Model, bundle: Path) -> None:
    """Write a quantised network into a bundle, without a trace of the run that made it."""
    # The names count what the process has built so far; these are the same for the same network.
    for number, operation in enumerate(network.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    for key in list(network.get_rt_info()):
        del network.get_rt_info()[key]
    (bundle / INT8).parent.mkdir()
    openvino.save_model(network, bundle / INT8, compress_to_fp16=False)


def average_first(network: openvino.Model) -> None:
    """Take means of neighbours before a 1 x 1 convolution instead of after it.

    Both are sums, so their order is free, and the convolution is left the fewer points: a quarter
    of them in the transitions of DenseNet (Huang et al., CVPR 2017). DenseNet121 at 224 pixels has
    some 2.8e9 products, 3.1e8 of them there, so a twelfth is saved.
    """
    for after in network.get_ordered_ops():
        if after.get_type_name() != "AvgPool":
            continue
        convolution = after.input_value(0).get_node()
        if not _is_pointwise(convolution):
            continue
        how = after.get_attributes()
        before = opset13.avg_pool(
            convolution.input_value(0),
            how["strides"],
            how["pads_begin"],
            how["pads_end"],
            how["kernel"],
            how["exclude-pad"],
            how["rounding_type"],
            how["auto_pad"],
        )
        consumers = after.output(0).get_target_inputs()
        convolution.input(0).replace_source_output(before.output(0))
        for consumer in consumers:
            consumer.replace_source_output(convolution.output(0))
    network.validate_nodes_and_infer_types()


def _is_pointwise(operation: openvino.Node) -> bool:
    """Whether it is a convolution of single points whose result goes one way only."""
    if operation.get_type_name() != "Convolution":
        return False
    how = operation.get_attributes()
    return (
        list(operation.input_value(1).get_shape())[2:] == [1, 1]
        and how["strides"] == [1, 1]
        and not any(how["pads_begin"] + how["pads_end"])
        and len(operation.output(0).get_target_inputs()) == 1
    )


def _name_float32(network: openvino.Model) -> list[str]:
    """Name all up to the first convolutions, and the last ones with all after them.

    A single network has one of each, several that answer together have one a member. A first
    convolution of grey levels in a fixed scale is not named.
    """
    operations = [
        operation
        for operation in network.get_ordered_ops()
        if operation.get_type_name() not in _FIXED
    ]
    kinds = {operation.get_friendly_name(): operation.get_type_name() for operation in operations}
    sources = {
        operation.get_friendly_name(): [name for name in _name_sources(operation) if name in kinds]
        for operation in operations
    }
    convolutions = {name for name, kind in kinds.items() if kind == "Convolution"}
    after_one = _name_after(convolutions, sources)
    firsts = kinds.keys() - after_one
    of_greys = {name for name in convolutions & firsts if _sees_greys(name, kinds, sources)}
    ends = after_one - _name_before(convolutions, sources)
    return [name for name in kinds if name in firsts - of_greys | ends]


def _name_after(seeds: set[str], sources: Sources) -> set[str]:
    """Name what any of `seeds` leads to; `sources` are in the order of the network."""
    after: set[str] = set()
    for name, given in sources.items():
        if (after | seeds).intersection(given):
            after.add(name)
    return after


def _name_before(seeds: set[str], sources: Sources) -> set[str]:
    """Name what leads to any of `seeds`; `sources` are in the order of the network."""
    before: set[str] = set()
    for name in reversed(sources):
        if name in before | seeds:
            before.update(sources[name])
    return before


def _sees_greys(convolution: str, kinds: Mapping[str, str], sources: Sources) -> bool:
    """Return whether nothing but scaling lies between the input and a convolution."""
    before = _name_before({convolution}, sources)
    return all(kinds[name] in _SCALING for name in before)


def _name_sources(operation: openvino.Node) -> list[str]:
    return [port.get_node().get_friendly_name() for port in operation.input_values()]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep NNCF from reporting to its makers over the network and from filling the terminal."""
    os.environ.setdefault("NNCF_CI", "1")
    with contextlib.redirect_stdout(io.StringIO()):
        import nncf

        nncf.set_log_level(logging.ERROR)
        yield
