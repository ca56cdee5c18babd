"""Full-size files of each kind, written here, to weights of the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.torch_writer import Arrays, state_dict, stream_file, to_pickle, zip_file
from training.errors import WeightsError
from training.importers.densenet import keras_shapes, pytorch_shapes
from training.importers.published import KINDS, read_published

CHEXNET = (
    "Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax "
    "Consolidation Edema Emphysema Fibrosis Pleural_Thickening Hernia"
).split()

Values = dict[str, np.ndarray]


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    kind = KINDS[name]
    if kind.form == "keras":
        return keras_shapes(kind.head, len(kind.outputs))
    return pytorch_shapes(kind.channels, kind.head, len(kind.outputs))


def values_of(name: str) -> Values:
    """Zeros, but for the head's bias, which is the place of each output."""
    values = {key: np.zeros(shape, np.float32) for key, shape in shapes_of(name).items()}
    bias = next(key for key in values if key.startswith(KINDS[name].head) and "bias" in key)
    values[bias] = np.arange(len(KINDS[name].outputs), dtype=np.float32)
    return values


def write_torch(path: Path, values: Values, prefix: str = "") -> Path:
    arrays = Arrays()
    named = {f"{prefix}{key}": value for key, value in values.items()}
    path.write_bytes(zip_file(to_pickle({"state_dict": state_dict(arrays, named)}), arrays))
    return path


def write_keras(path: Path, values: Values, root: str = "", **options: Any) -> Path:
    """Write `layer/weight` arrays in the layout of Keras 2, its stem's names included."""
    layers: dict[str, list[str]] = {}
    for key in values:
        layer, _, weight = key.partition("/")
        layers.setdefault(layer.replace("conv1_", "conv1/", 1), []).append(weight)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = b"{not even JSON"
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = [name.encode() for name in ["input_1", *layers]]
        group.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for layer, weights in layers.items():
            names = [f"{layer}/{weight}:0" for weight in weights]
            group.require_group(layer).attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights, strict=True):
                key = f"{layer.replace('/', '_')}/{weight}"
                group[layer].create_dataset(name, data=values[key], **options)
    return path


def test_outputs_of_every_kind_come_in_the_order_of_the_findings(tmp_path: Path) -> None:
    for name, kind in KINDS.items():
        write: Callable[..., Path] = write_keras if kind.form == "keras" else write_torch
        bias = read_published(write(tmp_path / name, values_of(name)), kind)["head"][1]
        assert tuple(kind.outputs[int(place)] for place in bias) == FINDINGS
    assert [KINDS["arnoweng"].outputs, KINDS["zoogzog"].outputs] == [CHEXNET, CHEXNET]
    assert KINDS["chexnet-keras"].outputs == CHEXNET
    assert len(KINDS["torchxrayvision"].outputs) == 18


def test_kernel_and_normalisation_land_where_they_belong(tmp_path: Path) -> None:
    values = values_of("arnoweng")
    values["features.conv0.weight"][5, 2, 1, 3] = 7
    values["features.denseblock2.denselayer3.norm2.running_var"][:] = 0.25
    values["features.transition1.conv.weight"][9, 100, 0, 0] = 8
    values["classifier.0.weight"][CHEXNET.index("Mass"), 77] = 9
    weights = read_published(write_torch(tmp_path / "w", values), KINDS["arnoweng"])
    assert weights["conv1_conv"][0][1, 3, 2, 5] == 7
    # The network adds 1.001e-5, PyTorch added 1e-5.
    assert weights["conv3_block3_1_bn"][3][0] == pytest.approx(0.25 - 1e-8, abs=1e-9)
    assert weights["pool2_conv"][0][0, 0, 100, 9] == 8
    assert weights["head"][0][0, 0, 77, FINDINGS.index("Mass")] == 9


@pytest.mark.parametrize("prefix", ["", "module.", "densenet121.", "module.densenet121."])
def test_prefixes_of_wrapping_classes_are_taken_off(tmp_path: Path, prefix: str) -> None:
    path = write_torch(tmp_path / "w", values_of("zoogzog"), prefix)
    assert len(read_published(path, KINDS["zoogzog"])) == 242


def test_names_of_2017_are_understood(tmp_path: Path) -> None:
    old = {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): value
        for key, value in values_of("arnoweng").items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    path = write_torch(tmp_path / "w", old, "module.densenet121.")
    assert len(read_published(path, KINDS["arnoweng"])) == 242


def test_two_names_of_one_tensor_are_refused(tmp_path: Path) -> None:
    values = values_of("arnoweng")
    values["module.features.conv0.weight"] = values["features.conv0.weight"]
    with pytest.raises(WeightsError, match=r"module\.features\.conv0\.weight is in the file twice"):
        read_published(write_torch(tmp_path / "w", values), KINDS["arnoweng"])


def test_counters_of_batches_and_operating_points_are_no_weights(tmp_path: Path) -> None:
    values = values_of("torchxrayvision")
    values["features.norm0.num_batches_tracked"] = np.array(5, np.int64)
    values["op_threshs"] = np.zeros(18, np.float32)
    path = write_torch(tmp_path / "w", values)
    assert len(read_published(path, KINDS["torchxrayvision"])) == 242


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("features.conv0.num_batches_tracked", np.array(5, np.int64)),
        ("features.norm0.num_batches_tracked", np.array([5], np.int64)),
        ("features.norm0.num_batches_tracked", np.array(5, np.float32)),
        ("op_threshs", np.zeros(18, np.float32)),
    ],
)
def test_what_only_looks_like_no_weight_is_surplus(
    tmp_path: Path, key: str, value: np.ndarray
) -> None:
    path = write_torch(tmp_path / "w", {**values_of("zoogzog"), key: value})
    with pytest.raises(WeightsError, match=f"surplus, 1 in all: {key}"):
        read_published(path, KINDS["zoogzog"])


def test_weights_of_another_kind_are_refused_by_what_differs(tmp_path: Path) -> None:
    path = write_torch(tmp_path / "w", values_of("torchxrayvision"))
    with pytest.raises(WeightsError, match=r"missing, 2 in all: classifier\.0\.weight"):
        read_published(path, KINDS["arnoweng"])


def test_keras_file_of_weights_and_of_a_whole_model_are_read(tmp_path: Path) -> None:
    values = values_of("chexnet-keras")
    values["conv1_conv/kernel"][0, 1, 2, 3] = 6
    for root in ("", "model_weights"):
        path = write_keras(tmp_path / f"w{root}.h5", values, root)
        weights = read_published(path, KINDS["chexnet-keras"])
        assert weights["conv1_conv"][0][0, 1, 2, 3] == 6
        assert len(weights) == 242


@pytest.mark.parametrize(
    ("change", "said"),
    {
        "missing": ({"bn/gamma": None}, "missing, 1 in all: bn/gamma"),
        "surplus": ({"extra/kernel": np.zeros((2, 2), np.float32)}, "surplus, 1 in all: extra"),
        "misshapen": ({"bn/beta": np.zeros(9, np.float32)}, r"bn/beta is \[9\], not \[1024\]"),
        "wide": ({"bn/beta": np.zeros(1024)}, "bn/beta is float64"),
        "undefined": ({"bn/beta": np.full(1024, np.nan, np.float32)}, "bn/beta holds values"),
    }.values(),
)
def test_wrong_keras_weight_is_refused_by_name(tmp_path: Path, change: Any, said: str) -> None:
    values = {**values_of("chexnet-keras"), **change}
    kept = {key: value for key, value in values.items() if value is not None}
    with pytest.raises(WeightsError, match=said):
        read_published(write_keras(tmp_path / "w.h5", kept), KINDS["chexnet-keras"])


def test_keras_weight_that_no_layer_names_is_surplus(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "w.h5", values_of("chexnet-keras"))
    with h5py.File(path, "a") as file:
        file["bn/hidden"] = np.zeros(3)
    with pytest.raises(WeightsError, match="surplus, 1 in all: bn/hidden"):
        read_published(path, KINDS["chexnet-keras"])


def test_compressed_keras_weight_is_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "w.h5", values_of("chexnet-keras"), compression="gzip")
    with pytest.raises(WeightsError, match="compressed or lies outside"):
        read_published(path, KINDS["chexnet-keras"])


def test_keras_weight_in_another_file_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["beta"] = np.zeros(1024, np.float32)
    path = write_keras(tmp_path / "w.h5", values_of("chexnet-keras"))
    with h5py.File(path, "a") as file:
        del file["bn/bn/beta:0"]
        file["bn/bn/beta:0"] = h5py.ExternalLink(str(secret), "beta")
    with pytest.raises(WeightsError, match="bn/bn/beta:0"):
        read_published(path, KINDS["chexnet-keras"])


def test_keras_weight_in_an_external_store_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.write_bytes(bytes(4096))
    path = write_keras(tmp_path / "w.h5", values_of("chexnet-keras"))
    with h5py.File(path, "a") as file:
        del file["bn/bn/beta:0"]
        file.create_dataset("bn/bn/beta:0", (1024,), "f4", external=[(str(store), 0, 4096)])
    with pytest.raises(WeightsError, match="bn/beta is compressed or lies outside"):
        read_published(path, KINDS["chexnet-keras"])


@pytest.mark.parametrize("name", KINDS)
def test_other_and_absent_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "w").write_bytes(b"\x89PNG\r\n\x1a\n")
    for path in (tmp_path / "w", tmp_path / "absent", tmp_path):
        with pytest.raises(WeightsError):
            read_published(path, KINDS[name])


def test_stream_of_2017_is_read_at_full_size(tmp_path: Path) -> None:
    arrays = Arrays()
    content = to_pickle({"state_dict": state_dict(arrays, values_of("arnoweng"), None)})
    (tmp_path / "w").write_bytes(stream_file(content, arrays))
    assert len(read_published(tmp_path / "w", KINDS["arnoweng"])) == 242
