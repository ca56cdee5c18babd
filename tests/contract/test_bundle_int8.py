"""INT8 in a bundle: whole and judged, and preferred where it costs little."""

import json

import numpy as np
import pytest

from contract.bundle import GOLDEN, open_bundle, seal_bundle
from contract.seal import DESCRIPTION, BundleError
from tests.contract.drawn_bundle import description_of, golden_arrays


def add_int8(directory, **changes):
    """Add what an INT8 network looks like, and seal."""
    (directory / "openvino").mkdir()
    for name in ("int8.xml", "int8.bin"):
        (directory / "openvino" / name).write_bytes(b"network")
    outputs = golden_arrays()["probabilities"] + np.float32(0.01)
    np.savez(directory / GOLDEN, **golden_arrays(int8_probabilities=outputs))
    seal_bundle(directory, description_of(**{"int8": {"macro_auroc_change": 0.0}, **changes}))


def test_bundle_without_int8_opens_and_prefers_float32(sealed):
    bundle = open_bundle(sealed)
    assert bundle.int8 is bundle.golden().int8_probabilities is None
    assert bundle.preferred_precision == "float32"


@pytest.mark.parametrize(
    ("change", "preferred"), [(0.01, "int8"), (-0.002, "int8"), (-0.0021, "float32")]
)
def test_int8_is_preferred_where_auroc_fell_by_no_more_than_the_limit(model, change, preferred):
    add_int8(model, int8={"macro_auroc_change": change})
    bundle = open_bundle(model)
    assert bundle.int8 == model / "openvino/int8.xml"
    assert bundle.preferred_precision == preferred
    golden = bundle.golden()
    assert np.allclose(golden.int8_probabilities, golden.probabilities + 0.01)


@pytest.mark.parametrize("int8", [None, {}, {"macro_auroc_change": "none"}, [0.0]])
def test_int8_without_a_judgement_of_it_is_refused(model, int8):
    with pytest.raises(BundleError, match=r"bundle\.json"):
        add_int8(model, int8=int8)


def test_int8_without_its_weights_is_refused(model):
    add_int8(model)
    (model / "openvino/int8.bin").unlink()
    with pytest.raises(BundleError, match=r"openvino/int8\.bin is missing"):
        seal_bundle(model, open_description(model))


@pytest.mark.parametrize("outputs", [np.zeros((2, 13), np.float32), None])
def test_int8_without_fitting_golden_outputs_is_refused(model, outputs):
    add_int8(model)
    arrays = {} if outputs is None else {"int8_probabilities": outputs}
    np.savez(model / GOLDEN, **golden_arrays(**arrays))
    seal_bundle(model, open_description(model))
    with pytest.raises(BundleError, match=r"golden\.npz"):
        open_bundle(model).golden()


def open_description(directory):
    return json.loads((directory / DESCRIPTION).read_text())
